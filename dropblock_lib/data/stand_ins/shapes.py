"""The stand-in for CIFAR-10: colored shapes on textured backgrounds.

The images are easy enough for a small network to learn from a few thousand of them,
and hard enough that the network makes errors on new ones.

A shape is a function of a point: negative inside, positive outside, and near the
edge approximately the distance to it, so that clipping gives a smooth edge. Every
machine draws the same images: the code uses only arithmetic on uniform random numbers
in single precision, without sums, matrix products or transcendental functions per
pixel, whose last bit depends on the processor.
"""

import functools
from collections.abc import Sequence

import numpy as np

from dropblock_lib.arguments import check_integer
from dropblock_lib.data.dataset import Dataset

IMAGE_SIZE = 32
# Images drawn at a time, few enough for the processor's cache.
CHUNK = 100


def _polygon_sides(u, v, corners):
    """Distances to the sides of a polygon inscribed in the unit circle."""
    angles = (2 * np.arange(corners) + 1) * np.pi / corners
    apothem = np.float32(np.cos(np.pi / corners))
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.stack([u * c + v * s - apothem for c, s in directions.astype("float32")])


def _box(u, v, half_width, half_height):
    return np.maximum(np.abs(u) - half_width, np.abs(v) - half_height)


def _radius(u, v):
    return np.sqrt(u * u + v * v)


def _circle(u, v):
    return _radius(u, v) - np.float32(0.9)


def _ring(u, v):
    return np.abs(_radius(u, v) - np.float32(0.72)) - np.float32(0.24)


def _crescent(u, v):
    bite = _radius(u - np.float32(0.5), v) - np.float32(0.75)
    return np.maximum(_radius(u, v) - np.float32(1), -bite)


def _half_disk(u, v):
    return np.maximum(_radius(u, v) - np.float32(1), v - np.float32(0.05))


def _triangle(u, v):
    return np.max(_polygon_sides(u, v, 3), axis=0)


def _square(u, v):
    return _box(u, v, np.float32(0.75), np.float32(0.75))


def _hexagon(u, v):
    return np.max(_polygon_sides(u, v, 6), axis=0)


def _star(u, v):
    # The points on the inner side of at least four of a pentagon's five extended sides
    # form a five-pointed star. It extends to 2.6 where the pentagon extends to 1.
    scale = np.float32(2.35)
    sides = np.sort(_polygon_sides(scale * u, scale * v, 5), axis=0)
    return sides[-2] / scale


def _cross(u, v):
    long, short = np.float32(0.95), np.float32(0.3)
    return np.minimum(_box(u, v, long, short), _box(u, v, short, long))


def _bars(u, v):
    return _box(u, np.abs(v) - np.float32(0.5), np.float32(0.85), np.float32(0.24))


SHAPES = {
    "circle": _circle,
    "ring": _ring,
    "crescent": _crescent,
    "half disk": _half_disk,
    "triangle": _triangle,
    "square": _square,
    "hexagon": _hexagon,
    "star": _star,
    "cross": _cross,
    "bars": _bars,
}


