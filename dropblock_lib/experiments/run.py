"""Train one recipe, or a grid of them, and keep what came out.

A run that is killed goes on after its last whole epoch and ends with the numbers
of a run that was not: the order of the images depends on nothing but seed and
epoch, the saved model holds its optimizer, and the random states of its layers,
which Keras does not save, are saved beside it.
"""

import contextlib
import datetime
import json
import math
import os
import shutil
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

from dropblock_lib.drop_block_2d import DropBlock2D
from dropblock_lib.experiments import environment, record
from dropblock_lib.experiments.augment import AUGMENTATIONS
from dropblock_lib.experiments.progress import open_progress
from dropblock_lib.experiments.split import fingerprint, split
from dropblock_lib.models import NETWORKS
from dropblock_lib.schedule import (
    KeepProbScheduler,
    find_drop_block_layers,
    linear_schedule,
)
from dropblock_lib.variants import get_variant

EVALUATION_BATCH = 256


def run(recipe, *, results_dir=None, data_dir=None, data=None, progress=None):
    """Train a recipe, unless there is a record of it already.

    Args:
        recipe: A `Recipe`.
        results_dir: Folder for `records/NAME.json` and, while the run is under
            way, `.partial/NAME/`. By default the source tree's `results`, or
            `./results` if the package is installed without its tree.
        data_dir: Folder of real data files, as for `load_dataset`.
        data: A loaded data set, to save loading it again.
        progress: From `open_progress`; by default one for this run.

    Returns:
        The record, a dictionary: the new one, or the one that was there.

    Raises:
        RecordError: If a file stands in the record's place that is not a record
            of this recipe.
        OSError: If nothing can be written to `results_dir`. Nothing was trained.
    """
    results_dir = Path(results_dir or record.default_results_directory())
    with contextlib.ExitStack() as stack:
        if progress is None:
            progress = stack.enter_context(open_progress(1))
        if data is None:
            data = _load(recipe.dataset, data_dir)
        done, why = _existing(recipe, data, results_dir / "records")
        if done is not None:
            progress.skip_run(done["name"], why)
            return done
        name = recipe.name_on(record.data_label(data.requested, data.source))
        partial = results_dir / ".partial" / name
        check_writable(results_dir / "records", partial)
        stack.enter_context(_only_one(partial))
        finished = _train(recipe, name, data, partial, progress)
        record.write_record(finished, results_dir / "records")
        shutil.rmtree(partial, ignore_errors=True)
        final = finished["final"]
        progress.end_run(
            f"test accuracy {final['test_accuracy']:.4f}, train accuracy "
            f"{final['train_accuracy']:.4f}, {finished['seconds']:.0f} s"
        )
        return finished


def run_all(recipes, *, results_dir=None, data_dir=None, progress=None):
    """Train recipes one after another; those with a record are skipped.

    Args:
        recipes: An iterable of `Recipe`.
        results_dir: As for `run`.
        data_dir: As for `run`.
        progress: From `open_progress`; by default one for these runs.

    Returns:
        The list of their records.
    """
    recipes = list(recipes)
    loaded = {}
    records = []
    with contextlib.ExitStack() as stack:
        if progress is None:
            progress = stack.enter_context(open_progress(len(recipes)))
        for recipe in recipes:
            if recipe.dataset not in loaded:
                loaded = {recipe.dataset: _load(recipe.dataset, data_dir)}
            records.append(
                run(
                    recipe,
                    results_dir=results_dir,
                    data=loaded[recipe.dataset],
                    progress=progress,
                )
            )
            # Or the memory of all earlier models stays taken.
            keras.utils.clear_session()
    return records


def run_or_load(recipe, *, results_dir=None, data_dir=None):
    """The record of a recipe: read if there is one, made if not. Says which.

    Looks in `results_dir` and among the records that come with the package.

    Args:
        recipe: A `Recipe`.
        results_dir: As for `run`.
        data_dir: As for `run`.

    Returns:
        The record, a dictionary.
    """
    results_dir = Path(results_dir or record.default_results_directory())
    for directory in (results_dir / "records", record.default_records_directory()):
        found = find_records(recipe, directory)
        if found:
            done = found[0]
            print(
                f"Read the record {done['name']}: {done['date'][:10]}, "
                f"{done['seconds']:.0f} s on {done['hardware']['cpu']}."
            )
            return done
    print(f"No record of {recipe.name} yet: training it now.")
    return run(recipe, results_dir=results_dir, data_dir=data_dir)


def find_records(recipe, directory):
    """The records of a recipe, whatever data they used; real data first."""
    directory = Path(directory)
    prefix, _, suffix = recipe.name_on("\0").partition("\0")
    candidates = (
        record.read_record(path)
        for path in sorted(directory.glob("*.json"))
        if path.stem.startswith(prefix) and path.stem.endswith(suffix)
    )
    found = [done for done in candidates if done["recipe_hash"] == recipe.hash]
    return sorted(
        found,
        key=lambda done: record.is_stand_in(
            done["data"]["requested"], done["data"]["source"]
        ),
    )


