"""What a detector finds in a split, and how good that is."""

import keras

from dropblock_lib.arguments import invalid, is_whole
from dropblock_lib.detection.average_precision import (
    MEASURES,
    average_precision,
    to_coco,
)
from dropblock_lib.detection.batches import DetectionBatches


def detect(model, split, category_ids, batch_size=8):
    """The detections of a model in all images of a split.

    Args:
        model: A detector for images of one size, such as `dbl.models.retinanet`.
        split: A `DetectionSplit`, or `DetectionBatches` of one that do not shuffle,
            mirror or leave out images.
        category_ids: COCO's id of every label, `dataset.category_ids`.
        batch_size: Images at a time; not for `DetectionBatches`.

    Returns:
        Detections as `to_coco` returns them, in pixels of the stored images.

    Raises:
        ValueError: If there is not an id for each class of the model, or batches are
            not as above.

    Example:

    >>> scenes = load_dataset("scenes")
    >>> found = detect(model, scenes.validation, scenes.category_ids)
    """
    if len(category_ids) < model.num_classes:
        expected = f"an id for each of the model's {model.num_classes} classes"
        raise invalid("category_ids", expected, category_ids)
    batches = split
    if not isinstance(batches, DetectionBatches):
        batches = DetectionBatches(split, model.input_shape[1], batch_size)
    for name in ("shuffle", "mirror", "drop_last"):
        if getattr(batches, name):
            raise invalid(name, "False, in the batches to detect in", True)
    predictions = model.predict(batches, verbose=0)
    return to_coco(predictions, batches.split.ids, batches.scales, category_ids)


class AveragePrecisionCallback(keras.callbacks.Callback):
    """Measures AP and its relatives during `fit`, and puts them into its logs.

    Args:
        split: The `DetectionSplit` to measure on.
        category_ids: COCO's id of every label.
        every: After how many epochs each time; between, the last figures are repeated,
            and before the first time they are NaN.
        batch_size: Images at a time.

    Raises:
        ValueError: If `every` is not a positive integer.

    Example:

    >>> callback = AveragePrecisionCallback(scenes.validation, scenes.category_ids)
    >>> history = model.fit(batches, shuffle=False, callbacks=[callback]).history
    >>> history["val_AP50"]
    """

    def __init__(self, split, category_ids, every=1, batch_size=8):
        super().__init__()
        if not is_whole(every, at_least=1):
            raise invalid("every", "a positive integer", every)
        self.split = split
        self.category_ids = category_ids
        self.every = every
        self.batch_size = batch_size
        self.reached = {f"val_{name}": float("nan") for name in MEASURES}

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0:
            found = detect(self.model, self.split, self.category_ids, self.batch_size)
            reached = average_precision(self.split.annotations, found)
            self.reached = {
                f"val_{name}": float("nan") if value is None else value
                for name, value in reached.items()
            }
        if logs is not None:
            logs.update(self.reached)
