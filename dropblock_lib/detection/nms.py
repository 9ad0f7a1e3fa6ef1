"""From a score for every anchor and class to a short list of detections."""

import keras
from keras import ops

from dropblock_lib.arguments import invalid


@keras.saving.register_keras_serializable("dropblock_lib")
class PerClassNonMaxSuppression(keras.layers.Layer):
    """Non-maximum suppression within each class, of the best candidates.

    As RetinaNet's paper has it, of all anchors and classes those with the best scores
    are looked at (1,000 in all; the paper takes 1,000 of each level), those of at most
    0.05 are dropped, and of the rest a box goes if it overlaps a better one *of its own
    class* by more than half.

    `keras_hub.layers.NonMaxSuppression` lets a box suppress those of other classes
    too (a horse its rider), gives an anchor one class only, drops scores of up to 0.5
    by default, with which COCO's average precision loses most of its curve, and
    needs to know the batch size beforehand.

    Args:
        iou_threshold: Float in [0, 1].
        confidence_threshold: Float in [0, 1]; scores up to it are dropped.
        max_detections: How many detections an image has at most.
        candidates: How many pairs of anchor and class are looked at.
        from_logits: Whether scores are logits.
        bounding_box_format: "xyxy", which is left, top, right, bottom in pixels.

    Call arguments:
        box_prediction: Float `(batch, anchors, 4)`.
        class_prediction: Float `(batch, anchors, classes)`.
        images: The batch the boxes are of; they are clipped to it.

    Returns:
        Dict of `boxes` `(batch, max_detections, 4)`, `confidence` and `labels`
        `(batch, max_detections)`, best first and padded with -1, and
        `num_detections` `(batch,)`.

    Raises:
        ValueError: If boxes are of another format.

    Reference:

    - [Lin et al., 2017](https://arxiv.org/abs/1708.02002), section 4.1.
    """

    def __init__(
        self,
        iou_threshold=0.5,
        confidence_threshold=0.05,
        max_detections=100,
        candidates=1_000,
        from_logits=True,
        bounding_box_format="xyxy",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if bounding_box_format != "xyxy":
            raise invalid("bounding_box_format", "'xyxy'", bounding_box_format)
        self.iou_threshold = iou_threshold
        self.confidence_threshold = confidence_threshold
        self.max_detections = max_detections
        self.candidates = candidates
        self.from_logits = from_logits
        self.bounding_box_format = bounding_box_format

    def call(self, box_prediction, class_prediction, images):
        boxes, labels, scores = self._candidates(
            box_prediction, class_prediction, ops.shape(images)[1:3]
        )
        kept = self._survivors(boxes, labels, scores)
        # The rest has the score -1, which is less than any.
        scores = ops.where(kept, scores, -1.0)
        scores, best = ops.top_k(scores, min(self.max_detections, scores.shape[1]))
        boxes = ops.take_along_axis(boxes, best[..., None], axis=1)
        labels = ops.take_along_axis(labels, best, axis=1)
        present = scores >= 0
        missing = self.max_detections - scores.shape[1]
        pads = ((0, 0), (0, missing))
        return {
            "boxes": ops.pad(
                ops.where(present[..., None], boxes, -1.0),
                (*pads, (0, 0)),
                constant_values=-1,
            ),
            "confidence": ops.pad(scores, pads, constant_values=-1),
            "labels": ops.pad(ops.where(present, labels, -1), pads, constant_values=-1),
            "num_detections": ops.sum(ops.cast(present, "int32"), axis=1),
        }

    def _candidates(self, boxes, scores, size):
        """The pairs of anchor and class with the best scores, best first."""
        anchors, classes = scores.shape[-2:]
        scores = ops.reshape(scores, (-1, anchors * classes))
        scores, index = ops.top_k(scores, min(self.candidates, anchors * classes))
        if self.from_logits:
            scores = ops.sigmoid(scores)
        boxes = ops.take_along_axis(boxes, (index // classes)[..., None], axis=1)
        height, width = (ops.cast(side, boxes.dtype) for side in size)
        boxes = ops.clip(boxes, 0, ops.stack([width, height, width, height]))
        return boxes, index % classes, scores

    def _survivors(self, boxes, labels, scores):
        """Which candidates no better one of their class suppresses."""
        overlap = keras.utils.bounding_boxes.compute_iou(boxes, boxes, "xyxy")
        place = ops.arange(scores.shape[1])
        suppresses = (
            (overlap > self.iou_threshold)
            & (labels[:, :, None] == labels[:, None, :])
            & (place[:, None] < place[None, :])
        )
        suppresses = ops.cast(suppresses, "float32")
        sure_enough = scores > self.confidence_threshold

        # A box is kept if no kept one suppresses it. Beginning with all of them, each
        # round settles one more at least, and one that changes nothing is the last.
        def again(kept, before):
            return ops.any(kept != before)

        def next_round(kept, before):
            kept_rivals = ops.matmul(ops.cast(kept, "float32")[:, None], suppresses)
            return sure_enough & (kept_rivals[:, 0] == 0), kept

        none = ops.zeros_like(sure_enough)
        kept, _ = ops.while_loop(again, next_round, (sure_enough, none))
        return kept

    def get_config(self):
        return {
            **super().get_config(),
            "iou_threshold": self.iou_threshold,
            "confidence_threshold": self.confidence_threshold,
            "max_detections": self.max_detections,
            "candidates": self.candidates,
            "from_logits": self.from_logits,
            "bounding_box_format": self.bounding_box_format,
        }
