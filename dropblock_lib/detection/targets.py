"""Checks of the targets that a detector is trained with."""

from collections.abc import Generator
from typing import Any

import keras
import numpy as np

from dropblock_lib.arguments import invalid


def check_keys(y: Any) -> None:
    """Checks that targets are a dict of `boxes` and `labels`."""
    if not (isinstance(y, dict) and {"boxes", "labels"} <= set(y)):
        received = list(y) if isinstance(y, dict) else type(y).__name__
        expected = "a dict with the keys `boxes` and `labels`"
        raise invalid("y", expected, received=str(received))


def check_targets(y: Any, classes: int, of_batches: bool = False) -> None:
    """Checks targets: their keys, shapes, labels (below `classes`) and boxes.

    Boxes and labels are padded with -1. Tensors in a compiled function, which have no
    values, are not checked. `of_batches` allows the smallest boxes that
    `DetectionBatches` keep, a pixel wide, which could also be fractions.
    """
    check_keys(y)
    try:
        boxes, labels = (keras.ops.convert_to_numpy(y[k]) for k in ("boxes", "labels"))
    except Exception:
        # Each backend raises a different error for a traced tensor.
        return
    check_labels(labels, classes, padded=True)
    if boxes.ndim != 3 or boxes.shape[2] != 4 or boxes.shape[:2] != labels.shape:
        expected = "shape (batch, k, 4), for labels of shape (batch, k)"
        received = f"boxes {boxes.shape} and labels {labels.shape}"
        raise invalid("boxes", expected, received=received)
    check_boxes(boxes[labels >= 0], of_batches)


def check_labels(labels: np.ndarray, classes: int, padded: bool = False) -> None:
    """Checks that labels are integers from 0 to `classes - 1`, or -1 if `padded`."""
    wrong = labels[~np.isin(labels, np.arange(-1 if padded else 0, classes))]
    if wrong.size:
        expected = f"labels from 0 to {classes - 1}, the model's classes"
        expected += ", or -1 for padding" if padded else ""
        raise invalid("labels", expected, received=f"{np.unique(wrong)[:5].tolist()}")


def check_boxes(boxes: np.ndarray, may_be_tiny: bool = False) -> None:
    """Checks boxes `(k, 4)`: left, top, right and bottom in pixels.

    Rejects boxes without an area and boxes in fractions of the image: a detector would
    train on them without an error, and learn nothing. Boxes given as left, top, width
    and height are found only if one of them has no area when read as corners.
    """
    good = np.isfinite(boxes).all(axis=1) & (boxes[:, :2] < boxes[:, 2:]).all(axis=1)
    if not good.all():
        expected = "finite left, top, right and bottom, left < right and top < bottom"
        raise invalid("boxes", expected, received=f"{boxes[~good][0].tolist()}")
    if boxes.size and boxes.max() <= 1 and not may_be_tiny:
        expected = "left, top, right and bottom in pixels, not in fractions of a side"
        raise invalid("boxes", expected, received=f"{boxes[0].tolist()}")


def checked(source: Any, classes: int, failures: list) -> Any:
    """Wraps a source of batches so that each batch is checked as it is read.

    Args:
        source: A `PyDataset`, generator or `tf.data.Dataset` of tuples `(images, y)`.
            Anything else is returned as it is.
        classes: Number of classes.
        failures: List to which errors are added, because TensorFlow passes on only
            their text.
    """

    def check(batch):
        try:
            if isinstance(batch, (tuple, list)) and len(batch) > 1:
                check_targets(batch[1], classes)
        except ValueError as error:
            failures.append(error)
            raise
        return batch

    if isinstance(source, keras.utils.PyDataset):
        return _CheckedDataset(source, check)
    if isinstance(source, Generator):
        return (check(batch) for batch in source)
    if type(source).__module__.startswith("tensorflow.") and hasattr(source, "map"):
        # Imported late: other backends do not need TensorFlow.
        from dropblock_lib.detection.tensorflow_batches import with_checks

        return with_checks(source, check_keys, check)
    return source


class _CheckedDataset(keras.utils.PyDataset):
    def __init__(self, source, check):
        super().__init__(
            workers=source.workers,
            use_multiprocessing=source.use_multiprocessing,
            max_queue_size=source.max_queue_size,
        )
        self._source, self._check = source, check

    def __getitem__(self, index):
        return self._check(self._source[index])

    @property
    def num_batches(self):
        return self._source.num_batches

    def on_epoch_begin(self):
        self._source.on_epoch_begin()

    def on_epoch_end(self):
        self._source.on_epoch_end()
