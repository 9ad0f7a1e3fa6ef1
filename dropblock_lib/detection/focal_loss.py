"""The loss that made one-stage detectors work."""

import keras
from keras import ops

from dropblock_lib.arguments import invalid


@keras.saving.register_keras_serializable("dropblock_lib")
class FocalLoss(keras.losses.Loss):
    """Focal loss of every anchor: the sum over the classes, on logits.

    With `p` the sigmoid of a logit, `p_t = p` where the class is present and
    `1 - p` where it is not, and `alpha_t` likewise of `alpha`, a class counts

        -alpha_t (1 - p_t)^gamma log(p_t)

    `keras.losses.BinaryFocalCrossentropy` takes the mean over the classes, which
    makes 80 classes count one eightieth, and leaves `alpha` out unless told to.

    Args:
        alpha: Float in (0, 1), the weight of a class that is present.
        gamma: Float of at least 0. The larger, the less an anchor counts that is
            classified well already. 0 is cross-entropy.
        reduction: As for every `keras.losses.Loss`. RetinaNet sums over the anchors
            and divides by the number of those that hold an object, which it does in
            the sample weights.
        name: Optional string.

    Call arguments:
        y_true: 0 and 1, `(..., classes)`.
        y_pred: Logits, `(..., classes)`.

    Raises:
        ValueError: If `alpha` or `gamma` is out of range.

    Reference:

    - [Lin et al., 2017](https://arxiv.org/abs/1708.02002), equations 4 and 5.
    """

    def __init__(self, alpha=0.25, gamma=2.0, reduction="sum", name="focal_loss"):
        super().__init__(name=name, reduction=reduction)
        if not 0 < alpha < 1:
            raise invalid("alpha", "a float in (0, 1)", alpha)
        if not 0 <= gamma < float("inf"):
            raise invalid("gamma", "a finite float of at least 0", gamma)
        self.alpha = alpha
        self.gamma = gamma

    def call(self, y_true, y_pred):
        y_true = ops.cast(y_true, y_pred.dtype)
        # log(p_t) from the logit itself, so that a sure mistake is not log(0).
        logit_t = ops.where(y_true > 0.5, y_pred, -y_pred)
        alpha_t = ops.where(y_true > 0.5, self.alpha, 1 - self.alpha)
        log_p_t = ops.log_sigmoid(logit_t)
        # 1 - p_t is the sigmoid of the opposite logit.
        how_wrong = ops.exp(self.gamma * ops.log_sigmoid(-logit_t))
        return ops.sum(-alpha_t * how_wrong * log_p_t, axis=-1)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha, "gamma": self.gamma}
