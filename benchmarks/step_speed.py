"""How long a training step takes, with regularizers and without.

    KERAS_BACKEND=jax python benchmarks/step_speed.py

Writes `step_speed-BACKEND.json`: forward, backward and the optimizer on one batch of
noise, with a network of its own for each variant, trained in turn.
"""

import interleaved
import keras
import numpy as np
import options
import process

from dropblock_lib import VARIANTS, models
from dropblock_lib.experiments.records.benchmark import make_benchmark, write_benchmark

NETWORKS = {"resnet50": models.resnet50, "custom_net": models.custom_net}
KEPT_VARIANTS = ["none", "dropout-0.25", "dropblock-3-0.9", "dropblock-7-0.9"]
CLASSES = 10


def main(arguments=None):
    chosen = _parser().parse_args(arguments)
    if chosen.smoke:
        chosen.network, chosen.variants = "custom_net", ["none", "dropblock-3-0.9"]
        chosen.image, chosen.batch = (8, 8, 3), 2
        chosen.rounds, chosen.warm_up = 1, 1
    calls, rows = {}, {}
    for variant in chosen.variants:
        model = _model(chosen, variant)
        calls[variant] = _step(model, chosen.image, chosen.batch)
        layers = sum("drop" in type(layer).__name__.lower() for layer in model.layers)
        rows[variant] = {"variant": variant, "layers": layers}
    seconds = interleaved.measure(calls, chosen.rounds, chosen.warm_up)
    for variant, found in interleaved.summarize(seconds, "none").items():
        rows[variant] |= found
        print(f"{variant}: {1000 * found['median']:.1f} ms", flush=True)
    settings = {
        "network": chosen.network,
        "image": list(chosen.image),
        "batch": chosen.batch,
        "stem": chosen.stem,
        "optimizer": "adam",
        "rounds": chosen.rounds,
        "warm_up": chosen.warm_up,
        "base": "none",
        "smoke": chosen.smoke,
        "environment": process.stated(),
    }
    document = make_benchmark("step_speed", list(rows.values()), settings, {}, {})
    print(write_benchmark(document, chosen.output))


def _model(chosen, variant):
    stem = {"stem": chosen.stem} if chosen.network == "resnet50" else {}
    model = NETWORKS[chosen.network](variant, chosen.image, CLASSES, seed=0, **stem)
    model.compile(
        optimizer="adam",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def _step(model, image, batch):
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (batch, *image)).astype("float32")
    labels = rng.integers(0, CLASSES, batch)
    # It returns the loss as a number, which waits until the step is done.
    return lambda: float(model.train_on_batch(images, labels))


def _parser():
    parser = options.parser("Speed of a training step on one backend.")
    parser.add_argument("--rounds", type=options.positive, default=21, help="runs each")
    parser.add_argument("--warm-up", type=options.positive, default=3, help="not timed")
    parser.add_argument("--network", choices=NETWORKS, default="resnet50")
    parser.add_argument("--stem", choices=["imagenet", "cifar"], default="imagenet")
    parser.add_argument("--batch", type=options.positive, default=64)
    parser.add_argument(
        "--image",
        type=options.sides(3),
        default=(32, 32, 3),
        metavar="HxWxC",
        help="size of the images",
    )
    parser.add_argument("--variants", nargs="+", choices=VARIANTS,
                        default=KEPT_VARIANTS)  # fmt: skip
    return parser


if __name__ == "__main__":
    process.restart_in_them()
    main()
