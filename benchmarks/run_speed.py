"""Compares a run's speed with that of its convolutions alone, and of a bare `fit`.

    python -m benchmarks.run_speed                  # on TensorFlow
    python -m benchmarks.run_speed --networks densenet121 --only step

Prints two comparisons, in each of which both sides take turns:

- "step": a training step of each network, against its convolutions alone (forward, and
  the gradients of kernel and input).
- "run": the epochs of an experiment, with augmentation, validation after every other
  epoch and saved checkpoints, against epochs of a bare `fit` on the same images. It
  also prints the time from the start to the first step and from the last epoch to the
  record, without probes.

Run it on an idle machine.
"""

import argparse
import tempfile
import time

import keras
import numpy as np
from keras import ops

from benchmarks import interleaved, options, process, training
from dropblock_lib.data import Dataset
from dropblock_lib.experiments import Recipe, run
from dropblock_lib.experiments.running.optimizers import make_optimizer
from dropblock_lib.experiments.running.progress import LineProgress
from dropblock_lib.models import NETWORKS

CLASSES = 10
BATCH = {"resnet50": 256}


def main(arguments=None):
    chosen = _parser().parse_args(arguments)
    for network in chosen.networks:
        batch = chosen.batch or BATCH.get(network, 128)
        if "step" in chosen.only:
            _compare_step(network, batch, chosen.rounds)
        if "run" in chosen.only:
            _compare_run(network, batch, chosen.steps, chosen.epochs)


# === A step and its convolutions ===


def _compare_step(network, batch, rounds):
    model = _compiled(network, batch)
    images = _images(batch)
    labels = np.arange(batch) % CLASSES
    calls = {
        "convolutions": _convolutions(model, batch),
        "step": lambda: float(model.train_on_batch(images, labels)),
    }
    found = interleaved.summarize(interleaved.measure(calls, rounds), "convolutions")
    step = found["step"]
    print(
        f"{network}, batch {batch}: step {step['median']:.3f} s, convolutions alone "
        f"{found['convolutions']['median']:.3f} s, ratio {step['ratio']:.2f} "
        f"({step['ratio_low']:.2f} to {step['ratio_high']:.2f})",
        flush=True,
    )


def _compiled(network, batch):
    model = NETWORKS[network]("none", (32, 32, 3), CLASSES, seed=0)
    optimizer = make_optimizer(_recipe(network, batch, steps=10, epochs=1), 10)
    return training.compiled(model, optimizer, jit_compile=False)


def _convolutions(model, batch):
    """Makes a function that computes a model's convolutions and their gradients."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    work = []
    for layer in model.layers:
        if not isinstance(layer, keras.layers.Conv2D):
            continue
        _, *inputs = layer.input.shape
        _, *outputs = layer.output.shape
        # Training does not need the gradient of the image.
        is_first = inputs[-1] == 3
        work.append(
            (
                tf.constant(rng.normal(size=(batch, *inputs)).astype("float32")),
                tf.constant(ops.convert_to_numpy(layer.kernel)),
                tf.constant(rng.normal(size=(batch, *outputs)).astype("float32")),
                [1, *layer.strides, 1],
                layer.padding.upper(),
                is_first,
            )
        )

    @tf.function
    def compute():
        # The sum of one number per result keeps all of them in the graph.
        seen = []
        for x, kernel, gradient, strides, padding, is_first in work:
            where = {"strides": strides, "padding": padding}
            results = [
                tf.nn.conv2d(x, kernel, **where),
                tf.raw_ops.Conv2DBackpropFilter(
                    input=x, filter_sizes=kernel.shape, out_backprop=gradient, **where
                ),
            ]
            if not is_first:
                results.append(
                    tf.raw_ops.Conv2DBackpropInput(
                        input_sizes=x.shape,
                        filter=kernel,
                        out_backprop=gradient,
                        **where,
                    )
                )
            seen += [tf.reshape(result, [-1])[0] for result in results]
        return tf.add_n(seen)

    return lambda: float(compute())


# === A run and a bare fit ===


class _Clock(LineProgress):
    """Times each epoch of a run, and one epoch of a bare `fit` after it."""

    def __init__(self, bare_epoch):
        self.total_runs, self.run_index, self.label = 1, 0, ""
        self.bare_epoch = bare_epoch
        self.first_step = self.epoch_start = None
        self.seconds = {"run": [], "bare": []}

    def say(self, text):
        pass

    def step(self):
        if self.first_step is None:
            self.first_step = time.monotonic()

    def end_epoch(self, epoch, logs):
        ended = time.monotonic()
        # The first epoch includes tracing, so it is not counted.
        if self.epoch_start is not None:
            self.seconds["run"].append(ended - self.epoch_start)
        self.bare_epoch()
        self.epoch_start = time.monotonic()
        if epoch:
            self.seconds["bare"].append(self.epoch_start - ended)


def _compare_run(network, batch, steps, epochs):
    data = _data(batch * steps + 5_000)
    recipe = _recipe(network, batch, steps, epochs)
    model = _compiled(network, batch)
    x, y = data.x_train[: batch * steps], data.y_train[: batch * steps]
    clock = _Clock(lambda: model.fit(x, y, batch_size=batch, shuffle=False, verbose=0))
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        run(recipe, results_dir=folder, data=data, progress=clock)
        end = time.monotonic()
    found = interleaved.summarize(clock.seconds, "bare")
    epoch = found["run"]
    print(
        f"{network}, {steps} steps of {batch} an epoch: bare fit "
        f"{found['bare']['median']:.2f} s an epoch, a run {epoch['median']:.2f} s, "
        f"ratio {epoch['ratio']:.3f} ({epoch['ratio_low']:.3f} to "
        f"{epoch['ratio_high']:.3f}); start to first step "
        f"{clock.first_step - begin:.1f} s, last epoch to record "
        f"{end - clock.epoch_start:.1f} s",
        flush=True,
    )


def _recipe(network, batch, steps, epochs):
    return Recipe(
        network,
        "none",
        "cifar10",
        train_size=batch * steps,
        validation_size=5_000,
        validation_subset=2_500,
        validation_every=2,
        epochs=epochs,
        batch_size=batch,
        optimizer="sgd",
        learning_rate=0.01,
        learning_rate_schedule="one-cycle",
        weight_decay=5e-4,
        augmentation="crop-flip",
        profile="speed",
        probes=False,
    )


def _images(count):
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, 32, 32, 3), dtype="uint8")


def _data(count):
    labels = np.arange(count) % CLASSES
    return Dataset(
        requested="cifar10", name="cifar10", source="cifar10", origin="built-in",
        x_train=_images(count), y_train=labels,
        x_test=_images(1_000), y_test=labels[:1_000],
        classes=tuple("abcdefghij"),
    )  # fmt: skip


def _parser():
    parser = argparse.ArgumentParser(description="Speed of a run on TensorFlow.")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS,
                        default=["custom_net", "resnet50", "densenet121"])  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=["step", "run"],
                        default=["step", "run"])  # fmt: skip
    parser.add_argument("--rounds", type=options.positive, default=11)
    parser.add_argument("--batch", type=options.positive)
    parser.add_argument("--steps", type=options.positive, default=60)
    parser.add_argument("--epochs", type=options.positive, default=6)
    return parser


if __name__ == "__main__":
    process.restart_with_settings()
    main()
