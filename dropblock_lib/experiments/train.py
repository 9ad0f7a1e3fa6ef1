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
from dropblock_lib.experiments.augment import AUGMENTATIONS
from dropblock_lib.experiments.devices import check_shares, prepare, spread_over
from dropblock_lib.experiments.split import fingerprint, split
from dropblock_lib.models import NETWORKS
from dropblock_lib.schedule import (
    KeepProbScheduler,
    find_drop_block_layers,
    linear_schedule,
)
from dropblock_lib.variants import get_variant

EVALUATION_BATCH = 256


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
    images = split(data, recipe)
    steps = math.ceil(len(images.y_train) / recipe.batch_size)
    check_shares(recipe, images, devices)
    evaluation_batch = EVALUATION_BATCH - EVALUATION_BATCH % devices

    state = partial.read(recipe, progress.say)
    if state is None:
        state = {
            "recipe": recipe.to_dict(),
            "versions": environment.versions(),
            "git": git,
            "resumes": [],
            "history": {key: [] for key in record.HISTORY_KEYS},
            "seconds": 0.0,
        }
        # The order in which the rest draws from the global generators is fixed.
        keras.utils.set_random_seed(recipe.seed)
        model = _compiled(recipe, data, images, steps)
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
        _make_variables(model, len(data.classes))
    augment = AUGMENTATIONS[recipe.augmentation]
    history = state["history"]
    seconds_before = state["seconds"]
    first_epoch = len(history["loss"])
    progress.start_run(name, recipe.epochs, steps, first_epoch)
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
        rng = np.random.default_rng((recipe.seed, epoch))
        order = rng.permutation(len(images.y_train))
        logs = model.fit(
            augment(images.x_train[order], rng),
            images.y_train[order],
            batch_size=recipe.batch_size,
            shuffle=False,
            initial_epoch=epoch,
            epochs=epoch + 1,
            validation_data=(images.x_val, images.y_val),
            validation_batch_size=evaluation_batch,
            callbacks=callbacks,
            verbose=0,
        ).history
        row = {key: _number(logs[key][-1]) for key in record.HISTORY_KEYS[:4]}
        row["keep_prob"] = _keep_prob(model)
        row["learning_rate"] = learning_rate
        row["seconds"] = round(time.monotonic() - epoch_started, 3)
        for key, value in row.items():
            history[key].append(value)
        state["seconds"] = seconds_before + time.monotonic() - started
        partial.write(state, model)
        progress.end_epoch(epoch, row)

    train_loss, train_accuracy = _evaluate(
        model, images.x_train, images.y_train, evaluation_batch
    )
    # The one look at the test set, with the weights that training ended with.
    test_loss, test_accuracy = _evaluate(
        model, images.x_test, images.y_test, evaluation_batch
    )
    best = int(np.argmax(history["val_accuracy"]))
    return {
        "schema": record.SCHEMA,
        "name": name,
        "recipe": recipe.to_dict(),
        "recipe_hash": recipe.hash,
        "data": {
            "requested": data.requested,
            "source": data.source,
            "origin": data.origin,
            "sha256": fingerprint(data),
            "train": len(images.y_train),
            "validation": len(images.y_val),
            "test": len(images.y_test),
        },
        "history": history,
        "final": {
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
            "val_loss": history["val_loss"][-1],
            "val_accuracy": history["val_accuracy"][-1],
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
        },
        "best": {"epoch": best + 1, "val_accuracy": history["val_accuracy"][best]},
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


def _compiled(recipe, data, images, steps):
    model = NETWORKS[recipe.network](
        recipe.variant,
        input_shape=images.x_train.shape[1:],
        classes=len(data.classes),
        seed=recipe.seed,
    )
    rate = recipe.learning_rate
    if recipe.learning_rate_schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps * recipe.epochs)
    if recipe.optimizer == "adam":
        optimizer = keras.optimizers.Adam(rate)
    else:
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=_jit(),
    )
    return model


def _jit():
    """Whether to compile with XLA, in Keras' words.

    Of TensorFlow without a GPU it takes longer to compile and computes no faster.
    """
    slow = keras.backend.backend() == "tensorflow" and not environment.has_gpu()
    return False if slow else "auto"


def _make_variables(model, classes):
    """Make what training would make in its first step.

    TensorFlow traces a step again that has made variables, which takes as long as
    a small run.
    """
    model.optimizer.build(model.trainable_variables)
    label, logits = keras.ops.zeros((1,), "int32"), keras.ops.zeros((1, classes))
    model.compute_metrics(None, label, logits)
    model.reset_metrics()


def _seed_epoch(seed, epoch):
    """Begin an epoch with known global generators, resumed or not.

    PyTorch draws the noise of Keras' Dropout from its own, whose state Keras does
    not give away. The other backends have generators in the layers.
    """
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


def _evaluate(model, x, y, batch_size):
    result = model.evaluate(x, y, batch_size=batch_size, verbose=0, return_dict=True)
    return _number(result["loss"]), _number(result["accuracy"])


def _number(value):
    """A float, or None if JSON cannot hold it: the loss of a run that diverged."""
    value = float(keras.ops.convert_to_numpy(value))
    return value if math.isfinite(value) else None
