"""DropBlock in NumPy, written to be read.

This is Algorithm 1 of Ghiasi et al. (2018) without a framework or compiled code, for
feature maps with 1 to 3 sides. The Keras layers are tested against it.

A *seed* is a place that grows into a block. Seeds are drawn in the *valid seed region*
only, so that every block is inside the feature map. On a map of two sides, seed (i, j)
of that region drops the rows i ... i + kh - 1 and the columns j ... j + kw - 1 of the
map. It is at place (kh // 2, kw // 2) of its block: the center of an odd block, and
just below and right of the center of an even one, as in the authors' code.

A size is a tuple of sides, or an integer that applies to every side. The length of a
tuple is the map's number of sides; if all sizes are integers, the map has two.
`gamma(0.9, 7, 14)` is for a map of 14 x 14, `gamma(0.9, 7, (14,))` for a sequence,
`gamma(0.9, 7, (4, 14, 14))` for a volume.
"""

import functools
import math
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from dropblock_lib.arguments import (
    check_boolean,
    check_gamma,
    check_gamma_rule,
    check_keep_prob,
    check_sides,
    count_sides,
    invalid,
)

Sides: TypeAlias = int | tuple[int, ...]


def gamma(keep_prob: float, block_size: Sides, feat_size: Sides) -> float:
    """Probability of a seed at one place of the valid seed region (equation 1).

    It ignores that blocks overlap: each seed drops a block of b units, in 2D
    `block_size ** 2` of them, so dropping a fraction `1 - keep_prob` of the map takes
    `(1 - keep_prob) / b` seeds per unit, all of them in the valid seed region.

    Args:
        keep_prob: Float in (0, 1]. Nominal fraction of units to keep.
        block_size: Side of a block in units: an integer, or a tuple of 1 to 3 sides.
            A block larger than the map is clipped to it, per axis.
        feat_size: Side of the feature map in units, in the same form. Two integers
            mean a map of two sides.

    Returns:
        Float. The paper's gamma.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    >>> round(gamma(0.9, 3, 5), 6)
    0.030864
    >>> round(gamma(0.9, 3, (5,)), 6)
    0.055556

    Reference:
        [Ghiasi et al., 2018](https://arxiv.org/abs/1810.12890), equation 1.
    """
    keep_prob = check_keep_prob(keep_prob)
    block, sides = _clipped(block_size, feat_size)
    per_unit = (1 - keep_prob) / math.prod(block)
    return per_unit * math.prod(sides) / math.prod(seed_shape(block, sides))


def exact_gamma(keep_prob: float, block_size: Sides, feat_size: Sides) -> float:
    """The gamma whose expected dropped fraction is exactly 1 - `keep_prob`.

    Blocks overlap, so the paper's gamma drops less than 1 - `keep_prob`. This one
    solves `expected_drop_rate(gamma) = 1 - keep_prob`. With
    `lam = -log(1 - gamma)`, a unit covered by c places survives with probability
    `exp(-lam * c)`. The logarithm of the mean over all units is convex and decreases
    with `lam`, so Newton's method, started at 0, approaches the root from below. The
    common factor `exp(-lam)` is factored out: the rest is 1 in the corners, so the
    mean does not underflow, however small `keep_prob` is.

    Args:
        keep_prob: Float in (0, 1]. Expected fraction of units to keep.
        block_size: Side of a block in units: an integer, or a tuple of 1 to 3 sides.
        feat_size: Side of the feature map in units, in the same form.

    Returns:
        Float in [0, 1].

    Raises:
        ValueError: If an argument is invalid.

    Example:

    >>> round(exact_gamma(0.9, 7, 14), 6)
    0.006764
    """
    keep_prob = check_keep_prob(keep_prob)
    cover = cover_counts(block_size, feat_size)
    lam = 0.0
    for _ in range(50):
        survival = np.exp(-lam * (cover - 1))
        log_mean = np.log1p(np.mean(np.expm1(-lam * (cover - 1)))) - lam
        excess = log_mean - np.log(keep_prob)
        step = excess * np.mean(survival) / np.mean(cover * survival)
        lam += step
        if step <= 1e-15 * lam:
            break
    return float(-np.expm1(-lam))


