"""TensorFlow's operations, which make few passes over the units.

TensorFlow makes a separate pass for every operation. With samples in the bits of bytes,
one operation on a word unpacks four units, and only the last steps handle single units.
"""

import functools

import tensorflow as tf

from dropblock_lib.kernels.packed_masks import PackedMasks, is_full
from dropblock_lib.kernels.portable import (
    combine_bits,
    constant,
    draw_seed,
    is_exporting,
    place_ones,
    uniform,
)

__all__ = [
    "combine_bits",
    "constant",
    "draw_seed",
    "drop",
    "is_concrete",
    "is_exporting",
    "masks_class",
    "place_ones",
    "share_trace",
    "uniform",
    "with_shape_of",
]

BYTE_BITS = 8
WORD_BYTES = 4
# Bit 0 of each byte of a word.
LOWEST_BITS = 0x01010101


def is_concrete(tensor):
    """False, because `ops.cond` and `ops.fori_loop` need no compilation."""
    return False


def masks_class(samples, channels, channel_axis):
    """`ByteMasks` where they fit, `WordMasks` elsewhere."""
    if channel_axis == -1 and isinstance(channels, int):
        *_, channels_per_word = ByteMasks.layout(samples, channels)
        if channels % channels_per_word == 0:
            return ByteMasks
    return WordMasks


class WordMasks(PackedMasks):
    """`PackedMasks`, counted by TensorFlow, in int64."""

    def count_ones(self):
        ones = tf.raw_ops.PopulationCount(x=self.words)
        # A count along one axis fits in int32, but the count of a batch may not.
        counts = tf.reduce_sum(tf.cast(ones, tf.int32), axis=-1)
        return tf.reduce_sum(tf.cast(counts, tf.int64))

    def kept_fraction(self, dtype):
        dtype = "float64" if dtype == "float64" else "float32"
        sides = tf.shape(self.words, out_type=tf.int64)[1:]
        samples = tf.cast(self.samples, tf.int64)
        bits = samples * self.channels_per_word * tf.reduce_prod(sides)
        dropped = self.count_ones()
        kept = tf.cast(tf.maximum(bits - dropped, 1), dtype)
        fraction = kept / tf.cast(bits, dtype)
        return tf.where(dropped > 0, fraction, tf.ones((), dtype))


class ByteMasks(WordMasks):
    """Masks of up to 8 samples and 4 neighboring channels in a word.

    Byte q of word c belongs to channel 4 c + q: in memory, the bytes of all words are
    the channels. Bit s of a byte belongs to sample s of its group. If there are few
    samples, a byte has several channels of each: bit s * runs + r belongs to sample s
    and to the r-th of `runs` equal runs of channels.
    """

    @classmethod
    def layout(cls, samples, channels):
        group_size = BYTE_BITS
        if isinstance(samples, int):
            while group_size > 1 and group_size // 2 >= samples:
                group_size //= 2
        channels_per_word = WORD_BYTES * BYTE_BITS // group_size
        return -(-samples // group_size), group_size, channels_per_word

    @classmethod
    def valid_bits(cls, samples_in_group, channels_per_word):
        runs = channels_per_word // WORD_BYTES
        return LOWEST_BITS * (tf.bitwise.left_shift(1, runs * samples_in_group) - 1)

    def kept_units(self):
        return tf.cast(self._kept_bytes(), tf.bool)

    def expand(self, value):
        return tf.cast(self._kept_bytes(), value.dtype) * value

    def _kept_bytes(self):
        """A uint8 for each unit: 1 where it is kept, and 0 where it is dropped."""
        kept = tf.bitwise.invert(self.words)
        runs = self.channels_per_word // WORD_BYTES
        if runs > 1:
            shifted = [tf.bitwise.right_shift(kept, run) for run in range(runs)]
            kept = tf.concat(shifted, axis=-1)
        groups, *sides, words = tf.unstack(tf.shape(kept))
        bit = runs * tf.range(self.group_size)
        bit = tf.reshape(bit, (1, -1) + (1,) * (len(sides) + 1))
        kept = tf.bitwise.right_shift(kept[:, tf.newaxis], bit)
        kept = tf.bitwise.bitwise_and(kept, LOWEST_BITS)
        shape = (groups * self.group_size, *sides, words * WORD_BYTES)
        kept = tf.reshape(tf.bitcast(kept, tf.uint8), shape)
        full = is_full(self.samples, self.group_size)
        return kept if full else kept[: self.samples]


def drop(inputs, draw_masks, *arguments):
    """Drops and scales, with masks drawn by `draw_masks(*arguments)`."""
    divisor = share_trace(_draw_divisor, draw_masks, inputs.dtype.name, *arguments)
    return with_shape_of(inputs, tf.math.divide_no_nan(inputs, divisor))


def _draw_divisor(draw_masks, dtype, *arguments):
    return draw_masks(*arguments).divisor(dtype)


def with_shape_of(inputs, outputs):
    """Tells the graph optimizer that `outputs` has the shape of `inputs`.

    Where a dimension is unknown, Grappler cannot see that the mask has the size of
    the inputs. It then keeps the order of a residual block's additions, which it
    changes in a model without the layer. The two models round differently and
    diverge, even while nothing is dropped.
    """
    if inputs.shape.is_fully_defined():
        return outputs
    # The whole of `tf.shape`: Grappler loses track of single dimensions.
    return tf.reshape(outputs, tf.shape(inputs))


def share_trace(function, *arguments):
    """Calls a function that is traced once for all layers with equal settings.

    Args:
        function: A hashable function of tensors and numbers, without state. No
            gradient flows through it.
        *arguments: Tensors, and hashable values. The function is traced for each
            combination of the latter.

    Returns:
        What the function returns.
    """
    if tf.executing_eagerly():
        return function(*arguments)
    fixed = tuple(None if tf.is_tensor(a) else a for a in arguments)
    # Converted, because Keras may pass a variable.
    tensors = [tf.convert_to_tensor(a) for a in arguments if tf.is_tensor(a)]
    return _traced(function, fixed)(*tensors)


@functools.cache
def _traced(function, fixed):
    def call(*tensors):
        tensors = iter(tensors)
        return function(*(next(tensors) if a is None else a for a in fixed))

    # An inlined function would be optimized again for every layer.
    return tf.function(
        call, autograph=False, experimental_attributes={"_noinline": True}
    )
