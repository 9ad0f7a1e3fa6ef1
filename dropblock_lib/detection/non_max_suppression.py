"""From a score for every anchor and class to a short list of detections."""

import keras
import keras_hub
from keras import ops

from dropblock_lib.arguments import invalid


@keras.saving.register_keras_serializable("dropblock_lib")
class PerClassNonMaxSuppression(keras_hub.layers.NonMaxSuppression):
    """Non-maximum suppression within each class, of the best candidates.

    As RetinaNet's paper has it: of all anchors and classes the 1,000 with the best
    scores are kept, those of at most 0.05 are dropped, and of the rest a box goes if
    it overlaps a better one *of its own class* by more than half.

    KerasHub's layer lets a box suppress those of other classes too (a horse its
    rider), gives an anchor one class only, and by default drops scores of up to 0.5,
    with which COCO's average precision loses most of its curve. This layer moves
    every class to a place of its own before it calls KerasHub's, which has not to
    look at all anchors then.

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
        `(batch, max_detections)`, padded with -1, and `num_detections` `(batch,)`.

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
        if bounding_box_format != "xyxy":
            raise invalid("bounding_box_format", "'xyxy'", bounding_box_format)
        super().__init__(
            bounding_box_format,
            from_logits,
            iou_threshold=iou_threshold,
            confidence_threshold=confidence_threshold,
            max_detections=max_detections,
            **kwargs,
        )
        self.candidates = candidates

    def call(self, box_prediction, class_prediction, images):
        anchors, classes = class_prediction.shape[-2:]
        size = [ops.cast(side, box_prediction.dtype) for side in ops.shape(images)[1:3]]
        scores = ops.reshape(class_prediction, (-1, anchors * classes))
        count = min(self.candidates, anchors * classes)
        scores, index = ops.top_k(scores, count)
        labels = index % classes
        boxes = ops.take_along_axis(box_prediction, index[..., None] // classes, axis=1)
        height, width = size
        boxes = ops.clip(boxes, 0, ops.stack([width, height, width, height]))
        # Each class lies to the right of and below the one before, and meets none.
        step = ops.maximum(height, width) + 1
        least = -1e9 if self.from_logits else 0.0
        one_class = ops.where(
            ops.one_hot(labels, classes, dtype="bool"), scores[..., None], least
        )
        found = super().call(
            boxes + step * ops.cast(labels, boxes.dtype)[..., None], one_class
        )
        labels = found["labels"][..., None]
        back = found["boxes"] - step * ops.cast(labels, boxes.dtype)
        found["boxes"] = ops.where(labels >= 0, back, -1.0)
        return found

    def get_config(self):
        return {**super().get_config(), "candidates": self.candidates}
