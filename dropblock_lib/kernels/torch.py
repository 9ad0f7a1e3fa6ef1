"""PyTorch's operations, written without `keras.ops`.

Outside of compiled code, every function call takes time. A call through `keras.ops`
takes several times as long as PyTorch's operator: on small maps, longer than the work.

On a CPU `torch.where` takes ten times as long as a product, but a product with a mask
lets NaN leak: NaN times zero is NaN. A number with all bits masked out is zero,
whatever it was, and masking integers is as fast as multiplying floats.
"""

import dataclasses
import math

import torch

from dropblock_lib.kernels import portable
from dropblock_lib.kernels.packed_masks import WORD_BITS, PackedMasks
from dropblock_lib.kernels.portable import share_trace, with_shape_of

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

INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
# Masks for counting the bits of two int32 words at once, as an int64.
ODD_BITS, ODD_PAIRS, LOW_NIBBLES = (
    0x5555555555555555,
    0x3333333333333333,
    0x0F0F0F0F0F0F0F0F,
)
LOWEST_BITS = 0x0101010101010101
# Added in PyTorch 2.7.
_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)


def is_concrete(tensor):
    """False, because `ops.cond` and `ops.fori_loop` need no compilation."""
    return False


def is_exporting():
    """Whether `torch.export` is recording a program, which cannot branch on values."""
    return _is_exporting()


def draw_seed(generator):
    """The next random seed, which an exported program does not use.

    Keras seeds PyTorch's generators with the value of a tensor, and an exported program
    cannot read values.
    """
    return generator.state.value if is_exporting() else generator.next()


def uniform(shape, seed):
    """`portable.uniform`. An exported program draws from PyTorch's global generator."""
    if is_exporting():
        return torch.rand(tuple(shape), device=seed.rng_seed.device)
    return portable.uniform(shape, seed)


def constant(tensor):
    """A scalar as a float, unless that would stall a GPU or break a compiled graph."""
    if tensor.device.type != "cpu" or is_exporting() or torch.compiler.is_compiling():
        return tensor
    return tensor.item()


def combine_bits(is_one, bits):
    """`portable.combine_bits`; Keras would sum in int64."""
    return (is_one * bits).sum(0, dtype=torch.int32)


def place_ones(noise, probability, words_per_row, bits):
    """`portable.place_ones`, in place where possible."""
    probability = torch.as_tensor(probability, dtype=torch.float32, device=noise.device)
    log_zero = torch.log1p(-probability.clamp(min=1e-20))
    row_bits = words_per_row * bits
    zeros = noise.add_(2**-24).log_().div_(log_zero).clamp_(max=row_bits)
    position = zeros.to(torch.int32).add_(1).cumsum(1, dtype=torch.int32).sub_(1)
    position.clamp_(max=row_bits)
    if bits & (bits - 1) == 0:
        word = position >> bits.bit_length() - 1
    else:
        word = torch.div(position, bits, rounding_mode="floor")
    bit = torch.bitwise_left_shift(1, position.sub_(word * bits))
    rows, words_with_spare = len(noise), words_per_row + 1
    if rows > 1:
        first_word = words_with_spare * torch.arange(rows, device=noise.device)
        word += first_word.to(torch.int32)[:, None]
    # Keras would sum in float32, whose significand has only 24 bits.
    found = torch.zeros(rows * words_with_spare, dtype=torch.int32, device=noise.device)
    found.index_add_(0, word.flatten(), bit.flatten())
    if rows == 1:
        return found
    return found.view(rows, words_with_spare)[:, :words_per_row].flatten()


def masks_class(samples, channels, channel_axis):
    """The class of masks that suits a batch."""
    return portable.MasksOfAnySize if is_exporting() else TorchMasks


