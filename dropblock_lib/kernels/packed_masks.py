"""Masks of up to 32 feature maps in the bits of an int32.

DropBlock spends most of its time on masks. With one integer for the same unit in up to
32 maps, a single `or` grows the blocks of all these maps by one step, and the masks
take a thirty-second of the memory of the feature maps.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Self

from keras import ops

from dropblock_lib.kernels.gamma import Size, Tensor, as_float, maximum

WORD_BITS = 32
# Shorter runs of channels are slow to unpack.
SHORTEST_RUN = 16


@dataclasses.dataclass(frozen=True)
class PackedMasks:
    """Masks of a batch: bits are 1 where a unit is dropped.

    A word has a bit for every sample of a group. If the group is small, the word has
    bits for several channels of each sample: bit s * channels_per_word + r belongs to
    sample s of the group and to the r-th of `channels_per_word` equal runs of channels.

    Attributes:
        words: Int32 tensor of the feature maps' rank, with groups in place of samples,
            and the channels of one run at `channel_axis`. A side may be 1 instead of
            the map's: its bit then applies to the whole side.
        samples: Batch size, an integer or a scalar tensor.
        group_size: Samples in a group, an integer or a scalar tensor; the last group
            may have fewer.
        channels_per_word: Channels of one sample that share a word.
        channel_axis: 1 or -1.
    """

    words: Tensor
    samples: Size
    group_size: Size
    channels_per_word: int
    channel_axis: int

    @classmethod
    def draw(
        cls,
        samples: Size,
        channels: Size,
        sides: Sequence[Size],
        channel_axis: int,
        draw_bits: Callable[[tuple, Size], Tensor],
    ) -> Self:
        """Draws masks.

        Args:
            samples: Batch size. This and the next two are integers or scalar tensors.
            channels: Masks per sample.
            sides: Sides of the masks.
            channel_axis: 1 or -1.
            draw_bits: Function of a shape and of the number of bits in use per word
                that returns int32 words. Other bits must be 0.
        """
        groups, group_size, channels_per_word = cls.layout(samples, channels)
        shape = [*sides]
        run_length = channels // channels_per_word
        shape.insert(0 if channel_axis == 1 else len(shape), run_length)
        words = draw_bits((groups, *shape), group_size * channels_per_word)
        if not is_full(samples, group_size):
            # Padding samples count neither as dropped nor as kept.
            samples_in_group = samples - group_size * ops.arange(groups, dtype="int32")
            samples_in_group = ops.minimum(samples_in_group, group_size)
            valid_bits = cls.valid_bits(samples_in_group, channels_per_word)
            words = words & ops.reshape(valid_bits, (-1,) + (1,) * len(shape))
        return cls(words, samples, group_size, channels_per_word, channel_axis)

    @classmethod
    def layout(cls, samples: Size, channels: Size) -> tuple[Size, Size, int]:
        """Groups, samples in a group, and channels per word.

        Groups are as few as possible, and no larger than necessary: 40 samples make
        2 groups of 20.
        """
        groups = -(-samples // WORD_BITS)
        group_size = maximum(-(-samples // maximum(groups, 1)), 1)
        channels_per_word = 1
        if isinstance(group_size, int) and isinstance(channels, int):
            while (
                2 * channels_per_word * group_size <= WORD_BITS
                and channels % (2 * channels_per_word * SHORTEST_RUN) == 0
            ):
                channels_per_word *= 2
        return groups, group_size, channels_per_word

    @staticmethod
    def seed_sides(block_sides: Sequence[int], map_sides: Sequence[Size]) -> list:
        """Sides of the array of seeds: those of the valid seed region."""
        sides = zip(map_sides, block_sides, strict=True)
        return [maximum(side - block + 1, 1) for side, block in sides]

    @classmethod
    def valid_bits(cls, samples_in_group: Tensor, channels_per_word: int) -> Tensor:
        """The bits of the samples in each group, in an int32 word per group."""
        # A group with padding has more than 16 samples, and so one channel per word.
        return lowest_bits(samples_in_group)

    def grow_blocks(
        self, block_sides: Sequence[int], map_sides: Sequence[Size]
    ) -> Self:
        """Extends every seed to a block.

        Along an axis where the block is known to cover the map, the side stays 1.
        """
        words = self.words
        first_axis = 2 if self.channel_axis == 1 else 1
        sides = zip(block_sides, map_sides, strict=True)
        for axis, (block, side) in enumerate(sides, first_axis):
            if not (isinstance(side, int) and side <= block):
                words = grow_blocks(words, block, side, axis)
        return dataclasses.replace(self, words=words)

    def count_ones(self) -> Tensor:
        """The number of bits that are 1, as an int32 scalar tensor."""
        # Sums of 2 bits, of 4, of 8, and of all 32 in each word. Operators are used,
        # because functions of `keras.ops` take several times as long to call.
        sums = self.words - (self.words >> 1 & 0x55555555)
        sums = (sums & 0x33333333) + (sums >> 2 & 0x33333333)
        sums = sums + (sums >> 4) & 0x0F0F0F0F
        # The highest byte of the product is the sum of the four bytes.
        return ops.sum(sums * 0x01010101 >> 24)

    def kept_fraction(self, dtype: str) -> Tensor:
        """The fraction of units that are kept: a scalar tensor, never 0.

        It is float64 if `dtype` is, and float32 otherwise. Units are counted in
        int32: float32 cannot count beyond 2**24, nor float16 beyond 2**11.
        """
        dtype = "float64" if dtype == "float64" else "float32"
        _, *sides = ops.shape(self.words)
        bits = self.samples * self.channels_per_word * math.prod(sides)
        dropped = self.count_ones()
        if isinstance(bits, int) and bits >= 2**31:
            # The count may have wrapped around once. Rounding so many units to floats
            # changes the fraction by less than a millionth.
            dropped = ops.cast(dropped, dtype)
            dropped = ops.where(dropped < 0, dropped + 2.0**32, dropped)
            bits = float(bits)
        kept = ops.cast(ops.maximum(bits - dropped, 1), dtype)
        fraction = kept / as_float(bits, dtype)
        # Compilers replace division by a constant with multiplication by its rounded
        # reciprocal, which need not give 1 where all are kept.
        return ops.where(dropped > 0, fraction, ops.ones((), dtype))

    def kept_units(self) -> Tensor:
        """Booleans for all samples and channels: True where a unit is kept."""
        words = self.words_of_channels()
        bit = self.channels_per_word * ops.arange(self.group_size, dtype="int32")
        bit = ops.left_shift(ops.ones_like(bit), bit)
        bit = ops.reshape(bit, (1, -1) + (1,) * (len(words.shape) - 1))
        bits = ops.bitwise_and(ops.expand_dims(words, 1), bit)
        bits = ops.reshape(bits, (-1, *ops.shape(words)[1:]))
        kept = ops.equal(bits, 0)
        return kept if is_full(self.samples, self.group_size) else kept[: self.samples]

    def expand(self, value: Tensor) -> Tensor:
        """The scalar `value` where a unit is kept, and 0 where it is dropped."""
        return ops.where(self.kept_units(), value, ops.zeros((), value.dtype))

    def divisor(self, dtype: str) -> Tensor:
        """The kept fraction where a unit is kept, and 0 where it is dropped."""
        return self.expand(ops.cast(self.kept_fraction(dtype), dtype))

    def words_of_channels(self) -> Tensor:
        """A word for every channel, with sample s at bit s * channels_per_word.

        The bits in between have no meaning.
        """
        if self.channels_per_word == 1:
            return self.words
        # The shift is done on words, which are few: a compiler that has to find the bit
        # of each unit in one loop over all runs does not vectorize that loop.
        runs = range(self.channels_per_word)
        shifted = [ops.right_shift(self.words, run) for run in runs]
        return ops.concatenate(shifted, axis=self.channel_axis)


def grow_blocks(seeds: Tensor, block: int, side: Size, axis: int) -> Tensor:
    """Extends every 1 bit over `block` places of an axis.

    Windows double in length: two of 1 make one of 2, two of 2 make one of 4. Two
    overlapping windows make one of any other length.

    Args:
        seeds: Int32 tensor of packed masks on the valid seed region.
        block: Side of a block.
        side: Side of the feature map. A longer block is clipped to it.
        axis: Axis of `seeds` to grow along.

    Returns:
        Int32 tensor of packed masks, with `side` places along `axis`.
    """
    if isinstance(side, int):
        block = min(block, side)
    grown = seeds
    if block > 1:
        shape = list(ops.shape(seeds))
        shape[axis] = block - 1
        nothing = ops.zeros(shape, "int32")
        # `ops.pad` is slow on PyTorch, at any size.
        grown = ops.concatenate([nothing, seeds, nothing], axis=axis)
    window = 1
    while window < block:
        shift = min(window, block - window)
        later, earlier = slice(shift, None), slice(None, -shift)
        grown = grown[_along(axis, later)] | grown[_along(axis, earlier)]
        window += shift
    return grown if isinstance(side, int) else grown[_along(axis, slice(None, side))]


def lowest_bits(count: Size) -> Tensor:
    """Int32 words whose lowest `count` bits are 1, for counts from 1 to 32."""
    # In two steps, because a shift by 32 is undefined.
    return ~ops.left_shift(ops.left_shift(-1, count - 1), 1)


def is_full(samples: Size, group_size: Size) -> bool:
    """Whether all groups are known to have `group_size` samples."""
    if isinstance(samples, int):
        return isinstance(group_size, int) and samples % group_size == 0
    return isinstance(group_size, int) and group_size == 1


def _along(axis, piece):
    return (slice(None),) * axis + (piece,)
