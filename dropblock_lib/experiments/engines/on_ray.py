"""Runs on a Ray cluster, one task per run.

A task trains a run and returns its record; this process, the driver, writes the record
to the results folder once. If the cluster shares that folder at the same path, the task
works in it like any run, and a retry on any machine resumes after the last complete
epoch. Otherwise the task works in a folder of its machine, and resumes only there.
"""

import contextlib
import getpass
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

import keras

from dropblock_lib.experiments.engines.orders import SHARE_THE_GPU, Report, carry_out
from dropblock_lib.experiments.recipes.recipe import Recipe, hash_of
from dropblock_lib.experiments.records import checkpoint
from dropblock_lib.experiments.records.json_files import check_writable
from dropblock_lib.experiments.records.record import (
    Record,
    RecordError,
    default_results_directory,
)

# How often Ray retries a run whose process or machine has died.
RETRIES = 10
# Seconds to wait until a process that Ray has given up on releases its lock.
PATIENCE = 60.0


def run_on_ray(
    recipes: Iterable[Recipe],
    *,
    address: str | None = None,
    cpus: float = 1,
    gpus: float | None = None,
    results_dir: Path | str | None = None,
    data_dir: Path | str | None = None,
    devices: int = 1,
    modules: Iterable[str] = (),
    say: Callable[[str], None] | None = None,
) -> list[Record]:
    """Trains recipes as tasks of a Ray cluster; those with a record are skipped.

    Every machine of the cluster needs this package, the backend and the data. A task
    loads the data from `data_dir` or from its machine's `DROPBLOCK_DATA`. If the
    process or the machine of a task dies, Ray retries the task.

    Args:
        address: Address of a cluster, such as "auto" or "ray://host:10001"; by
            default a cluster of this machine alone, which ends with the runs.
        cpus: Number of processors per run.
        gpus: Number of GPUs per run; a fraction lets runs share a GPU. By default one
            if the cluster has any.
        results_dir: As for `run`; a folder on this machine.
        data_dir: As for `run`; a folder on the cluster's machines.
        recipes, devices, modules, say: As for `run_side_by_side`.

    Returns:
        The records, in the order of the recipes.

    Raises:
        ImportError: If Ray is not installed.
        RunsFailed: If any run failed. Raised after all others are done.
    """
    ray = _ray()
    results_dir = Path(results_dir or default_results_directory()).absolute()
    check_writable(results_dir / "records", results_dir / ".partial")
    report = Report(recipes, results_dir, say)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_cluster(ray, address))
        token = stack.enter_context(_token(results_dir))
        if gpus is None:
            gpus = 1 if ray.cluster_resources().get("GPU") else 0
        task = ray.remote(
            num_cpus=cpus,
            num_gpus=gpus,
            max_retries=RETRIES,
            scheduling_strategy="SPREAD",
        )(_task)
        tasks = {}
        for order in report.orders(data_dir, devices, modules):
            order |= {
                "backend": keras.backend.backend(),
                "token": token,
                "share_gpu": 0 < gpus < 1,
            }
            name = report.recipes[order["index"]].name
            tasks[task.options(name=name).remote(order)] = order
        try:
            while tasks:
                [reference], _ = ray.wait(list(tasks), num_returns=1)
                order = tasks.pop(reference)
                try:
                    done = _keep(ray.get(reference), results_dir)
                except (ray.exceptions.RayError, ValueError, OSError) as error:
                    report.failed(order, _reason(error))
                else:
                    recipe = report.recipes[order["index"]]
                    reached = recipe.task.metrics.describe(done.final)
                    report.finished(order, done, f"in {results_dir}, {reached}")
        except BaseException:
            for reference in tasks:
                ray.cancel(reference, force=True)
            raise
    return report.records()


def _task(order):
    """The function that Ray runs: trains one recipe and returns its record."""
    backend = keras.backend.backend()
    if backend != order["backend"]:
        raise ValueError(
            f"This machine of the cluster has the Keras backend {backend}, and the run "
            f"is for {order['backend']}. Start Ray there with "
            f"KERAS_BACKEND={order['backend']}."
        )
    if order["share_gpu"]:
        for name, value in SHARE_THE_GPU.items():
            os.environ.setdefault(name, value)
    checkpoint.PATIENCE = PATIENCE
    shared = Path(order["results_dir"])
    if (shared / ".partial" / order["token"]).exists():
        return carry_out(order, shared)
    # The same command, given again, finds the same folder and resumes.
    key = hash_of({name: order[name] for name in ("results_dir", "recipe")})
    runs = Path(tempfile.gettempdir()) / f"dropblock-runs-{getpass.getuser()}"
    own = runs / key
    done = carry_out(order, own)
    shutil.rmtree(own, ignore_errors=True)
    return done


def _keep(done, results_dir):
    """Writes a record, unless its task has done so, and returns it."""
    path = results_dir / "records" / f"{done.name}.json"
    if path.exists():
        found = Record.read(path)
        if found.recipe == done.recipe:
            return found
        spare = _write_elsewhere(done)
        raise RecordError(
            f"{path} is a record of another recipe. The new record is in {spare}. Give "
            "its recipe its own `profile`, or remove the old record."
        )
    try:
        done.write(results_dir / "records")
    except OSError as error:
        # The machine that trained it has removed its copy.
        spare = _write_elsewhere(done)
        raise OSError(
            f"Cannot write {path} ({error.strerror or error}). The record is in "
            f"{spare}: move it there."
        ) from error
    return done


def _write_elsewhere(done):
    folder = Path(tempfile.mkdtemp(prefix="dropblock-record-"))
    done.write(folder)
    return folder


@contextlib.contextmanager
def _token(results_dir):
    """Creates a file by which a task recognizes the folder; yields its name."""
    token = f"driver-{uuid.uuid4().hex}"
    path = results_dir / ".partial" / token
    path.touch()
    try:
        yield token
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _cluster(ray, address):
    """Connects to Ray; an existing connection stays open."""
    if ray.is_initialized():
        yield
        return
    alone = {"include_dashboard": False, "object_store_memory": 2**27}
    ray.init(address=address, logging_level="warning", **({} if address else alone))
    try:
        yield
    finally:
        ray.shutdown()


def _ray():
    # Turns off usage statistics, which works only before the import.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ImportError(
            f"--engine ray needs Ray ({error}). To install it: "
            "pip install 'dropblock-lib[cluster]'"
        ) from None
    return ray


def _reason(error):
    """The first line of an error, without the other machine's traceback."""
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0] if lines else cause!r}"
