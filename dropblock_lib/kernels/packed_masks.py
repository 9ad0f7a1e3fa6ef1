"""Masks of up to 32 feature maps in the bits of an int32.

Most of the work of DropBlock is done on masks. Where one integer holds the same unit
of many maps, growing a block by one step is a single `or` for all of them, and a mask
takes a thirty-second of the memory of the feature maps.

A word holds a group of samples. Where there are few of them, it holds several
channels of each as well: bit s * chunks + q belongs to sample s of its group, and to
the q-th of `chunks` equal runs of channels.
"""

import dataclasses

import keras
from keras import ops

from dropblock_lib.kernels import sizes

WORD_BITS = 32
# Shorter runs of channels are slow to unpack.
SHORTEST_RUN = 16


def choose_packing(samples, channels, channel_axis):
    """How the masks of a batch share words, on the backend in use.

    Args:
        samples: Batch size, an integer or a scalar tensor.
        channels: Number of channels that have a mask of their own, likewise.
        channel_axis: 1 or 3, where the feature maps have their channels.
    """
    found = None
    if keras.backend.backend() == "tensorflow":
        from dropblock_lib.kernels.tensorflow import BytePacking

        found = BytePacking.of(samples, channels, channel_axis)
    return found or Packing.of(samples, channels)


@dataclasses.dataclass(frozen=True)
class Packing:
    """How the masks of a batch share words.

    Attributes:
        samples: Batch size. Like `groups` and `size` an integer, or a scalar tensor
            where it is not known.
        groups: How many groups of samples there are.
        size: Samples in a group; the last group may lack some.
        chunks: Channels of one sample that share a word.
    """

    samples: int
    groups: int
    size: int
    chunks: int

    @classmethod
    def of(cls, samples, channels):
        """As few groups as possible, no larger than need be: 40 samples are 2 of 20."""
        groups = -(-samples // WORD_BITS)
        size = sizes.maximum(-(-samples // sizes.maximum(groups, 1)), 1)
        chunks = 1
        if isinstance(size, int) and isinstance(channels, int):
            while (
                2 * chunks * size <= WORD_BITS
                and channels % (2 * chunks * SHORTEST_RUN) == 0
            ):
                chunks *= 2
        return cls(samples, groups, size, chunks)

    @property
    def bits(self):
        """How many bits of a word are in use."""
        return self.size * self.chunks

    def present(self):
        """Bits of the samples that there are, int32 (groups,); None if all are."""
        if isinstance(self.samples, int) and self.samples == self.groups * self.size:
            return None
        # A group that lacks samples has more than 16, and so one chunk.
        bit = ops.expand_dims(ops.arange(self.size, dtype="int32"), 0)
        group = ops.expand_dims(ops.arange(self.groups, dtype="int32"), 1)
        one = ops.left_shift(ops.ones_like(bit), bit)
        return ops.sum(
            ops.where(group * self.size + bit < self.samples, one, 0), axis=1
        )

    def side_by_side(self, packed, channel_axis):
        """Words of all channels, with the bits of a sample's chunks at one place.

        The bit of sample s of a group is the one at s * chunks, and what the others
        hold has no meaning.

        Args:
            packed: Int32 tensor of rank 4: groups, height and width, and runs of
                channels at `channel_axis`.
            channel_axis: 1 or 3.

        Returns:
            Int32 tensor of rank 4, with all channels.
        """
        if self.chunks == 1:
            return packed
        # Here, where words are few: a compiler that has to find the bit of each unit
        # in one loop over all runs does not work on several at once.
        return ops.concatenate(
            [ops.right_shift(packed, chunk) for chunk in range(self.chunks)],
            axis=channel_axis,
        )

    def unpack(self, packed, channel_axis):
        """A boolean for each bit.

        Args:
            packed: As for `side_by_side`.
            channel_axis: 1 or 3.

        Returns:
            Boolean tensor of rank 4, of samples and channels.
        """
        packed = self.side_by_side(packed, channel_axis)
        bit = self.chunks * ops.arange(self.size, dtype="int32")
        bit = ops.reshape(ops.left_shift(ops.ones_like(bit), bit), (1, -1, 1, 1, 1))
        bits = ops.bitwise_and(ops.expand_dims(packed, 1), bit)
        samples = ops.reshape(bits, (-1, *ops.shape(packed)[1:]))
        return ops.cast(samples, "bool")[: self.samples]

    def spread(self, packed, channel_axis, value):
        """`value` where a bit is 0, and 0 where it is 1.

        Args:
            packed: As for `side_by_side`.
            channel_axis: 1 or 3.
            value: Scalar tensor of a float dtype.

        Returns:
            Tensor of rank 4, of samples and channels, of the dtype of `value`.
        """
        bits = self.unpack(packed, channel_axis)
        return ops.where(bits, ops.zeros((), value.dtype), value)


def count_ones(packed):
    """How many bits are 1: sums of 2 bits, of 4, of 8, and of all 32 in each word.

    Args:
        packed: Int32 tensor.

    Returns:
        Int32 scalar tensor.
    """
    if keras.backend.backend() == "tensorflow":
        # One operation instead of a dozen.
        from dropblock_lib.kernels import tensorflow

        return tensorflow.count_ones(packed)

    # Operators, because functions of `keras.ops` take several times as long to call.
    sums = packed - (packed >> 1 & 0x55555555)
    sums = (sums & 0x33333333) + (sums >> 2 & 0x33333333)
    sums = sums + (sums >> 4) & 0x0F0F0F0F
    # The product has the sum of the four bytes in its highest.
    return ops.sum(sums * 0x01010101 >> 24)
