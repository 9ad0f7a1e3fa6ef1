"""Tries features of DropBlock implementations, with a short check for each.

    KERAS_BACKEND=torch python -m benchmarks.features

Writes `features-BACKEND.json`, with a row per implementation and feature: whether it
works and what was found, or the error. Where code cannot be run, the row cites the
source that was read. Nothing is timed. `peer_rates` counts what each of them drops.
"""

import keras
import numpy as np

import dropblock_lib as dbl
from benchmarks import contestants, options, peers
from benchmarks.errors import in_one_line
from dropblock_lib.experiments.records.benchmark import make_benchmark, write_benchmark

BLOCK = 3
RATE = 0.2
MAP = (32, 14, 14, 64)  # more units than the largest float16
# The drop rates of a schedule.
SCHEDULE = np.linspace(0.05, 0.5, 12)

AUTHORS = "authors' code"
_TPU = (
    "https://github.com/tensorflow/tpu/blob/master/models/official/resnet/"
    "resnet_model.py"
)
_SOURCES = {
    AUTHORS: _TPU,
    "torchvision": "https://github.com/pytorch/vision/blob/main/torchvision/ops/"
    "drop_block.py",
    "timm": "https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/"
    "drop.py",
    "KerasCV": "https://github.com/keras-team/keras-cv/blob/master/keras_cv/src/layers/"
    "regularization/dropblock_2d.py",
}
# The authors' code is written for TensorFlow 1 and cannot be imported.
_READ = {
    AUTHORS: {
        "ranks": (True, "2D"),
        "even blocks": (True, "grown by a padded maximum, which allows even sides"),
        "non-square blocks": (False, "one side for both axes"),
        "non-square maps": (False, "raises an error"),
        "small maps": (
            True,
            "clips the block to the map; NaN if everything is dropped",
        ),
        "exact rate": (False, "the paper's gamma"),
        "schedule": (True, "keep_prob may be a tensor; the training code lowers it"),
        "masks": (True, "per channel"),
        "float16": (True, "counts in float32"),
        "bfloat16": (True, "counts in float32"),
        "backends": (True, "TensorFlow 1"),
        "inspection": (False, "none; logs the block size and the map"),
    },
    "torchvision": {"inspection": (False, "none")},
    "timm": {"inspection": (False, "none")},
    "KerasCV": {"inspection": (False, "none")},
}


def main(arguments=None):
    options_ = options.parser("What DropBlock implementations can do, on one backend.")
    chosen = options_.parse_args(arguments)
    loaded, missing = peers.load_all(contestants.BACKEND)
    loaded = {contestants.OURS: dbl.DropBlock2D, **loaded}
    rows = []
    for name, drop in loaded.items():
        for feature, check in CHECKS.items():
            row = {"contestant": name, "feature": feature}
            try:
                works, found = check(Implementation(name, drop))
                row |= {"works": bool(works), "found": found}
            except Exception as error:
                row |= {"works": False, "error": in_one_line(error)}
            rows.append(row)
            print(name, feature, row.get("found", row.get("error")), flush=True)
    for name, features in _READ.items():
        if name not in (*loaded, AUTHORS):
            continue
        for feature, (works, found) in features.items():
            row = {"contestant": name, "feature": feature, "works": works}
            rows.append(row | {"found": found, "source": _SOURCES[name]})
    settings = {"map": MAP, "block_size": BLOCK, "rate": RATE, "smoke": chosen.smoke}
    document = make_benchmark(
        "features", rows, settings, missing, contestants.versions()
    )
    print(write_benchmark(document, chosen.output))


class Implementation:
    """One package's DropBlock, called on NumPy arrays with the channels last."""

    def __init__(self, name, drop):
        self.name = name
        self.is_keras = isinstance(drop, type)
        maker = drop.__init__ if self.is_keras else drop
        self.namespace = maker.__globals__
        self.symbol = drop.__name__

    def of_rank(self, rank):
        """Returns the layer or function of another rank in the same file."""
        symbol = self.symbol.replace("2", str(rank))
        if symbol not in self.namespace:
            raise LookupError(f"no {symbol}")
        return self.namespace[symbol]

    def make(self, rank=2, block=BLOCK, rate=RATE, **arguments):
        """Returns a function of an array that returns an array of the same dtype."""
        drop = self.of_rank(rank)
        if self.is_keras:
            first = (
                (block, 1 - rate) if self.name == contestants.OURS else (rate, block)
            )
            layer = drop(*first, **arguments)
            return lambda x: _to_numpy(
                layer(keras.ops.convert_to_tensor(x), training=True)
            )
        return _on_torch(lambda x: drop(x, rate, block, **arguments))

    def dropped(self, shape=MAP, **arguments):
        """Returns which units of an input of ones become zero."""
        rank = len(shape) - 2
        return self.make(rank, **arguments)(np.ones(shape, "float32")) == 0


def ranks(implementation):
    """Checks that each rank drops about `RATE`."""
    found = []
    for rank in (1, 2, 3):
        try:
            dropped = implementation.dropped((64, *(8,) * rank, 16))
        except LookupError:
            continue
        if 0.5 * RATE < dropped.mean() < 1.5 * RATE:
            found.append(f"{rank}D")
    return bool(found), ", ".join(found)


