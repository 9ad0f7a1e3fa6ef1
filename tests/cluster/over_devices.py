"""Train over one and several virtual devices of the processor, and print JSON.

python over_devices.py RESULTS
"""

import json
import os
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=3"

import keras
import numpy as np
from tiny import tiny_data, tiny_net, tiny_recipe

from dropblock_lib.experiments import run
from dropblock_lib.experiments.running.devices import spread_over
from dropblock_lib.experiments.running.progress import LineProgress
from dropblock_lib.experiments.tasks.probes import estimate_moments
from dropblock_lib.models import NETWORKS

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    processor = tf.config.list_physical_devices("CPU")[0]
    three = [tf.config.LogicalDeviceConfiguration()] * 3
    tf.config.set_logical_device_configuration(processor, three)


def quiet_net(*arguments, **options):
    """The tiny network without dropout layers."""
    kept = [
        layer
        for layer in tiny_net(*arguments, **options).layers
        if "drop" not in layer.name
    ]
    return keras.Sequential([keras.Input((32, 32, 3)), *kept])


class Stopped(Exception):
    pass


def stop_at(step):
    steps = iter(range(1, step))

    def count(self):
        if next(steps, None) is None:
            raise Stopped

    LineProgress.step = count


def attempt(recipe, results, **options):
    """The record, or the error message."""
    try:
        record = run(recipe, results_dir=results, data=tiny_data(), **options)
        return record.to_dict()
    except (Stopped, ValueError) as error:
        return str(error)


def moments(devices):
    """Batch normalization's averages over a batch of copies of one image."""
    keras.utils.set_random_seed(0)
    image = np.random.randint(0, 256, (1, 32, 32, 3), "uint8")
    with spread_over(devices):
        network = quiet_net()
        batches = estimate_moments(network, np.repeat(image, 200, axis=0))
    (layer,) = (each for each in network.layers if "normalization" in each.name)
    averages = [layer.moving_mean, layer.moving_variance]
    values = [keras.ops.convert_to_numpy(each) for each in averages]
    return batches, np.concatenate(values).tolist()


def main(results):
    NETWORKS.update(tiny=tiny_net, quiet=quiet_net)
    noisy = keras.backend.backend() == "jax"
    # Adam would turn a rounding error in a zero gradient into a full step.
    recipe = tiny_recipe(
        network="tiny" if noisy else "quiet",
        variant="dropblock-3-0.7" if noisy else "none",
        optimizer="sgd",
        learning_rate=0.01,
    )
    step = LineProgress.step
    answers = {"one": attempt(recipe, f"{results}/one")}
    stop_at(6)
    attempt(recipe, f"{results}/two")
    LineProgress.step = step
    # The first epoch was trained on one device, the others train on two.
    answers["two"] = attempt(recipe, f"{results}/two", devices=2)
    answers["too many"] = attempt(recipe, f"{results}/none", devices=4)
    uneven = tiny_recipe(batch_size=7, test_size=19)
    answers["uneven"] = attempt(uneven, f"{results}/none", devices=2)
    answers["noise"] = None if noisy else attempt(tiny_recipe(), results, devices=2)
    answers["moments"] = [moments(1), moments(3)]
    print(f"\n{json.dumps(answers)}")


if __name__ == "__main__":
    main(sys.argv[1])
