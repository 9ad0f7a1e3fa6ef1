"""Measures the CPU time that a regularizer adds to the first step, per layer.

    KERAS_BACKEND=tensorflow python -m benchmarks.tracing

The first step traces and compiles. Its CPU time with a regularizer, minus that of the
plain network, is divided by the number of layers. Each network runs in its own
process, because traced functions are cached. No file is written.
"""

import argparse
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from benchmarks import options, process, training
from dropblock_lib import models

VARIANTS = ["none", "dropout-0.25", "dropblock-3-0.9", "dropblock-7-0.9"]
NETWORKS = ["resnet50", "densenet121"]


def main(arguments=None):
    chosen = _parser().parse_args(arguments)
    os.environ.update(process.SETTINGS)
    spawn = multiprocessing.get_context("spawn")
    for network in chosen.networks:
        plain = None
        for variant in VARIANTS:
            with ProcessPoolExecutor(1, spawn) as pool:
                task = pool.submit(first_step, network, variant, chosen.batch)
                seconds, layers = task.result()
            if plain is None:
                plain = seconds
                print(f"{network}, {variant}: {seconds:.1f} s", flush=True)
            else:
                each = (seconds - plain) / layers
                print(f"{network}, {variant}: {each:.3f} s per layer", flush=True)


def first_step(network, variant, batch):
    """Returns the CPU seconds of tracing a step, and the number of regularizers."""
    model = training.compiled(getattr(models, network)(variant, seed=0))
    # Every network creates these variables, so their time is left out.
    model.optimizer.build(model.trainable_variables)
    images = np.zeros((batch, 32, 32, 3), "float32")
    labels = np.zeros(batch, "int32")

    def step():
        started = time.process_time()
        model.train_on_batch(images, labels)
        return time.process_time() - started

    # The second step only computes.
    return step() - step(), training.count_regularizers(model)


def _parser():
    parser = argparse.ArgumentParser(
        description="CPU time of tracing, per layer.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--batch", type=options.positive, default=64)
    return parser


if __name__ == "__main__":
    main()
