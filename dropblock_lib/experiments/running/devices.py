"""One run on several devices: each takes its share of every batch."""

import contextlib
from collections.abc import Iterator

import keras

from dropblock_lib.arguments import invalid
from dropblock_lib.experiments.records.checkpoint import random_states


@contextlib.contextmanager
def spread_over(devices: int) -> Iterator[None]:
    """Trains models created in this context on several devices.

    Each device has all weights and computes its share of the batch. Gradients and the
    statistics of batch normalization are those of the whole batch.

    Args:
        devices: Number of devices of this machine.

    Raises:
        ValueError: If there are fewer devices, or the backend supports only one.
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
            # Keras must not shuffle: the recipe sets the order of the images.
            keras.distribution.DataParallel(devices=chosen, auto_shard_dataset=False)
        )
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)
    else:
        raise invalid("devices", f"1 on the backend {backend}", devices)


def check_shares(sizes: dict[str, int], devices: int) -> None:
    """Raises a `ValueError` unless every size (name -> images) divides evenly."""
    uneven = [f"{what}={size}" for what, size in sizes.items() if size % devices]
    if uneven:
        raise invalid("devices", f"a number that divides {', '.join(uneven)}", devices)


def prepare(model: keras.Model, devices: int) -> None:
    """Prepares a new or loaded model for training on several devices.

    Args:
        model: A `keras.Model`, changed in place.
        devices: Number of devices.

    Raises:
        ValueError: If the model has noise layers and every device would draw the same
            noise.
    """
    if keras.backend.backend() != "tensorflow":
        return  # JAX computes as on one device
    if devices > 1 and random_states(model):
        raise invalid(
            "devices",
            "1 for a network with noise on TensorFlow, where every device would draw "
            "the same noise; KERAS_BACKEND=jax trains it on several",
            devices,
        )
    from dropblock_lib.experiments.running.tensorflow_devices import synchronize

    synchronize(model, devices > 1)
