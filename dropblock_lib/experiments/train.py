"""Train one recipe: the numbers of a record, from images, seed and network.

A run that is killed goes on after its last whole epoch and ends with the numbers
of a run that was not: the order of the images depends on nothing but seed and
epoch, the saved model holds its optimizer, and the random states of its layers,
which Keras does not save, are saved beside it.
"""

import datetime
import math
import time

import keras
import numpy as np

from dropblock_lib.drop_block_2d import DropBlock2D
from dropblock_lib.experiments import environment, record
from dropblock_lib.experiments.classification import Classification
from dropblock_lib.experiments.detection import Detection
from dropblock_lib.experiments.devices import check_shares, prepare, spread_over
from dropblock_lib.experiments.measures import measures_of
from dropblock_lib.models import DETECTORS
from dropblock_lib.schedule import (
    KeepProbScheduler,
    find_drop_block_layers,
    linear_schedule,
)
from dropblock_lib.variants import get_variant


def train(recipe, name, data, partial, progress, devices=1):
    """Train a recipe from where it was left.

    Args:
        recipe: A `Recipe`.
        name: Name of the run, which says what data is used.
        data: A loaded data set.
        partial: A `PartialRun`, locked: where the state is kept.
        progress: From `open_progress`.
        devices: Over how many devices each batch is spread.

    Returns:
        The record, a dictionary.

    Raises:
        ValueError: If that many devices cannot share the work.
    """
    with spread_over(devices):
        return _train(recipe, name, data, partial, progress, devices)


def _train(recipe, name, data, partial, progress, devices):
    started = time.monotonic()
    git = environment.git_state()
    task = Detection if recipe.network in DETECTORS else Classification
    task = task(recipe, data, devices)
    check_shares(task.sizes(), devices)
    measures = measures_of(recipe.network)

    state = partial.read(recipe, progress.say)
    if state is None:
        state = {
            "recipe": recipe.to_dict(),
            "versions": environment.versions(),
            "git": git,
            "resumes": [],
            "history": {key: [] for key in measures.history},
            "seconds": 0.0,
        }
        # The order in which the rest draws from the global generators is fixed.
        keras.utils.set_random_seed(recipe.seed)
        model = task.make(_optimizer(recipe, task.steps), _jit())
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
    schedule = _keep_prob_schedule(recipe)
    if schedule is not None:
        callbacks.append(KeepProbScheduler(schedule))
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
        logs = task.names(logs)
        row = {key: _number(logs[key][-1]) for key in measures.per_epoch}
        row["keep_prob"] = _keep_prob(model)
        row["learning_rate"] = learning_rate
        row["seconds"] = round(time.monotonic() - epoch_started, 3)
        for key, value in row.items():
            history[key].append(value)
        state["seconds"] = seconds_before + time.monotonic() - started
        partial.write(state, model)
        progress.end_epoch(epoch, row)

    final, detections = task.final(model, history)
    return {
        "schema": record.SCHEMA,
        "name": name,
        "recipe": recipe.to_dict(),
        "recipe_hash": recipe.hash,
        "data": {
            "requested": data.requested,
            "source": data.source,
            "origin": data.origin,
            **task.account(),
        },
        "history": history,
        "final": {key: _number(value) for key, value in final.items()},
        "best": _best(history, measures),
        **_detections(state.get("detections", {}) | detections),
        "parameters": {
            "total": model.count_params(),
            "trainable": sum(math.prod(v.shape) for v in model.trainable_variables),
        },
        "seconds": round(seconds_before + time.monotonic() - started, 3),
        "hardware": {**environment.hardware(), "devices": devices},
        "backend": keras.backend.backend(),
        "versions": state["versions"],
        "git": state["git"],
        "resumes": state["resumes"],
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _optimizer(recipe, steps):
    rate = recipe.learning_rate
    if recipe.learning_rate_schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps * recipe.epochs)
    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)


def _jit():
    """Whether to compile with XLA, in Keras' words.

    Of TensorFlow without a GPU it takes longer to compile and computes no faster.
    """
    slow = keras.backend.backend() == "tensorflow" and not environment.has_gpu()
    return False if slow else "auto"


def _seed_epoch(seed, epoch):
    """Begin an epoch with known global generators, resumed or not.

    PyTorch draws the noise of Keras' Dropout from its own, whose state Keras does
    not give away. The other backends have generators in the layers. TensorFlow,
    given a seed, forgets what it has compiled, and a detector takes half a minute to
    compile.
    """
    if keras.backend.backend() == "torch":
        epoch_seed = np.random.SeedSequence((seed, epoch)).generate_state(1)
        keras.utils.set_random_seed(int(epoch_seed[0]))


def _keep_prob_schedule(recipe):
    layer = get_variant(recipe.variant)()
    if recipe.keep_prob_schedule != "linear" or not isinstance(layer, DropBlock2D):
        return None
    # The last epoch, not one after it, trains at the target.
    return linear_schedule(1.0, layer.keep_prob, max(1, recipe.epochs - 1))


def _keep_prob(model):
    return next((layer.keep_prob for layer in find_drop_block_layers(model)), None)


def _best(history, measures):
    """The epoch that was best on the validation images, which nothing else heeds."""
    values = history[measures.best]
    worst = float("inf") if measures.lowest_is_best else float("-inf")
    known = [worst if value is None else value for value in values]
    best = int(np.argmin(known) if measures.lowest_is_best else np.argmax(known))
    return {"epoch": best + 1, measures.best: values[best]}


def _detections(detections):
    return {"detections": detections} if detections else {}


def _number(value):
    """A float, or None if JSON cannot hold it: the loss of a run that diverged."""
    if value is None:
        return None
    value = float(keras.ops.convert_to_numpy(value))
    return value if math.isfinite(value) else None
