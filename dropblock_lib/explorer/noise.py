"""The explorer's noise: one integer generator, in Python here and in explorer.js.

Every number depends only on a random seed and on its own position. Therefore the
noise stays the same while a slider moves or the map grows, and a page, a notebook and
a still picture show the same mask.
"""

import numpy as np

# Added in each step of the chain below, because `mix(0)` is 0.
STEP = 0x9E3779B9


def mix(x):
    """Scatters the bits of unsigned 32-bit integers, one to one.

    Reference:
        [C. Wellons](https://github.com/skeeto/hash-prospector), hash-prospector:
        shifts 16, 15, 15 and their multipliers.
    """
    x = np.asarray(x, np.uint32)
    x = (x ^ (x >> 16)) * np.uint32(0x21F0AAAD)
    x = (x ^ (x >> 15)) * np.uint32(0xD35A2D97)
    return x ^ (x >> 15)


def noise(seed, masks, height, width):
    """Uniform noise for every unit of every mask.

    Args:
        seed: Random seed, an integer in [0, 2^32).
        masks: Number of masks.
        height: Height of the map in units.
        width: Width of the map in units.

    Returns:
        Float array (masks, height, width) in [0, 1), in steps of 2^-32.
    """
    step = np.uint32(STEP)
    places = np.ogrid[:masks, :height, :width]
    x = mix(np.full((1, 1, 1), seed, np.uint32) + step)
    for place in places:
        x = mix(x + place.astype(np.uint32) + step)
    return x / 2.0**32
