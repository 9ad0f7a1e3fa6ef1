"""The checkpoint of an unfinished run.

The folder `.partial/NAME` contains the model of the last complete epoch, `state.json`,
which names it, and a lock. At any instant `state.json` names a complete model, so a
process may be killed between any two of its writes.
"""

import contextlib
import errno
import json
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from dropblock_lib.experiments.records import environment
from dropblock_lib.experiments.records.json_files import (
    remove_leftovers,
    sync,
    write_atomically,
)
from dropblock_lib.experiments.records.record import RecordError
from dropblock_lib.keep_prob_scheduler import find_drop_block_layers

# Seconds to wait for another process to release the lock.
PATIENCE = 5.0


class BusyError(OSError):
    """Another process is training the run."""


class PartialRun:
    """The folder `.partial/NAME` of an unfinished run, in the results folder."""

    def __init__(self, directory: Path):
        self.directory = Path(directory)

    @property
    def _path(self):
        return self.directory / "state.json"

    def read(self, recipe, sha256: str, say: Callable[[str], None]) -> dict | None:
        """The state of a killed run, or `None` to start from the first epoch.

        `sha256` is the hash of the images. A state that has lost its model is removed,
        and `say` is called with a sentence about it. Raises a `RecordError` if the
        state cannot be read, or is that of another recipe, other versions or images.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            state = json.loads(text)
            same_recipe = state["recipe"] == recipe.to_dict()
            same_versions = state["versions"] == environment.versions()
            # Earlier states have no hash.
            same_images = state.get("sha256", sha256) == sha256
            model_exists = (self.directory / state["model"]).is_file()
            epochs_done = len(state["history"]["loss"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._unreadable(self._path, error) from None
        if model_exists and epochs_done:
            if same_recipe and same_versions and same_images:
                self._keep_only(state["model"])
                return state
            differences = [
                text
                for text, same in (
                    ("from another recipe", same_recipe),
                    ("with other versions", same_versions),
                    ("on other images", same_images),
                )
                if not same
            ]
            raise RecordError(
                f"{self.directory} has an unfinished run (epochs done: {epochs_done}), "
                f"trained {' and '.join(differences)}. Nothing was changed. Finish the "
                "run as it was begun, or remove the folder to train from the beginning."
            )
        say(f"{recipe.name}: an unfinished run has lost its model; starting over.")
        # A kill after the first save must not leave the old state with the new model.
        self._path.unlink()
        return None

    def load_model(self, state: dict) -> keras.Model:
        """Loads the model of a state, with the random states of its layers."""
        path = self.directory / state["model"]
        try:
            model = keras.saving.load_model(path)
            for variable, value in zip(
                random_states(model), state["random_states"], strict=True
            ):
                variable.assign(np.asarray(value, dtype=variable.dtype))
        except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
            raise self._unreadable(path, error) from error
        return model

    def write(self, state: dict, model: keras.Model) -> None:
        """Saves a model and its state; an `OSError` leaves the previous ones intact."""
        epochs = len(state["history"]["loss"])
        previous = state.get("model")
        name = f"epoch-{epochs}.keras"
        path = self.directory / name
        try:
            try:
                model.save(path)
                # The model must be on disk before the state that names it.
                sync(path)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            state["random_states"] = [
                keras.ops.convert_to_numpy(variable).tolist()
                for variable in random_states(model)
            ]
            state["model"] = name
            write_atomically(self._path, json.dumps(state))
        except (OSError, RuntimeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            resumes = f"resumes after epoch {epochs - 1}" if previous else "starts over"
            raise OSError(
                f"Cannot save {path} ({reason}). Records and earlier epochs are not "
                f"changed. Once the file can be written, this run {resumes}."
            ) from error
        if previous:
            (self.directory / previous).unlink(missing_ok=True)

    def remove(self) -> None:
        """Removes the folder of a run that has its record."""
        # The state goes first: half a folder must not look like a run to resume.
        self._path.unlink(missing_ok=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def remove_if_unused(self, record: Path) -> None:
        """Removes the folder unless a process is using it or it is read-only.

        A process that was killed just after it wrote the record's file left the folder
        and perhaps a temporary file.
        """
        if self.directory.exists():
            with contextlib.suppress(OSError), self.locked(patience=0):
                remove_leftovers(record)
                self.remove()

    @contextlib.contextmanager
    def locked(self, patience: float | None = None):
        """Locks the run against other processes. A killed process frees the lock.

        Raises a `BusyError` if another process has the lock for `patience` seconds.
        """
        try:  # imported late: filelock is optional
            from filelock import FileLock, Timeout
        except ImportError:
            raise ImportError(
                "Training needs filelock. Install it with "
                '`pip install "dropblock-lib[experiments]"`.'
            ) from None

        deadline = time.monotonic() + (PATIENCE if patience is None else patience)
        lock = FileLock(self.directory / "lock")
        while not lock.is_locked:
            try:
                # Repeated, because a process that finishes the run removes the folder.
                self.directory.mkdir(parents=True, exist_ok=True)
                lock.acquire(blocking=False)
            except (Timeout, FileNotFoundError):
                if time.monotonic() > deadline:
                    message = f"Another process is training {self.directory.name}."
                    raise BusyError(message) from None
                time.sleep(0.1)
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                    raise
                break  # the file system has no locks, so the run is not locked
        try:
            yield
        finally:
            lock.release()

    def _keep_only(self, model):
        """Removes the files of a save that was killed."""
        for path in self.directory.glob("epoch-*.keras"):
            if path.name != model:
                path.unlink(missing_ok=True)
        remove_leftovers(self._path)

    def _unreadable(self, path, error):
        return RecordError(
            f"{path} cannot be read ({error!r}), so the run cannot resume. Remove "
            f"{self.directory} to train from the beginning."
        )


def random_states(model: keras.Model) -> list:
    """The states of a model's random generators: variables that are not weights."""
    weights = {id(variable) for variable in model.weights}
    # A DropBlock layer's keep_prob is not a random state. The model file contains it.
    for layer in find_drop_block_layers(model):
        weights |= {id(v) for v in layer.variables if v.name == "keep_prob"}
    return [variable for variable in model.variables if id(variable) not in weights]
