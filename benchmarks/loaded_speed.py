"""Times DropBlock2D while other processes keep the processor busy, as data loaders do.

    KERAS_BACKEND=torch python -m benchmarks.loaded_speed

Runs `layer_speed` in a process for each combination of idle or busy, one thread or
all, and glibc's default allocator or the tuned one. Writes
`loaded_speed-BACKEND.json`: the rows of `layer_speed` with these settings.
"""

import contextlib
import itertools
import os
import subprocess
import sys
import tempfile

from benchmarks import layer_speed, options, process
from dropblock_lib.experiments.records.benchmark import (
    make_benchmark,
    read_benchmark,
    write_benchmark,
)

SHAPES = [(32, 56, 56, 64), (32, 14, 14, 256), (128, 8, 8, 128), (64, 4, 4, 128)]
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}
BUSY = "while True: sum(range(100_000))"


def main(arguments=None):
    chosen = _parser().parse_args(arguments)
    backend = layer_speed.contestants.BACKEND
    cases = [*itertools.product([0, chosen.busy], ["one", "all"], ["default", "tuned"])]
    if chosen.smoke:
        chosen.shapes, chosen.rounds = [(2, 6, 5, 3)], 2
        cases = [(chosen.busy, "one", "default")]
    rows = []
    for busy, threads, allocator in cases:
        case = {"busy": busy, "threads": threads, "allocator": allocator}
        with tempfile.TemporaryDirectory() as folder, _busy_processes(busy):
            _time_layers(chosen, folder, threads, allocator)
            document = read_benchmark(f"{folder}/layer_speed-{backend}.json")
        rows += [case | row for row in document["rows"]]
        print(_line(case, document["rows"]), flush=True)
    settings = {
        "rounds": chosen.rounds,
        "base": layer_speed.contestants.BASE,
        "smoke": chosen.smoke,
        "busy": BUSY,
    }
    document = make_benchmark("loaded_speed", rows, settings, {}, {})
    print(write_benchmark(document, chosen.output))


def _time_layers(chosen, folder, threads, allocator):
    command = [sys.executable, "-m", "benchmarks.layer_speed", "--only-essential"]
    command += ["--output", folder, "--rounds", str(chosen.rounds)]
    command += ["--keep-probs", "0.9", "--blocks", "3", "--shapes"]
    command += ["x".join(map(str, shape)) for shape in chosen.shapes]
    environment = {**os.environ, **(ONE_THREAD if threads == "one" else {})}
    if allocator == "default":
        command.append("--default-allocator")
        for name in process.ALLOCATOR:
            environment.pop(name, None)
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def _busy_processes(number):
    with contextlib.ExitStack() as running:
        for _ in range(number):
            one = subprocess.Popen([sys.executable, "-c", BUSY])
            running.callback(one.wait)
            running.callback(one.kill)
        yield


def _line(case, rows):
    ratios = "; ".join(
        f"{'x'.join(map(str, row['shape']))} {row['ratio']:.2f}"
        for row in rows
        if row["contestant"] == layer_speed.contestants.OURS
    )
    state = f"{case['busy']} busy" if case["busy"] else "idle"
    return (
        f"{state}, {case['threads']} thread(s), {case['allocator']} allocator, "
        f"to Dropout: {ratios}"
    )


def _parser():
    parser = options.parser("Speed of DropBlock2D while other processes are busy.")
    parser.add_argument("--rounds", type=options.positive, default=15,
                        help="timed calls per layer")  # fmt: skip
    parser.add_argument("--busy", type=options.positive, default=1,
                        help="busy processes")  # fmt: skip
    parser.add_argument("--shapes", nargs="+", type=options.shape(4), default=SHAPES,
                        metavar="NxHxWxC", help="input shapes")  # fmt: skip
    return parser


if __name__ == "__main__":
    main()
