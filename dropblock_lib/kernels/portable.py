"""What backends do differently, for those that do it with `keras.ops`.

On JAX the compiler merges all steps into one pass over the units.
"""

import keras
from keras import ops

from dropblock_lib.kernels.packed_masks import PackedMasks


def is_concrete(tensor):
    """Whether a scalar tensor has a value, because JAX is not compiling.

    Outside of compiled code, JAX compiles `ops.cond` and `ops.fori_loop` at every
    call, which takes a second. Python's `if` and `for` avoid that.
    """
    try:
        float(tensor)
    except TypeError:
        return False
    return True


def combine_bits(is_one, bits):
    """The `or` of the bits that are ones, along the first axis.

    Args:
        is_one: Boolean tensor.
        bits: Int32 tensor that broadcasts to it, of powers of two.
    """
    # The bits differ, so that their sum is their `or`.
    return ops.sum(ops.where(is_one, bits, 0), axis=0)


def scatter_bits(bit, word, words):
    """The `or` of the bits of each word: int32 `(words,)`.

    Args:
        bit: Int32 tensor of powers of two. Those of a word differ.
        word: Int32 tensor of the same shape: the word that each bit belongs to.
        words: Number of words.
    """
    flat = ops.reshape(bit, (-1,)), ops.reshape(word, (-1,))
    return ops.segment_sum(*flat, num_segments=words)


def masks_class(samples, channels, channel_axis):
    """The class of masks that suits a batch."""
    return PackedMasks


def drop(inputs, draw_masks, *arguments):
    """Drops and scales, with masks drawn by `draw_masks(*arguments)`."""
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    # A product with a mask would let NaN leak from dropped units.
    return ops.divide_no_nan(inputs, draw_masks(*arguments).divisor(dtype))


def share_trace(function, *arguments):
    """Calls a function, which TensorFlow traces once for all layers."""
    return function(*arguments)


def with_shape_of(inputs, outputs):
    """Returns `outputs`, whose shape TensorFlow states explicitly."""
    return outputs
