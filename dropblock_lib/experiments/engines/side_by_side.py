"""Several runs side by side on one machine, each in a process of its own."""

import collections
import concurrent.futures
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from dropblock_lib.experiments.engines.worker import import_modules
from dropblock_lib.experiments.records import record
from dropblock_lib.experiments.running.progress import LineProgress, clock
from dropblock_lib.experiments.running.run import RunsFailed, find_records

__all__ = ["import_modules", "run_side_by_side"]

# Without these each process would take the whole memory of a GPU for itself.
SHARE_THE_GPU = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}
# How long an interrupted process may take to come to an end by itself.
PATIENCE = 10.0


def run_side_by_side(
    recipes, jobs, *, results_dir=None, data_dir=None, devices=1, modules=(), say=None
):
    """Train recipes, some at a time; those with a record are skipped.

    Each run is a process. One that fails leaves the others alone. When this process
    ends, however it does, so do they, and nothing is lost.

    Args:
        recipes: An iterable of `Recipe`.
        jobs: How many runs there are at a time.
        results_dir: As for `run`.
        data_dir: As for `run`.
        devices: As for `run`.
        modules: Names of modules that each process imports first, to register
            networks of your own, say.
        say: Called with each line of progress; prints it by default.

    Returns:
        The list of their records.

    Raises:
        RunsFailed: If runs have failed, after all others are done.
    """
    recipes = list(recipes)
    results_dir = Path(results_dir or record.default_results_directory())
    group = _Group(len(recipes), say or LineProgress(0, sys.stdout).say)

    def one(index, recipe):
        found = find_finished(recipe, results_dir)
        if found:
            group.skip(index, found["name"])
            return found
        order = {
            "recipe": recipe.to_dict(),
            "results_dir": str(results_dir),
            "data_dir": None if data_dir is None else str(data_dir),
            "devices": devices,
            "modules": list(modules),
            "index": index,
            "total": len(recipes),
        }
        group.train(recipe.name, order)
        found = find_records(recipe, results_dir / "records")
        return found[0] if found else None

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        try:
            futures = [pool.submit(one, *item) for item in enumerate(recipes, 1)]
            done = [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            group.stop()
            raise
    if group.failures:
        raise RunsFailed(group.failures, len(recipes))
    return done


def find_finished(recipe, results_dir) -> dict | None:
    """The record that makes a run needless, whatever data there is."""
    for done in find_records(recipe, results_dir / "records"):
        # Of a stand-in it depends on the data, which only the run itself loads.
        if not record.is_stand_in(done["data"]["requested"], done["data"]["source"]):
            return done
    return None


class _Group:
    """The processes that are under way, and what has become of the others."""

    def __init__(self, total, say):
        self.total = total
        self.failures = {}
        self._say = say
        self._lock = threading.Lock()
        self._processes = set()
        self._stopped = False
        self._started = time.monotonic()
        self._trained = 0
        self._over = 0

    def say(self, text):
        # Whole lines, one at a time: those of several processes do not mix.
        with self._lock:
            self._say(text)

    def skip(self, index, name):
        self._over += 1
        self.say(f"[{index}/{self.total}] {name}: skipped, its record exists")

    def train(self, name, order):
        """Train one run in a process, to its end."""
        with self._lock:
            if self._stopped:
                return
            process = _start(order)
            self._processes.add(process)
        errors = collections.deque(maxlen=20)
        listener = threading.Thread(target=errors.extend, args=[process.stderr])
        listener.start()
        for line in process.stdout:
            self.say(line.rstrip("\n"))
        code = process.wait()
        listener.join()
        with self._lock:
            self._processes.remove(process)
            self._over += 1
            self._trained += 1
            if code and not self._stopped:
                self.failures[name] = _reason(code, errors)
        if code and not self._stopped:
            self.say(f"[{order['index']}/{self.total}] {name}: {_reason(code, errors)}")
        left = self.total - self._over
        if left and not self._stopped:
            seconds = (time.monotonic() - self._started) / self._trained * left
            self.say(f"{self._over} of {self.total} runs over, {clock(seconds)} left")

    def stop(self):
        """Interrupt the processes, and wait until they are gone."""
        with self._lock:
            self._stopped = True
            processes = list(self._processes)
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        patience_ends = time.monotonic() + PATIENCE
        for process in processes:
            try:
                process.wait(max(0, patience_ends - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()


def _start(order):
    process = subprocess.Popen(
        [sys.executable, "-m", "dropblock_lib.experiments.engines.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**SHARE_THE_GPU, **os.environ},
        # Ctrl-C reaches this process alone, which then sees to the others.
        start_new_session=True,
    )
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
    return process


def _reason(code, errors):
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    said = [line.strip() for line in errors if line.strip()]
    return said[-1].removeprefix("error: ") if said else f"exit code {code}"
