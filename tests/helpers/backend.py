"""What the tests need to do differently on each Keras backend."""

import contextlib
from unittest import mock

import keras
import numpy as np
from keras import ops

from dropblock_lib import kernels
from dropblock_lib.kernels import bernoulli
from dropblock_lib.layers import BaseDropBlock

BACKEND = keras.backend.backend()

if BACKEND == "jax":
    import jax

    # Tests spend more time compiling than running.
    jax.config.update("jax_disable_most_optimizations", True)

# JAX has float64 only if it is enabled for the whole process.
DTYPES = ["float16", "bfloat16", "float32"] + ["float64"] * (BACKEND != "jax")


def random_words(shape, seed=0):
    """Random 32-bit words, as the masks of 32 samples are packed."""
    info = np.iinfo("int32")
    rng = np.random.default_rng(seed)
    return rng.integers(info.min, info.max, shape, "int32", endpoint=True)


def tensor(x, dtype=None):
    """An array as a tensor. Its dtype may be bfloat16, which NumPy lacks."""
    x = np.asarray(x)
    wide = "float64" if dtype == "float64" else "float32"
    with np.errstate(over="ignore"):
        x = x.astype(wide)
    return ops.cast(ops.convert_to_tensor(x), dtype or wide)


def array(x):
    """A tensor as a float array with exactly its values."""
    dtype = keras.backend.standardize_dtype(x.dtype)
    return ops.convert_to_numpy(ops.cast(x, "float32") if dtype != "float64" else x)


def gradient(f, x):
    """The gradient at `x` of a function `f` that returns a scalar."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        return tape.gradient(y, x)
    if BACKEND == "jax":
        import jax

        return jax.grad(f)(x)
    x = x.detach().clone().requires_grad_()
    f(x).backward()
    return x.grad


def compiled(layer):
    """A function that calls `layer` in training, compiled where possible."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda x: layer(x, training=True))
    if BACKEND == "jax":
        import jax

        call = jax.jit(
            lambda variables, x: layer.stateless_call([], variables, x, training=True)
        )

        def compiled_layer(x):
            if not layer.built:
                layer.build(x.shape)
            variables = layer.non_trainable_variables
            y, updates = call([v.value for v in variables], x)
            for variable, value in zip(variables, updates, strict=True):
                variable.assign(value)
            return y

        return compiled_layer
    return lambda x: layer(x, training=True)


def trained(layer, x):
    """The layer's output in training.

    Compiled on JAX, which otherwise compiles every operation on its own.
    """
    if BACKEND == "jax" and isinstance(layer, BaseDropBlock):
        return compiled(layer)(x)
    return layer(x, training=True)


@contextlib.contextmanager
def noise_of_seeds(noise):
    """Makes the layer set a seed where this noise is below gamma.

    Args:
        noise: Array (samples, ...) of the shape of the valid seed region, with an
            axis of channels, or of 1 if they share a mask.
    """

    def draw_bits(rng_seed, gamma, reserved, shape, bits):
        samples = len(noise)
        groups = -(-samples // 32)
        group_size = -(-samples // groups)
        # One channel per word, because the tests' channels are few.
        expected = (groups, *noise.shape[1:], group_size)
        for size, needed in zip((*shape, bits), expected, strict=True):
            assert not isinstance(size, int) or size == needed
        padding = [(0, groups * group_size - samples)] + [(0, 0)] * (noise.ndim - 1)
        filled = ops.convert_to_tensor(np.pad(noise, padding, constant_values=2))
        is_seed = ops.cast(filled < gamma, "int32")
        is_seed = ops.reshape(is_seed, (groups, group_size, *noise.shape[1:]))
        bit = np.arange(group_size, dtype="int32")
        bit = ops.convert_to_tensor(bit.reshape((1, -1) + (1,) * (noise.ndim - 1)))
        return ops.sum(ops.left_shift(is_seed, bit), axis=1)

    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.object(bernoulli, "draw_bits", draw_bits))
        # A trace shared by layers would keep this noise.
        patches.enter_context(
            mock.patch.object(
                kernels.backend, "share_trace", lambda f, *arguments: f(*arguments)
            )
        )
        yield
