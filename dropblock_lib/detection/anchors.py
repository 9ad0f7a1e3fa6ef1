"""The anchors of a detector and their training targets."""

import dataclasses

import keras
import numpy as np
from numpy.typing import ArrayLike

from dropblock_lib.arguments import invalid
from dropblock_lib.data.detection_dataset import DetectionSplit
from dropblock_lib.data.letterbox import fitted_sides
from dropblock_lib.detection.targets import check_boxes, check_labels


@dataclasses.dataclass(frozen=True, eq=False)
class Assignment:
    """The training targets of all anchors of one image, level by level.

    Args:
        anchors: `(n, 4)`: left, top, right and bottom in pixels of the image.
        levels: `(n,)`: the level of each anchor, such as `"P3"`.
        overlaps: `(n, k)`: intersection over union of each anchor and each object.
        labels: `(n,)`: the target class of each anchor, -1 for background and -2 for
            anchors that the class loss ignores.
    """

    anchors: np.ndarray
    levels: np.ndarray
    overlaps: np.ndarray
    labels: np.ndarray

    @property
    def positive(self) -> np.ndarray:
        """Which anchors are assigned to an object."""
        return self.labels >= 0

    @property
    def ignored(self) -> np.ndarray:
        """Which anchors the class loss ignores."""
        return self.labels == -2

    @property
    def background(self) -> np.ndarray:
        """Which anchors are background."""
        return self.labels == -1

    @property
    def objects(self) -> np.ndarray:
        """`(n,)`: the object that each anchor overlaps most, or -1 for none."""
        if self.overlaps.shape[1] == 0:
            return np.full(len(self.labels), -1)
        return np.where(self.overlaps.max(1) > 0, self.overlaps.argmax(1), -1)


def anchors_by_level(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns the anchors of a detector, by level and position in the feature map.

    Args:
        model: A `RetinaNet`.

    Returns:
        Dict of level -> array `(rows, columns, anchors per position, 4)`: left, top,
        right and bottom in pixels of the image. The anchors of a position are ordered
        by aspect ratio (height to width), then by size. Some extend beyond the image.

    Example:

    >>> model = dropblock_lib.models.retinanet(image_size=512)
    >>> anchors_by_level(model)["P3"].shape
    (64, 64, 9, 4)
    """
    generator = model.anchor_generator
    height, width = model.input_shape[1:3]
    found = generator(np.zeros((1, height, width, 3), "float32"))
    # Rounded up, as the sides of the feature maps are.
    return {
        level: keras.ops.convert_to_numpy(boxes).reshape(
            -(-height // 2 ** int(level[1:])),
            -(-width // 2 ** int(level[1:])),
            generator.num_base_anchors,
            4,
        )
        for level, boxes in found.items()
    }


def assign(model: keras.Model, boxes: ArrayLike, labels: ArrayLike) -> Assignment:
    """Assigns the anchors of a detector to the objects of an image.

    An anchor with an IoU of at least 0.5 with any object is assigned to the object it
    overlaps most; an anchor with an IoU below 0.4 with all objects is background; the
    others are ignored.

    Args:
        model: A `RetinaNet`.
        boxes: `(k, 4)`: left, top, right and bottom in pixels of the model's images.
        labels: `(k,)`: the classes of the boxes, from 0.

    Returns:
        An `Assignment`.

    Raises:
        ValueError: If an argument is not as described.

    Example:

    >>> found = assign(model, [[10, 10, 60, 70]], [2])
    >>> set(found.labels[found.positive].tolist())
    {2}

    Reference:

    - [Lin et al., 2017](https://arxiv.org/abs/1708.02002), section 4, "Anchors".
    """
    boxes = np.asarray(boxes, "float32").reshape(-1, 4)
    labels = np.asarray(labels, "float32").reshape(-1)
    if len(boxes) != len(labels):
        expected = f"a label for each of the {len(boxes)} boxes"
        raise invalid("labels", expected, received=f"{len(labels)} labels")
    check_labels(labels, model.num_classes)
    check_boxes(boxes)
    by_level = anchors_by_level(model)
    anchors = np.concatenate([found.reshape(-1, 4) for found in by_level.values()])
    levels = [np.repeat(level, found[..., 0].size) for level, found in by_level.items()]
    overlaps = keras.utils.bounding_boxes.compute_iou(anchors, boxes, "xyxy")
    # `model.assign` also computes the targets in training. It needs at least one box.
    _, assigned_labels = model.assign(
        np.zeros((1, *model.input_shape[1:]), "float32"),
        np.concatenate([boxes, np.full((1, 4), -1, "float32")])[None],
        np.append(labels, np.float32(-1))[None],
    )
    return Assignment(
        anchors=anchors,
        levels=np.concatenate(levels),
        overlaps=keras.ops.convert_to_numpy(overlaps),
        labels=keras.ops.convert_to_numpy(assigned_labels)[0].astype("int64"),
    )


def count_assigned(model: keras.Model, split: DetectionSplit) -> tuple[np.ndarray, int]:
    """Counts the training targets of a detector's anchors over a split.

    Args:
        model: A `RetinaNet` for square images.
        split: A `DetectionSplit`. Its images are not read.

    Returns:
        A pair: an array with the number of anchors assigned to each class, and the
        number of anchors that the class loss does not ignore.

    Example:

    >>> scenes = dropblock_lib.load_dataset("scenes")
    >>> model = dropblock_lib.models.DETECTORS["retinanet_light"](
    ...     "none", len(scenes.classes), image_size=96
    ... )
    >>> of_classes, anchors = count_assigned(model, scenes.validation.take(40))
    """
    of_classes, anchors = np.zeros(model.num_classes, "int64"), 0
    side = model.input_shape[1]
    for (height, width), boxes, labels in zip(
        split.sizes, split.boxes, split.labels, strict=True
    ):
        _, _, scale = fitted_sides(height, width, side)
        found = assign(model, boxes * np.float32(scale), labels)
        of_classes += np.bincount(
            found.labels[found.positive], minlength=model.num_classes
        )
        anchors += int((~found.ignored).sum())
    return of_classes, anchors
