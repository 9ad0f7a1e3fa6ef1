"""Gamma as a tensor, because `keep_prob` may change in compiled code.

Sizes are integers where they are known when code is compiled, and scalar tensors
elsewhere: arithmetic on integers costs nothing at run time.
"""

import functools
import math
from typing import Any

import numpy as np
from keras import ops

from dropblock_lib import masks

# A tensor of the backend in use.
Tensor = Any
# An integer, an integer scalar tensor, or a symbol in an exported model.
Size = Any

# Newton's method reaches float32's precision in seven steps for any keep_prob.
NEWTON_STEPS = 7
# Well above float32's subnormal numbers, which compiled code flushes to zero.
SMALLEST_KEEP_PROB = 1e-30
# Compiled code reserves random numbers for these, and draws dense bits below the last.
# They are constants, so that masks do not depend on earlier values of keep_prob.
RESERVED_KEEP_PROBS = (0.9, 0.5)


def minimum(a: Size, b: Size) -> Size:
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    if _is_symbol(b):
        a, b = b, a
    return a.__sym_min__(b) if _is_symbol(a) else ops.minimum(a, b)


def maximum(a: Size, b: Size) -> Size:
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    if _is_symbol(b):
        a, b = b, a
    return a.__sym_max__(b) if _is_symbol(a) else ops.maximum(a, b)


def as_float(size: Size, dtype: str = "float32") -> Tensor:
    if isinstance(size, (int, float)):
        return float(size)
    return size.__sym_float__() if _is_symbol(size) else ops.cast(size, dtype)


def _is_symbol(size):
    """Whether a size is a PyTorch symbol. As a tensor, it would become a constant."""
    return hasattr(size, "__sym_float__")


def gamma_tensor(
    rule: str, keep_prob: Tensor, block_sides: tuple, map_sides: tuple
) -> Tensor:
    """`masks.gamma` or `masks.exact_gamma` as a float32 scalar tensor.

    Args:
        rule: `"paper"` or `"exact"`.
        keep_prob: Float32 scalar tensor in (0, 1], or a float. For a float and known
            sides, the result is a float, too.
        block_sides: Sides of a block in units, integers.
        map_sides: Sides of the feature map, integers or scalar tensors.
    """
    if isinstance(keep_prob, float):
        keep_prob = max(keep_prob, SMALLEST_KEEP_PROB)
        if all(isinstance(side, int) for side in map_sides):
            return _gamma_float(rule, keep_prob, tuple(block_sides), tuple(map_sides))
        keep_prob = ops.convert_to_tensor(keep_prob, "float32")
    rules = {"paper": _paper_gamma, "exact": _exact_gamma}
    return rules[rule](keep_prob, block_sides, map_sides)


def reserved_gammas(rule: str, block_sides: tuple, map_sides: tuple) -> list:
    """Gamma at each of `RESERVED_KEEP_PROBS`, as floats.

    Unknown sides are assumed to be twice the block's; on smaller maps gamma may be
    larger.
    """
    sides = zip(map_sides, block_sides, strict=True)
    known = tuple(s if isinstance(s, int) else 2 * b for s, b in sides)
    # Rounding must not make it smaller than the same gamma in float32.
    return [
        1.0001 * _gamma_float(rule, keep_prob, tuple(block_sides), known)
        for keep_prob in RESERVED_KEEP_PROBS
    ]


@functools.lru_cache
def _gamma_float(rule, keep_prob, block_sides, map_sides):
    rules = {"paper": masks.gamma, "exact": masks.exact_gamma}
    return rules[rule](keep_prob, block_sides, map_sides)


def _paper_gamma(keep_prob, block_sides, map_sides):
    # `factor` remains a Python float if all sides are known.
    factor = 1.0
    for block, side in zip(block_sides, map_sides, strict=True):
        block = as_float(minimum(block, side))
        side = as_float(side)
        factor = factor * side / (block * (side - block + 1))
    return (1 - keep_prob) * factor


def _exact_gamma(keep_prob, block_sides, map_sides):
    """Takes the same steps as `masks.exact_gamma`."""
    if all(isinstance(side, int) for side in map_sides):
        cover, fraction = _cover_histogram(tuple(block_sides), tuple(map_sides))
        cover = ops.convert_to_tensor(cover, "float32")
        fraction = ops.convert_to_tensor(fraction, "float32")
    else:
        cover = functools.reduce(
            lambda cover, counts: ops.expand_dims(cover, -1) * counts,
            map(_cover_counts, block_sides, map_sides),
        )
        fraction = 1 / as_float(math.prod(map_sides))
    mean_cover = ops.sum(cover * fraction)
    log_keep_prob = ops.log(ops.maximum(keep_prob, SMALLEST_KEEP_PROB))
    lam = ops.zeros_like(keep_prob)
    for _ in range(NEWTON_STEPS):
        # Survival relative to that in the corners, exp(-lam), minus 1.
        terms = fraction * ops.expm1(-lam * (cover - 1))
        survival_minus_1 = ops.sum(terms)
        excess = ops.log1p(survival_minus_1) - lam - log_keep_prob
        slope = mean_cover + ops.sum(cover * terms)
        lam = lam + excess * (1 + survival_minus_1) / slope
    return -ops.expm1(-lam)


@functools.lru_cache
def _cover_histogram(block_sides, map_sides):
    """The distinct values of `masks.cover_counts`, and each one's fraction of units."""
    cover = masks.cover_counts(block_sides, map_sides)
    values, units = np.unique(cover, return_counts=True)
    return values, units / cover.size


def _cover_counts(block, side):
    """`masks.cover_counts` along one axis, for a `side` that may be a tensor."""
    block = minimum(block, side)
    i = ops.arange(side, dtype="int32")
    # This is min(i, side - block), which PyTorch cannot compute for a tensor and a
    # symbol.
    last = side - block - ops.maximum(side - block - i, 0)
    first = ops.maximum(i - block + 1, 0)
    return ops.cast(last - first + 1, "float32")
