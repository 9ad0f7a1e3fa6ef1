"""DropBlock as a Keras 3 layer, for TensorFlow, JAX and PyTorch."""

import dataclasses
import math
import numbers

import keras
import ml_dtypes
import numpy as np
from keras import ops

from dropblock_lib.arguments import (
    check_fraction,
    check_gamma_rule,
    check_keep_prob,
    check_sides,
    invalid,
)
from dropblock_lib.kernels import sizes
from dropblock_lib.kernels.bernoulli import Drawn, draw_seeds
from dropblock_lib.kernels.gamma import GAMMA_TENSORS, gamma_number
from dropblock_lib.kernels.packed_masks import choose_packing, count_ones

# Compiled code has random numbers ready for these; below the last it needs more.
# Always the same two: the masks must not depend on what keep_prob once was.
EXPECTED_KEEP_PROBS = (0.9, 0.5)


@keras.saving.register_keras_serializable(package="dropblock_lib")
class DropBlock2D(keras.layers.Layer):
    """Drops square blocks of every feature map, while training.

    Neighboring units of a feature map carry much the same information, so a unit
    that `Dropout` drops can be guessed from those around it. DropBlock drops
    contiguous blocks instead. With `block_size=1` it is `Dropout`; with a block that
    covers the map it drops whole channels, as `SpatialDropout2D` does.

    Every sample and every channel has a mask of its own. What is kept is scaled by
    the number of units over the number of kept units, counted over the whole mask,
    so that the mean activation stays. At inference the layer returns its input.

    Args:
        block_size: Side of a block in pixels: a positive integer, or a pair
            (height, width). Even sides are allowed. A block larger than the feature
            map is clipped to it, per axis.
        keep_prob: Float in (0, 1]. Nominal fraction of units to keep. It can be
            assigned at any time, `layer.keep_prob = 0.8`, and takes effect in
            compiled code too; it is saved and loaded with the weights.
        gamma: The rule that turns `keep_prob` into the probability of a seed.
            `"paper"` is equation 1, which drops somewhat less than
            `1 - keep_prob` because blocks overlap; `"exact"` drops `1 - keep_prob`
            in expectation.
        per_channel: Whether every channel has a mask of its own (the paper found
            that better). If False, one mask a sample serves all its channels.
        data_format: `"channels_last"` or `"channels_first"`. By default
            `keras.config.image_data_format()`.
        seed: Integer in [0, 2**32), or None. Makes the masks repeatable.
        rate_scale: Float in (0, 1]. `KeepProbScheduler` lets this layer drop so
            much of what its schedule says. Only the scheduler heeds it: what the
            layer drops is decided by `keep_prob`.
        **kwargs: `name`, `dtype` and the like, as for every Keras layer.

    Call arguments:
        inputs: Float tensor of rank 4. Height, width and batch size may be unknown
            when the model is built.
        training: Boolean. Only True drops anything.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)`
        with `data_format="channels_first"`.

    Output shape:
        That of the input.

    Raises:
        ValueError: If an argument is not of the form above, or the input is not of
            rank 4.

    Example:

    >>> layer = DropBlock2D(block_size=7, keep_prob=0.9)
    >>> layer(keras.ops.ones((2, 14, 14, 8)), training=True).shape
    (2, 14, 14, 8)

    Reference:
        [Ghiasi et al., 2018](https://arxiv.org/abs/1810.12890), Algorithm 1.
    """

    def __init__(
        self,
        block_size,
        keep_prob=0.9,
        *,
        gamma="paper",
        per_channel=True,
        data_format=None,
        seed=None,
        rate_scale=1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._block_sides = check_sides("block_size", block_size)
        is_pair = isinstance(block_size, (tuple, list))
        self.block_size = self._block_sides if is_pair else self._block_sides[0]
        self._keep_prob_variable = None
        self._keep_prob = check_keep_prob(keep_prob)
        self.gamma = check_gamma_rule(gamma)
        self.per_channel = _check_boolean("per_channel", per_channel)
        self.data_format = _check_data_format(data_format)
        self.seed = _check_seed(seed)
        self.rate_scale = check_fraction("rate_scale", rate_scale)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.supports_masking = True

    @property
    def keep_prob(self):
        """Float in (0, 1]: the nominal fraction of units to keep, as it is now."""
        if self._keep_prob_variable is None:
            return self._keep_prob
        held = np.float32(ops.convert_to_numpy(self._keep_prob_variable))
        # The variable holds a float32; give back the float that was assigned, or
        # the shortest one that stands for what was loaded.
        if held == np.float32(self._keep_prob):
            return self._keep_prob
        return float(str(held))

    @keep_prob.setter
    def keep_prob(self, keep_prob):
        self._keep_prob = check_keep_prob(keep_prob)
        if self._keep_prob_variable is not None:
            self._keep_prob_variable.assign(self._keep_prob)

    def build(self, input_shape):
        _check_rank(input_shape)
        # A variable, because compiled code holds a Python float for good. It stays
        # float32 under mixed precision: float16 cannot tell 0.9999 from 1.
        self._keep_prob_variable = self.add_weight(
            name="keep_prob",
            shape=(),
            initializer=keras.initializers.Constant(self._keep_prob),
            dtype="float32",
            trainable=False,
            autocast=False,
        )
        self.built = True

    def call(self, inputs, training=False):
        _check_rank(inputs.shape)
        if not training:
            return inputs
        batch, *map_sides = ops.shape(inputs)
        channel_axis = 3 if self.data_format == "channels_last" else 1
        channels = map_sides.pop(channel_axis - 1)
        if not self.per_channel:
            channels = 1
        masks = _Masks(
            self._block_sides,
            self.gamma,
            channel_axis,
            keras.backend.standardize_dtype(inputs.dtype),
        )
        return masks.drop(
            inputs,
            # Drawn here: a function that layers share has no state.
            self.seed_generator.next(),
            ops.convert_to_tensor(self._keep_prob_variable),
            (batch, channels, *map_sides),
        )

    def compute_output_shape(self, input_shape):
        _check_rank(input_shape)
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "block_size": self.block_size,
            "keep_prob": self.keep_prob,
            "gamma": self.gamma,
            "per_channel": self.per_channel,
            "data_format": self.data_format,
            "seed": self.seed,
            "rate_scale": self.rate_scale,
        }