def expected_drop_rate(gamma: float, block_size: Sides, feat_size: Sides) -> float:
    """Expected fraction of units that seeds drawn with `gamma` drop.

    It is exact, including overlaps: a unit is kept if none of the places whose block
    would cover it is a seed.

    Args:
        gamma: Float >= 0. Probability of a seed; from 1 on, every place is a seed.
        block_size: Side of a block in units: an integer, or a tuple of 1 to 3 sides.
        feat_size: Side of the feature map in units, in the same form.

    Returns:
        Float in [0, 1].

    Raises:
        ValueError: If an argument is invalid.

    Example:

    >>> round(expected_drop_rate(gamma(0.9, 7, 14), 7, 14), 4)
    0.0929
    """
    gamma = min(check_gamma(gamma), 1.0)
    cover = cover_counts(block_size, feat_size)
    if gamma == 1:
        return 1.0
    return float(-np.mean(np.expm1(cover * np.log1p(-gamma))))


def seed_shape(block_size: Sides, feat_size: Sides) -> tuple[int, ...]:
    """Sides of the valid seed region, in units.

    Args:
        block_size: Side of a block in units: an integer, or a tuple of 1 to 3 sides.
        feat_size: Side of the feature map in units, in the same form.

    Returns:
        Tuple: along each axis, the number of places where a block fits into the map.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    >>> seed_shape(3, 5)
    (3, 3)
    """
    block, sides = _clipped(block_size, feat_size)
    return tuple(side - k + 1 for side, k in zip(sides, block, strict=True))


def cover_counts(block_size: Sides, feat_size: Sides) -> np.ndarray:
    """Counts, for each unit, the places of the valid seed region that would drop it.

    Args:
        block_size: Side of a block in units: an integer, or a tuple of 1 to 3 sides.
        feat_size: Side of the feature map in units, in the same form.

    Returns:
        Integer array of the map's shape: 1 in the corners of the map, and up to the
        number of units of a block in the middle of the map.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    >>> cover_counts(3, 5)[0]
    array([1, 2, 3, 2, 1])
    """
    counts = map(_cover_counts_1d, *_clipped(block_size, feat_size))
    return functools.reduce(np.multiply.outer, counts)


def expand_seeds(
    seeds: ArrayLike, block_size: Sides, feat_size: Sides | None = None
) -> np.ndarray:
    """Grows every seed into a block (line 6 of Algorithm 1).

    Args:
        seeds: Array whose last axes are the valid seed region, (..., h, w) in 2D:
            0 at a seed, 1 elsewhere.
        block_size: Side of a block in units: an integer, or a tuple of 1 to 3 sides.
        feat_size: Side of the feature map in units, in the same form. Defaults to
            the smallest map, (h + block height - 1, w + block width - 1) in 2D. Pass
            it if the block is larger than the map, so that the block is clipped.

    Returns:
        Keep mask of the dtype of `seeds`, (..., H, W) in 2D: 0 where a unit is
        dropped, 1 where it is kept.

    Raises:
        ValueError: If `seeds` has fewer axes than the map, has values other than 0
            and 1, or does not fit `block_size` and `feat_size`.

    Example:

    >>> expand_seeds(np.array([[1, 0, 1]]), (1, 2))
    array([[1, 0, 0, 1]])
    >>> expand_seeds(np.array([1, 0, 1]), (2,))
    array([1, 0, 0, 1])
    """
    seeds = np.asarray(seeds)
    rank = count_sides(feat_size, block_size)
    block = check_sides("block_size", block_size, rank)
    if seeds.ndim < rank:
        raise invalid("seeds", f"an array with at least {rank} axes", seeds)
    if not np.isin(seeds, (0, 1)).all():
        raise invalid("seeds", "an array of 0 (seed) and 1 (no seed)", seeds)
    region = seeds.shape[-rank:]
    if feat_size is None:
        feat_size = tuple(n + k - 1 for n, k in zip(region, block, strict=True))
    block, sides = _clipped(block_size, feat_size)
    if region != seed_shape(block, sides):
        raise invalid(
            "seeds",
            f"the valid seed region of block_size={block_size!r} and "
            f"feat_size={feat_size!r}, whose shape ends in {seed_shape(block, sides)}",
            seeds.shape,
        )

    keep_mask = np.ones((*seeds.shape[:-rank], *sides), seeds.dtype)
    for place in np.argwhere(seeds == 0):
        first = place[-rank:]
        units = map(slice, first, first + block)
        keep_mask[(*place[:-rank], *units)] = 0
    return keep_mask


