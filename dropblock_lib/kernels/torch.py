"""PyTorch's operations.

On a CPU `torch.where` takes ten times as long as a product, but a product with a mask
lets NaN leak: NaN times zero is NaN. A number with all bits masked out is zero,
whatever it was, and masking integers is as fast as multiplying floats.
"""

import torch

from dropblock_lib.kernels.packed_masks import WORD_BITS
from dropblock_lib.kernels.portable import masks_class, share_trace, with_shape_of

__all__ = [
    "combine_bits",
    "drop",
    "is_concrete",
    "masks_class",
    "scatter_bits",
    "share_trace",
    "with_shape_of",
]

INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def is_concrete(tensor):
    """False, because `ops.cond` and `ops.fori_loop` need no compilation."""
    return False


def combine_bits(is_one, bits):
    """`portable.combine_bits`; Keras would sum in int64."""
    return (is_one * bits).sum(0, dtype=torch.int32)


def scatter_bits(bit, word, words):
    """`portable.scatter_bits`; Keras would sum in float32, which has 24 bits."""
    found = torch.zeros(words, dtype=torch.int32, device=bit.device)
    return found.index_add_(0, word.flatten(), bit.flatten())


def drop(inputs, draw_masks, *arguments):
    """Drops and scales, with masks drawn by `draw_masks(*arguments)`."""
    masks = draw_masks(*arguments)
    dtype = str(inputs.dtype).removeprefix("torch.")
    scale = (1 / masks.kept_fraction(dtype)).to(inputs.dtype)
    if inputs.device.type == "cpu":
        return drop_and_scale(inputs, masks, scale)
    return torch.where(masks.kept_units(), inputs, 0) * scale


def drop_and_scale(inputs, masks, scale):
    """Zero where dropped, else `inputs * scale`.

    Args:
        inputs: Float tensor on a CPU.
        masks: `PackedMasks`.
        scale: Scalar tensor of the dtype of `inputs`.
    """
    return _DropAndScale.apply(inputs, masks, scale)


class _DropAndScale(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs, masks, scale):
        # The gradient is masked alike. Only packed masks are kept for it.
        ctx.masks, ctx.scale = masks, scale
        integers = inputs.view(INTEGERS[inputs.element_size()])
        kept = _integer_masks(masks).to(integers.dtype)
        # In place where possible: getting new memory takes longer than filling it.
        fits = kept.shape == integers.shape
        kept = kept.bitwise_and_(integers) if fits else kept & integers
        return kept.view(inputs.dtype).mul_(scale)

    @staticmethod
    def backward(ctx, gradient):
        return _DropAndScale.apply(gradient, ctx.masks, ctx.scale), None, None


def _integer_masks(masks):
    """For each unit all bits 1 where it is kept, and 0 where it is dropped."""
    kept = ~masks.words_of_channels()
    # A product, which is faster here than a shift, makes a sample's bit the sign; and
    # a shift copies the sign to all bits.
    samples = torch.arange(masks.group_size, device=kept.device)
    powers = 1 << WORD_BITS - 1 - masks.channels_per_word * samples
    powers = powers.to(torch.int32).reshape(1, -1, *[1] * (kept.ndim - 1))
    found = kept[:, None] * powers
    found >>= WORD_BITS - 1
    return found.flatten(0, 1)[: masks.samples]
