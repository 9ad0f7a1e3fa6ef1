"""Several runs side by side on one machine, each in its own process."""

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
from collections.abc import Callable, Iterable
from pathlib import Path

from dropblock_lib.experiments.engines.orders import SHARE_THE_GPU, Report
from dropblock_lib.experiments.recipes.recipe import Recipe
from dropblock_lib.experiments.records.record import Record, find_records

# Seconds in which an interrupted process must end by itself.
PATIENCE = 10.0


def run_side_by_side(
    recipes: Iterable[Recipe],
    jobs: int,
    *,
    results_dir: Path | str | None = None,
    data_dir: Path | str | None = None,
    devices: int = 1,
    modules: Iterable[str] = (),
    say: Callable[[str], None] | None = None,
) -> list[Record]:
    """Trains recipes, several at a time; those with a record are skipped.

    Each run is a process, and one that fails does not affect the others. However this
    process ends, its runs end with it, and nothing is lost.

    Args:
        recipes: An iterable of `Recipe`.
        jobs: Number of runs at a time.
        results_dir, data_dir, devices: As for `run`.
        modules: Names of modules that each process imports first, for example to
            register your own networks.
        say: Called with each line of progress; prints it by default.

    Returns:
        The records, in the order of the recipes.

    Raises:
        RunsFailed: If any run failed. Raised after all others are done.
    """
    report = Report(recipes, results_dir, say)
    processes = _Processes()

    def train(order):
        code, errors = processes.run(order, report.say)
        if code is None:
            return
        if code:
            report.failed(order, _reason(code, errors))
        else:
            recipe = report.recipes[order["index"]]
            records = report.results_dir / "records"
            report.finished(order, find_records(recipe, records)[0])

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        try:
            orders = report.orders(data_dir, devices, modules)
            for future in [pool.submit(train, order) for order in orders]:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            processes.stop()
            raise
    return report.records()


class _Processes:
    """The processes that are running."""

    def __init__(self):
        self._lock = threading.Lock()
        self._running = set()
        self._stopped = False

    def run(self, order, say):
        """Carries out an order; returns the exit code and the last error lines.

        The exit code is `None` if the processes were stopped meanwhile.
        """
        with self._lock:
            if self._stopped:
                return None, []
            process = _start(order)
            self._running.add(process)
        errors = collections.deque(maxlen=20)
        listener = threading.Thread(target=errors.extend, args=[process.stderr])
        listener.start()
        for line in process.stdout or ():
            say(line.rstrip("\n"))
        code = process.wait()
        listener.join()
        with self._lock:
            self._running.remove(process)
            return (None if self._stopped else code), errors

    def stop(self):
        """Interrupts the processes and waits until they are gone."""
        with self._lock:
            self._stopped = True
            processes = list(self._running)
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + PATIENCE
        for process in processes:
            try:
                process.wait(max(0, deadline - time.monotonic()))
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
        # Ctrl-C reaches only this process, which then stops the others.
        start_new_session=True,
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
    return process


def _reason(code, errors):
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    lines = [line.strip() for line in errors if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else f"exit code {code}"
