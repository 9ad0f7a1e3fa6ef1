"""Per-class non-maximum suppression."""

import keras
from keras import ops

from dropblock_lib.arguments import (
    check_boolean,
    check_choice,
    check_float,
    check_integer,
)


@keras.saving.register_keras_serializable("dropblock_lib")
class PerClassNonMaxSuppression(keras.layers.Layer):
    """Suppresses boxes that overlap a better one of the same class.

    As in RetinaNet's paper, the pairs of anchor and class with the highest scores are
    the candidates (1,000 in total; the paper takes 1,000 per level), candidates with
    scores of at most 0.05 are dropped, and a box is suppressed if it overlaps a better
    one *of its own class* by more than half.

    `keras_hub.layers.NonMaxSuppression`, by contrast, lets a box suppress boxes of
    other classes (a horse its rider), allows an anchor only one class, drops scores
    of up to 0.5 by default, which cuts off most of the curve of COCO's average
    precision, and requires a fixed batch size.

    Args:
        iou_threshold: Float in [0, 1].
        confidence_threshold: Float in [0, 1]; scores up to it are dropped.
        max_detections: Positive integer, the maximum number of detections per image.
        candidates: Positive integer, the number of pairs of anchor and class that are
            considered.
        from_logits: Whether scores are logits.
        bounding_box_format: Must be `"xyxy"`: left, top, right, bottom in pixels.

    Call arguments:
        box_prediction: Float `(batch, anchors, 4)`.
        class_prediction: Float `(batch, anchors, classes)`.
        images: The batch of images, to whose size boxes are clipped.

    Returns:
        Dict of `boxes` `(batch, max_detections, 4)`, `confidence` and `labels`
        `(batch, max_detections)`, best first and padded with -1, and
        `num_detections` `(batch,)`.

    Raises:
        ValueError: If an argument is not as described.

    Reference:

    - [Lin et al., 2017](https://arxiv.org/abs/1708.02002), section 4.1.
    """

    def __init__(
        self,
        iou_threshold: float = 0.5,
        confidence_threshold: float = 0.05,
        max_detections: int = 100,
        candidates: int = 1_000,
        from_logits: bool = True,
        bounding_box_format: str = "xyxy",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_choice("bounding_box_format", bounding_box_format, ["xyxy"])
        self.iou_threshold = check_float("iou_threshold", iou_threshold, "[0, 1]")
        self.confidence_threshold = check_float(
            "confidence_threshold", confidence_threshold, "[0, 1]"
        )
        self.max_detections = check_integer("max_detections", max_detections)
        self.candidates = check_integer("candidates", candidates)
        self.from_logits = check_boolean("from_logits", from_logits)
        self.bounding_box_format = bounding_box_format

    def call(self, box_prediction, class_prediction, images):
        boxes, labels, scores = self._select_candidates(
            box_prediction, class_prediction, ops.shape(images)[1:3]
        )
        kept = self._suppress(boxes, labels, scores)
        # Suppressed candidates sort last.
        scores = ops.where(kept, scores, -1.0)
        scores, best = ops.top_k(scores, min(self.max_detections, scores.shape[1]))
        boxes = ops.take_along_axis(boxes, best[..., None], axis=1)
        labels = ops.take_along_axis(labels, best, axis=1)
        present = scores >= 0
        pads = ((0, 0), (0, self.max_detections - scores.shape[1]))
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

    def _select_candidates(self, boxes, scores, size):
        """Returns the pairs of anchor and class with the highest scores, best first."""
        anchors, classes = scores.shape[-2:]
        scores = ops.reshape(scores, (-1, anchors * classes))
        scores, index = ops.top_k(scores, min(self.candidates, anchors * classes))
        if self.from_logits:
            scores = ops.sigmoid(scores)
        boxes = ops.take_along_axis(boxes, (index // classes)[..., None], axis=1)
        height, width = (ops.cast(side, boxes.dtype) for side in size)
        boxes = ops.clip(boxes, 0, ops.stack([width, height, width, height]))
        return boxes, index % classes, scores

    def _suppress(self, boxes, labels, scores):
        """Returns which candidates are kept."""
        overlap = keras.utils.bounding_boxes.compute_iou(boxes, boxes, "xyxy")
        rank = ops.arange(scores.shape[1])
        suppresses = (
            (overlap > self.iou_threshold)
            & (labels[:, :, None] == labels[:, None, :])
            & (rank[:, None] < rank[None, :])
        )
        suppresses = ops.cast(suppresses, "float32")
        above_threshold = scores > self.confidence_threshold

        # A box is kept if no kept box suppresses it. Each round settles at least one
        # more box, and the result is final once a round changes nothing.
        def changed(kept, before):
            return ops.any(kept != before)

        def next_round(kept, before):
            kept_rivals = ops.matmul(ops.cast(kept, "float32")[:, None], suppresses)
            return above_threshold & (kept_rivals[:, 0] == 0), kept

        none = ops.zeros_like(above_threshold)
        kept, _ = ops.while_loop(changed, next_round, (above_threshold, none))
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
