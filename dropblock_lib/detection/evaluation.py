"""What a detector finds in a split, and how good that is."""

import keras

from dropblock_lib.detection.average_precision import average_precision, to_coco
from dropblock_lib.detection.batches import DetectionBatches


def detect(model, split, category_ids, batch_size=8):
    """The detections of a model in all images of a split.

    Args:
        model: A detector for images of one size, such as `dbl.models.retinanet`.
        split: A `DetectionSplit`, or `DetectionBatches` of one in its own order.
        category_ids: COCO's id of every label, `dataset.category_ids`.
        batch_size: Images at a time; not for `DetectionBatches`.

    Returns:
        Detections as `to_coco` returns them, in pixels of the stored images.

    Example:

    >>> scenes = load_dataset("scenes")
    >>> found = detect(model, scenes.validation, scenes.category_ids)
    """
    batches = split
    if not isinstance(batches, DetectionBatches):
        batches = DetectionBatches(split, model.input_shape[1], batch_size)
    predictions = model.predict(batches, verbose=0)
    return to_coco(predictions, batches.split.ids, batches.scales, category_ids)


class AveragePrecisionCallback(keras.callbacks.Callback):
    """Measures AP and its relatives during `fit`, and puts them into its logs.

    Args:
        split: The `DetectionSplit` to measure on.
        category_ids: COCO's id of every label.
        every: After how many epochs each time; between, the last figures are repeated.
        batch_size: Images at a time.

    Example:

    >>> callback = AveragePrecisionCallback(scenes.validation, scenes.category_ids)
    >>> history = model.fit(batches, shuffle=False, callbacks=[callback]).history
    >>> history["val_AP50"]
    """

    def __init__(self, split, category_ids, every=1, batch_size=8):
        super().__init__()
        self.split = split
        self.category_ids = category_ids
        self.every = every
        self.batch_size = batch_size
        self.reached = {}

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