@dataclasses.dataclass(frozen=True)
class _Masks:
    """How masks are drawn, and units dropped, in all layers of one kind.

    Attributes:
        block_sides: Height and width of a block in pixels.
        gamma_rule: `"paper"` or `"exact"`.
        channel_axis: 1 or 3.
        dtype: Name of the inputs' dtype.
    """

    block_sides: tuple
    gamma_rule: str
    channel_axis: int
    dtype: str

    def drop(self, inputs, seed, keep_prob, sizes_of_masks):
        """Zero where dropped, else the input over the share of units that is kept.

        Args:
            inputs: Tensor of rank 4.
            seed: Drawn from a `keras.random.SeedGenerator`.
            keep_prob: Float32 scalar tensor.
            sizes_of_masks: Batch, channels, height and width, integers or scalar
                tensors. There is one channel if all share a mask.
        """
        backend = keras.backend.backend()
        if backend == "tensorflow":
            return self._drop_on_tensorflow(inputs, seed, keep_prob, sizes_of_masks)
        packed, share = self.draw(seed, keep_prob, *sizes_of_masks)
        if self.dtype == "float16":
            share = self._share_without_overflow(inputs, packed, share, sizes_of_masks)
        if backend == "torch":
            return self._drop_on_torch(inputs, packed, share, sizes_of_masks)
        # Not a product with a mask, so that NaN and infinity do not leak from a
        # dropped unit, neither forward nor into the gradient.
        return ops.divide_no_nan(inputs, self._spread(packed, share, sizes_of_masks))

    def _drop_on_tensorflow(self, inputs, seed, keep_prob, sizes_of_masks):
        # Imported late: nothing else needs TensorFlow.
        from dropblock_lib.kernels.tensorflow import share_trace, with_shape_of

        arguments = (self, seed, keep_prob, *sizes_of_masks)
        if self.dtype == "float16":
            packed, share = share_trace(_Masks.draw, *arguments)
            share = self._share_without_overflow(inputs, packed, share, sizes_of_masks)
            divisor = self._spread(packed, share, sizes_of_masks)
        else:
            divisor = share_trace(_Masks.divisor, *arguments)
        return with_shape_of(inputs, ops.divide_no_nan(inputs, divisor))

    def _drop_on_torch(self, inputs, packed, share, sizes_of_masks):
        packing = self._packing(sizes_of_masks)
        scale = ops.cast(1 / share, self.dtype)
        if inputs.device.type == "cpu" and self.dtype != "float16":
            # Imported late: nothing else needs PyTorch.
            from dropblock_lib.kernels.torch import drop_and_scale

            return drop_and_scale(inputs, packed, packing, self.channel_axis, scale)
        # A quotient takes seven passes over the units on PyTorch.
        dropped = packing.unpack(packed, self.channel_axis)
        return ops.where(dropped, ops.zeros((), self.dtype), inputs) * scale

    def draw(self, seed, keep_prob, *sizes_of_masks):
        """Packed masks, and the share of units that they keep."""
        batch, channels, *_ = sizes_of_masks
        packed = self._draw_blocks(seed, keep_prob, *sizes_of_masks)
        _, *mask_sides = ops.shape(packed)
        del mask_sides[self.channel_axis - 1]
        bits = batch * channels * math.prod(mask_sides)
        return packed, _share(count_ones(packed), bits, self.dtype)

    def divisor(self, seed, keep_prob, *sizes_of_masks):
        """The share of units that is kept where one is kept, and 0 elsewhere."""
        packed, share = self.draw(seed, keep_prob, *sizes_of_masks)
        return self._spread(packed, share, sizes_of_masks)

    def _packing(self, sizes_of_masks):
        batch, channels, *_ = sizes_of_masks
        return choose_packing(batch, channels, self.channel_axis)

    def _spread(self, packed, share, sizes_of_masks):
        packing = self._packing(sizes_of_masks)
        return packing.spread(packed, self.channel_axis, ops.cast(share, self.dtype))

    def _share_without_overflow(self, inputs, packed, share, sizes_of_masks):
        kept = self._spread(packed, 1, sizes_of_masks)
        return _without_overflow(share, ops.divide_no_nan(inputs, kept))

    def _draw_blocks(self, seed, keep_prob, batch, channels, *map_sides):
        """Packed masks, of rank 4: bits are 1 where a unit is dropped.

        Along an axis where the block is known to cover the map, one bit stands for
        the whole side.
        """
        packing = self._packing((batch, channels))
        axes = (0, 1) if self.channel_axis == 3 else (1, 2)
        sides = list(zip(axes, self.block_sides, map_sides, strict=True))
        places = [channels // packing.chunks] * 3
        for axis, block, side in sides:
            places[axis] = sizes.maximum(side - block + 1, 1)
        gamma = GAMMA_TENSORS[self.gamma_rule](keep_prob, self.block_sides, map_sides)
        packed = draw_seeds(
            Drawn(seed), gamma, self._expected_gammas(map_sides), packing, places
        )
        for axis, block, side in sides:
            covers = isinstance(side, int) and side <= block
            if not covers:
                packed = grow_blocks(packed, block, side, 1 + axis)
        return packed

    def _expected_gammas(self, map_sides):
        """Gamma at each of `EXPECTED_KEEP_PROBS`, as floats.

        Unknown sides are assumed to be twice the block; in smaller maps gamma may be
        larger.
        """
        sides = zip(map_sides, self.block_sides, strict=True)
        known = tuple(s if isinstance(s, int) else 2 * b for s, b in sides)
        # Rounding must not make it smaller than the same gamma in float32.
        return [
            1.0001 * gamma_number(self.gamma_rule, keep_prob, self.block_sides, known)
            for keep_prob in EXPECTED_KEEP_PROBS
        ]


def grow_blocks(seeds, block, side, axis):
    """Extends every 1 bit of `seeds` over `block` places, within a map of `side`.

    Doubling: two windows of 1 make one of 2, two of 2 make one of 4, and two that
    overlap make any other. A block longer than the map covers it from its one
    seed, and what juts out is cut off.
    """
    if isinstance(side, int):
        block = min(block, side)
    grown = seeds
    if block > 1:
        shape = list(ops.shape(seeds))
        shape[axis] = block - 1
        nothing = ops.zeros(shape, "int32")
        # `ops.pad` takes half a millisecond on PyTorch, whatever it pads.
        grown = ops.concatenate([nothing, seeds, nothing], axis=axis)
    window = 1
    while window < block:
        shift = min(window, block - window)
        later, earlier = slice(shift, None), slice(None, -shift)
        grown = grown[_along(axis, later)] | grown[_along(axis, earlier)]
        window += shift
    return grown if isinstance(side, int) else grown[_along(axis, slice(None, side))]


def _share(dropped, bits, dtype):
    """The share of bits that is kept, as a scalar of float64 or float32.

    They are counted in int32: float32 loses some from 2 ** 24 on, and float16 and
    bfloat16 cannot count. float64 keeps its digits.
    """
    wide = keras.backend.standardize_dtype(dtype) == "float64"
    dtype = "float64" if wide else "float32"
    kept = ops.cast(ops.maximum(bits - dropped, 1), dtype)
    share = kept / sizes.as_float(bits, dtype)
    # Compilers multiply by the reciprocal of a number that they know, which need not
    # give 1 where all are kept.
    return ops.where(dropped > 0, share, ops.ones((), dtype))


def _without_overflow(share, kept):
    """`share`, or what makes no finite unit infinite by dividing it.

    For float16, whose largest number, 65,504, is not far from what networks compute.
    One divisor for all rather than a clipped output: the gradient stays the mask over
    the share.
    """
    largest = float(ml_dtypes.finfo("float16").max)
    kept = ops.cast(ops.stop_gradient(kept), "float32")
    # Also of no sample at all.
    extreme = ops.maximum(ops.max(kept, initial=0), -ops.min(kept, initial=0))
    # A little more, because it is rounded afterwards; at least what float16 can hold,
    # and no more than 1, so that nothing shrinks.
    enough = ops.clip(1.01 * extreme / largest, 1 / largest, 1)
    # False for NaN.
    return ops.where(share < enough, enough, share)


def _along(axis, piece):
    return (slice(None),) * axis + (piece,)


def _check_rank(shape):
    if len(shape) != 4:
        raise invalid("inputs", "a tensor of rank 4", tuple(shape))


def _check_boolean(name, value):
    if not isinstance(value, (bool, np.bool_)):
        raise invalid(name, "True or False", value)
    return bool(value)


def _check_seed(seed):
    if seed is None:
        return None
    is_integer = isinstance(seed, numbers.Integral) and not isinstance(seed, bool)
    # What every backend's generator takes; JAX's fails later, and less clearly.
    if not (is_integer and 0 <= seed < 2**32):
        raise invalid("seed", "an integer in [0, 2**32) or None", seed)
    return int(seed)


def _check_data_format(data_format):
    if data_format is None:
        return keras.config.image_data_format()
    if data_format not in ("channels_last", "channels_first"):
        raise invalid(
            "data_format", "'channels_last', 'channels_first' or None", data_format
        )
    return data_format