class TorchMasks(PackedMasks):
    """`PackedMasks`, grown and counted by PyTorch."""

    def grow_blocks(self, block_sides, map_sides):
        words = self.words
        first_axis = 2 if self.channel_axis == 1 else 1
        sides = zip(block_sides, map_sides, strict=True)
        for axis, (block, side) in enumerate(sides, first_axis):
            if block < side:
                words = _grow_blocks(words, block, side, axis)
        return dataclasses.replace(self, words=words)

    def count_ones(self):
        words = self.words.flatten()
        if len(words) % 2:
            words = torch.nn.functional.pad(words, (0, 1))
        words = words.view(torch.int64)
        sums = words - (words >> 1 & ODD_BITS)
        sums = (sums & ODD_PAIRS) + (sums >> 2 & ODD_PAIRS)
        sums = sums + (sums >> 4) & LOW_NIBBLES
        # The highest byte of the product is the sum of the eight bytes.
        return (sums * LOWEST_BITS >> 56).sum()

    def kept_fraction(self, dtype):
        units = self.samples * self.channels_per_word * math.prod(self.words.shape[1:])
        dropped = self.count_ones()
        kept = (units - dropped).clamp(min=1)
        fraction = kept.to(torch.float64 if dtype == "float64" else torch.float32)
        # A compiler may multiply by the rounded reciprocal, which need not give 1.
        return torch.where(dropped > 0, fraction / units, 1)


def _grow_blocks(seeds, block, side, axis):
    """`packed_masks.grow_blocks`."""
    shape = list(seeds.shape)
    shape[axis] = side + block - 1
    grown = seeds.new_zeros(shape)
    grown.narrow(axis, block - 1, seeds.shape[axis]).copy_(seeds)
    window = 1
    while window < block:
        shift = min(window, block - window)
        size = grown.shape[axis] - shift
        grown = grown.narrow(axis, shift, size) | grown.narrow(axis, 0, size)
        window += shift
    return grown


def drop(inputs, draw_masks, *arguments):
    """Drops and scales, with masks drawn by `draw_masks(*arguments)`."""
    if is_exporting():
        return portable.drop(inputs, draw_masks, *arguments)
    masks = draw_masks(*arguments)
    dtype = str(inputs.dtype).removeprefix("torch.")
    scale = (1 / masks.kept_fraction(dtype)).to(inputs.dtype)
    if inputs.device.type == "cpu":
        return drop_and_scale(inputs, masks, scale)
    return torch.where(masks.kept_units(), inputs, 0) * scale


class _DropAndScale(torch.autograd.Function):
    """Zero where dropped, else `inputs * scale`.

    Args:
        inputs: Float tensor on a CPU.
        masks: `PackedMasks`.
        scale: Scalar tensor of the dtype of `inputs`.
    """

    @staticmethod
    def forward(ctx, inputs, masks, scale):
        # The gradient is masked in the same way, for which the packed masks suffice.
        ctx.masks, ctx.scale = masks, scale
        integers = inputs.view(INTEGERS[inputs.element_size()])
        kept = _integer_masks(masks).to(integers.dtype)
        # In place where possible: allocating memory takes longer than filling it.
        fits = kept.shape == integers.shape
        kept = kept.bitwise_and_(integers) if fits else kept & integers
        return kept.view(inputs.dtype).mul_(scale)

    @staticmethod
    def backward(ctx, gradient):
        return drop_and_scale(gradient, ctx.masks, ctx.scale), None, None


drop_and_scale = _DropAndScale.apply


def _integer_masks(masks):
    """An integer for each unit: all bits are 1 for a kept unit, 0 for a dropped one."""
    kept = ~masks.words_of_channels()
    # A product, faster here than a shift, moves a sample's bit to the sign. A shift
    # then copies the sign to all bits.
    samples = torch.arange(masks.group_size, device=kept.device)
    powers = 1 << WORD_BITS - 1 - masks.channels_per_word * samples
    powers = powers.to(torch.int32).reshape(1, -1, *[1] * (kept.ndim - 1))
    found = kept[:, None] * powers
    found >>= WORD_BITS - 1
    return found.flatten(0, 1)[: masks.samples]
