"""Images of any proportions in a square, and their mirror images."""

import numpy as np

from dropblock_lib.arguments import invalid, is_whole

# ImageNet's mean color.
PADDING = (124, 116, 104)


def fitted_sides(height, width, size):
    """Height and width in pixels of an image in a square, and their scale.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        size: Height and width of the square.

    Returns:
        `(height, width, scale)`: the longer side is `size`, the other rounded.
    """
    if not is_whole(size, at_least=1):
        raise invalid("size", "a positive integer", size)
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale)), scale


def fit_image(image, boxes, size):
    """Resizes an image, with its proportions, to the top left of a square.

    Args:
        image: `uint8` `(H, W, 3)`.
        boxes: `(k, 4)`: left, top, right and bottom in pixels of the image.
        size: Height and width of the square. The rest is filled with a mean color.

    Returns:
        `(image, boxes, scale)`: `uint8` `(size, size, 3)`, `float32` `(k, 4)` in
        pixels of the square, and the factor from the boxes given to these.

    Raises:
        ValueError: If `size` is not a positive integer.
        ImportError: If Pillow is not installed and the image is of another size.

    Example:

    >>> image = np.zeros((100, 200, 3), "uint8")
    >>> image, boxes, scale = fit_image(image, [[20, 10, 40, 30]], 50)
    >>> image.shape, boxes.tolist(), scale
    ((50, 50, 3), [[5.0, 2.5, 10.0, 7.5]], 0.25)
    """
    height, width, scale = fitted_sides(*image.shape[:2], size)
    if image.shape[:2] != (height, width):
        image = _resize(image, height, width)
    square = np.empty((size, size, 3), "uint8")
    square[:] = PADDING
    square[:height, :width] = image
    boxes = np.asarray(boxes, "float32").reshape(-1, 4) * np.float32(scale)
    return square, boxes, scale


def _resize(image, height, width):
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Resizing images takes Pillow. Install it with "
            '`pip install "dropblock-lib[detection]"`.'
        ) from error
    # Pillow averages over all pixels when it makes an image smaller.
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def mirror(image, boxes, width):
    """Flips an image in a square left to right; what fills the square stays.

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
