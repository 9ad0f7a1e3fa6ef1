"""One run over several devices: each takes its share of every batch."""

import contextlib

import keras

from dropblock_lib.arguments import invalid
from dropblock_lib.experiments.records.checkpoint import random_states


@contextlib.contextmanager
def spread_over(devices: int):
    """Models that are made in this context train on several devices.

    Each device holds all weights and computes its share of the batch; gradients and
    the statistics of batch normalization are those of the whole batch.

    Args:
        devices: How many of this machine's devices take part.

    Raises:
        ValueError: If there are fewer, or the backend cannot do it.
    """
    if devices == 1:
        yield
        return
    present = keras.distribution.list_devices()
    if devices > len(present):
        raise invalid(
            "devices", f"at most {len(present)}: {', '.join(present)}", devices
        )
    chosen = present[:devices]
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from dropblock_lib.experiments.running.tensorflow_devices import mirrored

        with mirrored(chosen):
            yield
    elif backend == "jax":
        before = keras.distribution.distribution()
        keras.distribution.set_distribution(
            # Without shuffling by Keras: the order of the images is the recipe's.
            keras.distribution.DataParallel(devices=chosen, auto_shard_dataset=False)
        )
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)
    else:
        raise invalid("devices", f"1 on the backend {backend}", devices)


def check_shares(sizes: dict[str, int], devices: int) -> None:
    """Refuse batches that do not divide: each device takes as many images.

    Args:
        sizes: Of a batch, and of each set of images.
        devices: How many devices take part.

    Raises:
        ValueError: If the batch, or what is left for the last one of a set, is no
            multiple of `devices`.
    """
    uneven = [f"{what}={size}" for what, size in sizes.items() if size % devices]
    if uneven:
        raise invalid("devices", f"a number that divides {', '.join(uneven)}", devices)


def prepare(model, devices: int) -> None:
    """Give a model, new or loaded, what it needs on so many devices.

    Raises:
        ValueError: If it draws noise and the devices would all draw the same.
    """
    if keras.backend.backend() != "tensorflow":
        return  # JAX computes as if there were one device
    if devices > 1 and random_states(model):
        raise invalid(
            "devices",
            "1 for a network with noise on TensorFlow, which would let every device "
            "draw the same noise; KERAS_BACKEND=jax trains it on several",
            devices,
        )
    from dropblock_lib.experiments.running.tensorflow_devices import synchronize

    synchronize(model, devices > 1)
