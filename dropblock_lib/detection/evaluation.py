"""Detecting in a whole split, and average precision during training."""

import dataclasses
from collections.abc import Sequence

import keras

from dropblock_lib.arguments import check_integer, invalid
from dropblock_lib.data.detection_dataset import DetectionSplit, check_split
from dropblock_lib.detection.average_precision import (
    METRICS,
    average_precision,
    to_coco,
)
from dropblock_lib.detection.batches import DetectionBatches


def detect(
    model: keras.Model,
    split: DetectionSplit | DetectionBatches,
    category_ids: Sequence[int],
    batch_size: int = 8,
) -> list[dict]:
    """Detects objects in all images of a split.

    Args:
        model: A detector for images of one size, such as `dbl.models.retinanet`.
        split: A `DetectionSplit`, or `DetectionBatches` that do not shuffle, change or
            leave out images.
        category_ids: COCO's id of each label, `dataset.category_ids`.
        batch_size: Number of images per batch, unless `split` is `DetectionBatches`.

    Returns:
        Detections as `to_coco` returns them, in pixels of the stored images.

    Raises:
        ValueError: If a class of the model has no id, or the batches are not as
            described.

    Example:

    >>> scenes = load_dataset("scenes")
    >>> found = detect(model, scenes.validation, scenes.category_ids)
    """
    if len(category_ids) < model.num_classes:
        expected = f"an id for each of the model's {model.num_classes} classes"
        raise invalid("category_ids", expected, category_ids)
    if isinstance(split, DetectionBatches):
        batches = split
    else:
        # Boxes are not needed, and may be too small to train on.
        annotations = {**check_split(split).annotations, "annotations": []}
        split = dataclasses.replace(split, annotations=annotations)
        batches = DetectionBatches(split, model.input_shape[1], batch_size)
    for name in ("shuffle", "mirror", "jitter", "drop_last"):
        if getattr(batches, name):
            raise invalid(name, "False for the batches passed to `detect`", True)
    if not len(batches):
        return []
    predictions = model.predict(batches, verbose=0)
    return to_coco(predictions, batches.split.ids, batches.scales, category_ids)


class AveragePrecisionCallback(keras.callbacks.Callback):
    """Measures average precision during `fit`, and adds it to the logs.

    Args:
        split: The `DetectionSplit` to measure on.
        category_ids: COCO's id of each label.
        every: Number of epochs between measurements. Other epochs repeat the last
            values; before the first measurement, values are NaN.
        batch_size: Number of images per batch.

    Raises:
        ValueError: If `split` is not a `DetectionSplit`, or `every` or `batch_size` is
            not a positive integer.

    Example:

    >>> callback = AveragePrecisionCallback(scenes.validation, scenes.category_ids)
    >>> history = model.fit(batches, shuffle=False, callbacks=[callback]).history
    >>> history["val_AP50"]
    """

    def __init__(
        self,
        split: DetectionSplit,
        category_ids: Sequence[int],
        every: int = 1,
        batch_size: int = 8,
    ):
        super().__init__()
        self.split = check_split(split)
        self.category_ids = category_ids
        self.every = check_integer("every", every)
        self.batch_size = check_integer("batch_size", batch_size)
        self.latest = {f"val_{name}": float("nan") for name in METRICS}

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0:
            found = detect(self.model, self.split, self.category_ids, self.batch_size)
            measured = average_precision(self.split.annotations, found)
            self.latest = {
                f"val_{name}": float("nan") if value is None else value
                for name, value in measured.items()
            }
        if logs is not None:
            logs.update(self.latest)
