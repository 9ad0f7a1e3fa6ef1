"""Schedules of keep_prob, and the callback that applies them."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import keras

from dropblock_lib.arguments import (
    check_choice,
    check_float,
    check_integer,
    check_keep_prob,
    invalid,
)
from dropblock_lib.layers import BaseDropBlock

UNITS = ("epoch", "step")


def linear_schedule(start: float, stop: float, steps: int) -> Callable[[int], float]:
    """A schedule that goes linearly from `start` to `stop`.

    The paper decreases keep_prob linearly from 1 to its target.

    Args:
        start: Float in (0, 1]. The keep_prob at index 0.
        stop: Float in (0, 1]. The keep_prob from index `steps` on.
        steps: Positive integer. Number of epochs, or steps, from `start` to `stop`.
            With `steps=epochs - 1` the last epoch trains at `stop`.

    Returns:
        A function of an index (int >= 0) that returns the keep_prob.

    Raises:
        ValueError: If an argument is not as described.

    Example:

    >>> schedule = linear_schedule(1.0, 0.9, steps=10)
    >>> [round(schedule(epoch), 2) for epoch in (0, 5, 10, 11)]
    [1.0, 0.95, 0.9, 0.9]

    Reference:
        [Ghiasi et al., 2018](https://arxiv.org/abs/1810.12890), section 3.1,
        "Scheduled DropBlock".
    """
    start = check_float("start", start)
    stop = check_float("stop", stop)
    steps = check_integer("steps", steps)

    return _Linear(start, stop, steps)


# Classes, because functions within functions cannot be pickled.
@dataclasses.dataclass(frozen=True)
class _Linear:
    start: float
    end: float
    steps: int

    def __call__(self, index):
        progress = min(max(index / self.steps, 0.0), 1.0)
        if progress == 1:
            return self.end
        return self.start + (self.end - self.start) * progress


def decrement_schedule(
    start: float, decrement: float, floor: float
) -> Callable[[int], float]:
    """A schedule that subtracts `decrement` at each index, down to `floor`.

    Args:
        start: Float in (0, 1]. The keep_prob at index 0.
        decrement: Float >= 0. The decrease per epoch, or step.
        floor: Float in (0, `start`]. The keep_prob never falls below it. Without
            a floor, subtracting 0.07 per epoch from 1 goes below zero in 15 epochs.

    Returns:
        A function of an index (int >= 0) that returns the keep_prob.

    Raises:
        ValueError: If an argument is not as described.

    Example:

    >>> schedule = decrement_schedule(1.0, 0.07, floor=0.7)
    >>> [round(schedule(epoch), 2) for epoch in (0, 1, 4, 5)]
    [1.0, 0.93, 0.72, 0.7]
    """
    start = check_float("start", start)
    floor = check_float("floor", floor)
    if floor > start:
        raise invalid("floor", f"at most start={start}", floor)
    decrement = check_float("decrement", decrement, "[0, inf)")

    return _Decrement(start, decrement, floor)


@dataclasses.dataclass(frozen=True)
class _Decrement:
    start: float
    decrement: float
    floor: float

    def __call__(self, index):
        return max(self.start - self.decrement * index, self.floor)


class KeepProbScheduler(keras.callbacks.Callback):
    """Sets the keep_prob of every DropBlock layer of a model by a schedule.

    The callback reaches the layers of nested models and layers inside layers. A layer
    with a `rate_scale` below 1 drops at that fraction of the scheduled rate. The
    schedule's keep_prob is added to the logs, as `history.history["keep_prob"]`. The
    index counts from the very first epoch, or step, of training, so
    `fit(initial_epoch=...)` continues where training stopped. With `unit="step"`, that
    requires data of known length or `steps_per_epoch`; otherwise the callback uses the
    optimizer's step count, with a warning.

    In your own training loop, call `set_model(model)`, `on_epoch_begin(epoch)` and,
    for steps, `on_train_batch_begin(batch)`, whose `batch` counts from the beginning of
    the epoch. On JAX, a loop with `stateless_call` holds the variables itself. Write
    its values back before these calls, and read them again afterward:

    >>> for variable, value in zip(model.non_trainable_variables, state):
    ...     variable.assign(value)  # doctest: +SKIP
    >>> scheduler.on_epoch_begin(epoch)  # doctest: +SKIP
    >>> state = [each.value for each in model.non_trainable_variables]  # doctest: +SKIP

    Args:
        schedule: Function of an index (int >= 0) that returns a float in (0, 1]. If the
            function has an attribute `end`, the last keep_prob, `inspect` warns about
            layers that did not reach it. Functions from `linear_schedule` have one.
        unit: What the index counts, `"epoch"` or `"step"`. With
            `steps_per_execution` above 1, keep_prob changes once per execution.

    Raises:
        ValueError: If an argument is not as described, or the schedule returns
            anything but a float in (0, 1].

    Example:

    >>> scheduler = KeepProbScheduler(linear_schedule(1.0, 0.9, steps=10))
    >>> model.fit(x, y, epochs=11, callbacks=[scheduler])  # doctest: +SKIP
    """

    def __init__(self, schedule: Callable[[int], float], unit: str = "epoch") -> None:
        super().__init__()
        if not callable(schedule):
            raise invalid("schedule", "a function index -> keep_prob", schedule)
        self.schedule = schedule
        self.unit = check_choice("unit", unit, UNITS)
        self._start()

    def _start(self):
        self._keep_prob = None
        self._first_step = 0
        # Steps so far; `None` before the first step, or if no end was reported.
        self._steps_begun = self._steps_ended = None

    def on_train_begin(self, logs=None):
        self._start()
        if not self._find_layers():
            model: Any = self.model
            warnings.warn(
                f"KeepProbScheduler found no DropBlock layer in model "
                f"'{model.name}' to schedule.",
                stacklevel=2,
            )

    def on_epoch_begin(self, epoch, logs=None):
        if self.unit == "epoch":
            self._set(epoch)
        else:
            self._first_step = self._steps_before(epoch)

    def on_train_batch_begin(self, batch, logs=None):
        if self.unit == "step":
            self._steps_begun = self._first_step + batch + 1
            self._set(self._first_step + batch)

    def on_train_batch_end(self, batch, logs=None):
        if self.unit == "step":
            self._steps_ended = self._first_step + batch + 1

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None and self._keep_prob is not None and self._find_layers():
            logs["keep_prob"] = self._keep_prob

    def _find_layers(self):
        # During an epoch, Keras' JAX trainer holds the variables, and assignments to
        # them would be lost. Reading `self.model` returns them to the layers.
        model = self.model
        if model is None:
            raise ValueError(
                "KeepProbScheduler has no model. Call `set_model(model)` before the "
                "training loop."
            )
        return find_drop_block_layers(model)

    def _set(self, index):
        value = self.schedule(index)
        try:
            keep_prob = check_keep_prob(value)
        except ValueError:
            raise ValueError(
                f"Invalid value received from argument `schedule` at {self.unit} "
                f"{index}. Expected a float in (0, 1]. "
                f"Received: schedule({index})={value!r}"
            ) from None
        self._keep_prob = keep_prob
        end = getattr(self.schedule, "end", None)
        end = end if isinstance(end, (int, float)) else None
        for layer in self._find_layers():
            layer.keep_prob = _scaled(keep_prob, layer.rate_scale)
            if end is not None:
                layer._schedule_end = _scaled(end, layer.rate_scale)

    def _steps_before(self, epoch):
        steps_per_epoch = (self.params or {}).get("steps")
        if steps_per_epoch is not None:
            return epoch * steps_per_epoch
        # In `fit`, a step that finds no more data begins but does not end.
        steps = self._steps_ended or self._steps_begun
        if steps is not None or epoch == 0:
            return steps or 0
        # Only the optimizer counted earlier steps, and it may have missed some: it may
        # be new, or have skipped steps. On TensorFlow it may also have counted the step
        # that found no more data.
        optimizer = getattr(self.model, "optimizer", None)
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        if optimizer is None:
            warnings.warn(
                "KeepProbScheduler begins at step 0, because the number of steps of "
                f"the first {epoch} epochs is unknown, and the model has no optimizer "
                "that counted them. Call `set_params({'steps': ...})` with the number "
                "of steps per epoch.",
                stacklevel=2,
            )
            return 0
        accumulated = getattr(optimizer, "gradient_accumulation_steps", None) or 1
        steps = int(optimizer.iterations) * accumulated
        warnings.warn(
            f"KeepProbScheduler resumes keep_prob at step {steps}, the optimizer's "
            f"count, because the number of steps of the first {epoch} epochs is "
            "unknown. Pass `steps_per_epoch` to `fit` to be certain.",
            stacklevel=2,
        )
        return steps


def _scaled(keep_prob, scale):
    # A scale of 1 returns the number unchanged, without rounding.
    return keep_prob if scale == 1 else 1 - scale * (1 - keep_prob)


def find_drop_block_layers(model: Any) -> list[BaseDropBlock]:
    """Finds every DropBlock layer of a model, including nested ones, each once.

    Args:
        model: A Keras model or layer.

    Returns:
        List of `DropBlock1D`, `DropBlock2D` and `DropBlock3D` layers.
    """
    # Keras has no public walk over nested layers; a test fails if this one changes.
    layers = model._flatten_layers()
    return [layer for layer in layers if isinstance(layer, BaseDropBlock)]
