"""The backend's operations, written with `keras.ops`.

JAX uses them: its compiler fuses all steps into one pass over the units.
"""

import dataclasses

import keras
from keras import ops

from dropblock_lib.kernels.gamma import as_float, maximum
from dropblock_lib.kernels.packed_masks import PackedMasks


def is_concrete(tensor):
    """Whether a scalar tensor has a value, that is, JAX is not tracing it.

    Outside of compiled code, JAX compiles `ops.cond` and `ops.fori_loop` on every
    call, which takes a second. Python's `if` and `for` avoid that.
    """
    try:
        float(tensor)
    except TypeError:
        return False
    return True


def is_exporting():
    """Whether the model is being exported as a program that cannot branch on values."""
    return False


def draw_seed(generator):
    """The next random seed of a `keras.random.SeedGenerator`."""
    return generator.next()


def uniform(shape, seed):
    """Float32 tensor of random numbers in [0, 1), in steps of at most 2**-23."""
    return keras.random.uniform(shape, dtype="float32", seed=seed)


def constant(tensor):
    """A scalar, as a Python float on backends where the conversion is free."""
    return tensor


def combine_bits(is_one, bits):
    """Combines the bits that are 1 with `or`, along the first axis.

    Args:
        is_one: Boolean tensor.
        bits: Int32 tensor of distinct powers of two along the first axis, which
            broadcasts to the shape of `is_one`.

    Returns:
        Int32 tensor of the shape of `is_one` without its first axis.
    """
    # The bits are distinct, so their sum equals their `or`.
    return ops.sum(ops.where(is_one, bits, 0), axis=0)


def place_ones(noise, probability, words_per_row, bits):
    """Rows of words with ones at geometric gaps, for `bernoulli.sparse_bits`.

    Args:
        noise: Float32 tensor (rows, gaps), from `uniform`.
        probability: Probability that a bit is 1, a float32 scalar tensor or a float.
        words_per_row: Integer or scalar tensor.
        bits: Number of bits in use per word, an integer or a scalar tensor.

    Returns:
        Int32 tensor of `rows * words_per_row` words, or more for a single row.
    """
    # Half a step avoids log(0).
    log_noise = ops.log(noise + 2**-24)
    log_zero = ops.log1p(-ops.maximum(probability, 1e-20))
    row_bits = words_per_row * bits
    zeros = ops.minimum(log_noise / log_zero, as_float(row_bits))
    position = ops.cumsum(ops.cast(zeros, "int32") + 1, axis=1) - 1

    # Ones past a row's end go to a spare word that is dropped below.
    word, bit = _divmod(ops.minimum(position, row_bits), bits)
    rows, words_with_spare = ops.shape(noise)[0], words_per_row + 1
    first_word = ops.arange(rows, dtype="int32") * words_with_spare
    word = word + ops.expand_dims(first_word, 1)
    bit = ops.left_shift(1, bit)
    # The bits of a word are distinct, so their sum equals their `or`.
    found = ops.segment_sum(
        ops.reshape(bit, (-1,)),
        ops.reshape(word, (-1,)),
        num_segments=rows * words_with_spare,
    )
    if isinstance(rows, int) and rows == 1:
        return found
    found = ops.reshape(found, (-1, words_with_spare))[:, :words_per_row]
    return ops.reshape(found, (-1,))


def _divmod(position, bits):
    if isinstance(bits, int) and bits & (bits - 1) == 0:
        # A shift takes a fraction of the time of a division.
        shift = bits.bit_length() - 1
        return ops.right_shift(position, shift), position & (bits - 1)
    return position // bits, position % bits


class MasksOfAnySize(PackedMasks):
    """Masks whose sizes may be symbols, as in a model that JAX exports.

    Symbols in arrays' shapes can be added and multiplied, but have no maximum.
    """

    @classmethod
    def layout(cls, samples, channels):
        if isinstance(samples, int):
            return super().layout(samples, channels)
        # Each word belongs to a single sample.
        return samples, *super().layout(1, channels)[1:]

    @staticmethod
    def seed_sides(block_sides, map_sides):
        """Sides of the valid seed region; unknown sides are those of the map."""
        sides = zip(map_sides, block_sides, strict=True)
        return [
            max(side - block + 1, 1) if isinstance(side, int) else side
            for side, block in sides
        ]

    def grow_blocks(self, block_sides, map_sides):
        words = self.words
        first_axis = 2 if self.channel_axis == 1 else 1
        sides = zip(block_sides, map_sides, strict=True)
        for axis, (block, side) in enumerate(sides, first_axis):
            if not isinstance(side, int):
                # Places after the valid seed region have no seeds.
                valid = ops.arange(side, dtype="int32") <= maximum(side - block, 0)
                valid = ops.reshape(valid, (-1,) + (1,) * (len(words.shape) - axis - 1))
                words = ops.where(valid, words, 0)
        masks = dataclasses.replace(self, words=words)
        return super(MasksOfAnySize, masks).grow_blocks(block_sides, map_sides)


def masks_class(samples, channels, channel_axis):
    """The class of masks that suits a batch."""
    return MasksOfAnySize


def drop(inputs, draw_masks, *arguments):
    """Drops and scales, with masks drawn by `draw_masks(*arguments)`."""
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    # A product with a mask would let NaN leak from dropped units.
    return ops.divide_no_nan(inputs, draw_masks(*arguments).divisor(dtype))


def share_trace(function, *arguments):
    """Calls a function. TensorFlow's version traces it once for all layers."""
    return function(*arguments)


def with_shape_of(inputs, outputs):
    """Returns `outputs`. TensorFlow's version also states their shape."""
    return outputs
