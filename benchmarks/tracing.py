"""How much CPU time a regularizer adds to the first training step, for each layer.

    KERAS_BACKEND=tensorflow python benchmarks/tracing.py

The first step traces and compiles. Its CPU time with a regularizer, less that of the
plain network, is divided by the number of layers. Every network is made in a process
of its own, because what was traced once serves again. Nothing is written.
"""

import argparse
import subprocess
import sys
import time

import process

VARIANTS = ["none", "dropout-0.25", "dropblock-3-0.9", "dropblock-7-0.9"]
NETWORKS = ["resnet50", "densenet121"]


def main(arguments=None):
    chosen = _parser().parse_args(arguments)
    if chosen.one:
        print(*first_step(*chosen.one, chosen.batch))
        return
    for network in chosen.networks:
        plain = None
        for variant in VARIANTS:
            seconds, layers = _in_a_process(network, variant, chosen.batch)
            if plain is None:
                plain = seconds
                print(f"{network}, {variant}: {seconds:.1f} s", flush=True)
                continue
            each = (seconds - plain) / layers
            print(f"{network}, {variant}: {each:.3f} s a layer", flush=True)


def first_step(network, variant, batch):
    """CPU seconds of a network's first training step, and its regularizers."""
    # Imported late: the parent process needs none of it.
    import keras
    import numpy as np

    from dropblock_lib import models

    model = getattr(models, network)(variant, seed=0)
    model.compile(
        optimizer="adam",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    # The optimizer makes its variables beforehand, as in every network.
    model.optimizer.build(model.trainable_variables)
    images = np.zeros((batch, 32, 32, 3), "float32")
    labels = np.zeros(batch, "int32")
    started = time.process_time()
    model.train_on_batch(images, labels)
    seconds = time.process_time() - started
    # The second step only computes.
    started = time.process_time()
    model.train_on_batch(images, labels)
    seconds -= time.process_time() - started
    layers = sum("drop" in type(layer).__name__.lower() for layer in model.layers)
    return seconds, layers


def _in_a_process(network, variant, batch):
    command = [sys.executable, __file__, "--one", network, variant]
    command += ["--batch", str(batch)]
    found = subprocess.run(
        command, env=process.environment(), capture_output=True, text=True
    )
    if found.returncode:
        sys.exit(found.stderr)
    seconds, layers = found.stdout.split()[-2:]
    return float(seconds), int(layers)


def _parser():
    parser = argparse.ArgumentParser(
        description="CPU time of tracing, for each layer.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
