"""Checks that a detector can overfit sixteen drawn images.

    python -m benchmarks.detector_overfits --at-least 0.75

A detector that cannot memorize sixteen images has a mistake in its anchors, targets,
losses or decoding. An average precision above 0.75 shows that they fit together.
"""

import argparse
import time

import keras

from dropblock_lib import load_dataset
from dropblock_lib.detection.average_precision import average_precision
from dropblock_lib.detection.batches import DetectionBatches
from dropblock_lib.detection.evaluation import detect
from dropblock_lib.models import DETECTORS


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=DETECTORS, default="retinanet_light")
    parser.add_argument("--variant", default="none")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--learning-rate", type=float, default=2.5e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-least", type=float, default=0.75, metavar="AP")
    options = parser.parse_args(arguments)

    keras.utils.set_random_seed(options.seed)
    scenes = load_dataset("scenes")
    split = scenes.train.take(options.images)
    batches = DetectionBatches(
        split, options.image_size, batch_size=8, shuffle=True, seed=options.seed
    )
    model = DETECTORS[options.network](
        options.variant,
        classes=len(scenes.classes),
        image_size=options.image_size,
        seed=options.seed,
    )
    steps = len(batches) * options.epochs
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=options.learning_rate, warmup_steps=steps // 10
    )
    model.compile(keras.optimizers.Adam(rate), jit_compile=False)

    started = time.monotonic()
    for done in range(0, options.epochs, 10):
        epochs = min(10, options.epochs - done)
        losses = model.fit(batches, epochs=epochs, shuffle=False, verbose=0).history
        found = detect(model, split, scenes.category_ids)
        reached = average_precision(split.annotations, found)
        print(
            f"epoch {done + epochs}: loss {losses['loss'][-1]:.4f}, "
            f"AP {reached['AP']:.3f}, AP50 {reached['AP50']:.3f}, "
            f"{time.monotonic() - started:.0f} s",
            flush=True,
        )
    if reached["AP"] < options.at_least:
        raise SystemExit(f"AP {reached['AP']:.3f} is below {options.at_least}.")


if __name__ == "__main__":
    main()
