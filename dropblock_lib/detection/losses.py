"""RetinaNet's two losses."""

import keras
from keras import ops

from dropblock_lib.arguments import check_float, check_gamma


@keras.saving.register_keras_serializable("dropblock_lib")
class FocalLoss(keras.losses.Loss):
    """Computes the focal loss of each anchor from logits, summed over the classes.

    With `p` the sigmoid of a logit, `p_t = p` and `alpha_t = alpha` where the class
    is present, and `1 - p` and `1 - alpha` where it is not, each class contributes

        -alpha_t (1 - p_t)^gamma log(p_t)

    `keras.losses.BinaryFocalCrossentropy` takes the mean over the classes, so that
    each of 80 classes counts one eightieth, and ignores `alpha` by default.

    Args:
        alpha: Float in (0, 1), the weight of a class that is present.
        gamma: Float >= 0. The larger it is, the less an anchor that is already
            classified well contributes; 0 gives cross-entropy.
        reduction: As for every `keras.losses.Loss`. RetinaNet sums over the anchors
            and divides by the number of positive ones through the sample weights.
        name: Optional string.

    Call arguments:
        y_true: Zeros and ones, `(..., classes)`.
        y_pred: Logits, `(..., classes)`.

    Raises:
        ValueError: If `alpha` or `gamma` is out of range.

    Reference:

    - [Lin et al., 2017](https://arxiv.org/abs/1708.02002), equations 4 and 5.
    """

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        reduction: str = "sum",
        name: str = "focal_loss",
    ):
        super().__init__(name=name, reduction=reduction)
        self.alpha = check_float("alpha", alpha, "(0, 1)")
        self.gamma = check_gamma(gamma)

    def call(self, y_true, y_pred):
        y_true = ops.cast(y_true, y_pred.dtype)
        # Computed from the logit so that a confident mistake is not log(0).
        logit_t = ops.where(y_true > 0.5, y_pred, -y_pred)
        alpha_t = ops.where(y_true > 0.5, self.alpha, 1 - self.alpha)
        log_p_t = ops.log_sigmoid(logit_t)
        # 1 - p_t is the sigmoid of the negated logit.
        modulation = ops.exp(self.gamma * ops.log_sigmoid(-logit_t))
        return ops.sum(-alpha_t * modulation * log_p_t, axis=-1)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha, "gamma": self.gamma}


@keras.saving.register_keras_serializable("dropblock_lib")
class BoxLoss(keras.losses.Loss):
    """Computes the smooth L1 loss of each anchor, summed over its four offsets.

    The offsets are those of the center, as fractions of the anchor's width and
    height, and the logarithms of the ratios of width and height. A difference `d`
    costs `|d| - beta / 2`, or `d² / (2 beta)` if it is smaller than `beta`.

    Args:
        beta: Float > 0, the difference at which the loss becomes linear.
        reduction: As for every `keras.losses.Loss`.
        name: Optional string.

    Call arguments:
        y_true: Encoded boxes `(..., 4)`: center x, center y, width, height.
        y_pred: Predicted boxes in the same encoding.

    Raises:
        ValueError: If `beta` is not positive.

    Reference:

    - [Girshick, 2015](https://arxiv.org/abs/1504.08083), equation 3, with the
      `beta` of RetinaNet's released code.
    """

    def __init__(
        self,
        beta: float = 1 / 9,
        reduction: str = "sum",
        name: str = "box_loss",
    ):
        super().__init__(name=name, reduction=reduction)
        self.beta = check_float("beta", beta, "(0, inf)")

    def call(self, y_true, y_pred):
        distance = ops.abs(ops.cast(y_true, y_pred.dtype) - y_pred)
        square = distance**2 / (2 * self.beta)
        smooth = ops.where(distance < self.beta, square, distance - self.beta / 2)
        return ops.sum(smooth, axis=-1)

    def get_config(self):
        return {**super().get_config(), "beta": self.beta}
