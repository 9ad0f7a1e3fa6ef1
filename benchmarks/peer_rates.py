"""Compares what each DropBlock drops with what it is asked to drop.

    KERAS_BACKEND=torch python -m benchmarks.peer_rates

Writes `peer_rates-BACKEND.json`. For each map size and block size it has the dropped
fraction with its standard error, `expected_drop_rate` at the paper's gamma, the number
of calls on a single map that gave NaN or infinity, and any error. Nothing is timed.
"""

from functools import partial

import keras
import numpy as np

import dropblock_lib as dbl
from benchmarks import contestants, options, peers
from benchmarks.errors import in_one_line
from dropblock_lib.experiments.records.benchmark import make_benchmark, write_benchmark

SIZES = [(56, 56), (14, 14), (8, 8), (7, 7), (4, 4), (8, 14), (14, 8)]
BLOCKS = [3, 4, 7]
RATES = [0.1]
CHANNELS = 8
# Number of calls that only estimate how many calls are needed.
PILOT = 20


def main(arguments=None):
    chosen = _parser().parse_args(arguments)
    if chosen.smoke:
        chosen.sizes, chosen.blocks, chosen.rates = [(8, 6)], [3], [0.1]
        chosen.calls, chosen.single_calls = 3, 2
    loaded, missing = peers.load_all(contestants.BACKEND)
    rows = []
    for rate in chosen.rates:
        for size in chosen.sizes:
            for block_size in chosen.blocks:
                case = {
                    "size": list(size),
                    "block_size": block_size,
                    "nominal": rate,
                    "expected": dbl.expected_drop_rate(
                        dbl.gamma(1 - rate, block_size, size), block_size, size
                    ),
                }
                found = observe(case, loaded, chosen)
                rows += [case | row for row in found]
                print(_line(case, found), flush=True)
    settings = {
        "channels": CHANNELS,
        "standard_error": chosen.standard_error,
        "calls": chosen.calls,
        "single_calls": chosen.single_calls,
        "smoke": chosen.smoke,
    }
    document = make_benchmark(
        "peer_rates", rows, settings, missing, contestants.versions()
    )
    print(write_benchmark(document, chosen.output))


def observe(case, loaded, chosen):
    """Returns one row per DropBlock: what it dropped, or its error."""
    block_size, keep_prob = case["block_size"], 1 - case["nominal"]
    makers = {
        name: make
        for name, make in contestants.own(block_size, keep_prob).items()
        if name.startswith(contestants.OURS)
    }
    makers |= contestants.others(block_size, keep_prob, loaded)
    rows = []
    for name, make in makers.items():
        row = {"contestant": name}
        rows.append(row)
        try:
            call = caller(make())
            row |= dropped(call, case["size"], chosen)
            row |= unusable(call, case["size"], chosen.single_calls)
        except Exception as error:
            row["error"] = in_one_line(error)
    return rows


def dropped(call, size, chosen):
    """Measures the dropped fraction, to the requested standard error."""
    shape = (batch(size), *size, CHANNELS)

    def fractions(calls):
        # The input is ones, so only dropped units are zero or NaN.
        return [1 - (call(shape) > 0).mean() for _ in range(calls)]

    # The pilot's calls are not counted, because stopping at a low spread causes a bias.
    spread = np.std(fractions(min(PILOT, chosen.calls)), ddof=1)
    needed = int(np.ceil((spread / chosen.standard_error) ** 2))
    found = fractions(min(max(needed, PILOT), chosen.calls))
    return {
        "dropped": float(np.mean(found)),
        "standard_error": float(np.std(found, ddof=1) / np.sqrt(len(found))),
        "calls": len(found),
        "batch": shape[0],
    }


def batch(size):
    """Returns a batch size with which calls take similar times for all map sizes."""
    height, width = size
    return int(np.clip(64 * 14 * 14 // (height * width), 8, 512))


def unusable(call, size, calls):
    """Counts the calls on a single map that give NaN or infinity."""
    count = sum(not np.isfinite(call((1, *size, 1))).all() for _ in range(calls))
    return {"not_finite": count, "single_calls": calls}


def caller(contestant):
    """Makes a function of a shape that returns the layer's output for ones."""
    layer = contestant.call
    is_keras = isinstance(layer, keras.Layer)

    def on(shape):
        if contestant.channels_first:
            shape = (shape[0], shape[3], *shape[1:3])
        x = keras.ops.ones(shape)
        y = run(x) if is_keras else layer(x)
        return keras.ops.convert_to_numpy(y)

    if is_keras:
        run = _compiled(layer)
    return on


def _compiled(layer):
    """Makes a function that calls a layer, compiled if it is ours and eager is slow."""

    def call_it(x):
        return layer(x, training=True)

    # KerasCV's layer cannot be compiled.
    if contestants.BACKEND == "torch" or not isinstance(layer, dbl.DropBlock2D):
        return call_it
    if contestants.BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(call_it)
    import jax

    @jax.jit
    def call(state, x):
        return layer.stateless_call([], state, x, training=True)

    def run(x):
        if not layer.built:
            layer.build(x.shape)
        variables = layer.non_trainable_variables
        y, state = call([v.value for v in variables], x)
        for variable, value in zip(variables, state, strict=True):
            variable.assign(value)
        return y

    return run


def _line(case, rows):
    height, width = case["size"]
    cells = [
        f"{row['contestant']} "
        + (f"{row['dropped']:.4f}" if "dropped" in row else row["error"][:60])
        for row in rows
    ]
    return (
        f"{height}x{width}, block {case['block_size']}, nominal {case['nominal']}: "
        f"{'; '.join(cells)}"
    )


def _parser():
    parser = options.parser("What each DropBlock drops, on one backend.")
    parser.add_argument("--sizes", nargs="+", type=options.shape(2), default=SIZES,
                        metavar="HxW", help="sizes of the feature map")  # fmt: skip
    parser.add_argument("--blocks", nargs="+", type=options.positive, default=BLOCKS)
    parser.add_argument("--rates", nargs="+", type=float, default=RATES)
    parser.add_argument("--standard-error", type=float, default=0.001,
                        help="standard error to reach")  # fmt: skip
    parser.add_argument("--calls", type=partial(options.positive, minimum=2),
                        default=1000, help="largest number of calls")  # fmt: skip
    parser.add_argument("--single-calls", type=options.positive, default=200,
                        help="calls on a single map")  # fmt: skip
    return parser


if __name__ == "__main__":
    main()
