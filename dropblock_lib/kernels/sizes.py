"""Sizes of tensors: integers where they are known, scalar tensors where not.

What is done with integers is done when code is compiled, and costs nothing later.
"""

from keras import ops


def minimum(a, b):
    both_known = isinstance(a, int) and isinstance(b, int)
    return min(a, b) if both_known else ops.minimum(a, b)


def maximum(a, b):
    both_known = isinstance(a, int) and isinstance(b, int)
    return max(a, b) if both_known else ops.maximum(a, b)


def as_float(size, dtype="float32"):
    return float(size) if isinstance(size, int) else ops.cast(size, dtype)