def draw_shapes(
    count: int, seed: int | Sequence[int] = 0, image_size: int = IMAGE_SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """Draws images of one large shape each, and their labels.

    Position, size, proportions, rotation (up to 26 degrees) and color vary. The
    textured background is darker than the shape and shows small shapes of any class. A
    bar covers part of the shape in half of the images, and noise is added. Classes are
    balanced: images 0 to 9 show every class once, and so does each following group of
    ten. The first images do not depend on `count`.

    Args:
        count: The number of images.
        seed: Random seed, an integer or a sequence of integers.
        image_size: Height and width of an image in pixels.

    Returns:
        `(images, labels)`: `uint8` `(count, image_size, image_size, 3)` and `int64`
        `(count,)`, indices into `SHAPES`.

    Raises:
        ValueError: If `count` is not a positive integer.

    Example:

    >>> images, labels = draw_shapes(20, seed=7)
    >>> images.shape, labels.shape
    ((20, 32, 32, 3), (20,))
    """
    count = check_integer("count", count)
    entropy = [seed] if isinstance(seed, int) else list(seed)
    chunks = [
        _draw_chunk(generator([*entropy, chunk]), image_size)
        for chunk in range(-(-count // CHUNK))
    ]
    images, labels = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    return images[:count], labels[:count]


def generator(entropy):
    """Returns a random generator, seeded with a sequence of integers."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def between(rng, low, high, shape):
    """Draws uniform random numbers in single precision."""
    low, high = np.float32(low), np.float32(high)
    return low + (high - low) * rng.random(shape, dtype="float32")


def _draw_chunk(rng, size):
    labels = np.argsort(rng.random((CHUNK // 10, 10)), axis=1).reshape(-1)
    color = between(rng, 0.1, 0.4, (CHUNK, 3, 1, 1))
    image = background(rng, size, color)
    for _ in range(2):
        other = rng.random(CHUNK)
        _add_shape(image, rng, other, color, radius=(0.06, 0.12), reach=0.45)
    main = (labels + np.float32(0.5)) / 10
    _add_shape(image, rng, main, color, radius=(0.28, 0.42), reach=0.12)
    _add_bar(image, rng)
    return noisy_pixels(rng, image), labels


def noisy_pixels(rng, image):
    """Converts `(N, 3, H, W)` in [0, 1] to noisy `uint8` pixels `(N, H, W, 3)`."""
    noise = between(rng, 0, 0.08, (len(image), 1, 1, 1))
    image = image + noise * between(rng, -1, 1, image.shape)
    image = np.clip(image, np.float32(0), np.float32(1)) * np.float32(255)
    pixels = np.floor(image + np.float32(0.5)).astype("uint8")
    return pixels.transpose(0, 2, 3, 1)


def _grid(size):
    """Returns the pixel centers, -0.5 to 0.5, as rows `(1, size, 1)` and columns."""
    centers = (np.arange(size, dtype="float32") + np.float32(0.5)) / np.float32(size)
    centers -= np.float32(0.5)
    return centers[None, :, None], centers[None, None, :]


def _smooth_noise(rng, count, size, cells, low, high):
    """Interpolates a few random values per side into a smooth field."""
    values = between(rng, low, high, (count, 1, cells + 1, cells + 1))
    position = (np.arange(size, dtype="float32") + np.float32(0.5)) * np.float32(cells)
    position /= np.float32(size)
    cell = np.floor(position).astype("int64")
    weight = position - cell.astype("float32")
    above, below = values[:, :, cell], values[:, :, cell + 1]
    rows = above + weight[:, None] * (below - above)
    left, right = rows[..., cell], rows[..., cell + 1]
    return left + weight * (right - left)


def _stripes(rng, count, size):
    """Draws straight stripes of any direction and width: a triangle wave in [-1, 1]."""
    rows, columns = _grid(size)
    across, along, phase = (between(rng, -6, 6, (count, 1, 1)) for _ in range(3))
    wave = rows * across + columns * along + phase
    wave = np.abs(wave - np.floor(wave) - np.float32(0.5)) * np.float32(4)
    return (wave - np.float32(1))[:, None]


def background(rng, size, color):
    """Draws clouds and stripes over a color per image, `(N, 3, 1, 1)`."""
    count = len(color)
    clouds = _smooth_noise(rng, count, size, 4, -0.15, 0.15)
    tint = between(rng, -1, 1, (count, 3, 1, 1))
    stripes = between(rng, -0.08, 0.08, (count, 3, 1, 1)) * _stripes(rng, count, size)
    return color + clouds * tint + stripes


def _add_shape(image, rng, choice, background, radius, reach):
    """Paints a shape on each image, chosen by `choice` in [0, 1)."""
    count, size = len(image), image.shape[-1]
    y, x = (between(rng, -reach, reach, (count, 1, 1)) for _ in range(2))
    low, high = radius
    extent = between(rng, low, high, (count, 1, 1))
    kind = np.floor(choice * len(SHAPES)).astype("int64")
    paint(image, rng, cover(rng, size, kind, y, x, extent), background)


def cover(rng, size, kind, y, x, extent, window=np.s_[:, :]):
    """Returns the fraction of each pixel that a shape covers, `(N, 1, H, W)`.

    Proportions and rotation are random.

    Args:
        rng: A NumPy random generator.
        size: Height and width of the images in pixels.
        kind: Indices `(N,)` into `SHAPES`.
        y, x: Center of each shape, `(N, 1, 1)`, from -0.5 to 0.5.
        extent: About half its size, `(N, 1, 1)`, as a fraction of the image's side.
        window: Slices of the rows and columns to compute.
    """
    rows, columns = _grid(size)
    rows, columns = rows[:, window[0]], columns[:, :, window[1]]
    stretch = between(rng, 0.85, 1.15, extent.shape)
    turn = 0.9 * (rng.random(extent.shape) - 0.5)
    cosine, sine = np.cos(turn).astype("float32"), np.sin(turn).astype("float32")
    dx, dy = (columns - x) / extent, (rows - y) / extent
    u, v = (dx * cosine + dy * sine) * stretch, (dy * cosine - dx * sine) / stretch

    distance = np.empty_like(u)
    for index, shape in enumerate(SHAPES.values()):
        ours = kind == index
        if ours.any():
            distance[ours] = shape(u[ours], v[ours])
    # One pixel is 1 / (size * extent) of the shape's unit.
    covered = np.float32(0.5) - distance * (extent * np.float32(size))
    return np.clip(covered, np.float32(0), np.float32(1))[:, None]


def paint(image, rng, cover, background):
    """Paints shapes on images, in random colors and textures."""
    count, size = len(image), image.shape[-1]
    # Lighter than the background: with contrast of either sign, a few thousand images
    # are not enough to learn from.
    color = background + between(rng, 0.2, 0.5, (count, 3, 1, 1))
    texture = between(rng, -0.08, 0.08, (count, 3, 1, 1)) * _stripes(rng, count, size)
    image += cover * (color + texture - image)


def _add_bar(image, rng):
    """Covers part of half of the images with a straight bar."""
    size = image.shape[-1]
    rows, columns = _grid(size)
    turn = 2 * np.pi * rng.random((CHUNK, 1, 1))
    cosine, sine = np.cos(turn).astype("float32"), np.sin(turn).astype("float32")
    offset = between(rng, -0.25, 0.25, (CHUNK, 1, 1))
    # Half of the widths are negative, for no bar.
    half_width = between(rng, -0.08, 0.08, (CHUNK, 1, 1))
    distance = np.abs(rows * cosine + columns * sine - offset) - half_width
    cover = np.float32(0.5) - distance * np.float32(size)
    cover = np.clip(cover, np.float32(0), np.float32(1)) * (half_width > 0)
    color = between(rng, 0, 1, (CHUNK, 3, 1, 1))
    image += cover[:, None] * (color - image)


@functools.lru_cache(maxsize=1)
def _splits():
    return *draw_shapes(10_000, seed=[2018, 0]), *draw_shapes(2_000, seed=[2018, 1])


def load_shapes() -> Dataset:
    """Draws the built-in shapes: 10,000 training and 2,000 test images."""
    x_train, y_train, x_test, y_test = _splits()
    return Dataset(
        requested="shapes",
        name="shapes",
        source="shapes",
        origin="built-in",
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        classes=tuple(SHAPES),
        note="drawn by dropblock_lib",
    )
