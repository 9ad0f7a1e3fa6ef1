"""A second implementation of DropBlock, from the paper alone, to test the library.

It shares nothing with the library, and loops where the library computes. A seed is the
*center* of a block: an odd block extends equally far to both sides, an even one a
place further up and left.
"""

import itertools
import math
from fractions import Fraction
from functools import cache

import numpy as np


def sides(size):
    """A number or a pair of them, as a pair."""
    return size if isinstance(size, tuple) else (size, size)


def clipped(block_size, feat_size):
    """The block's sides, clipped to the map's."""
    pairs = zip(sides(block_size), sides(feat_size), strict=True)
    return tuple(min(block, side) for block, side in pairs)


def valid_centers(block, side):
    """Where a center may be along one axis, so that its block fits."""
    return range(block // 2, side - (block - 1) // 2)


def paper_gamma(keep_prob, block_size, feat_size):
    """Equation 1 in fractions, without rounding."""
    (kh, kw), (height, width) = clipped(block_size, feat_size), sides(feat_size)
    valid = len(valid_centers(kh, height)) * len(valid_centers(kw, width))
    return (1 - Fraction(keep_prob)) / (kh * kw) * (height * width) / Fraction(valid)


def keep_mask(is_center, block_size):
    """The keep mask (H, W), given booleans (H, W) that are true at block centers."""
    height, width = is_center.shape
    kh, kw = clipped(block_size, (height, width))
    mask = np.ones((height, width), int)
    for row, column in itertools.product(range(height), range(width)):
        if is_center[row, column]:
            for i in range(row - kh // 2, row + (kh - 1) // 2 + 1):
                for j in range(column - kw // 2, column + (kw - 1) // 2 + 1):
                    mask[i, j] = 0
    return mask


def centers(is_seed, block_size, feat_size):
    """Booleans (H, W), true at the centers of the valid seed region's seeds."""
    height, width = sides(feat_size)
    kh, kw = clipped(block_size, feat_size)
    is_center = np.zeros((height, width), bool)
    for i, row in enumerate(valid_centers(kh, height)):
        for j, column in enumerate(valid_centers(kw, width)):
            is_center[row, column] = is_seed[i, j]
    return is_center


def drop_block(x, is_seed, block_size):
    """Lines 6 to 8 of Algorithm 1 on x (N, H, W, C), given the seeds (N, h, w, C)."""
    samples, height, width, channels = x.shape
    mask = np.ones(x.shape)
    for n, c in itertools.product(range(samples), range(channels)):
        seeds = is_seed[n, :, :, c if is_seed.shape[-1] > 1 else 0]
        is_center = centers(seeds, block_size, (height, width))
        mask[n, :, :, c] = keep_mask(is_center, block_size)
    count, count_ones = mask.size, mask.sum()
    return x * mask * (count / count_ones if count_ones else 0)


def drop_rate_by_enumeration(gamma, block_size, feat_size):
    """Expected dropped fraction, summed over all seed fields by probability."""
    kh, kw = clipped(block_size, feat_size)
    height, width = sides(feat_size)
    shape = len(valid_centers(kh, height)), len(valid_centers(kw, width))
    rate = 0.0
    for field in itertools.product((False, True), repeat=shape[0] * shape[1]):
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

    where |C_u or C_v| = |C_u| + |C_v| - |C_u and C_v|. A C_u is an interval of rows
    times an interval of columns, and so the last term is a product of what the
    intervals share along each axis. The variance of the mean over n units is the
    sum of all covariances over n²; it vanishes for units that share no place.
    """
    q = 1 - gamma
    (kh, kw), (height, width) = clipped(block_size, feat_size), sides(feat_size)
    row_sets, column_sets = _places(kh, height), _places(kw, width)
    shared_columns = np.array([[len(a & b) for b in column_sets] for a in column_sets])
    columns = np.array([len(places) for places in column_sets])
    total = 0.0
    for a, b in itertools.product(row_sets, row_sets):
        if a & b:
            both = len(a) * columns[:, None] + len(b) * columns[None, :]
            shared = len(a & b) * shared_columns
            total += np.sum(q ** (both - shared) - q**both)
    return total / (height * width) ** 2


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