def drop_block(
    x: ArrayLike,
    block_size: Sides,
    keep_prob: float,
    rng: np.random.Generator,
    *,
    gamma: str = "paper",
    per_channel: bool = True,
    training: bool = True,
) -> np.ndarray:
    """Algorithm 1 of the paper, on NumPy arrays.

    Args:
        x: Array (samples, height, width, channels), the activations A; or one with 1 or
            3 sides in place of height and width. Integers and Booleans are converted
            to float32, as the layer does.
        block_size: Side of a block in units: an integer, or a tuple of sides.
        keep_prob: Float in (0, 1]. Nominal fraction of units to keep.
        rng: `numpy.random.Generator`. It draws uniform noise once, in the shape of
            the seeds: (samples, h, w, channels), or (samples, h, w, 1) if the channels
            share a mask.
        gamma: `"paper"` (equation 1) or `"exact"` (see `exact_gamma`).
        per_channel: Whether each channel gets its own mask.
        training: If False, `x` is returned, as at inference.

    Returns:
        Array of the shape and float dtype of `x`: 0 where dropped, else `x` times the
        number of units over the number of kept units, counted over the whole
        mask. All zeros if nothing was kept.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    >>> x = np.ones((1, 5, 5, 1))
    >>> drop_block(x, 3, 0.9, np.random.default_rng(0)).shape
    (1, 5, 5, 1)

    Reference:
        [Ghiasi et al., 2018](https://arxiv.org/abs/1810.12890), Algorithm 1.
    """
    x = np.asarray(x)
    if x.ndim not in (3, 4, 5):
        raise invalid("x", "an array (samples, 1 to 3 sides, channels)", x.shape)
    if x.dtype.kind in "cOSUMm":
        expected = "an array of floats, integers or Booleans"
        raise invalid("x", expected, received=f"x of dtype {x.dtype}")
    if x.dtype.kind in "iub":
        x = x.astype("float32")
    if not callable(getattr(rng, "random", None)):
        raise invalid("rng", "a `numpy.random.Generator`", rng)
    per_channel = check_boolean("per_channel", per_channel)
    training = check_boolean("training", training)
    rule = {"paper": paper_gamma, "exact": exact_gamma}[check_gamma_rule(gamma)]
    samples, *sides, channels = x.shape
    # A map without units has nothing to drop, but the other arguments are checked.
    feat_size = tuple(side or 1 for side in sides)
    probability = rule(keep_prob, block_size, feat_size)
    if not training or 0 in sides:
        return x

    # Line 5: draw seeds in the valid seed region, for each mask.
    region = seed_shape(block_size, feat_size)
    masks = channels if per_channel else 1
    is_seed = rng.random((samples, *region, masks)) < probability

    # Line 6: every seed becomes a block.
    seeds = np.moveaxis(1 - is_seed.astype("int8"), -1, 1)
    keep_mask = expand_seeds(seeds, block_size, feat_size)
    keep_mask = np.moveaxis(keep_mask, 1, -1)

    # Lines 7 and 8. Unlike a product, `where` does not let dropped NaN through.
    scale = keep_mask.size / max(np.count_nonzero(keep_mask), 1)
    return np.where(keep_mask, x * scale, 0).astype(x.dtype)


# `drop_block` has an argument `gamma`, the name of a rule.
paper_gamma = gamma


def _clipped(block_size, feat_size):
    """The sides of the block, clipped to the map, and the sides of the map."""
    rank = count_sides(feat_size, block_size)
    sides = check_sides("feat_size", feat_size, rank)
    block = check_sides("block_size", block_size, rank)
    return tuple(map(min, block, sides)), sides


def _cover_counts_1d(block_side, map_side):
    i = np.arange(map_side)
    last = np.minimum(i, map_side - block_side)
    first = np.maximum(i - block_side + 1, 0)
    return last - first + 1
