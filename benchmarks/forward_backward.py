"""Computes a layer's output and gradient in one function, compiled where possible."""

import keras
import numpy as np

BACKEND = keras.backend.backend()


def prepare(contestant, shape, compiled=True):
    """Makes a function that computes a layer's output and gradient.

    Args:
        contestant: `contestants.Contestant`.
        shape: (batch, *sides, channels) of the input.
        compiled: Whether to compile. PyTorch never does.

    Returns:
        A function that returns (output, gradient) once both are computed; and a
        dict with `mode` and, on JAX, `temp_memory`, the number of bytes in addition to
        input and output, divided by the input's.
    """
    layer = contestant.call
    if contestant.channels_first:
        shape = (shape[0], shape[-1], *shape[1:-1])
    if isinstance(layer, keras.Layer) and not layer.built:
        layer.build(shape)
    rng = np.random.default_rng(0)
    # These are passed as arguments, because a compiler would fold constants. They are
    # never zero, so that a zero in the output is a dropped unit.
    x, gradient = rng.uniform(0.5, 1.5, (2, *shape)).astype("float32")
    prepare_on = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[BACKEND]
    return prepare_on(layer, x, gradient, compiled)


def _tensorflow(layer, x, gradient, compiled):
    import tensorflow as tf

    def both(x, gradient):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return y, tape.gradient(y, x, output_gradients=gradient)

    if compiled:
        both = tf.function(both, input_signature=[tf.TensorSpec(x.shape)] * 2)
    arguments = tf.constant(x), tf.constant(gradient)
    has_gpu = bool(tf.config.list_physical_devices("GPU"))

    def call():
        found = both(*arguments)
        # A GPU may still be computing when the call returns.
        if has_gpu:
            tf.test.experimental.sync_devices()
        return found

    return call, {"mode": "graph" if compiled else "eager"}


def _jax(layer, x, gradient, compiled):
    import jax

    trainable = [v.value for v in layer.trainable_variables]

    def both(state, x, gradient):
        def forward(x):
            return layer.stateless_call(trainable, state, x, training=True)

        y, backward, state = jax.vjp(forward, x, has_aux=True)
        return y, backward(gradient)[0], state

    # Each call returns the random state for the next one.
    state = [v.value for v in layer.non_trainable_variables]
    x, gradient = jax.numpy.asarray(x), jax.numpy.asarray(gradient)
    details = {"mode": "jit" if compiled else "eager"}
    if compiled:
        both = jax.jit(both).lower(state, x, gradient).compile()
        memory = both.memory_analysis()
        if memory is not None:
            details["temp_memory"] = memory.temp_size_in_bytes / x.nbytes

    def call():
        nonlocal state
        y, dx, state = jax.block_until_ready(both(state, x, gradient))
        return y, dx

    return call, details


def _torch(layer, x, gradient, compiled):
    import torch

    # `keras.ops` puts both tensors on the device that Keras uses.
    x = keras.ops.convert_to_tensor(x).detach().requires_grad_()
    gradient = keras.ops.convert_to_tensor(gradient)
    is_keras = isinstance(layer, keras.Layer)

    def call():
        x.grad = None
        y = layer(x, training=True) if is_keras else layer(x)
        y.backward(gradient)
        if x.is_cuda:
            torch.cuda.synchronize()
        return y.detach(), x.grad

    return call, {"mode": "eager"}
