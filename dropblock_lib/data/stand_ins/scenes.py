"""The stand-in for COCO: scenes of several shapes, with boxes.

They are drawn as in `shapes`, so that every machine draws the same scenes.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from dropblock_lib.data.detection_dataset import DetectionDataset, DetectionSplit
from dropblock_lib.data.stand_ins.shapes import (
    SHAPES,
    background,
    between,
    cover,
    generator,
    noisy_pixels,
    paint,
)

IMAGE_SIZE = 128
TRAIN_SIZE, VALIDATION_SIZE = 500, 200
MOST_SHAPES = 5
# About half a shape's size, as a fraction of the image's side.
EXTENT = (0.07, 0.2)
# No shape extends farther than this from its center, in units of its extent, including
# half a pixel of smooth edge.
WIDEST = 1.5
# The fraction of the smaller of two boxes that the other may cover.
OVERLAP = 0.1
# Number of attempts to place a shape, after which it is left out.
TRIES = 12


def draw_scene(
    index: int, seed: int | Sequence[int], image_size: int = IMAGE_SIZE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws an image of one to five shapes, with their boxes and labels.

    Position, size (about 0.12 to 0.45 of the image's side), proportions, rotation and
    color vary; the background is that of `draw_shapes`. A box is tight around the
    pixels of which its shape covers at least half, and overlaps another by at most a
    tenth of the smaller one.

    Args:
        index: The position of the image in its split.
        seed: Random seed of the split, an integer or a sequence of integers. The
            image depends on `(seed, index)` alone.
        image_size: Height and width of the image in pixels.

    Returns:
        `(image, boxes, labels)`: `uint8` `(image_size, image_size, 3)`, `float32`
        `(k, 4)` with left, top, right and bottom in pixels, and `int64` `(k,)`,
        indices into `SHAPES`.

    Example:

    >>> image, boxes, labels = draw_scene(3, seed=7)
    >>> image.shape, boxes.shape, labels.shape
    ((128, 128, 3), (5, 4), (5,))
    """
    rng, covers, boxes, labels = _arrange(index, seed, image_size)
    color = between(rng, 0.1, 0.4, (1, 3, 1, 1))
    image = background(rng, image_size, color)
    for shape in covers:
        paint(image, rng, shape, color)
    return noisy_pixels(rng, image)[0], boxes, labels


def _arrange(index, seed, size):
    """Places the shapes; returns the generator, their covers, boxes and labels."""
    entropy = [seed] if isinstance(seed, int) else list(seed)
    rng = generator([*entropy, index])
    count = 1 + int(rng.random() * MOST_SHAPES)
    kinds = np.floor(rng.random(count) * len(SHAPES)).astype("int64")
    # The largest shape first: it needs the most room, and is painted below the others.
    extents = np.sort(between(rng, *EXTENT, count))[::-1]
    covers, boxes, labels = [], [], []
    for kind, extent in zip(kinds, extents, strict=True):
        for _ in range(TRIES):
            reach = np.float32(0.5) - extent
            y, x = (between(rng, -reach, reach, (1, 1, 1)) for _ in range(2))
            shape = _cover(rng, size, kind, y, x, extent.reshape(1, 1, 1))
            box = _box_around(shape[0, 0] >= np.float32(0.5))
            if box is not None and not any(_overlap(box, other) for other in boxes):
                covers.append(shape)
                boxes.append(box)
                labels.append(kind)
                break
    boxes = np.array(boxes, "float32").reshape(-1, 4)
    return rng, covers, boxes, np.array(labels, "int64")


def _cover(rng, size, kind, y, x, extent):
    """Returns the same as `cover`, computed only where it is not zero."""
    ends = [
        (np.float32(0.5) + center.item() + side * WIDEST * extent.item()) * size
        for center in (y, x)
        for side in (-1, 1)
    ]
    top, bottom, left, right = (min(max(round(end), 0), size) for end in ends)
    window = np.s_[top:bottom, left:right]
    covered = np.zeros((1, 1, size, size), "float32")
    covered[:, :, *window] = cover(rng, size, np.array([kind]), y, x, extent, window)
    return covered


def _box_around(covered):
    """Returns left, top, right and bottom of the true pixels, or `None`."""
    rows = np.flatnonzero(covered.any(axis=1))
    columns = np.flatnonzero(covered.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return max(width, 0) * max(height, 0) > OVERLAP * min(areas)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Scenes:
    """Draws the image with a given id, which is its index plus one.

    Args:
        seed: Random seed of the split.
    """

    seed: tuple[int, ...]

    def __call__(self, image_id: int) -> np.ndarray:
        """Draws the image as `uint8` `(128, 128, 3)`."""
        return draw_scene(image_id - 1, self.seed)[0]


def _split(seed, count):
    annotations = []
    for index in range(count):
        _, _, boxes, labels = _arrange(index, seed, IMAGE_SIZE)
        for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
            left, top, right, bottom = box
            width, height = right - left, bottom - top
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": label + 1,
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    sides = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    return DetectionSplit(
        annotations={
            "info": {},
            "images": [
                {"id": i, "file_name": f"scene {i}", **sides}
                for i in range(1, count + 1)
            ],
            "annotations": annotations,
            "categories": [
                {"id": label + 1, "name": name} for label, name in enumerate(SHAPES)
            ],
        },
        read=Scenes(seed),
    )


@functools.lru_cache(maxsize=1)
def _splits():
    return _split((2017, 0), TRAIN_SIZE), _split((2017, 1), VALIDATION_SIZE)


def load_scenes() -> DetectionDataset:
    """Loads the built-in scenes: 500 training and 200 validation images.

    Boxes are computed here; an image is drawn when it is requested.
    """
    train, validation = _splits()
    return DetectionDataset(
        requested="scenes",
        name="scenes",
        source="scenes",
        origin="built-in",
        train=train,
        validation=validation,
        note="drawn by dropblock_lib",
    )
