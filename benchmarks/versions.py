"""Times DropBlock2D of two versions of this package in one interleaved run.

    git worktree add ../before v0.1
    KERAS_BACKEND=jax python -m benchmarks.versions ../before

Each version runs in its own process, and the two take turns. Writes
`versions-BACKEND.json`: median and quartiles of both, and their ratio to the times of
the earlier version.
"""

import random
import subprocess
import sys
from pathlib import Path

from benchmarks import interleaved, layer_speed, options, process
from dropblock_lib.experiments.records.benchmark import make_benchmark, write_benchmark

HERE = Path(__file__).resolve().parent.parent
BEFORE, AFTER = "before", "after"
# Early versions have layers for 2D maps only.
SHAPES = [shape for shape in layer_speed.SHAPES if len(shape) == 4]


def main(arguments=None):
    parser = _parser()
    chosen = parser.parse_args(arguments)
    before = chosen.before.resolve()
    if not (before / "dropblock_lib" / "__init__.py").is_file():
        parser.error(f"{chosen.before} is not a checkout: it has no dropblock_lib")
    if chosen.smoke:
        chosen.shapes, chosen.blocks = [(2, 6, 5, 3)], [3]
        chosen.keep_probs, chosen.rounds = [0.9], 2
    rows = []
    for shape in chosen.shapes:
        for block_size in chosen.blocks:
            for keep_prob in chosen.keep_probs:
                case = ["x".join(map(str, shape)), str(block_size), str(keep_prob)]
                found = _compare(before, case, chosen.rounds)
                row = {
                    "shape": list(shape),
                    "block_size": block_size,
                    "keep_prob": keep_prob,
                }
                rows += [row | {"contestant": name} | found[name] for name in found]
                print(f"{', '.join(case)}: {found[AFTER]['ratio']:.3f}", flush=True)
    settings = {
        "rounds": chosen.rounds,
        "base": BEFORE,
        "commit before": _commit(before),
        "smoke": chosen.smoke,
        "environment": process.current(),
    }
    document = make_benchmark("versions", rows, settings, {}, {})
    print(write_benchmark(document, chosen.output))


def _compare(before, case, rounds):
    """The times of both versions in one case, by name."""
    versions = {BEFORE: _Version(before, case), AFTER: _Version(HERE, case)}
    seconds = {name: [] for name in versions}
    order, rng = list(versions), random.Random(0)
    try:
        for _ in range(rounds):
            rng.shuffle(order)
            for name in order:
                seconds[name].append(versions[name].time())
    finally:
        for version in versions.values():
            version.close()
    return interleaved.summarize(seconds, BEFORE)


class _Version:
    """A process that times one call of a version's layer on request."""

    def __init__(self, folder, case):
        command = [sys.executable, "-m", "benchmarks.one_version", str(folder), *case]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, cwd=HERE
        )
        # The process answers once its layer is compiled.
        self.time()

    def time(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("a version failed; its error is above")
        return float(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def _commit(folder):
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or None


def _parser():
    parser = options.parser("Speed of DropBlock2D in two versions of this package.")
    parser.add_argument("before", type=Path, help="checkout of the earlier version")
    parser.add_argument("--rounds", type=options.positive, default=41,
                        help="timed calls per version")  # fmt: skip
    parser.add_argument("--shapes", nargs="+", type=options.shape(4), default=SHAPES,
                        metavar="NxHxWxC", help="input shapes")  # fmt: skip
    parser.add_argument("--blocks", nargs="+", type=options.positive, default=[3, 7])
    parser.add_argument("--keep-probs", nargs="+", type=float, default=[0.9, 0.5])
    return parser


if __name__ == "__main__":
    process.restart_with_settings()
    main()
