"""Runs on a Ray cluster, one task a run: the only file that knows Ray.

A task trains, and returns its record; this process, the driver, sees to it that the
record is in the folder of the results once. Where that folder is shared with the
cluster, at the same path, the task works in it as any run does: a task that is
tried again, wherever it may be, goes on after the last whole epoch. Elsewhere the
task works in a folder of its machine, and goes on only if it is tried there again.
"""

import contextlib
import os
import shutil
import sys
import tempfile
import time
import uuid
from pathlib import Path

import keras

from dropblock_lib.experiments.engines.side_by_side import SHARE_THE_GPU, find_finished
from dropblock_lib.experiments.engines.worker import import_modules
from dropblock_lib.experiments.recipes.recipe import Recipe
from dropblock_lib.experiments.records import checkpoint, record
from dropblock_lib.experiments.records.json_files import check_writable
from dropblock_lib.experiments.running.progress import LineProgress, clock
from dropblock_lib.experiments.running.run import RunsFailed, run
from dropblock_lib.experiments.tasks.metrics import measures_of

# How often Ray tries a run again whose process or machine has died.
RETRIES = 10
# How long a run waits for a process that Ray has given up to let go of it.
PATIENCE = 60.0


def run_on_ray(
    recipes,
    *,
    address=None,
    cpus=1,
    gpus=None,
    results_dir=None,
    data_dir=None,
    devices=1,
    modules=(),
    say=None,
):
    """Train recipes as tasks of a Ray cluster; those with a record are skipped.

    Every machine of the cluster needs this package with the backend, and the data:
    a task loads it from `data_dir` or its machine's `DROPBLOCK_DATA`. If the
    process or the machine of a task dies, Ray tries the task again.

    Args:
        recipes: An iterable of `Recipe`.
        address: Address of a cluster, such as "auto" or "ray://host:10001"; by
            default a cluster of this machine alone, which ends with the runs.
        cpus: How many processors a run takes.
        gpus: How many GPUs a run takes; less than one lets runs share it. By
            default one where the cluster has any.
        results_dir: As for `run`; a folder of this machine.
        data_dir: As for `run`; a folder of the cluster's machines.
        devices: As for `run`.
        modules: Names of modules that each task imports first, to register
            networks of your own, say.
        say: Called with each line of progress; prints it by default.

    Returns:
        The list of their records.

    Raises:
        ImportError: If Ray is not installed.
        RunsFailed: If runs have failed, after all others are done.
    """
    ray = _ray()
    recipes = list(recipes)
    results_dir = Path(results_dir or record.default_results_directory()).absolute()
    check_writable(results_dir / "records", results_dir / ".partial")
    say = say or LineProgress(0, sys.stdout).say
    done, waiting = {}, {}
    for index, recipe in enumerate(recipes, 1):
        found = find_finished(recipe, results_dir)
        if found:
            done[index] = found
            say(f"[{index}/{len(recipes)}] {found['name']}: skipped, its record exists")
        else:
            waiting[index] = recipe

    failures = {}
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
        for index, recipe in waiting.items():
            order = {
                "recipe": recipe.to_dict(),
                "backend": keras.backend.backend(),
                "results_dir": str(results_dir),
                "token": token,
                "data_dir": None if data_dir is None else str(data_dir),
                "devices": devices,
                "share_gpu": 0 < gpus < 1,
                "modules": list(modules),
                "index": index,
                "total": len(recipes),
            }
            tasks[task.options(name=recipe.name).remote(order)] = index
        started = time.monotonic()
        try:
            while tasks:
                [reference], _ = ray.wait(list(tasks), num_returns=1)
                index = tasks.pop(reference)
                recipe = recipes[index - 1]
                label = f"[{index}/{len(recipes)}] {recipe.name}"
                try:
                    done[index] = _keep(ray.get(reference), results_dir)
                except (ray.exceptions.RayError, ValueError, OSError) as error:
                    failures[recipe.name] = _reason(error)
                    say(f"{label}: {failures[recipe.name]}")
                else:
                    measures = measures_of(recipe)
                    reached = measures.describe(done[index]["final"])
                    say(f"{label}: in {results_dir}, {reached}")
                if tasks:
                    trained = len(waiting) - len(tasks)
                    seconds = (time.monotonic() - started) / trained * len(tasks)
                    over = len(recipes) - len(tasks)
                    say(f"{over} of {len(recipes)} runs over, {clock(seconds)} left")
        except BaseException:
            for reference in tasks:
                ray.cancel(reference, force=True)
            raise
    if failures:
        raise RunsFailed(failures, len(recipes))
    return [done[index] for index in sorted(done)]


def _task(order):
    """What Ray runs: train one recipe and return its record."""
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
    import_modules(order["modules"])
    recipe = Recipe.from_dict(order["recipe"])
    progress = LineProgress(order["total"], sys.stdout)
    progress.run_index = order["index"] - 1

    results_dir = Path(order["results_dir"])
    is_shared = (results_dir / ".partial" / order["token"]).exists()
    own = Path(tempfile.gettempdir()) / "dropblock-runs" / order["token"] / recipe.name
    done = run(
        recipe,
        results_dir=results_dir if is_shared else own,
        data_dir=order["data_dir"],
        progress=progress,
        devices=order["devices"],
    )
    if not is_shared:
        shutil.rmtree(own, ignore_errors=True)
    return done


def _keep(done, results_dir):
    """Put a record in its place, unless its task has done so."""
    path = results_dir / "records" / f"{done['name']}.json"
    if path.exists():
        return record.read_record(path)
    record.write_record(done, results_dir / "records")
    return done


@contextlib.contextmanager
def _token(results_dir):
    """The name of a file by which a task sees whether it has the same folder."""
    token = f"driver-{uuid.uuid4().hex}"
    path = results_dir / ".partial" / token
    path.touch()
    try:
        yield token
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _cluster(ray, address):
    """Ray, connected; what was connected before stays so."""
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
    # Before the import: it must not report to anybody.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            f"--engine ray needs Ray ({error}). To install it: "
            "pip install 'dropblock-lib[cluster]'"
        ) from None
    return ray


def _reason(error):
    """What went wrong in a line, without the stack of another machine."""
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0] if lines else cause!r}"
