"""Training of one recipe.

A run that is killed resumes after its last whole epoch and ends with the same numbers:
the order of the images depends on seed and epoch alone, the saved model has its
optimizer, and the random states of its layers, which Keras does not save, are saved
with it.
"""

import contextlib
import datetime
import math
import time

import keras
import numpy as np

from dropblock_lib.experiments.recipes.recipe import Recipe
from dropblock_lib.experiments.records import environment
from dropblock_lib.experiments.records.record import DataAccount, Record
from dropblock_lib.experiments.running.devices import check_shares, prepare, spread_over
from dropblock_lib.experiments.running.optimizers import make_optimizer
from dropblock_lib.keep_prob_scheduler import (
    KeepProbScheduler,
    find_drop_block_layers,
    linear_schedule,
)


def train(
    recipe: Recipe, name: str, data, partial, progress, devices: int = 1
) -> Record:
    """Trains a recipe, from its last saved epoch if there is one.

    Args:
        recipe, data, progress, devices: As for `run`.
        name: Name of the run, which says what data is used.
        partial: A locked `PartialRun`, which keeps the state.

    Returns:
        The `Record`, not written yet.
    """
    with spread_over(devices):
        return _train(recipe, name, data, partial, progress, devices)


def _train(recipe, name, data, partial, progress, devices):
    started = time.monotonic()
    git = environment.git_state()
    task = recipe.task(recipe, data, devices)
    check_shares(task.sizes(), devices)
    metrics = task.metrics

    account = task.account()
    state = partial.read(recipe, account["sha256"], progress.say)
    if state is None:
        state = {
            "recipe": recipe.to_dict(),
            "versions": environment.versions(),
            "sha256": account["sha256"],
            "git": git,
            "resumes": [],
            "history": {key: [] for key in metrics.history},
            "seconds": 0.0,
        }
        # Everything below draws from the global generators in a fixed order.
        keras.utils.set_random_seed(recipe.seed)
        with _precision(recipe.precision):
            model = task.make(make_optimizer(recipe, task.steps), _jit())
        pretrained = getattr(model, "pretrained", None)
        state["weights"] = dict(pretrained) if pretrained else None
        state["detections"] = task.before(model)
    else:
        epochs_done = len(state["history"]["loss"])
        commit = git["commit"] if git else None
        state["resumes"].append(
            {"epoch": epochs_done, "commit": commit, "devices": devices}
        )
        keras.utils.set_random_seed(recipe.seed)
        model = partial.load_model(state)

    prepare(model, devices)
    if devices == 1:
        task.make_variables(model)
    history = state["history"]
    seconds_before = state["seconds"]
    first_epoch = len(history["loss"])
    progress.start_run(name, recipe.epochs, task.steps, first_epoch)
    callbacks = [
        keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: _seed_epoch(recipe.seed, epoch),
            on_train_batch_end=lambda batch, logs: progress.step(),
        )
    ]
    if find_drop_block_layers(model):
        callbacks += _keep_prob_schedulers(recipe, task.steps)
    for epoch in range(first_epoch, recipe.epochs):
        epoch_started = time.monotonic()
        learning_rate = _number(model.optimizer.learning_rate)
        logs = model.fit(
            **task.epoch(epoch),
            shuffle=False,
            initial_epoch=epoch,
            epochs=epoch + 1,
            callbacks=callbacks,
            verbose=0,
        ).history
        logs = task.rename(logs)
        # An epoch without a validation has no "val_" values.
        row = {
            key: _number(logs[key][-1]) if key in logs else None
            for key in metrics.per_epoch
        }
        row["keep_prob"] = _keep_prob(model)
        row["learning_rate"] = learning_rate
        row["seconds"] = round(time.monotonic() - epoch_started, 3)
        for key, value in row.items():
            history[key].append(value)
        state["seconds"] = seconds_before + time.monotonic() - started
        partial.write(state, model)
        progress.end_epoch(epoch, row)

    # Probes build copies of the network, which need the same policy.
    with _precision(recipe.precision):
        final, detections = task.final(model, history)
    detections = state.get("detections", {}) | detections
    return Record(
        recipe=recipe,
        data=DataAccount(
            requested=data.requested,
            source=data.source,
            origin=data.origin,
            **account,
        ),
        history=history,
        final={
            key: value if isinstance(value, (dict, str)) else _number(value)
            for key, value in final.items()
        },
        best=_best(history, metrics),
        detections=detections or None,
        weights=state.get("weights"),
        parameters={
            # Records count the keep_prob of each DropBlock layer.
            "total": model.count_params() + len(find_drop_block_layers(model)),
            "trainable": sum(math.prod(v.shape) for v in model.trainable_variables),
        },
        seconds=round(seconds_before + time.monotonic() - started, 3),
        hardware={**environment.hardware(), "devices": devices},
        backend=keras.backend.backend(),
        versions=state["versions"],
        git=state["git"],
        resumes=state["resumes"],
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


@contextlib.contextmanager
def _precision(policy):
    """Layers made in this context compute with this dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _jit():
    """`jit_compile`: off on TensorFlow without a GPU, where XLA runs no faster."""
    slow = keras.backend.backend() == "tensorflow" and not environment.has_gpu()
    return False if slow else "auto"


def _seed_epoch(seed, epoch):
    """Seeds PyTorch's generator, so that a resumed run draws the same noise.

    PyTorch draws the noise of Keras' Dropout from a global generator, whose state
    Keras does not expose; on the other backends the layers have their own. TensorFlow
    is not seeded again, because seeding discards its compiled functions, and a detector
    takes half a minute to compile.
    """
    if keras.backend.backend() == "torch":
        epoch_seed = np.random.SeedSequence((seed, epoch)).generate_state(1)
        keras.utils.set_random_seed(int(epoch_seed[0]))


def _keep_prob_schedulers(recipe, steps_per_epoch):
    """The callbacks that lower keep_prob from 1 to its target."""
    unit = {"constant": None, "linear": "step", "linear-epoch": "epoch"}[
        recipe.keep_prob_schedule
    ]
    target = recipe.regularizer.get("keep_prob")
    if unit is None or target is None:
        return []
    count = recipe.epochs * (steps_per_epoch if unit == "step" else 1)
    # The last step or epoch trains at the target, not the one after it. A single step
    # or epoch needs no schedule.
    if count == 1:
        return []
    return [KeepProbScheduler(linear_schedule(1.0, target, count - 1), unit)]


def _keep_prob(model):
    return next((layer.keep_prob for layer in find_drop_block_layers(model)), None)


def _best(history, metrics):
    """The epoch with the best validation; nothing else depends on it."""
    values = history[metrics.best]
    worst = float("inf") if metrics.lowest_is_best else float("-inf")
    known = [worst if value is None else value for value in values]
    best = int(np.argmin(known) if metrics.lowest_is_best else np.argmax(known))
    return {"epoch": best + 1, metrics.best: values[best]}


def _number(value):
    """A float, or `None` if it is not finite, because JSON has no such numbers."""
    if value is None:
        return None
    value = float(np.asarray(keras.ops.convert_to_numpy(value)))
    return value if math.isfinite(value) else None
