"""A second implementation of DropBlock, from the paper alone, to test the library.

It shares nothing with the library, and uses loops where the library uses arrays. A seed
is the *center* of a block: an odd block extends equally far to both sides, an even one
extends one place further up and left.
"""

import itertools
import math
from fractions import Fraction
from functools import cache

import numpy as np


def sides(size, rank=2):
    """A number or a tuple of `rank` of them, as a tuple."""
    return size if isinstance(size, tuple) else (size,) * rank


def both_sides(block_size, feat_size):
    """Sides of block and map: as many as a tuple has, or 2 if there are no tuples."""
    sizes = feat_size, block_size
    rank = next((len(size) for size in sizes if isinstance(size, tuple)), 2)
    return sides(block_size, rank), sides(feat_size, rank)


def clipped(block_size, feat_size):
    """The block's sides, clipped to the map's."""
    pairs = zip(*both_sides(block_size, feat_size), strict=True)
    return tuple(min(block, side) for block, side in pairs)


def valid_places(block_size, feat_size):
    """For each axis, where a center may be so that its block fits."""
    _, map_sides = both_sides(block_size, feat_size)
    return [*map(valid_centers, clipped(block_size, feat_size), map_sides)]


def valid_centers(block, side):
    """Where a center may be along one axis, so that its block fits."""
    return range(block // 2, side - (block - 1) // 2)


def paper_gamma(keep_prob, block_size, feat_size):
    """Equation 1 in fractions, without rounding."""
    _, map_sides = both_sides(block_size, feat_size)
    found = 1 - Fraction(keep_prob)
    for block, side in zip(clipped(block_size, feat_size), map_sides, strict=True):
        found *= Fraction(side, block * len(valid_centers(block, side)))
    return found


def keep_mask(is_center, block_size):
    """The keep mask of a map, given booleans that are true at block centers."""
    block = clipped(block_size, is_center.shape)
    mask = np.ones(is_center.shape, int)
    for center in itertools.product(*map(range, is_center.shape)):
        if is_center[center]:
            covered = [
                range(place - side // 2, place + (side - 1) // 2 + 1)
                for place, side in zip(center, block, strict=True)
            ]
            for unit in itertools.product(*covered):
                mask[unit] = 0
    return mask


def centers(is_seed, block_size, feat_size):
    """Booleans of a map, true at the centers of the valid seed region's seeds."""
    _, map_sides = both_sides(block_size, feat_size)
    is_center = np.zeros(map_sides, bool)
    places = itertools.product(*valid_places(block_size, feat_size))
    for center, is_one in zip(places, is_seed.flat, strict=True):
        is_center[center] = is_one
    return is_center


def drop_block(x, is_seed, block_size):
    """Lines 6 to 8 of Algorithm 1 on x (N, ..., C), given the seeds (N, ..., C)."""
    samples, *map_sides, channels = x.shape
    mask = np.ones(x.shape)
    for n, c in itertools.product(range(samples), range(channels)):
        seeds = is_seed[n, ..., c if is_seed.shape[-1] > 1 else 0]
        is_center = centers(seeds, block_size, tuple(map_sides))
        mask[n, ..., c] = keep_mask(is_center, block_size)
    count, count_ones = mask.size, mask.sum()
    return x * mask * (count / count_ones if count_ones else 0)


def drop_rate_by_enumeration(gamma, block_size, feat_size):
    """Expected dropped fraction: the sum over seed fields, weighted by probability."""
    shape = [len(places) for places in valid_places(block_size, feat_size)]
    rate = 0.0
    for field in itertools.product((False, True), repeat=math.prod(shape)):
        seeds = np.reshape(field, shape)
        probability = gamma ** seeds.sum() * (1 - gamma) ** (~seeds).sum()
        mask = keep_mask(centers(seeds, block_size, feat_size), block_size)
        rate += probability * (1 - mask.mean())
    return rate


@cache
def drop_rate_variance(gamma, block_size, feat_size):
    """Variance of the dropped fraction of one mask.

    Let C_u be the set of places whose seed would drop unit u, and q = 1 - gamma.
    Units u and v both survive if no place of C_u or C_v is a seed, so

        cov(u kept, v kept) = q^|C_u or C_v| - q^|C_u| q^|C_v|,

    where |C_u or C_v| = |C_u| + |C_v| - |C_u and C_v|. A C_u is a product of intervals,
    one for each axis, and so the last term is a product of what the intervals share
    along each axis. The variance of the mean over n units is the sum of all
    covariances over n²; it vanishes for units that share no place.
    """
    q = 1 - gamma
    _, map_sides = both_sides(block_size, feat_size)
    first, *others = map(_places, clipped(block_size, feat_size), map_sides)
    # Counts for the units of all axes but the first.
    counts, shared = np.ones(1), np.ones((1, 1))
    for sets in others:
        counts = np.kron(counts, [len(places) for places in sets])
        shared = np.kron(shared, [[len(a & b) for b in sets] for a in sets])
    total = 0.0
    for a, b in itertools.product(first, first):
        if a & b:
            both = len(a) * counts[:, None] + len(b) * counts[None, :]
            total += np.sum(q ** (both - len(a & b) * shared) - q**both)
    return total / math.prod(map_sides) ** 2


def standard_error(gamma, block_size, feat_size, masks):
    """Standard error of the dropped fraction averaged over independent masks."""
    return math.sqrt(drop_rate_variance(gamma, block_size, feat_size) / masks)


def _places(block, side):
    """For each place of an axis, the set of centers whose blocks cover it."""
    return [
        {
            center
            for center in valid_centers(block, side)
            if center - block // 2 <= place <= center + (block - 1) // 2
        }
        for place in range(side)
    ]
