"""Times a training step with and without regularizers.

    KERAS_BACKEND=jax python -m benchmarks.step_speed

Writes `step_speed-BACKEND.json`: forward pass, backward pass and optimizer on one batch
of noise. Each variant has its own network, and the networks train in turn.
"""

import numpy as np

from benchmarks import interleaved, options, process, training
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
        layers = training.count_regularizers(model)
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
        "environment": process.current(),
    }
    document = make_benchmark("step_speed", list(rows.values()), settings, {}, {})
    print(write_benchmark(document, chosen.output))


def _model(chosen, variant):
    stem = {"stem": chosen.stem} if chosen.network == "resnet50" else {}
    network = NETWORKS[chosen.network]
    return training.compiled(network(variant, chosen.image, CLASSES, seed=0, **stem))


def _step(model, image, batch):
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (batch, *image)).astype("float32")
    labels = rng.integers(0, CLASSES, batch)
    # Converting the loss to a number waits until the step is done.
    return lambda: float(model.train_on_batch(images, labels))


def _parser():
    parser = options.parser("Speed of a training step on one backend.")
    parser.add_argument("--rounds", type=options.positive, default=21,
                        help="timed steps per variant")  # fmt: skip
    parser.add_argument("--warm-up", type=options.positive, default=3,
                        help="untimed steps before them")  # fmt: skip
    parser.add_argument("--network", choices=NETWORKS, default="resnet50")
    parser.add_argument("--stem", choices=["imagenet", "cifar"], default="imagenet")
    parser.add_argument("--batch", type=options.positive, default=64)
    parser.add_argument("--image", type=options.shape(3), default=(32, 32, 3),
                        metavar="HxWxC", help="size of the images")  # fmt: skip
    parser.add_argument("--variants", nargs="+", choices=VARIANTS,
                        default=KEPT_VARIANTS)  # fmt: skip
    return parser


if __name__ == "__main__":
    process.restart_with_settings()
    main()
