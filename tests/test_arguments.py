"""What the shared checks of arguments let through, and how they refuse the rest."""

import math
from fractions import Fraction

import numpy as np
import pytest

from dropblock_lib import arguments


def message(name, expected, value):
    return (
        f"Invalid value received for argument `{name}`. Expected {expected}. "
        f"Received: {name}={value!r}"
    )


@pytest.mark.parametrize(
    "value", [1, 1.0, 0.9, 1e-300, np.float32(0.5), Fraction(1, 3)]
)
def test_a_keep_prob_becomes_a_float(value):
    checked = arguments.check_keep_prob(value)
    assert type(checked) is float
    assert checked == float(value)


@pytest.mark.parametrize(
    "value", [0, 0.0, -0.1, 1.5, math.nan, math.inf, "0.9", True, None, [0.9], 1j]
)
def test_a_bad_keep_prob_is_refused_in_the_agreed_words(value):
    with pytest.raises(ValueError) as error:
        arguments.check_keep_prob(value)
    assert str(error.value) == message("keep_prob", "a float in (0, 1]", value)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "paper", True, None])
def test_a_bad_gamma_is_refused(value):
    with pytest.raises(ValueError) as error:
        arguments.check_gamma(value)
    assert str(error.value) == message("gamma", "a finite float >= 0", value)


def test_a_gamma_may_exceed_one():
    assert arguments.check_gamma(2) == 2.0


@pytest.mark.parametrize("value", ["best", "Paper", None, 0.1, ["paper"]])
def test_an_unknown_rule_for_gamma_is_refused(value):
    with pytest.raises(ValueError) as error:
        arguments.check_gamma_rule(value)
    assert str(error.value) == message("gamma", "'paper' or 'exact'", value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, (3, 3)), ((2, 5), (2, 5)), ([2, 5], (2, 5)), (np.int64(3), (3, 3))],
)
def test_sides_become_a_pair_of_plain_integers(value, expected):
    checked = arguments.check_sides("block_size", value)
    assert checked == expected
    assert all(type(side) is int for side in checked)


@pytest.mark.parametrize(
    "value", [0, -1, 2.5, 3.0, "3", True, None, (), (3,), (3, 0), (3, 2.5), (1, 2, 3)]
)
def test_bad_sides_are_refused(value):
    with pytest.raises(ValueError) as error:
        arguments.check_sides("block_size", value)
    expected = "a positive integer or a pair of them"
    assert str(error.value) == message("block_size", expected, value)
