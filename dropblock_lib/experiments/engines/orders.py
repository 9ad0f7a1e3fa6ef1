"""Shared by all engines: the order for a run, and the report on all runs."""

import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from dropblock_lib.experiments.recipes.recipe import Recipe
from dropblock_lib.experiments.records.record import (
    Record,
    default_results_directory,
    find_records,
)
from dropblock_lib.experiments.running.progress import LineProgress, clock
from dropblock_lib.experiments.running.run import RunsFailed, run

# Without these, each process would reserve the whole memory of a GPU.
SHARE_THE_GPU = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}


class Report:
    """Tracks which runs have finished or failed, and reports each on a line.

    Runs that have a record are skipped. The arguments are those of the engines.
    """

    def __init__(
        self,
        recipes: Iterable[Recipe],
        results_dir: Path | str | None,
        say: Callable[[str], None] | None = None,
    ):
        self.recipes = dict(enumerate(recipes, 1))
        self.results_dir = Path(results_dir or default_results_directory())
        self._say = say or LineProgress(0, sys.stdout).say
        self._lock = threading.Lock()
        self._done, self._failures = {}, {}
        for index, recipe in self.recipes.items():
            found = find_records(recipe, self.results_dir / "records")
            # A stand-in's record may not suffice: the run decides once it has its data.
            if found and not found[0].is_stand_in:
                self._done[index] = found[0]
                self.say(f"{self._label(index)}: skipped, its record exists")
        self._skipped = len(self._done)
        self._started = time.monotonic()

    def orders(self, data_dir, devices: int, modules: Iterable[str]) -> list[dict]:
        """An order for each run that has no record, as plain values for JSON."""
        return [
            {
                "recipe": recipe.to_dict(),
                "results_dir": str(self.results_dir),
                "data_dir": None if data_dir is None else str(data_dir),
                "devices": devices,
                "modules": list(modules),
                "index": index,
                "total": len(self.recipes),
            }
            for index, recipe in self.recipes.items()
            if index not in self._done
        ]

    def say(self, line: str) -> None:
        """Shows a whole line, from any thread."""
        with self._lock:
            self._say(line)

    def finished(self, order: dict, done: Record, reached: str = "") -> None:
        """Called when a run has its record; `reached` describes the results."""
        self._done[order["index"]] = done
        self._ended(order, reached)

    def failed(self, order: dict, reason: str) -> None:
        """Called when a run has failed."""
        self._failures[order["index"]] = reason
        self._ended(order, reason)

    def records(self) -> list[Record]:
        """Returns the records of all runs, or raises `RunsFailed`."""
        if self._failures:
            reasons = {
                self.recipes[index].name: reason
                for index, reason in sorted(self._failures.items())
            }
            raise RunsFailed(reasons, len(self.recipes))
        return [self._done[index] for index in self.recipes]

    def _ended(self, order, line):
        if line:
            self.say(f"{self._label(order['index'])}: {line}")
        total, ended = len(self.recipes), len(self._done) + len(self._failures)
        if ended < total:
            seconds = (time.monotonic() - self._started) / (ended - self._skipped)
            left = clock(seconds * (total - ended))
            self.say(f"{ended} of {total} runs ended, {left} left")

    def _label(self, index):
        return f"[{index}/{len(self.recipes)}] {self.recipes[index].name}"


def carry_out(order: dict, results_dir: Path | str):
    """Trains the run of an order and returns its record."""
    import_modules(order["modules"])
    progress = LineProgress(order["total"], sys.stdout)
    progress.run_index = order["index"] - 1
    return run(
        Recipe.from_dict(order["recipe"]),
        results_dir=results_dir,
        data_dir=order["data_dir"],
        progress=progress,
        devices=order["devices"],
    )


def import_modules(names: Iterable[str]) -> None:
    """Imports modules that register networks or variants of the user's own."""
    # As with `python -m`, they may be in the working directory.
    if names and "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in names:
        importlib.import_module(name)