def non_square_blocks(implementation):
    """Checks that a single block of 3 by 7 has these sides."""
    sides = (3, 7)
    dropped = implementation.dropped((512, 14, 14, 4), block=sides, rate=0.02)
    shapes = set()
    for mask in np.moveaxis(dropped, -1, 1).reshape(-1, 14, 14):
        # A mask with the area of one block has exactly one.
        if mask.sum() == np.prod(sides):
            shapes.add((int(mask.any(1).sum()), int(mask.any(0).sum())))
    return shapes == {sides}, "blocks of " + " and ".join(
        f"{height}x{width}" for height, width in sorted(shapes)
    )


def masks(implementation):
    """Checks whether channels have separate masks, and whether they can share one."""
    shared_by = {contestants.OURS: "per_channel", "timm": "couple_channels"}
    found = {_masks_of(implementation, {})}
    option = shared_by.get(implementation.name)
    if option:
        found |= {_masks_of(implementation, {option: value}) for value in (True, False)}
    return "per channel" in found, ", ".join(sorted(found))


def _masks_of(implementation, arguments):
    dropped = implementation.dropped(**arguments)
    return "shared" if (dropped == dropped[..., :1]).all() else "per channel"


def in_dtype(dtype):
    def check(implementation):
        """Checks that the mean of more ones than float16 can count stays 1."""
        if implementation.is_keras:
            call = implementation.make(dtype=dtype)
            x = keras.ops.ones(MAP, dtype)
        else:
            call, x = implementation.make(), _torch_ones(dtype)
        mean = float(np.asarray(call(x), "float64").mean())
        return abs(mean - 1) < 0.02, f"mean of ones {mean:.3f}"

    return check


def schedule(implementation):
    """Checks that compiled code drops about the rate of each step of a schedule."""
    if not implementation.is_keras:
        return _schedule_on_torch(implementation)
    how = {"tensorflow": "tf.function", "jax": "jax.jit", "torch": "not compiled"}
    call, assign = _compiled(implementation)
    followed = _is_followed(call, assign)
    return followed, f"{how[contestants.BACKEND]}, {_describe(followed)}"


def _is_followed(call, assign):
    for rate in SCHEDULE:
        assign(float(rate))
        if not 0.5 * rate < (call() == 0).mean() < 1.5 * rate:
            return False
    return True


def _describe(followed):
    is_or_not = "is" if followed else "is not"
    return f"a schedule of {len(SCHEDULE)} values {is_or_not} followed"


def _compiled(implementation):
    """Returns functions that call a compiled Keras layer, and that set its rate."""
    ours = implementation.name == contestants.OURS
    layer = implementation.of_rank(2)(*((BLOCK, 0.9) if ours else (0.1, BLOCK)))
    x = keras.ops.ones(MAP)
    layer.build(MAP)
    if contestants.BACKEND == "tensorflow":
        import tensorflow as tf

        step = tf.function(lambda: layer(x, training=True))
    elif contestants.BACKEND == "jax":
        import jax

        jitted = jax.jit(lambda state: layer.stateless_call([], state, x, True))

        def step():
            variables = layer.non_trainable_variables
            y, state = jitted([v.value for v in variables])
            for variable, value in zip(variables, state, strict=True):
                variable.assign(value)
            return y
    else:

        def step():
            return layer(x, training=True)

    def assign(rate):
        if ours:
            layer.keep_prob = 1 - rate
        else:
            layer._rate = rate

    return lambda: _to_numpy(step()), assign


def _schedule_on_torch(implementation):
    import torch

    is_timm = implementation.name == "timm"
    arguments = {"couple_channels": False} if is_timm else {}
    module = implementation.namespace["DropBlock2d"](RATE, BLOCK, **arguments).train()
    x = torch.ones(MAP[0], MAP[3], *MAP[1:3])
    texts = []
    for how in ({}, {"dynamic": False}):
        torch.compiler.reset()
        graphs = []

        def count(graph, inputs, graphs=graphs):
            graphs.append(graph)
            return graph.forward

        compiled = torch.compile(module, backend=count, **how)
        name = "torch.compile" + ("(dynamic=False)" if how else "")
        try:
            followed = _is_followed(
                lambda compiled=compiled: compiled(x).numpy(),
                lambda rate: setattr(module, "drop_prob" if is_timm else "p", rate),
            )
        except Exception as error:
            message = in_one_line(error).split(".")[0]
            texts.append(f"{name} fails ({message})")
            continue
        texts.append(f"{name}, {len(graphs)} compilations: {_describe(followed)}")
        return followed, "; ".join(texts)
    return False, "; ".join(texts)


def _on_torch(drop):
    import torch

    def call(x):
        x = torch.as_tensor(x)
        return torch.movedim(drop(torch.movedim(x, -1, 1)), 1, -1).float().numpy()

    return call


def _torch_ones(dtype):
    import torch

    return torch.ones(MAP, dtype=getattr(torch, dtype))


def _to_numpy(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


CHECKS = {
    "ranks": ranks,
    "non-square blocks": non_square_blocks,
    "masks": masks,
    "schedule": schedule,
    "float16": in_dtype("float16"),
    "bfloat16": in_dtype("bfloat16"),
}


if __name__ == "__main__":
    main()
