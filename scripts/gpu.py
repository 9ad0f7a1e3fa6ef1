"""Runs the part of the queue that needs a GPU, on a machine rented for minutes.

    python scripts/gpu.py --data DIR --results DIR --archive FILE --minutes 9

The machine needs Python, this checkout, and JAX or PyTorch with GPU support. The
folder `--wheels` may contain wheels of Keras and other missing packages. `--data`
contains `mnist.npz` and either `cifar10.npz` or `cifar10_jpeg.npz`, with JPEG images.

For each network, the script times a training step on each backend, compilation
included, and chooses the backend with the shortest runs. It then trains the queue
`gpu` in order, five runs side by side, until the time is up. If it is called again with
the same results folder, it resumes unfinished runs, on the backends chosen before,
because records of different backends cannot be compared. Finally it packs all records
into the archive.

A smoke run shows on a CPU that the script works, with a small network and few steps:

    python scripts/gpu.py --data DIR --results DIR --archive FILE --smoke
"""

import argparse
import dataclasses
import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BACKENDS = ("jax", "torch", "tensorflow")
# All variants of a seed share a backend. It is chosen by the time of a DropBlock
# variant, because its layers take longest to compile.
TIMED_VARIANT = "dropblock-7-0.9"
# Seconds after which the timing of a step, compilation included, is abandoned.
STEP_TIMEOUT = 150
# No runs are started with fewer seconds left.
RESERVE = 20


def main(arguments=None):
    chosen = _parser().parse_args(arguments)
    deadline = time.monotonic() + 60 * chosen.minutes
    environment = _environment(chosen)
    os.environ.update(environment)
    sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
    # This process only reads recipes, but importing Keras needs an installed backend.
    os.environ["KERAS_BACKEND"] = next(
        (name for name in chosen.backends if importlib.util.find_spec(name)),
        chosen.backends[0],
    )
    data = _plain_data(chosen.data, chosen.results)
    steps = _steps(chosen)
    backends = {}
    try:
        for title, recipes in steps:
            for network in dict.fromkeys(recipe.network for recipe in recipes):
                own = [recipe for recipe in recipes if recipe.network == network]
                if network not in backends and _left(deadline) > 0:
                    backends[network] = _backend_begun(own, chosen) or _fastest_backend(
                        own, chosen, deadline
                    )
                left = _left(deadline)
                if left <= 0:
                    print("The time is up.", flush=True)
                    return
                print(f"== {title}: {network} on {backends[network]}", flush=True)
                _run(own, backends[network], data, chosen, left)
    finally:
        _pack(chosen.results, chosen.archive)


def _left(deadline):
    """Returns the seconds that may still be used for training."""
    return deadline - time.monotonic() - RESERVE


