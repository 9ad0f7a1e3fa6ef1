"""The optimizer of detectors, and a warning if a detector learns nothing."""

import logging
import math

import keras
import numpy as np

from dropblock_lib.arguments import check_float, check_integer
from dropblock_lib.detection.batches import DetectionBatches
from dropblock_lib.detection.losses import FocalLoss

logger = logging.getLogger("dropblock_lib")

LEARNING_RATE = 3e-4
WEIGHT_DECAY = 1e-4
LARGEST_GRADIENT = 10.0
WARMUP = 0.05
# Number of warm-up steps if the total number of steps is unknown.
WARMUP_STEPS = 100
# The initial logit of every class, a probability of 1 in 100. All but a few of ten
# thousand anchors are background: without this prior, their loss would dominate the
# first steps.
PRIOR_LOGIT = -math.log(99)
# A detector learns if its class loss falls below these fractions: of the initial loss
# in the first epoch, of the previous epoch's loss later, or of the uninformed loss.
FALLEN_FIRST, FALLEN_LATER, LEARNED_NOTHING = 0.95, 0.99, 0.97
# Before this many steps, it is too early to warn.
FIRST_STEPS = 30


def detection_optimizer(
    learning_rate: float = LEARNING_RATE, steps: int | None = None
) -> keras.optimizers.Optimizer:
    """Makes AdamW with warm-up and clipped gradients, for training a detector.

    The learning rate rises over the first 5% of the steps and falls to zero along a
    cosine. Gradients are scaled to a global norm of at most 10, because a single batch
    with few positive anchors can otherwise kill the class head. Weight decay is 1e-4.

    Args:
        learning_rate: Float > 0, the largest learning rate.
        steps: Number of training steps, or `None` if it is unknown: the learning rate
            then rises for 100 steps and remains constant.

    Returns:
        A `keras.optimizers.AdamW`.

    Raises:
        ValueError: If an argument is not as described.

    Example:

    >>> model.compile(detection_optimizer(steps=10 * len(batches)))
    """
    rate = check_float("learning_rate", learning_rate, "(0, inf)")
    known = steps is not None
    steps = check_integer("steps", steps) if known else WARMUP_STEPS
    warmup = round(WARMUP * steps) if known else WARMUP_STEPS
    return keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(
            rate / max(1, warmup),
            max(1, steps - warmup),
            alpha=0.0 if known else 1.0,
            warmup_target=rate,
            warmup_steps=warmup,
        ),
        weight_decay=WEIGHT_DECAY,
        global_clipnorm=LARGEST_GRADIENT,
    )


def uninformed_loss(
    model: keras.Model,
    batches: DetectionBatches,
    logit: float | None = None,
    loss: FocalLoss | None = None,
) -> float:
    """Computes the class loss of a detector that ignores the image.

    Such a detector gives every anchor the same score for a class. A detector whose
    class loss stays at the initial value has learned nothing. One that stays at the
    lowest loss of all constant scores has learned only how frequent classes are.

    Args:
        model: A `RetinaNet`.
        batches: `DetectionBatches`. Images are not read, and boxes are not jittered.
        logit: The score of all classes, such as `PRIOR_LOGIT`, with which training
            begins. By default each class has the score with the lowest loss.
        loss: The class loss; by default `FocalLoss()`.

    Returns:
        The loss per positive anchor, a float: the mean over the batches.

    Example:

    >>> uninformed_loss(model, DetectionBatches(dataset.validation, 256, 8))
    0.89
    """
    loss = FocalLoss() if loss is None else loss
    # Total weights of the anchors of each class, and of all anchors in the class loss.
    present, total = np.zeros(model.num_classes), 0.0
    for number in range(len(batches)):
        y = batches.targets(number)
        shape = (len(y["boxes"]), *model.input_shape[1:])
        labels = model.assign(np.zeros(shape, "float32"), **y)[1]
        labels = keras.ops.convert_to_numpy(labels).astype("int64")
        counts = np.bincount(labels[labels >= 0], minlength=model.num_classes)
        present += counts / max(1, counts.sum())
        total += (labels != -2).sum() / max(1, counts.sum())
    logits = np.linspace(-20, 20, 4001) if logit is None else np.array([logit])
    yes, no = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    costs = -loss.alpha * present[:, None] * np.exp(loss.gamma * no) * yes
    absent = total - present[:, None]
    costs -= (1 - loss.alpha) * absent * np.exp(loss.gamma * yes) * no
    return float(costs.min(axis=1).sum() / len(batches))


class UninformedWarning(keras.callbacks.Callback):
    """Warns once if a detector's class loss shows that it learns nothing.

    That is the case if the loss has not fallen by 5% in the first epoch, or by 1% in a
    later one, and is not at least 3% below that of a detector that ignores the image.
    The first 30 steps never lead to a warning. `RetinaNet.fit` adds this callback for
    `DetectionBatches`.

    Args:
        batches: The batches whose loss is monitored: validation batches if there are
            any.
        prefix: `"val_"` for validation batches.
    """

    def __init__(self, batches: DetectionBatches, prefix: str = ""):
        super().__init__()
        self.batches = batches
        self.name = f"{prefix}cls_logits_loss"

    def on_epoch_end(self, epoch, logs=None):
        found, model = (logs or {}).get(self.name), self.model
        loss = model.loss.get("cls_logits") if isinstance(model.loss, dict) else None
        if found is None or not isinstance(loss, FocalLoss) or model.warned:
            return
        known = model.uninformed_losses.setdefault(self.batches, {})
        key = loss.alpha, loss.gamma
        if key not in known:
            known[key] = [
                uninformed_loss(model, self.batches, logit, loss)
                for logit in (PRIOR_LOGIT, None)
            ]
        first, lowest = known[key]
        before = model.class_losses.get(self.name)
        expected = FALLEN_FIRST * first if before is None else FALLEN_LATER * before
        model.class_losses[self.name] = found
        early = int(model.optimizer.iterations) < FIRST_STEPS
        # A NaN loss also leads to the warning, because comparisons with NaN are false.
        if early or found < expected or found < LEARNED_NOTHING * lowest:
            return
        model.warned = True
        logger.warning(
            "After epoch %d the class loss is %.3f. It began near %.3f, and a detector "
            "that ignores the image reaches %.3f: the detector is not learning. If "
            "this continues, train again with a smaller learning rate (%g works for "
            "RetinaNet), warm-up and clipped gradients, as in `detection_optimizer`.",
            epoch + 1,
            found,
            first,
            lowest,
            LEARNING_RATE,
        )
