"""TensorFlow's fused batch normalization, for `normalization.py`."""

import tensorflow as tf
from keras import ops


def normalize(layer, inputs, training):
    """Normalizes a batch, and updates the layer's moving moments in training.

    Args:
        layer: A built `keras.layers.BatchNormalization` over the last axis.
        inputs: Tensor of rank 4, channels last.
        training: Boolean. Whether to use the moments of the batch.

    Returns:
        Tensor of the shape and dtype of `inputs`.
    """
    gamma, beta = (ops.cast(weight, "float32") for weight in (layer.gamma, layer.beta))
    if not training:
        return _fused(
            inputs,
            gamma,
            beta,
            layer,
            mean=ops.cast(layer.moving_mean, "float32"),
            variance=ops.cast(layer.moving_variance, "float32"),
            is_training=False,
        )[0]
    outputs, mean, variance = _fused(inputs, gamma, beta, layer, is_training=True)
    # The operation returns the unbiased variance; Keras averages the biased variance.
    count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], "float32")
    # For a single unit the unbiased variance is 0 / 0, which a GPU may return as NaN.
    variance = tf.where(count > 1, variance * (count - 1) / count, 0)
    for variable, value in (
        (layer.moving_mean, mean),
        (layer.moving_variance, variance),
    ):
        kept = ops.cast(variable, "float32") * layer.momentum
        value = tf.stop_gradient(value) * (1 - layer.momentum)
        variable.assign(ops.cast(kept + value, variable.dtype))
    return outputs


def _fused(inputs, gamma, beta, layer, **kwargs):
    return tf.compat.v1.nn.fused_batch_norm(
        inputs, gamma, beta, epsilon=layer.epsilon, **kwargs
    )
