"""The work of a layer's call: draws masks, drops and scales."""

import keras
import numpy as np
from keras import ops

from dropblock_lib.kernels import backend, bernoulli
from dropblock_lib.kernels.gamma import Size, Tensor, gamma_tensor, reserved_gammas
from dropblock_lib.kernels.packed_masks import PackedMasks


def drop_blocks(
    inputs: Tensor,
    rng_seed: Tensor,
    keep_prob: Tensor,
    *,
    block_sides: tuple,
    gamma_rule: str,
    per_channel: bool,
    data_format: str,
) -> Tensor:
    """Drops blocks of units, and divides the others by the fraction that is kept.

    Args:
        inputs: Float tensor (samples, *sides, channels), or (samples, channels,
            *sides) for `"channels_first"`, with 1 to 3 sides.
        rng_seed: Drawn from a `keras.random.SeedGenerator`.
        keep_prob: Float32 scalar tensor in (0, 1].
        block_sides: Sides of a block in units, integers.
        gamma_rule: `"paper"` or `"exact"`.
        per_channel: Whether each channel gets its own mask.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        Tensor of the shape and dtype of `inputs`. NaN and infinity in a dropped unit do
        not leak, either forward or into the gradient.
    """
    channel_axis = 1 if data_format == "channels_first" else -1
    samples, *map_sides = ops.shape(inputs)
    channels = map_sides.pop(0 if channel_axis == 1 else -1)
    if any(isinstance(size, int) and size == 0 for size in (channels, *map_sides)):
        # Nothing to drop, and gamma would divide by zero.
        return inputs
    sizes = samples, channels if per_channel else 1, *map_sides
    arguments = rng_seed, keep_prob, block_sides, gamma_rule, channel_axis, *sizes
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    if dtype != "float16":
        return backend.drop(inputs, draw_masks, *arguments)

    kept_units, fraction = backend.share_trace(_draw_for_float16, *arguments)
    kept = ops.where(kept_units, inputs, ops.zeros((), dtype))
    scale = ops.cast(1 / _without_overflow(fraction, kept), dtype)
    return backend.with_shape_of(inputs, kept * scale)


def draw_masks(
    rng_seed: Tensor,
    keep_prob: Tensor,
    block_sides: tuple,
    gamma_rule: str,
    channel_axis: int,
    samples: Size,
    channels: Size,
    *map_sides: Size,
) -> PackedMasks:
    """Draws seeds, and grows them into blocks, with `channels` masks per sample."""
    keep_prob = backend.constant(keep_prob)
    gamma = gamma_tensor(gamma_rule, keep_prob, block_sides, map_sides)
    reserved = reserved_gammas(gamma_rule, block_sides, map_sides)
    masks_class = backend.masks_class(samples, channels, channel_axis)
    seeds = masks_class.draw(
        samples,
        channels,
        masks_class.seed_sides(block_sides, map_sides),
        channel_axis,
        lambda shape, bits: bernoulli.draw_bits(rng_seed, gamma, reserved, shape, bits),
    )
    return seeds.grow_blocks(block_sides, map_sides)


def _draw_for_float16(*arguments):
    masks = draw_masks(*arguments)
    return masks.kept_units(), masks.kept_fraction("float16")


def _without_overflow(fraction, kept):
    """The divisor, raised if needed so that float16 does not overflow.

    Activations can come close to float16's largest number, 65,504. Raising the divisor
    for all units, instead of clipping outputs, keeps the gradient equal to the mask
    divided by the divisor.
    """
    largest = float(np.finfo("float16").max)
    kept = ops.cast(ops.stop_gradient(kept), "float32")
    # `initial=0` covers an empty batch.
    extreme = ops.maximum(ops.max(kept, initial=0), -ops.min(kept, initial=0))
    # 1.01 leaves a margin for rounding. The lower bound keeps the reciprocal finite,
    # and the upper bound of 1 keeps inputs from shrinking.
    least = ops.clip(1.01 * extreme / largest, 1 / largest, 1)
    # The comparison is False for NaN, which keeps `fraction`.
    return ops.where(fraction < least, least, fraction)
