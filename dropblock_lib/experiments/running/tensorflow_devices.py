"""Several devices with TensorFlow, which keras.distribution does not support yet."""

import keras
import tensorflow as tf


def mirrored(devices: list[str]):
    """A scope that mirrors its variables on devices such as "gpu:0"."""
    strategy = tf.distribute.MirroredStrategy(
        devices,
        # With the default (collective operations), the reductions of batch
        # normalization and of the gradients collide and raise an error.
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )
    return strategy.scope()


def synchronize(model: keras.Model, together: bool) -> None:
    """Sets whether batch normalization uses the whole batch or a device's share."""
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = together
