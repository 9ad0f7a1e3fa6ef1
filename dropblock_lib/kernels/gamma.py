"""Gamma as a tensor, because `keep_prob` may change in compiled code."""

import functools

import numpy as np
from keras import ops

from dropblock_lib import masks
from dropblock_lib.kernels import sizes

# Newton's method reaches float32's precision in seven steps, whatever keep_prob is.
NEWTON_STEPS = 7
# Below it float32 gives up digits, and compiled code reads zero.
SMALLEST = 1e-30


def paper_gamma(keep_prob, block_sides, map_sides):
    """`masks.gamma` as a float32 scalar tensor.

    Args:
        keep_prob: Float32 scalar tensor in (0, 1].
        block_sides: Height and width of a block in pixels, integers.
        map_sides: Those of the feature map, integers or scalar tensors.
    """
    # A number, not a tensor, where the sides are known.
    places_a_unit = 1.0
    for block, side in zip(block_sides, map_sides, strict=True):
        block = sizes.as_float(sizes.minimum(block, side))
        side = sizes.as_float(side)
        places_a_unit = places_a_unit * side / (block * (side - block + 1))
    return (1 - keep_prob) * places_a_unit


def exact_gamma(keep_prob, block_sides, map_sides):
    """`masks.exact_gamma` as a float32 scalar tensor, by the same steps.

    Args:
        keep_prob, block_sides, map_sides: As for `paper_gamma`.
    """
    if all(isinstance(side, int) for side in map_sides):
        cover, share = _kinds_of_units(tuple(block_sides), tuple(map_sides))
        cover = ops.convert_to_tensor(cover, "float32")
        share = ops.convert_to_tensor(share, "float32")
    else:
        rows, columns = map(_cover_counts, block_sides, map_sides)
        cover = ops.expand_dims(rows, 1) * columns
        share = 1 / ops.cast(ops.size(cover), "float32")
    mean_cover = ops.sum(cover * share)
    log_keep_prob = ops.log(ops.maximum(keep_prob, SMALLEST))
    lam = ops.zeros_like(keep_prob)
    for _ in range(NEWTON_STEPS):
        # How many fewer survive than in the corners, where exp(-lam) do.
        fewer = share * ops.expm1(-lam * (cover - 1))
        survival = ops.sum(fewer)
        excess = ops.log1p(survival) - lam - log_keep_prob
        slope = mean_cover + ops.sum(cover * fewer)
        lam = lam + excess * (1 + survival) / slope
    return -ops.expm1(-lam)


GAMMA_TENSORS = {"paper": paper_gamma, "exact": exact_gamma}


@functools.lru_cache
def gamma_number(rule, keep_prob, block_sides, map_sides):
    """`masks.gamma` or `masks.exact_gamma`, a float, computed once.

    Args:
        rule: "paper" or "exact".
        keep_prob: Float in (0, 1].
        block_sides, map_sides: Pairs of integers, in pixels.
    """
    of_rule = {"paper": masks.gamma, "exact": masks.exact_gamma}[rule]
    return of_rule(keep_prob, block_sides, map_sides)


@functools.lru_cache
def _kinds_of_units(block_sides, map_sides):
    """By how many places units are covered, and what share of the map's each is."""
    cover = masks.cover_counts(block_sides, map_sides)
    kinds, units = np.unique(cover, return_counts=True)
    return kinds, units / cover.size


def _cover_counts(block, side):
    """`masks.cover_counts` along one axis, for a `side` that may be a tensor."""
    block = sizes.minimum(block, side)
    i = ops.arange(side, dtype="int32")
    last = ops.minimum(i, side - block)
    first = ops.maximum(i - block + 1, 0)
    return ops.cast(last - first + 1, "float32")
