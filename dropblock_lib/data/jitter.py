"""Random augmentation of an image with boxes, for training a detector."""

import numpy as np
from numpy.typing import ArrayLike

from dropblock_lib.arguments import check_float, invalid
from dropblock_lib.data.letterbox import PADDING, check_image, fitted_sides, resize

SCALES = (0.5, 1.5)
# The largest relative change of brightness, contrast and saturation.
COLOR = 0.4
# A box is kept if at least this fraction of its area remains in the image.
VISIBLE = 1 / 3


def jitter(
    image: np.ndarray,
    boxes: ArrayLike,
    size: int,
    rng: np.random.Generator,
    scales: tuple[float, float] = SCALES,
    color: float = COLOR,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fits an image into a square, at random scale and position, with random colors.

    At a scale of 1, the longer side fits the square, as in `fit_image`. A larger image
    is cropped at random, and a smaller one is placed at random.

    Args:
        image: `uint8` `(H, W, 3)`.
        boxes: `(k, 4)`: left, top, right and bottom in pixels of the image.
        size: Height and width of the square in pixels.
        rng: Generator of random numbers.
        scales: The smallest and the largest scale, floats > 0.
        color: The largest relative change of brightness, contrast and saturation, a
            float in [0, 1].

    Returns:
        `(image, boxes, kept)`: `uint8` `(size, size, 3)`; `float32` `(k, 4)`, in
        pixels of the square and clipped to it; and boolean `(k,)`, True for boxes of
        which at least a third is inside, at least a pixel wide and high.

    Raises:
        ValueError: If an argument is not as described.
        ImportError: If Pillow is not installed.

    Example:

    >>> image, boxes, kept = jitter(image, boxes, 256, np.random.default_rng(0))
    >>> boxes, labels = boxes[kept], labels[kept]
    """
    check_image(image)
    smallest, largest = (check_float("scales", scale, "(0, inf)") for scale in scales)
    if smallest > largest:
        raise invalid("scales", "the smallest scale first", scales)
    color = check_float("color", color, "[0, 1]")
    height, width = image.shape[:2]
    scale = rng.uniform(smallest, largest)
    fitted = fitted_sides(height, width, size)[:2]
    sides = [max(1, round(side * scale)) for side in fitted]
    # First pixel in the square, first pixel in the resized image, number of pixels.
    places = [_place(side, size, rng) for side in sides]
    (top, above, rows), (left, before, columns) = places
    ratio = np.array([sides[1] / width, sides[0] / height] * 2)
    region = np.array([before, above, before + columns, above + rows]) / ratio
    # Because of rounding, the region may extend slightly beyond the image.
    region = np.minimum(region, [width, height] * 2)
    patch = resize(image, rows, columns, tuple(region))
    square = np.empty((size, size, 3), "uint8")
    square[:] = PADDING
    square[top : top + rows, left : left + columns] = _recolor(patch, color, rng)

    whole = np.array(boxes, "float64").reshape(-1, 4) * ratio
    areas = np.prod(whole[:, 2:] - whole[:, :2], axis=1)
    whole += np.array([left - before, top - above] * 2)
    low, high = [left, top], [left + columns, top + rows]
    visible = np.clip(whole, low * 2, high * 2)
    widths = visible[:, 2:] - visible[:, :2]
    kept = (widths >= 1).all(axis=1) & (np.prod(widths, axis=1) >= VISIBLE * areas)
    return square, visible.astype("float32"), kept


def _place(side, size, rng):
    room = int(rng.integers(0, abs(size - side) + 1))
    return (0, room, size) if side > size else (room, 0, side)


def _recolor(image, color, rng):
    brightness, contrast, saturation = rng.uniform(1 - color, 1 + color, 3)
    pixels = image.astype("float32")
    gray = pixels.mean(axis=2, keepdims=True)
    pixels = gray + saturation * (pixels - gray)
    pixels = brightness * (gray.mean() + contrast * (pixels - gray.mean()))
    return np.clip(np.rint(pixels), 0, 255).astype("uint8")
