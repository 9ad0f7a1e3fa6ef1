"""The few things that each backend of Keras does in its own way."""

import contextlib
from unittest import mock

import keras
import numpy as np
from keras import ops

import dropblock_lib as dbl
from dropblock_lib import layers

BACKEND = keras.backend.backend()

if BACKEND == "jax":
    import jax

    # Tests compile often and run little.
    jax.config.update("jax_disable_most_optimizations", True)

# JAX has float64 only if it is switched on for the whole process.
DTYPES = ["float16", "bfloat16", "float32"] + ["float64"] * (BACKEND != "jax")


def tensor(x, dtype=None):
    """An array as a tensor, bfloat16 included, which NumPy does not know."""
    x = np.asarray(x)
    wide = "float64" if dtype == "float64" else "float32"
    with np.errstate(over="ignore"):
        x = x.astype(wide)
    return ops.cast(ops.convert_to_tensor(x), dtype or wide)


def array(x):
    """A tensor as a float array that holds each of its values exactly."""
    dtype = keras.backend.standardize_dtype(x.dtype)
    return ops.convert_to_numpy(ops.cast(x, "float32") if dtype != "float64" else x)


def gradient(f, x):
    """The gradient at `x` of `f`, which makes one number of a tensor."""
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
    """A function that calls `layer` in training, compiled where that is possible."""
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
    """The output in training, called in the way that costs a backend least.

    JAX compiles also what is called outside of a function, piece by piece.
    """
    if BACKEND == "jax" and isinstance(layer, dbl.DropBlock2D):
        return compiled(layer)(x)
    return layer(x, training=True)


@contextlib.contextmanager
def noise_of_seeds(noise):
    """Has the layer set a seed where this noise is below gamma.

    Args:
        noise: Array (samples, ...) of the shape of the valid seed region, with an
            axis of channels, or of 1 if they share a mask.
    """

    def draw_seeds(generator, gamma, expected_gammas, packing, places):
        static = [side for side in places if isinstance(side, int)]
        assert len(static) < 3 or tuple(places) == noise.shape[1:]
        assert packing.chunks == 1
        samples = len(noise)
        groups = -(-samples // 32)
        padding = [(0, -samples % groups)] + [(0, 0)] * 3
        filled = ops.convert_to_tensor(np.pad(noise, padding, constant_values=2))
        is_seed = ops.cast(filled < gamma, "int32")
        is_seed = ops.reshape(is_seed, (groups, -1, *noise.shape[1:]))
        bit = ops.reshape(ops.arange(is_seed.shape[1], dtype="int32"), (1, -1, 1, 1, 1))
        return ops.sum(ops.left_shift(is_seed, bit), axis=1)

    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.object(layers, "draw_seeds", draw_seeds))
        if BACKEND == "tensorflow":
            from dropblock_lib.kernels import tensorflow

            # A trace that layers share would hold this noise for good.
            patches.enter_context(
                mock.patch.object(
                    tensorflow, "share_trace", lambda f, *arguments: f(*arguments)
                )
            )
        yield
