"""Times DropBlock layers and similar ones, forward and backward.

    KERAS_BACKEND=jax python -m benchmarks.layer_speed

Writes `layer_speed-BACKEND.json`: median and quartiles of every contestant, and its
ratio to Keras' Dropout. At the first of `--keep-probs`, all contestants are timed; at
the others, only DropBlock and Dropout.
"""

from benchmarks import contestants, interleaved, options, peers, process
from benchmarks.errors import in_one_line
from benchmarks.forward_backward import prepare
from dropblock_lib.experiments.records.benchmark import make_benchmark, write_benchmark

SHAPES = [
    (32, 56, 56, 64),
    (32, 32, 32, 64),
    (32, 14, 14, 256),
    (128, 8, 8, 128),
    (8, 64, 64, 256),
    # Small enough to show the overhead of a call.
    (64, 4, 4, 128),
    # A sequence and a volume.
    (64, 4096, 64),
    (4, 32, 32, 32, 32),
]
SMOKE_SHAPES = [(2, 6, 5, 3), (2, 6, 3), (2, 4, 3, 5, 3)]
BLOCKS = [3, 7]
KEEP_PROBS = [0.9, 0.5, 0.6, 0.7, 0.8, 0.95, 0.99, 1.0]


def main(arguments=None):
    chosen = _parser().parse_args(arguments)
    if chosen.smoke:
        chosen.shapes, chosen.blocks = SMOKE_SHAPES, [3]
        chosen.keep_probs, chosen.rounds, chosen.warm_up = [0.9, 0.5], 2, 1
    loaded, missing = {}, {}
    for rank in sorted({len(shape) - 2 for shape in chosen.shapes}):
        loaded[rank], absent = peers.load_all(contestants.BACKEND, rank)
        missing |= absent
    rows = []
    for shape in chosen.shapes:
        rank = len(shape) - 2
        for block_size in chosen.blocks:
            for keep_prob in chosen.keep_probs:
                own = contestants.own(block_size, keep_prob, rank)
                makers = contestants.essential(block_size, keep_prob, rank)
                if chosen.only_essential:
                    makers["x * c"] = own["x * c"]
                elif keep_prob == chosen.keep_probs[0]:
                    makers = own
                    makers |= contestants.others(block_size, keep_prob, loaded[rank])
                case = {
                    "shape": list(shape),
                    "block_size": block_size,
                    "keep_prob": keep_prob,
                }
                found = measure(makers, shape, chosen.rounds, chosen.warm_up)
                rows += [case | row for row in found]
                print(_line(case, found), flush=True)
    settings = {
        "rounds": chosen.rounds,
        "warm_up": chosen.warm_up,
        "base": contestants.BASE,
        "smoke": chosen.smoke,
        "environment": process.current(),
    }
    document = make_benchmark(
        "layer_speed", rows, settings, missing, contestants.versions()
    )
    print(write_benchmark(document, chosen.output))


def measure(makers, shape, rounds, warm_up):
    """Returns one row per contestant: its times, or its error."""
    calls, rows = {}, {}
    for name, make in makers.items():
        rows[name] = {"contestant": name}
        try:
            calls[name], details = _prepare(make, shape)
            rows[name] |= details
        except Exception as error:
            rows[name]["error"] = in_one_line(error)
    seconds = interleaved.measure(calls, rounds, warm_up)
    for name, found in interleaved.summarize(seconds, contestants.BASE).items():
        rows[name] |= found
    return list(rows.values())


def _prepare(make, shape):
    """Prepares a contestant and calls it once, compiled unless that fails."""
    try:
        call, details = prepare(make(), shape)
        call()
    except Exception as error:
        call, details = prepare(make(), shape, compiled=False)
        call()
        details["not_compiled"] = in_one_line(error)
    return call, details


def _line(case, rows):
    cells = [
        f"{row['contestant']} {1000 * row['median']:.2f} ms"
        for row in rows
        if "median" in row
    ]
    return (
        f"{'x'.join(map(str, case['shape']))}, block {case['block_size']}, "
        f"keep_prob {case['keep_prob']}: {'; '.join(cells)}"
    )


def _parser():
    parser = options.parser("Speed of DropBlock and similar layers on one backend.")
    parser.add_argument("--rounds", type=options.positive, default=21,
                        help="timed calls per layer")  # fmt: skip
    parser.add_argument("--warm-up", type=int, default=3, help="untimed calls")
    shape = options.shape(3, 4, 5)
    parser.add_argument("--shapes", nargs="+", type=shape, default=SHAPES,
                        metavar="NxHxWxC", help="input shapes")  # fmt: skip
    parser.add_argument("--blocks", nargs="+", type=options.positive, default=BLOCKS)
    parser.add_argument("--keep-probs", nargs="+", type=float, default=KEEP_PROBS)
    parser.add_argument("--only-essential", action="store_true",
                        help="time DropBlock, Dropout and x * c only")  # fmt: skip
    parser.add_argument(process.DEFAULT_ALLOCATOR, action="store_true",
                        help="leave glibc's allocator as it is")  # fmt: skip
    return parser


if __name__ == "__main__":
    process.restart_with_settings()
    main()
