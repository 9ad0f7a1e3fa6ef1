"""Random augmentation of training images.

An augmentation is named by its steps in order, such as "crop-flip-cutout". A number
after a step is its size in pixels: "shift2" shifts by up to two pixels.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

# In pixels, as is usual for CIFAR-10.
LARGEST_SHIFT = 4
# In pixels: half the side in DeVries and Taylor (2017), because DropBlock also drops
# regions.
CUTOUT_SIDE = 8
# Nearly zero once pixels are scaled to [-1, 1].
GRAY = 127


def _random_window(
    images: np.ndarray,
    rng: np.random.Generator,
    pixels: int = LARGEST_SHIFT,
    *,
    mode: Literal["constant", "reflect"],
) -> np.ndarray:
    """Shifts each image by up to `pixels` along each axis.

    Args:
        images: Array (samples, height, width, channels).
        rng: `numpy.random.Generator`.
        pixels: Integer, the largest shift.
        mode: How to fill, as for `np.pad`.

    Returns:
        A new array of the same shape and dtype.
    """
    count, height, width, channels = images.shape
    sides = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
    padded = np.pad(images, sides, mode=mode)
    top, left = rng.integers(0, 2 * pixels + 1, (2, count))
    # With pixels and channels merged, a window's row is contiguous and copies fast.
    rows = padded.reshape(count, height + 2 * pixels, (width + 2 * pixels) * channels)
    windows = sliding_window_view(rows, (height, width * channels), axis=(1, 2))
    chosen = windows[np.arange(count), top, left * channels]
    return chosen.reshape(images.shape)


# Fills with black.
shift = partial(_random_window, mode="constant")
# Fills with the image mirrored at its border.
crop = partial(_random_window, mode="reflect")


def flip(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flips each image left to right with probability 1/2.

    Args:
        images: Array (samples, height, width, channels).
        rng: `numpy.random.Generator`.

    Returns:
        A new array of the same shape and dtype.
    """
    mirrored = rng.random(len(images)) < 0.5
    images = images.copy()
    images[mirrored] = images[mirrored, :, ::-1]
    return images


def cutout(
    images: np.ndarray, rng: np.random.Generator, pixels: int = CUTOUT_SIDE
) -> np.ndarray:
    """Covers a square of each image with gray, centered anywhere in the image.

    Args:
        images, rng: As for `flip`.
        pixels: Integer, side of the square, which may extend beyond the image.

    Returns:
        A new array of the same shape and dtype.

    Reference:
        [DeVries and Taylor, 2017](https://arxiv.org/abs/1708.04552).
    """
    count, height, width = images.shape[:3]
    covered = []
    for side in (height, width):
        center = rng.integers(0, side, (count, 1))
        first = center - pixels // 2
        place = np.arange(side)
        covered.append((place >= first) & (place < first + pixels))
    rows, columns = covered
    square = rows[:, :, None] & columns[:, None, :]
    return np.where(square[..., None], np.asarray(GRAY, images.dtype), images)


_STEPS = {"shift": shift, "crop": crop, "flip": flip, "cutout": cutout}
_STEP = re.compile(r"([a-z]+)([1-9]\d?)?")
EXPECTED = (
    '"none", or steps joined by "-", each at most once: '
    f"{', '.join(_STEPS)}; a number after a step, as in shift2, is its size in pixels"
)


def get_augmentation(name: str) -> Callable | None:
    """Looks up an augmentation by its name.

    Args:
        name: "none", or steps joined by "-", such as "crop-flip-cutout".

    Returns:
        A function `augment(images, rng)` that returns new images, or `None` if there
        is no such augmentation.
    """
    if name == "none":
        return lambda images, rng: images
    if not isinstance(name, str):
        return None
    steps = {}
    for part in name.split("-"):
        found = _STEP.fullmatch(part)
        if not found or found[1] not in _STEPS or found[1] in steps:
            return None
        step = _STEPS[found[1]]
        if found[2]:
            if found[1] == "flip":
                return None
            step = partial(step, pixels=int(found[2]))
        steps[found[1]] = step

    def augment(images, rng):
        for step in steps.values():
            images = step(images, rng)
        return images

    return augment
