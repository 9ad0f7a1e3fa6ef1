"""An unfinished run on disk: how far it got, and all that it needs to go on.

The folder `.partial/NAME` holds the model of the last whole epoch, `state.json`
that names it, and a lock. At any instant `state.json` names a whole model, so a
process may be killed between any two of its writes.
"""

import contextlib
import errno
import json
import os
import shutil
import time
import zipfile
from pathlib import Path

import keras
import numpy as np

from dropblock_lib.experiments.records import environment
from dropblock_lib.experiments.records.json_files import sync, write_atomically
from dropblock_lib.experiments.records.record import RecordError

# How long a process that was killed may take to let go of its run.
PATIENCE = 5.0


class BusyError(OSError):
    """Another process is training the run."""


class PartialRun:
    """The folder of an unfinished run.

    Args:
        directory: `.partial/NAME` in the folder of the results.
    """

    def __init__(self, directory: Path):
        self.directory = Path(directory)

    @property
    def _path(self):
        return self.directory / "state.json"

    def read(self, recipe, say) -> dict | None:
        """Where a killed run stood, or `None` to begin at the beginning.

        Args:
            recipe: The `Recipe` that is to be trained.
            say: Called with a sentence if there is a state that is of no use.

        Raises:
            RecordError: If the state cannot be read; the message names the file.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            state = json.loads(text)
            same_recipe = state["recipe"] == recipe.to_dict()
            same_versions = state["versions"] == environment.versions()
            model_exists = (self.directory / state["model"]).is_file()
            epochs_done = len(state["history"]["loss"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._unreadable(self._path, error) from None
        if same_recipe and same_versions and model_exists and epochs_done:
            self._keep_only(state["model"])
            return state
        say(
            f"{recipe.name}: an unfinished run used another recipe or other versions, "
            "or has lost its model; starting over."
        )
        # Before the first save: or a kill behind it would leave the old state with
        # the new model.
        self._path.unlink()
        return None

    def load_model(self, state: dict):
        """The model of a state, with the random states of its layers."""
        path = self.directory / state["model"]
        try:
            model = keras.saving.load_model(path)
            for variable, value in zip(
                random_states(model), state["random_states"], strict=True
            ):
                variable.assign(np.asarray(value, dtype=variable.dtype))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise self._unreadable(path, error) from error
        return model

    def write(self, state: dict, model) -> None:
        """Save model and state.

        Raises:
            OSError: If there is no room, say. What was saved before still stands.
        """
        epochs = len(state["history"]["loss"])
        previous = state.get("model")
        name = f"epoch-{epochs}.keras"
        path = self.directory / name
        try:
            try:
                model.save(path)
                # Or a power cut may leave the state on disk, and no model.
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
            goes_on = f"goes on after epoch {epochs - 1}" if previous else "begins anew"
            raise OSError(
                f"Cannot save {path} ({reason}). Records and earlier epochs are as "
                f"they were: once it can be written, this run {goes_on}."
            ) from error
        if previous:
            (self.directory / previous).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder of a run that has its record."""
        # First: half a folder must not look like a run to go on with.
        self._path.unlink(missing_ok=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def remove_if_unused(self) -> None:
        """Remove the folder unless a process works in it or it cannot be written."""
        if self.directory.exists():
            with contextlib.suppress(OSError), self.locked(patience=0):
                self.remove()

    @contextlib.contextmanager
    def locked(self, patience: float | None = None):
        """Keep a second process off the same run. The system ends it with this one.

        Args:
            patience: Seconds to wait for the other process.

        Raises:
            BusyError: If another process is training the run.
        """
        try:
            import fcntl
        except ModuleNotFoundError:  # Windows
            yield
            return
        patience_ends = time.monotonic() + (PATIENCE if patience is None else patience)
        while (handle := self._lock(fcntl)) is None:
            if time.monotonic() > patience_ends:
                raise BusyError(f"Another process is training {self.directory.name}.")
            time.sleep(0.1)
        try:
            yield
        finally:
            os.close(handle)

    def _lock(self, fcntl):
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "lock"
        try:
            handle = os.open(path, os.O_CREAT | os.O_RDWR)
        except FileNotFoundError:  # the other process is done and cleans up
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A lock on a file that was removed meanwhile keeps nobody off.
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError as error:
            # Some file systems know no locks: better trained twice than not at all.
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                return handle
            os.close(handle)
            raise
        os.close(handle)
        return None

    def _keep_only(self, model):
        """Remove the models of a save that was killed before it was done."""
        for path in self.directory.glob("epoch-*.keras"):
            if path.name != model:
                path.unlink(missing_ok=True)
        for path in self.directory.glob(".state.json.*.tmp"):
            path.unlink(missing_ok=True)

    def _unreadable(self, path, error):
        return RecordError(
            f"{path} does not tell how far a run got ({error!r}). Remove "
            f"{self.directory} to train from the beginning."
        )


def random_states(model):
    """The variables that noise is drawn from: those that are no weights."""
    weights = {id(variable) for variable in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]
