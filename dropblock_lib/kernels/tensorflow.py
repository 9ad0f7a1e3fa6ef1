"""Masks on TensorFlow, where a pass over all units is what costs.

There every operation is a pass of its own, and what it writes has to be read again by
the next. With samples in the bits of bytes the masks are unpacked four to a word, in a
quarter of a pass each, and only the last steps take every unit in hand.
"""

import dataclasses
import functools

import tensorflow as tf

BYTE_BITS = 8
BYTES = 4
# Bit 0 of each byte of a word.
LOWEST_BITS = 0x01010101


@dataclasses.dataclass(frozen=True)
class BytePacking:
    """Masks of up to 8 samples and 4 neighboring channels in a word of 32 bits.

    Byte q of the words belongs to channel 4 c + q, where c is the word's place among
    the words: their bytes, as they lie in memory, are the channels. Bit s of a byte
    belongs to sample s of its group. Where there are few samples, a byte holds several
    channels of each: bit s * runs + r belongs to the r-th of equal runs of channels.
    It serves in the place of a `Packing`.

    Attributes:
        samples: Batch size, an integer or a scalar tensor.
        groups: How many groups of samples there are.
        size: Samples in a group: 1, 2, 4 or 8; the last group may lack some.
    """

    samples: int
    groups: int
    size: int
    bits = BYTES * BYTE_BITS

    @classmethod
    def of(cls, samples, channels, channel_axis):
        """A packing, or None where words of bytes do not fit."""
        size = BYTE_BITS
        if isinstance(samples, int):
            while size > 1 and size // 2 >= samples:
                size //= 2
        packing = cls(samples, -(-samples // size), size)
        fits = isinstance(channels, int) and channels % packing.chunks == 0
        return packing if fits and channel_axis == 3 else None

    @property
    def runs(self):
        """Runs of channels that share a byte."""
        return BYTE_BITS // self.size

    @property
    def chunks(self):
        """Channels of one sample that share a word."""
        return BYTES * self.runs

    def present(self):
        """Bits of the samples that there are, int32 (groups,); None if all are."""
        if self._is_full():
            return None
        there = self.samples - self.size * tf.range(self.groups)
        there = self.runs * tf.minimum(there, self.size)
        return LOWEST_BITS * (tf.bitwise.left_shift(1, there) - 1)

    def spread(self, packed, channel_axis, value):
        """`value` where a bit is 0, and 0 where it is 1.

        Args:
            packed: Int32 tensor (groups, height, width, channels / chunks).
            channel_axis: 3.
            value: Scalar tensor of a float dtype.

        Returns:
            Tensor of rank 4, of samples and channels, of the dtype of `value`.
        """
        kept = tf.bitwise.invert(packed)
        if self.runs > 1:
            runs = [tf.bitwise.right_shift(kept, run) for run in range(self.runs)]
            kept = tf.concat(runs, axis=3)
        groups, height, width, words = tf.unstack(tf.shape(kept))
        bit = tf.reshape(self.runs * tf.range(self.size), (1, -1, 1, 1, 1))
        kept = tf.bitwise.right_shift(kept[:, tf.newaxis], bit)
        kept = tf.bitwise.bitwise_and(kept, LOWEST_BITS)
        kept = tf.reshape(
            tf.bitcast(kept, tf.uint8),
            (groups * self.size, height, width, words * BYTES),
        )
        kept = tf.cast(kept, value.dtype) * value
        return kept if self._is_full() else kept[: self.samples]

    def _is_full(self):
        return isinstance(self.samples, int) and self.samples % self.size == 0


def count_ones(packed):
    """How many bits are 1, as an int32 scalar."""
    return tf.reduce_sum(tf.cast(tf.raw_ops.PopulationCount(x=packed), tf.int32))


def with_shape_of(inputs, outputs):
    """Tells the graph optimizer that `outputs` has the shape of `inputs`.

    Where a dimension is unknown, Grappler cannot see that the mask has the size of
    the inputs. It then leaves the additions of a residual block in their order, which
    it changes in a model without the layer. The two models round differently, and
    part ways even while nothing is dropped.
    """
    if inputs.shape.is_fully_defined():
        return outputs
    # The whole of `tf.shape`: Grappler loses track of numbers taken out of it.
    return tf.reshape(outputs, tf.shape(inputs))


def share_trace(function, *arguments):
    """Calls a function that is traced once for all layers that call it alike.

    Args:
        function: A hashable function without state, of tensors and numbers. No
            gradient goes through it.
        *arguments: Tensors, and hashable values, for each of which the function is
            traced anew.

    Returns:
        What the function returns.
    """
    if tf.executing_eagerly():
        return function(*arguments)
    fixed = tuple(None if tf.is_tensor(a) else a for a in arguments)
    # Converted, because Keras may hand out a variable.
    tensors = [tf.convert_to_tensor(a) for a in arguments if tf.is_tensor(a)]
    return _traced(function, fixed)(*tensors)


@functools.cache
def _traced(function, fixed):
    def call(*tensors):
        tensors = iter(tensors)
        return function(*(next(tensors) if a is None else a for a in fixed))

    # In line, it would be optimized again for every layer.
    return tf.function(
        call, autograph=False, experimental_attributes={"_noinline": True}
    )
