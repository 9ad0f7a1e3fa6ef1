"""How far a box is from the object, in units that suit every size of anchor."""

import keras
from keras import ops

from dropblock_lib.arguments import invalid


@keras.saving.register_keras_serializable("dropblock_lib")
class BoxLoss(keras.losses.Loss):
    """Smooth L1 loss of every anchor: the sum over the four numbers of a box.

    The numbers are the offset of the center, as a fraction of the anchor's width and
    height, and the logarithms of the ratios of width and height. A difference `d`
    counts `|d| - beta / 2`, or `d² / (2 beta)` where it is smaller than `beta`.

    Args:
        beta: Positive float, the difference at which the square ends.
        reduction: As for every `keras.losses.Loss`.
        name: Optional string.

    Call arguments:
        y_true: Encoded boxes `(..., 4)`: center x, center y, width, height.
        y_pred: The same, as predicted.

    Raises:
        ValueError: If `beta` is not positive.

    Reference:

    - [Girshick, 2015](https://arxiv.org/abs/1504.08083), equation 3, with the
      `beta` of the released code of RetinaNet.
    """

    def __init__(self, beta=1 / 9, reduction="sum", name="box_loss"):
        super().__init__(name=name, reduction=reduction)
        if not 0 < beta < float("inf"):
            raise invalid("beta", "a positive, finite float", beta)
        self.beta = beta

    def call(self, y_true, y_pred):
        distance = ops.abs(ops.cast(y_true, y_pred.dtype) - y_pred)
        square = distance**2 / (2 * self.beta)
        smooth = ops.where(distance < self.beta, square, distance - self.beta / 2)
        return ops.sum(smooth, axis=-1)

    def get_config(self):
        return {**super().get_config(), "beta": self.beta}