def _environment(chosen):
    """Returns environment variables for packages and a shared GPU."""
    paths = [str(ROOT)]
    if chosen.wheels:
        site = chosen.results / "packages"
        if not site.is_dir():
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index",
                       "--no-deps", "--target", str(site)]  # fmt: skip
            wheels = sorted(str(path) for path in chosen.wheels.glob("*.whl"))
            subprocess.run([*command, *wheels], check=True)
        paths.append(str(site))
    if os.environ.get("PYTHONPATH"):
        paths.append(os.environ["PYTHONPATH"])
    return {
        "PYTHONPATH": os.pathsep.join(paths),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def _plain_data(folder, results):
    """Returns a folder with `cifar10.npz`, made from `cifar10_jpeg.npz` if needed."""
    if (folder / "cifar10.npz").is_file():
        return folder
    import numpy as np
    from PIL import Image

    plain = results / "data"
    plain.mkdir(parents=True, exist_ok=True)
    if not (plain / "cifar10.npz").is_file():
        packed = np.load(folder / "cifar10_jpeg.npz")
        arrays = {}
        for part in ("train", "test"):
            raw = packed[f"jpeg_{part}"].tobytes()
            ends = np.cumsum(packed[f"size_{part}"].astype("int64"))
            files = np.split(np.frombuffer(raw, "uint8"), ends[:-1])
            arrays[f"x_{part}"] = np.stack(
                [np.asarray(Image.open(io.BytesIO(file))) for file in files]
            )
            arrays[f"y_{part}"] = packed[f"y_{part}"].reshape(-1, 1)
        # A stopped script must not leave part of a file.
        np.savez(plain / "new.npz", **arrays)
        (plain / "new.npz").replace(plain / "cifar10.npz")
    if not (plain / "mnist.npz").is_file():
        shutil.copyfile(folder / "mnist.npz", plain / "new.npz")
        (plain / "new.npz").replace(plain / "mnist.npz")
    return plain


def _steps(chosen):
    """Returns the queue as pairs (title, recipes); one tiny step for a smoke run."""
    from dropblock_lib.experiments.reports.queue import read_queue

    steps = [(step.title, list(step.recipes)) for step in read_queue(chosen.queue)]
    if not chosen.smoke:
        return steps
    tiny = {"epochs": 1, "train_size": 64, "validation_size": 32, "test_size": 32,
            "validation_subset": None, "batch_size": 32, "profile": "smoke",
            "placement": None, "precision": "float32", "probes": False}  # fmt: skip
    recipes = [
        dataclasses.replace(recipe, network="custom_net", **tiny)
        for recipe in steps[0][1]
        if recipe.seed == 0 and recipe.variant in ("none", TIMED_VARIANT)
    ]
    return [("smoke", recipes)]


def _backend_begun(recipes, chosen):
    """Returns the backend of these recipes' records and unfinished runs, or `None`."""
    from dropblock_lib.experiments.records.record import find_records

    begun = set()
    for recipe in recipes:
        found = find_records(recipe, chosen.results / "records")
        begun |= {record.backend for record in found}
        for path in chosen.results.glob(".partial/*/state.json"):
            if recipe.label_in(path.parent.name) is not None:
                versions = json.loads(path.read_text(encoding="utf-8"))["versions"]
                begun |= {backend for backend in BACKENDS if backend in versions}
    if not begun:
        return None
    if len(begun) > 1 or not begun <= set(chosen.backends):
        raise SystemExit(
            f"{chosen.results} has runs of {recipes[0].network} on "
            f"{' and '.join(sorted(begun))}. Expected one of "
            f"{', '.join(chosen.backends)} (--backends), because records of different "
            "backends cannot be compared."
        )
    return begun.pop()


def _fastest_backend(recipes, chosen, deadline):
    """Returns the backend on which a network's runs take the least time."""
    timed = [recipe for recipe in recipes if recipe.variant == TIMED_VARIANT]
    recipe = (timed or recipes)[0]
    images = recipe.train_size or 50_000
    steps = recipe.epochs * images / recipe.batch_size
    found = {}
    for backend in chosen.backends:
        seconds = _time_in_child(recipe, backend, min(STEP_TIMEOUT, _left(deadline)))
        if seconds is not None:
            found[backend] = seconds["first"] + steps * seconds["step"]
            print(
                f"{recipe.network} on {backend}: first step {seconds['first']:.1f} s, "
                f"then {1000 * seconds['step']:.1f} ms, a run {found[backend]:.0f} s",
                flush=True,
            )
    if not found:
        raise SystemExit(f"None of these backends works: {', '.join(chosen.backends)}.")
    return min(found, key=found.get)


def _time_in_child(recipe, backend, timeout):
    """Returns the result of `time_step` on a backend, or `None` if it fails."""
    child = _child("time_step", backend, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = child.communicate(json.dumps(recipe.to_dict()), max(timeout, 1))
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        print(f"{recipe.network} on {backend}: over {timeout:.0f} s, skipped",
              flush=True)  # fmt: skip
        return None
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if child.returncode or not lines:
        reason = (err.strip().splitlines() or ["no output"])[-1]
        print(f"{recipe.network} on {backend}: {reason}", flush=True)
        return None
    return json.loads(lines[-1])


def _run(recipes, backend, data, chosen, seconds):
    """Trains recipes side by side, and interrupts them when the time is up."""
    request = {
        "recipes": [recipe.to_dict() for recipe in recipes],
        "jobs": chosen.jobs,
        "results_dir": str(chosen.results),
        "data_dir": str(data),
    }
    child = _child("train", backend)
    try:
        child.communicate(json.dumps(request), seconds)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGINT)
        child.wait()
    else:
        if child.returncode:
            print("Some runs failed; continuing with the next step.", flush=True)


def _child(function, backend, **streams):
    """Starts a function of `CHILDREN`, which reads its argument as JSON from stdin."""
    return subprocess.Popen(
        [sys.executable, __file__, function],
        env={**os.environ, "KERAS_BACKEND": backend},
        stdin=subprocess.PIPE,
        text=True,
        **streams,
    )


def time_step(recipe):
    """Prints the seconds of a recipe's first training step and of a later one."""
    import keras
    import numpy as np

    from dropblock_lib.experiments import Recipe
    from dropblock_lib.experiments.running.optimizers import make_optimizer
    from dropblock_lib.models import NETWORKS

    recipe = Recipe.from_dict(recipe)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (recipe.batch_size, 32, 32, 3), dtype="uint8")
    y = np.arange(recipe.batch_size) % 10
    keras.config.set_dtype_policy(recipe.precision)
    model = NETWORKS[recipe.network](recipe.variant, (32, 32, 3), 10, seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(make_optimizer(recipe, 10), loss)

    def step():
        begin = time.monotonic()
        float(model.train_on_batch(x, y))
        return time.monotonic() - begin

    first, begin, times = step(), time.monotonic(), []
    while len(times) < 10 and time.monotonic() - begin < 20:
        times.append(step())
    print(json.dumps({"first": first, "step": float(np.median(times))}))


def train(request):
    """Trains recipes side by side."""
    from dropblock_lib.experiments import Recipe, run_side_by_side

    recipes = [Recipe.from_dict(recipe) for recipe in request.pop("recipes")]
    run_side_by_side(recipes, **request)


def _pack(results, archive):
    records = sorted((results / "records").glob("*.json"))
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as packed:
        for path in records:
            packed.add(path, arcname=f"records/{path.name}")
    print(f"{len(records)} records in {archive}", flush=True)


def _parser():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--results", type=Path, required=True, metavar="DIR")
    parser.add_argument("--archive", type=Path, required=True, metavar="FILE")
    parser.add_argument("--wheels", type=Path, metavar="DIR")
    parser.add_argument("--queue", default="gpu", metavar="FILE")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--jobs", type=_at_least_one, default=5, metavar="N")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS,
                        default=["jax", "torch"])  # fmt: skip
    parser.add_argument("--smoke", action="store_true", help="only show that it works")
    return parser


def _at_least_one(text):
    # argparse would show the name of this function.
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"expected a positive integer. Received: {text}"
        )
    return int(text)


CHILDREN = {"time_step": time_step, "train": train}

if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in CHILDREN:
        CHILDREN[sys.argv[1]](json.load(sys.stdin))
    else:
        main()
