"""Training images, changed a little in every epoch."""

import numpy as np

# Pixels that an image is moved by at most, as CIFAR-10's classifiers do it.
LARGEST_SHIFT = 4


def shift(images, rng):
    """Moves each image by up to 4 pixels a side; what comes in is black.

    Args:
        images: Array (samples, height, width, channels).
        rng: `numpy.random.Generator`.

    Returns:
        A new array of the same shape and dtype.
    """
    count, height, width = images.shape[:3]
    border = LARGEST_SHIFT
    padded = np.pad(images, ((0, 0), (border, border), (border, border), (0, 0)))
    top, left = rng.integers(0, 2 * border + 1, (2, count, 1))
    rows = top + np.arange(height)
    columns = left + np.arange(width)
    samples = np.arange(count)[:, None, None]
    return padded[samples, rows[:, :, None], columns[:, None, :]]


def shift_and_flip(images, rng):
    """`shift`, and half of the images mirrored left to right.

    Args:
        images: Array (samples, height, width, channels).
        rng: `numpy.random.Generator`.

    Returns:
        A new array of the same shape and dtype.
    """
    moved = shift(images, rng)
    mirrored = rng.random(len(images)) < 0.5
    moved[mirrored] = moved[mirrored, :, ::-1]
    return moved


def _unchanged(images, rng):
    return images


AUGMENTATIONS = {
    "none": _unchanged,
    "shift": shift,
    "shift-flip": shift_and_flip,
}
