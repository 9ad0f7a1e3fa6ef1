"""Masks on TensorFlow, where a pass over all units is what costs.

There every operation is a pass of its own, and what it writes has to be read again by
the next. With samples in the bits of bytes the masks are unpacked four to a word, in a
quarter of a pass each, and only the last steps take every unit in hand.
"""

import dataclasses

import tensorflow as tf

BYTE_BITS = 8
BYTES = 4
# Bit 0 of each byte of a word.
LOWEST_BITS = 0x01010101
# For fewer samples most bits of a byte would go unused.
FEWEST_SAMPLES = 5


@dataclasses.dataclass(frozen=True)
class BytePacking:
    """Masks of up to 8 samples and 4 neighboring channels in a word of 32 bits.

    Bit s of byte q belongs to sample s of its group, and to channel 4 c + q, where c
    is the word's place among the words: the bytes of all words, as they lie in memory,
    are the channels. It serves in the place of a `Packing`.

    Attributes:
        samples: Batch size, an integer or a scalar tensor.
        groups: How many groups of 8 samples there are; the last may lack some.
    """

    samples: int
    groups: int
    chunks = BYTES
    bits = BYTES * BYTE_BITS

    @classmethod
    def of(cls, samples, channels, channel_axis):
        """A packing, or None where words of bytes do not fit."""
        few = isinstance(samples, int) and samples < FEWEST_SAMPLES
        whole = isinstance(channels, int) and channels % BYTES == 0
        if few or not whole or channel_axis != 3:
            return None
        return cls(samples, -(-samples // BYTE_BITS))

    def present(self):
        """Bits of the samples that there are, int32 (groups,); None if all are."""
        if self._is_full():
            return None
        there = self.samples - BYTE_BITS * tf.range(self.groups)
        lowest = tf.bitwise.left_shift(1, tf.minimum(there, BYTE_BITS)) - 1
        return LOWEST_BITS * lowest

    def spread(self, packed, channel_axis, value):
        """`value` where a bit is 0, and 0 where it is 1.

        Args:
            packed: Int32 tensor (groups, height, width, channels / 4).
            channel_axis: 3.
            value: Scalar tensor of a float dtype.

        Returns:
            Tensor of rank 4, of samples and channels, of the dtype of `value`.
        """
        groups, height, width, words = tf.unstack(tf.shape(packed))
        sample = tf.reshape(tf.range(BYTE_BITS), (1, -1, 1, 1, 1))
        kept = tf.bitwise.invert(packed)[:, tf.newaxis]
        kept = tf.bitwise.right_shift(kept, sample)
        kept = tf.bitwise.bitwise_and(kept, LOWEST_BITS)
        kept = tf.reshape(
            tf.bitcast(kept, tf.uint8),
            (groups * BYTE_BITS, height, width, words * BYTES),
        )
        kept = tf.cast(kept, value.dtype) * value
        return kept if self._is_full() else kept[: self.samples]

    def _is_full(self):
        return isinstance(self.samples, int) and self.samples % BYTE_BITS == 0


def count_ones(packed):
    """How many bits are 1, as an int32 scalar."""
    return tf.reduce_sum(tf.cast(tf.raw_ops.PopulationCount(x=packed), tf.int32))
