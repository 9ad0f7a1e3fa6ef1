"""Training images, changed a little in every epoch.

An augmentation is named by its steps, in their order: "crop-flip-cutout". A number
after a step says how far it goes, in pixels: "shift2" moves by up to two.
"""

import re
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

# Pixels that an image is moved by at most, as is usual for CIFAR-10.
LARGEST_SHIFT = 4
# Side of the square that is cut out, in pixels, as in DeVries and Taylor (2017)
# for images with augmentation, halved: half of a side of 32 would be too much
# beside DropBlock.
CUTOUT_SIDE = 8
# What a cut-out square is filled with: zero, once pixels are scaled to [-1, 1].
GRAY = 127


def shift(images, rng, pixels=LARGEST_SHIFT):
    """Moves each image by up to `pixels` a side; what comes in is black.

    Args:
        images: Array (samples, height, width, channels).
        rng: `numpy.random.Generator`.
        pixels: Integer, the largest move.

    Returns:
        A new array of the same shape and dtype.
    """
    return _random_window(images, rng, pixels, mode="constant")


def crop(images, rng, pixels=LARGEST_SHIFT):
    """`shift`, but what comes in mirrors the image at its border.

    Args:
        images, rng, pixels: As for `shift`.

    Returns:
        A new array of the same shape and dtype.
    """
    return _random_window(images, rng, pixels, mode="reflect")


def flip(images, rng):
    """Mirrors half of the images left to right.

    Args:
        images, rng: As for `shift`.

    Returns:
        A new array of the same shape and dtype.
    """
    mirrored = rng.random(len(images)) < 0.5
    images = images.copy()
    images[mirrored] = images[mirrored, :, ::-1]
    return images


def cutout(images, rng, pixels=CUTOUT_SIDE):
    """Covers a square of each image with gray; its center is anywhere in the image.

    Args:
        images, rng: As for `shift`.
        pixels: Integer, side of the square. What juts out of the image is cut off.

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
    '"none", or steps joined by "-", each of them once: '
    f"{', '.join(_STEPS)}; a number after a step, as in shift2, is its size in pixels"
)


def get_augmentation(name):
    """The function of an augmentation's name.

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


def _random_window(images, rng, border, mode):
    count, height, width, channels = images.shape
    sides = ((0, 0), (border, border), (border, border), (0, 0))
    padded = np.pad(images, sides, mode=mode)
    top, left = rng.integers(0, 2 * border + 1, (2, count))
    # A row of pixels is one run of numbers, which is copied at once.
    rows = padded.reshape(count, height + 2 * border, (width + 2 * border) * channels)
    windows = sliding_window_view(rows, (height, width * channels), axis=(1, 2))
    chosen = windows[np.arange(count), top, left * channels]
    return chosen.reshape(images.shape)
