"""Steps of DropBlock that PyTorch takes much faster by its own functions.

On a processor `torch.where`, which is what `keras.ops` has for them, takes ten times
as long as a product. A product with a mask will not do: NaN times zero is NaN. But a
number whose bits are all masked out is zero, whatever it was, and integers are masked
as fast as floats are multiplied.
"""

import torch

INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def pack(coins, bits):
    """The sum of the bits whose coin shows heads: int32 of the shape of a coin.

    Args:
        coins: Boolean tensor; along its first axis are the coins of a word.
        bits: Int32 tensor that broadcasts to it.
    """
    return (coins * bits).sum(0, dtype=torch.int32)


def collect(bit, word, words):
    """The sum of the bits of each word: int32 `(words,)`.

    Args:
        bit: Int32 tensor.
        word: Int32 tensor of the same shape: to which word each bit belongs.
        words: How many there are.
    """
    seeds = torch.zeros(words, dtype=torch.int32, device=bit.device)
    return seeds.index_add_(0, word.flatten(), bit.flatten())


def drop_and_scale(inputs, packed, packing, channel_axis, scale):
    """Zero where dropped, else `inputs * scale`.

    Args:
        inputs: Float tensor of rank 4, on a processor.
        packed: Packed masks, bits 1 where a unit is dropped.
        packing: Their `Packing`.
        channel_axis: 1 or 3.
        scale: Scalar tensor of the dtype of `inputs`.
    """
    return _DropAndScale.apply(inputs, packed, packing, channel_axis, scale)


class _DropAndScale(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs, packed, packing, channel_axis, scale):
        # The gradient takes the same way. Words are kept for it, not masks.
        ctx.save_for_backward(packed, scale)
        ctx.packing, ctx.channel_axis = packing, channel_axis
        integers = inputs.view(INTEGERS[inputs.element_size()])
        masks = _masks(packed, packing, channel_axis).to(integers.dtype)
        # In place where one mask does not serve all channels: memory that is new to
        # a process takes longer to get than to fill.
        fits = masks.shape == integers.shape
        kept = masks.bitwise_and_(integers) if fits else masks & integers
        return kept.view(inputs.dtype).mul_(scale)

    @staticmethod
    def backward(ctx, gradient):
        packed, scale = ctx.saved_tensors
        arguments = packed, ctx.packing, ctx.channel_axis, scale
        return _DropAndScale.apply(gradient, *arguments), None, None, None, None


def _masks(packed, packing, channel_axis):
    """For each unit all bits 1 where it is kept, and 0 where it is dropped."""
    kept = ~packing.side_by_side(packed, channel_axis)
    # A sample's bit becomes the sign, by a product, which is faster here than a shift;
    # and the sign becomes all bits.
    ways = 31 - packing.chunks * torch.arange(packing.size, device=kept.device)
    powers = (1 << ways).to(torch.int32).reshape(1, -1, 1, 1, 1)
    masks = kept[:, None] * powers
    masks >>= 31
    return masks.flatten(0, 1)[: packing.samples]
