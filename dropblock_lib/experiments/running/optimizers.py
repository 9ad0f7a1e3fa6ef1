"""Optimizers and learning rates that Keras does not have."""

import keras
from keras import ops

from dropblock_lib.arguments import check_float, check_integer

MOMENTUM = 0.9
LARGEST_GRADIENT = 10.0


@keras.saving.register_keras_serializable(package="dropblock_lib")
class KernelDecaySGD(keras.optimizers.SGD):
    """SGD with L2 weight decay on kernels only, as in most papers on CIFAR.

    The gradient of `l2 / 2 * sum(kernel ** 2)` is added to that of the loss before
    momentum; the reported loss does not change. A kernel is a variable of rank 2 or
    more, so that biases and the weights of batch normalization do not decay.

    Keras' own `weight_decay` is decoupled: each step subtracts `learning_rate *
    weight_decay` times the variable. With a momentum of 0.9 it must be ten times as
    large for the same effect.

    Args:
        learning_rate: Float or a schedule.
        l2: Float >= 0.
        **kwargs: As for `keras.optimizers.SGD`.

    Raises:
        ValueError: If `l2` is not as described.
    """

    def __init__(self, learning_rate=0.01, l2: float = 0.0, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.l2 = check_float("l2", l2, "[0, inf)")

    def update_step(self, gradient, variable, learning_rate):
        if self.l2 and len(variable.shape) > 1:
            gradient = gradient + ops.cast(variable, gradient.dtype) * self.l2
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        return {**super().get_config(), "l2": self.l2}


@keras.saving.register_keras_serializable(package="dropblock_lib")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly to a peak and falls linearly to zero.

    Args:
        peak: Positive float. The largest learning rate.
        steps: Positive integer. Number of training steps.
        warmup: Float in [0, 1). Fraction of the steps in which the rate rises.

    Raises:
        ValueError: If an argument is not as described.

    Reference:
        [Smith and Topin, 2018](https://arxiv.org/abs/1708.07120).
    """

    def __init__(self, peak: float, steps: int, warmup: float = 0.2):
        self.peak = check_float("peak", peak, "(0, inf)")
        self.steps = check_integer("steps", steps)
        self.warmup = check_float("warmup", warmup, "[0, 1)")

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rising = self.warmup * self.steps
        up = (step + 1) / max(rising, 1.0)
        down = (self.steps - step) / (self.steps - rising)
        return self.peak * ops.clip(ops.minimum(up, down), 0.0, 1.0)

    def get_config(self):
        return {"peak": self.peak, "steps": self.steps, "warmup": self.warmup}


def make_optimizer(recipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Makes a recipe's optimizer; `steps_per_epoch` sets how fast its rate falls."""
    rate = recipe.learning_rate
    steps = steps_per_epoch * recipe.epochs
    if recipe.learning_rate_schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    elif recipe.learning_rate_schedule == "one-cycle":
        rate = OneCycle(rate, steps, recipe.warmup)
    elif recipe.learning_rate_schedule == "warmup-cosine":
        rising = round(recipe.warmup * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            rate / max(1, rising),
            max(1, steps - rising),
            warmup_target=rate,
            warmup_steps=rising,
        )
    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    if recipe.optimizer == "adamw":
        return keras.optimizers.AdamW(
            rate, recipe.weight_decay, global_clipnorm=LARGEST_GRADIENT
        )
    kwargs = {"momentum": MOMENTUM, "nesterov": True}
    if not recipe.weight_decay:
        return keras.optimizers.SGD(rate, **kwargs)
    return KernelDecaySGD(rate, recipe.weight_decay, **kwargs)
