"""Run the part of the queue that needs a GPU, on a machine lent for minutes.

    python scripts/gpu.py --data DIR --results DIR --archive FILE --minutes 9

The machine needs Python, this checkout, and JAX or PyTorch with a GPU; a folder
`--wheels` may bring Keras and what else is missing. `--data` has `mnist.npz` and
either `cifar10.npz` or `cifar10_jpeg.npz`, the same images as JPEG files.

First it times a training step of each network on each backend, the compiler
included, and chooses the backend on which a seed's runs take less time. Then runs go
side by side, a seed's five variants at once, in the order of the queue `gpu`, until
the minutes are over: an unfinished run goes on when the script is called again with
the same folder of results. All records are packed into the archive at the end.

To see that it works on a processor, with the smallest networks and few steps:

    python scripts/gpu.py --data DIR --results DIR --archive FILE --smoke
"""

import argparse
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BACKENDS = ("jax", "torch", "tensorflow")
# A seed's variants share a backend. Their cost is judged by DropBlock, whose layers
# take longest to compile.
JUDGED_BY = "dropblock-7-0.9"
# Seconds that a step's timing may take, with the compiler.
PATIENCE = 150
# A run of a step that is so long has to be worth starting.
RESERVE = 20

TIME_A_STEP = """
import json, sys, time
started = time.monotonic()
import numpy as np
from dropblock_lib.experiments import run
from dropblock_lib.experiments.tasks import classification
from dropblock_lib.experiments.running.optimizers import make_optimizer
from dropblock_lib.experiments.recipes.recipe import Recipe
import keras
recipe = Recipe.from_dict(json.loads(sys.argv[1]))
from dropblock_lib.models import NETWORKS
rng = np.random.default_rng(0)
x = rng.integers(0, 256, (recipe.batch_size, 32, 32, 3), dtype="uint8")
y = np.arange(recipe.batch_size) % 10
keras.config.set_dtype_policy(recipe.precision)
model = NETWORKS[recipe.network](recipe.variant, (32, 32, 3), 10, seed=0)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(make_optimizer(recipe, 10), loss)
begin = time.monotonic()
float(model.train_on_batch(x, y))
first = time.monotonic() - begin
times = []
while len(times) < 10 and time.monotonic() - begin < first + 20:
    begin_step = time.monotonic()
    float(model.train_on_batch(x, y))
    times.append(time.monotonic() - begin_step)
print(json.dumps({"first": first, "step": float(np.median(times))}))
"""


def main(arguments=None):
    chosen = _parser().parse_args(arguments)
    deadline = time.monotonic() + 60 * chosen.minutes
    environment = _environment(chosen)
    os.environ.update(environment)
    sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
    # This process only reads recipes, for which Keras needs some backend.
    os.environ["KERAS_BACKEND"] = next(
        (name for name in chosen.backends if importlib.util.find_spec(name)),
        chosen.backends[0],
    )
    data = _unpacked(chosen.data, chosen.results)
    steps = _steps(chosen)
    backends = {}
    try:
        for title, recipes in steps:
            for network in dict.fromkeys(recipe.network for recipe in recipes):
                own = [recipe for recipe in recipes if recipe.network == network]
                if network not in backends:
                    backends[network] = _fastest_backend(own, chosen)
                left = deadline - time.monotonic() - RESERVE
                if left <= 0:
                    print("The time is over.", flush=True)
                    return
                print(f"== {title}: {network} on {backends[network]}", flush=True)
                _run(own, backends[network], data, chosen, left)
    finally:
        _pack(chosen.results, chosen.archive)


def _environment(chosen):
    """The variables of every process: where packages are, how a GPU is shared."""
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


def _unpacked(folder, results):
    """A folder with plain files, made of JPEG files where there are none."""
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
        np.savez(plain / "cifar10.npz", **arrays)
        (plain / "mnist.npz").write_bytes((folder / "mnist.npz").read_bytes())
    return plain


def _steps(chosen):
    """The steps of the queue: (title, recipes), made tiny for a smoke test."""
    import dataclasses

    from dropblock_lib.experiments.reports.queue import read_queue

    steps = [(step.title, list(step.recipes)) for step in read_queue(chosen.queue)]
    if not chosen.smoke:
        return steps
    tiny = {"epochs": 1, "train_size": 64, "validation_size": 32, "test_size": 32,
            "validation_subset": None, "batch_size": 32, "profile": "smoke",
            "placement": None, "precision": "float32", "probes": False}  # fmt: skip
    first = [r for r in steps[0][1] if r.seed == 0 and r.variant in ("none", JUDGED_BY)]
    return [
        ("smoke", [dataclasses.replace(r, network="custom_net", **tiny) for r in first])
    ]


def _fastest_backend(recipes, chosen):
    """Where the runs of a network take the least time, the compiler included."""
    judged = [recipe for recipe in recipes if recipe.variant == JUDGED_BY]
    recipe = (judged or recipes)[0]
    images = recipe.train_size or 50_000
    steps = recipe.epochs * images / recipe.batch_size
    found = {}
    for backend in chosen.backends:
        seconds = _time_a_step(recipe, backend)
        if seconds is not None:
            found[backend] = seconds["first"] + steps * seconds["step"]
            print(
                f"{recipe.network} on {backend}: first step {seconds['first']:.1f} s, "
                f"then {1000 * seconds['step']:.1f} ms, a run {found[backend]:.0f} s",
                flush=True,
            )
    if not found:
        raise SystemExit(f"No backend of {', '.join(chosen.backends)} can be used.")
    return min(found, key=found.get)


def _time_a_step(recipe, backend):
    command = [sys.executable, "-c", TIME_A_STEP, json.dumps(recipe.to_dict())]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True,
                              timeout=PATIENCE)  # fmt: skip
    except subprocess.TimeoutExpired:
        print(f"{recipe.network} on {backend}: over {PATIENCE} s, left out", flush=True)
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        print(f"{recipe.network} on {backend}: {reason}", flush=True)
        return None
    return json.loads(lines[-1])


def _run(recipes, backend, data, chosen, seconds):
    """Train recipes side by side; stop in time, after which they can be resumed."""
    grid = chosen.results / "part.json"
    grid.write_text(json.dumps([recipe.to_dict() for recipe in recipes]))
    code = (
        "import json, sys\n"
        "from dropblock_lib.experiments import Recipe, run_side_by_side\n"
        "recipes = [Recipe.from_dict(v) for v in json.load(open(sys.argv[1]))]\n"
        "run_side_by_side(recipes, int(sys.argv[2]), results_dir=sys.argv[3],\n"
        "                 data_dir=sys.argv[4])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(grid), str(chosen.jobs), str(chosen.results),
         str(data)],
        env={**os.environ, "KERAS_BACKEND": backend},
    )  # fmt: skip
    try:
        code = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait()
    else:
        if code:
            print("Some runs failed; the next step goes on.", flush=True)


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
    parser.add_argument("--jobs", type=int, default=5, metavar="N")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS,
                        default=["jax", "torch"])  # fmt: skip
    parser.add_argument("--smoke", action="store_true", help="only show that it runs")
    return parser


if __name__ == "__main__":
    main()
