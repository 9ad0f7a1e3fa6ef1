"""Letterboxing: images of any proportions in a square, and their mirror images."""

import numpy as np
from numpy.typing import ArrayLike

from dropblock_lib.arguments import check_integer, invalid

# ImageNet's mean color.
PADDING = (124, 116, 104)


def fitted_sides(height: int, width: int, size: int) -> tuple[int, int, float]:
    """Returns the height, width and scale of an image that is fitted into a square.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        size: Height and width of the square in pixels.

    Returns:
        `(height, width, scale)`: the longer side is `size`, the other is rounded.
    """
    scale = check_integer("size", size) / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale)), scale


def check_image(image: np.ndarray) -> None:
    """Checks an image, `uint8` `(H, W, 3)` with at least one pixel.

    Float images, for instance from 0 to 1, would otherwise become black.
    """
    shape, dtype = np.shape(image), getattr(image, "dtype", type(image).__name__)
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        expected = "a uint8 array (height, width, 3), with at least one pixel"
        raise invalid("image", expected, received=f"{dtype} {shape}")


def fit_image(
    image: np.ndarray, boxes: ArrayLike, size: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Fits an image into the top left of a square, keeping its aspect ratio.

    Args:
        image: `uint8` `(H, W, 3)`.
        boxes: `(k, 4)`: left, top, right and bottom in pixels of the image.
        size: Height and width of the square in pixels. A uniform color fills the rest.

    Returns:
        `(image, boxes, scale)`: `uint8` `(size, size, 3)`, `float32` `(k, 4)` in
        pixels of the square, and the factor from the image's pixels to the square's.

    Raises:
        ValueError: If `image` is not as described, or `size` not a positive integer.
        ImportError: If Pillow is not installed and the image must be resized.

    Example:

    >>> image = np.zeros((100, 200, 3), "uint8")
    >>> image, boxes, scale = fit_image(image, [[20, 10, 40, 30]], 50)
    >>> image.shape, boxes.tolist(), scale
    ((50, 50, 3), [[5.0, 2.5, 10.0, 7.5]], 0.25)
    """
    check_image(image)
    height, width, scale = fitted_sides(image.shape[0], image.shape[1], size)
    if image.shape[:2] != (height, width):
        image = resize(image, height, width)
    square = np.empty((size, size, 3), "uint8")
    square[:] = PADDING
    square[:height, :width] = image
    boxes = np.asarray(boxes, "float32").reshape(-1, 4) * np.float32(scale)
    return square, boxes, scale


def resize(
    image: np.ndarray,
    height: int,
    width: int,
    region: tuple[float, float, float, float] | None = None,
) -> np.ndarray:
    """Resizes an image, or a region of it, averaging over all pixels.

    Args:
        image: `uint8` `(H, W, 3)`.
        height: New height in pixels.
        width: New width in pixels.
        region: Left, top, right and bottom in pixels of the image; by default the
            whole image.

    Returns:
        The resized image, `uint8` `(height, width, 3)`.

    Raises:
        ImportError: If Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Resizing images requires Pillow. Install it with "
            '`pip install "dropblock-lib[detection]"`.'
        ) from error
    pixels, bilinear = Image.fromarray(image), Image.Resampling.BILINEAR
    return np.asarray(pixels.resize((width, height), bilinear, box=region))


def mirror(
    image: np.ndarray, boxes: ArrayLike, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Flips a letterboxed image left to right, leaving its padding in place.

    Args:
        image: `(H, W, C)`, an image with padding on its right.
        boxes: `(k, 4)`: left, top, right and bottom in pixels.
        width: Width of the image without the padding, in pixels.

    Returns:
        `(image, boxes)`, both new.

    Example:

    >>> image = np.array([[[1], [2], [3], [0]]])
    >>> image, boxes = mirror(image, [[0, 0, 1, 1]], 3)
    >>> image[0, :, 0].tolist(), boxes.tolist()
    ([3, 2, 1, 0], [[2.0, 0.0, 3.0, 1.0]])
    """
    flipped = image.copy()
    flipped[:, :width] = image[:, :width][:, ::-1]
    boxes = np.array(boxes, "float32").reshape(-1, 4)
    boxes[:, [0, 2]] = np.float32(width) - boxes[:, [2, 0]]
    return flipped, boxes
