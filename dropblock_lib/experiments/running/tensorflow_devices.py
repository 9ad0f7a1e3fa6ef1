"""Several devices with TensorFlow, for which keras.distribution does nothing yet."""

import keras
import tensorflow as tf


def mirrored(devices: list[str]):
    """A scope in which variables are mirrored on devices such as "gpu:0"."""
    strategy = tf.distribute.MirroredStrategy(
        devices,
        # The default, collective operations, lets the sums of batch normalization
        # meet those of the gradients, and ends with an error.
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )
    return strategy.scope()


def synchronize(model, together: bool) -> None:
    """Let batch normalization see the whole batch, and not a device's share."""
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = together
