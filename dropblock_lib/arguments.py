"""Checks of the arguments that every part of the library shares."""

import math
import numbers

GAMMA_RULES = ("paper", "exact")


def invalid(name, expected, value):
    """Returns the `ValueError` for a bad argument, worded as Keras words it."""
    return ValueError(
        f"Invalid value received for argument `{name}`. Expected {expected}. "
        f"Received: {name}={value!r}"
    )


def check_keep_prob(keep_prob):
    """Returns `keep_prob` as a float in (0, 1], or raises a `ValueError`."""
    is_number = isinstance(keep_prob, numbers.Real) and not isinstance(keep_prob, bool)
    # A comparison with NaN is false, so NaN is refused here too.
    if not (is_number and 0 < keep_prob <= 1):
        raise invalid("keep_prob", "a float in (0, 1]", keep_prob)
    return float(keep_prob)


def check_gamma(gamma):
    """Returns `gamma` as a float >= 0, or raises a `ValueError`."""
    is_number = isinstance(gamma, numbers.Real) and not isinstance(gamma, bool)
    if not (is_number and 0 <= gamma < math.inf):
        raise invalid("gamma", "a finite float >= 0", gamma)
    return float(gamma)


def check_gamma_rule(gamma):
    """Returns the name of a rule for gamma, or raises a `ValueError`."""
    if not (isinstance(gamma, str) and gamma in GAMMA_RULES):
        raise invalid("gamma", "'paper' or 'exact'", gamma)
    return gamma


def check_sides(name, value):
    """Returns a size as (vertical, horizontal) ints, or raises a `ValueError`.

    `value` is one positive integer for both sides, or a pair of them.
    """
    sides = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(sides) != 2 or not all(_is_positive_integer(side) for side in sides):
        raise invalid(name, "a positive integer or a pair of them", value)
    return int(sides[0]), int(sides[1])


def _is_positive_integer(value):
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return is_integer and value > 0