def check_writable(*directories):
    """Find out before hours of training, not after.

    Raises:
        OSError: If a folder cannot be made or written to.
    """
    for directory in directories:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                pass
        except OSError as error:
            raise OSError(
                f"Cannot write to {directory} ({error.strerror}). Nothing was "
                "trained; choose another folder for the results."
            ) from None


def _load(name, data_dir):
    # Here, because a machine that only reads records needs no data.
    from dropblock_lib.data import load_dataset

    return load_dataset(name, data_dir=data_dir)


def _existing(recipe, data, directory):
    """The record that makes a run needless, and why; or (None, None)."""
    name = recipe.name_on(record.data_label(data.requested, data.source))
    path = directory / f"{name}.json"
    if path.exists():
        done = record.read_record(path)
        if done["recipe_hash"] != recipe.hash:
            raise record.RecordError(
                f"{path} is a record of another recipe: "
                f"{_difference(done['recipe'], recipe)}. Give this recipe a "
                "`profile` of its own, or remove the record."
            )
        return done, "its record exists"
    if record.is_stand_in(data.requested, data.source):
        for done in find_records(recipe, directory):
            return done, f"and here there is only the stand-in {data.source}"
    return None, None


def _difference(values, recipe):
    wanted = recipe.to_dict()
    return ", ".join(
        f"{field} is {values[field]!r} there and {wanted[field]!r} here"
        for field in wanted
        if values[field] != wanted[field]
    )


def _train(recipe, name, data, partial, progress):
    started = time.monotonic()
    git = environment.git_state()
    images = split(data, recipe)
    steps = math.ceil(len(images.y_train) / recipe.batch_size)

    state = _read_state(partial, recipe, progress)
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
        state["resumes"].append({"epoch": epochs_done, "commit": commit})
        keras.utils.set_random_seed(recipe.seed)
        model = keras.saving.load_model(partial / state["model"])
        for variable, value in zip(
            _random_states(model), state["random_states"], strict=True
        ):
            variable.assign(np.asarray(value, dtype=variable.dtype))

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
            validation_batch_size=EVALUATION_BATCH,
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
        _write_state(partial, state, model)
        progress.end_epoch(epoch, row)

    train_loss, train_accuracy = _evaluate(model, images.x_train, images.y_train)
    # The one look at the test set, with the weights that training ended with.
    test_loss, test_accuracy = _evaluate(model, images.x_test, images.y_test)
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
        "hardware": environment.hardware(),
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


def _evaluate(model, x, y):
    result = model.evaluate(
        x, y, batch_size=EVALUATION_BATCH, verbose=0, return_dict=True
    )
    return _number(result["loss"]), _number(result["accuracy"])


def _number(value):
    """A float, or None if JSON cannot hold it: the loss of a run that diverged."""
    value = float(keras.ops.convert_to_numpy(value))
    return value if math.isfinite(value) else None


def _read_state(partial, recipe, progress):
    """Where a killed run stood, or None to begin at the beginning."""
    path = partial / "state.json"
    if not path.exists():
        return None
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        same_recipe = state["recipe"] == recipe.to_dict()
        same_versions = state["versions"] == environment.versions()
        model_exists = (partial / state["model"]).is_file()
    except (ValueError, KeyError, TypeError) as error:
        raise record.RecordError(
            f"{path} does not tell how far a run got ({error!r}). Remove "
            f"{partial} to train from the beginning."
        ) from None
    if same_recipe and same_versions and model_exists:
        return state
    progress.say(
        f"{recipe.name}: an unfinished run used another recipe or other versions; "
        "starting over."
    )
    return None


def _random_states(model):
    """The variables that noise is drawn from: those that are no weights."""
    weights = {id(variable) for variable in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def _write_state(partial, state, model):
    """Save model and history; at any instant the state names a whole model."""
    previous = state.get("model")
    state["random_states"] = [
        keras.ops.convert_to_numpy(variable).tolist()
        for variable in _random_states(model)
    ]
    state["model"] = f"epoch-{len(state['history']['loss'])}.keras"
    path = partial / state["model"]
    model.save(path)
    # Without this a power cut may leave the state on disk, and no model.
    with path.open("rb") as file:
        os.fsync(file.fileno())
    record.write_atomically(partial / "state.json", json.dumps(state))
    if previous and previous != state["model"]:
        (partial / previous).unlink(missing_ok=True)


@contextlib.contextmanager
def _only_one(partial):
    """Keep a second process off the same run. The system ends it with the process."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        yield
        return
    handle = os.open(partial / "lock", os.O_CREAT | os.O_RDWR)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OSError(f"Another process is training {partial.name}.") from None
        yield
    finally:
        os.close(handle)
