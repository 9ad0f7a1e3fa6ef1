"""Checks of arguments, with one wording for the whole library.

Every check raises a `ValueError` for an invalid value. Most return the value as a
plain Python type.
"""

import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np

GAMMA_RULES = ("paper", "exact")

_INTERVALS = {"[0, inf)": "a finite float >= 0", "(0, inf)": "a finite float > 0"}


def invalid(
    name: str, expected: str, value: Any = None, *, received: str | None = None
) -> ValueError:
    """Returns the error for a bad argument, worded as Keras words it.

    Args:
        name: Name of the argument.
        expected: What was expected, such as `"a float in (0, 1]"`.
        value: The value received.
        received: Text to show in place of `name=value`.
    """
    received = f"{name}={value!r}" if received is None else received
    return ValueError(
        f"Invalid value received for argument `{name}`. Expected {expected}. "
        f"Received: {received}"
    )


def invalid_file(path: Any, expected: str, received: Any) -> ValueError:
    """Returns the error for a data file that is not as expected."""
    return ValueError(
        f"Invalid data file {path}. Expected {expected}. Received: {received}"
    )


def is_whole(value: Any, at_least: int) -> bool:
    """Whether a value is an integer of at least `at_least`; bools do not count."""
    return _is_number(value, numbers.Integral) and value >= at_least


def check_integer(name: str, value: Any, low: int = 1, high: int | None = None) -> int:
    """Checks an integer from `low` to `high`, inclusive."""
    if is_whole(value, low) and (high is None or value <= high):
        return int(value)
    if high is not None:
        expected = f"an integer from {low} to {high}"
    else:
        signs = {0: "a non-negative integer", 1: "a positive integer"}
        expected = signs.get(low, f"an integer of at least {low}")
    raise invalid(name, expected, value)


def check_float(name: str, value: Any, interval: str = "(0, 1]") -> float:
    """Checks a number in an interval, such as `"[0, 1)"` or `"(0, inf)"`."""
    low, high = map(float, interval[1:-1].split(","))
    if _is_number(value, numbers.Real):
        try:
            number = float(value)
        except OverflowError:  # an integer beyond the largest float
            number = math.inf
        # NaN is rejected because every comparison with it is false.
        if (
            low < number < high
            or (number == low and interval[0] == "[")
            or (number == high and interval[-1] == "]")
        ):
            return number
    raise invalid(name, _INTERVALS.get(interval, f"a float in {interval}"), value)


def check_keep_prob(keep_prob: Any) -> float:
    """Checks `keep_prob`, a float in (0, 1]."""
    return check_float("keep_prob", keep_prob)


def check_gamma(gamma: Any) -> float:
    """Checks `gamma`, a finite float >= 0."""
    return check_float("gamma", gamma, "[0, inf)")


def check_boolean(name: str, value: Any) -> bool:
    """Checks a Python or NumPy bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise invalid(name, "True or False", value)
    return bool(value)


def check_choice(name: str, value: Any, choices: Iterable[str | None]) -> Any:
    """Checks that a value is one of `choices`: strings, or `None`."""
    choices = tuple(choices)
    if (value is None or isinstance(value, str)) and value in choices:
        return value
    names = list(map(repr, choices))
    expected = f"one of {', '.join(names)}"
    if len(names) <= 3:
        expected = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    raise invalid(name, expected, value)


def check_data_format(data_format: Any, default: str) -> str:
    """Checks `data_format`, and replaces `None` with the default."""
    formats = ("channels_last", "channels_first", None)
    return check_choice("data_format", data_format, formats) or default


def check_float_dtype(name: str, dtype: str) -> None:
    """Checks that a dtype is floating-point."""
    if not dtype.startswith(("float", "bfloat")):
        raise invalid(name, "a floating-point dtype", dtype)


def check_gamma_rule(gamma: Any) -> str:
    """Checks `gamma`, the name of a rule."""
    return check_choice("gamma", gamma, GAMMA_RULES)


def check_seed(seed: Any, bits: int | None = None) -> int | None:
    """Checks a random seed: a non-negative integer of up to `bits` bits, or `None`."""
    if seed is None:
        return None
    if is_whole(seed, 0) and (bits is None or seed < 2**bits):
        return int(seed)
    expected = (
        "a non-negative integer" if bits is None else f"an integer in [0, 2**{bits})"
    )
    raise invalid("seed", f"{expected} or None", seed)


def check_sides(name: str, value: Any, dimensions: int = 2) -> tuple[int, ...]:
    """Checks a size: one positive integer for all sides, or a tuple of them.

    Args:
        name: Name of the argument.
        value: An integer, or a tuple or list of `dimensions` integers.
        dimensions: Number of sides, 1 to 3.

    Returns:
        Tuple of `dimensions` ints.
    """
    is_tuple = isinstance(value, (tuple, list))
    sides = tuple(value) if is_tuple else (value,) * dimensions
    is_known = 1 <= dimensions <= 3
    fits = len(sides) == dimensions and (is_known or not is_tuple)
    if not fits or not all(is_whole(side, 1) for side in sides):
        count = dimensions if is_known else "1 to 3"
        integers = f"integer{'s' * (count != 1)}"
        expected = f"a positive integer or a tuple of {count} positive {integers}"
        raise invalid(name, expected, value)
    return tuple(int(side) for side in sides)


def count_sides(*sizes: Any) -> int:
    """Number of sides of the first tuple among `sizes`, or 2 if there is none."""
    return next((len(size) for size in sizes if isinstance(size, (tuple, list))), 2)


def check_rank(name: str, value: Any, rank: int) -> None:
    """Checks the number of axes of a shape or a tensor; rejects complex tensors."""
    shape = tuple(getattr(value, "shape", value))
    if len(shape) != rank:
        raise invalid(name, f"a tensor of rank {rank}", shape)
    if "complex" in str(getattr(value, "dtype", "")):
        expected = "a tensor of floats, integers or Booleans"
        raise invalid(name, expected, received=f"{name} of dtype {value.dtype}")


def check_image_shape(input_shape: Any) -> tuple[int, int, int]:
    """Checks (height, width, channels), with sides of at least 8 pixels.

    Also checks that Keras' image data format is channels-last; the networks need it.
    """
    import keras  # imported late: the checks alone need only NumPy

    data_format = keras.config.image_data_format()
    if data_format != "channels_last":
        raise ValueError(
            "The networks of dropblock_lib need channels-last images. Call "
            "`keras.config.set_image_data_format('channels_last')` first. Received: "
            f"image_data_format()={data_format!r}"
        )
    is_shape = isinstance(input_shape, (tuple, list)) and len(input_shape) == 3
    if not (is_shape and all(map(is_whole, input_shape, (8, 8, 1)))):
        expected = "(height, width, channels), integers, height and width at least 8"
        raise invalid("input_shape", expected, input_shape)
    height, width, channels = map(int, input_shape)
    return height, width, channels


def check_classes(classes: Any) -> int:
    """Checks the number of classes, at least 2."""
    return check_integer("classes", classes, 2)


def _is_number(value, kind):
    return isinstance(value, kind) and not isinstance(value, bool)
