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
    return check_fraction("keep_prob", keep_prob)


def check_fraction(name, value):
    """Returns a value as a float in (0, 1], or raises a `ValueError`."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    # A comparison with NaN is false, so NaN is refused here too.
    if not (is_number and 0 < value <= 1):
        raise invalid(name, "a float in (0, 1]", value)
    return float(value)


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
    if len(sides) != 2 or not all(is_whole(side, at_least=1) for side in sides):
        raise invalid(name, "a positive integer or a pair of them", value)
    return int(sides[0]), int(sides[1])


def check_image_shape(input_shape):
    """Returns (height, width, channels) as ints, or raises a `ValueError`."""
    is_shape = (
        isinstance(input_shape, (tuple, list))
        and len(input_shape) == 3
        and all(is_whole(size, at_least=1) for size in input_shape)
        and min(input_shape[:2]) >= 8
    )
    if not is_shape:
        expected = "(height, width, channels), integers, height and width at least 8"
        raise invalid("input_shape", expected, input_shape)
    return tuple(int(size) for size in input_shape)


def check_classes(classes):
    """Returns the number of classes, or raises a `ValueError`."""
    if not is_whole(classes, at_least=2):
        raise invalid("classes", "an integer of at least 2", classes)
    return int(classes)


def check_seed(seed):
    """Returns a seed, or `None`, or raises a `ValueError`."""
    if seed is None:
        return None
    if not is_whole(seed, at_least=0):
        raise invalid("seed", "a non-negative integer or None", seed)
    return int(seed)


def is_whole(value, at_least):
    """Whether a value is an integer, of any kind but bool, and large enough."""
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return is_integer and value >= at_least
