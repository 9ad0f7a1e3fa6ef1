"""The shared checks of arguments: what they accept, and how they reject the rest."""

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
    "value",
    [
        *(0, 0.0, -0.1, 1.5, math.nan, math.inf, "0.9", True, None, [0.9], 1j),
        *(10**400, Fraction(1, 10**400)),
    ],
)
def test_a_bad_keep_prob_is_rejected_with_the_common_wording(value):
    with pytest.raises(ValueError) as error:
        arguments.check_keep_prob(value)
    assert str(error.value) == message("keep_prob", "a float in (0, 1]", value)


@pytest.mark.parametrize(
    "value", [-0.1, math.nan, math.inf, 10**400, "paper", True, None]
)
def test_a_bad_gamma_is_rejected(value):
    with pytest.raises(ValueError) as error:
        arguments.check_gamma(value)
    assert str(error.value) == message("gamma", "a finite float >= 0", value)


def test_a_gamma_may_exceed_one():
    assert arguments.check_gamma(2) == 2.0


@pytest.mark.parametrize("value", ["best", "Paper", None, 0.1, ["paper"]])
def test_an_unknown_rule_for_gamma_is_rejected(value):
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
def test_bad_sides_are_rejected(value):
    with pytest.raises(ValueError) as error:
        arguments.check_sides("block_size", value)
    expected = "a positive integer or a tuple of 2 positive integers"
    assert str(error.value) == message("block_size", expected, value)


@pytest.mark.parametrize(
    ("dimensions", "words"),
    [(n, f"a tuple of {n} positive integer{'s' * (n > 1)}") for n in (1, 2, 3)],
)
def test_sides_have_the_requested_number_of_dimensions(dimensions, words):
    assert arguments.check_sides("size", 4, dimensions) == (4,) * dimensions
    wrong = (1,) * (dimensions + 1)
    with pytest.raises(ValueError) as error:
        arguments.check_sides("size", wrong, dimensions)
    assert str(error.value) == message("size", f"a positive integer or {words}", wrong)


def test_a_tuple_determines_the_number_of_sides():
    assert arguments.count_sides(3, (1, 2, 3)) == 3
    assert arguments.count_sides([5], (1, 2, 3)) == 1
    assert arguments.count_sides(3, None) == 2
    for wrong in ((), (1, 2, 3, 4)):
        with pytest.raises(ValueError) as error:
            arguments.check_sides("size", wrong, arguments.count_sides(wrong))
        expected = "a positive integer or a tuple of 1 to 3 positive integers"
        assert str(error.value) == message("size", expected, wrong)


@pytest.mark.parametrize(
    ("limits", "good", "bad", "expected"),
    [
        ((), [1, np.int64(7)], [0, 1.0, True, "1", None], "a positive integer"),
        ((0,), [0, 7], [-1, False], "a non-negative integer"),
        ((2,), [2], [1], "an integer of at least 2"),
        ((2, 5), [2, 5], [1, 6], "an integer from 2 to 5"),
    ],
)
def test_an_integer_within_its_limits_is_accepted(limits, good, bad, expected):
    for value in good:
        checked = arguments.check_integer("count", value, *limits)
        assert checked == value
        assert type(checked) is int
    for value in bad:
        with pytest.raises(ValueError) as error:
            arguments.check_integer("count", value, *limits)
        assert str(error.value) == message("count", expected, value)


@pytest.mark.parametrize(
    ("interval", "good", "bad", "expected"),
    [
        ("[0, 1)", [0, 0.5], [1, -0.1], "a float in [0, 1)"),
        ("(0, 1)", [0.5], [0, 1], "a float in (0, 1)"),
        ("[0, 1]", [0, 1], [-0.1, 1.1], "a float in [0, 1]"),
        ("[0, inf)", [0, 1e9], [-1, math.inf], "a finite float >= 0"),
        ("(0, inf)", [1e-9], [0, math.inf], "a finite float > 0"),
    ],
)
def test_a_float_is_checked_against_an_interval(interval, good, bad, expected):
    for value in good:
        checked = arguments.check_float("rate", value, interval)
        assert checked == value
        assert type(checked) is float
    for value in [*bad, math.nan, True, "0.5", None]:
        with pytest.raises(ValueError) as error:
            arguments.check_float("rate", value, interval)
        assert str(error.value) == message("rate", expected, value)


@pytest.mark.parametrize("value", [True, False, np.True_])
def test_a_boolean_becomes_a_python_bool(value):
    assert arguments.check_boolean("training", value) is bool(value)


@pytest.mark.parametrize("value", [0, 1.0, "yes", None])
def test_other_truth_values_are_rejected(value):
    with pytest.raises(ValueError) as error:
        arguments.check_boolean("training", value)
    assert str(error.value) == message("training", "True or False", value)


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        (["a"], "'a'"),
        (["a", "b"], "'a' or 'b'"),
        (["a", "b", None], "'a', 'b' or None"),
        (["a", "b", "c", "d"], "one of 'a', 'b', 'c', 'd'"),
    ],
)
def test_a_choice_is_one_of_the_names(choices, expected):
    for value in choices:
        assert arguments.check_choice("stem", value, choices) == value
    for value in ["e", 1, ["a"], np.zeros(2)]:
        with pytest.raises(ValueError) as error:
            arguments.check_choice("stem", value, choices)
        assert str(error.value) == message("stem", expected, value)


def test_a_seed_is_none_or_a_non_negative_integer():
    assert arguments.check_seed(None) is None
    assert arguments.check_seed(2**40) == 2**40
    assert arguments.check_seed(np.uint32(7), bits=32) == 7
    for value in [-1, 1.5, True, "1"]:
        with pytest.raises(ValueError) as error:
            arguments.check_seed(value)
        expected = "a non-negative integer or None"
        assert str(error.value) == message("seed", expected, value)
    with pytest.raises(ValueError) as error:
        arguments.check_seed(2**32, bits=32)
    expected = "an integer in [0, 2**32) or None"
    assert str(error.value) == message("seed", expected, 2**32)


def test_a_rank_is_the_number_of_axes():
    arguments.check_rank("inputs", (None, 8, 8, 3), 4)
    with pytest.raises(ValueError) as error:
        arguments.check_rank("inputs", [None, 8], 4)
    expected = "a tensor of rank 4"
    assert str(error.value) == message("inputs", expected, (None, 8))


@pytest.mark.parametrize(
    "value", [(8, 8), (7, 8, 1), (8, 8, 0), (8.0, 8, 1), 8, None, "888"]
)
def test_a_bad_image_shape_is_rejected(value):
    assert arguments.check_image_shape([8, np.int64(9), 1]) == (8, 9, 1)
    with pytest.raises(ValueError) as error:
        arguments.check_image_shape(value)
    expected = "(height, width, channels), integers, height and width at least 8"
    assert str(error.value) == message("input_shape", expected, value)


def test_an_error_can_show_text_in_place_of_the_value():
    error = arguments.invalid("where", "layers", received="layer 'conv'")
    assert str(error) == (
        "Invalid value received for argument `where`. Expected layers. "
        "Received: layer 'conv'"
    )


def test_an_error_about_a_data_file_says_what_was_expected():
    error = arguments.invalid_file("a/mnist.npz", "labels from 0 to 9", "a label of 10")
    assert str(error) == (
        "Invalid data file a/mnist.npz. Expected labels from 0 to 9. "
        "Received: a label of 10"
    )
