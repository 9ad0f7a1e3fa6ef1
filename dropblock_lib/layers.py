"""DropBlock as Keras 3 layers, for TensorFlow, JAX and PyTorch."""

from typing import Any

import keras
import numpy as np

from dropblock_lib.arguments import (
    check_boolean,
    check_data_format,
    check_float,
    check_float_dtype,
    check_gamma_rule,
    check_keep_prob,
    check_rank,
    check_seed,
    check_sides,
)
from dropblock_lib.kernels import backend, drop_blocks


class BaseDropBlock(keras.layers.Layer):
    """DropBlock for feature maps with `rank` sides."""

    rank = 2

    def __init__(
        self,
        block_size: int | tuple[int, ...],
        keep_prob: float = 0.9,
        *,
        gamma: str = "paper",
        per_channel: bool = True,
        data_format: str | None = None,
        seed: int | None = None,
        rate_scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_float_dtype("dtype", self.compute_dtype)
        sides = check_sides("block_size", block_size, self.rank)
        self.block_size = sides if np.ndim(block_size) else sides[0]
        self._block_sides = sides
        self._keep_prob = check_keep_prob(keep_prob)
        # Set by `KeepProbScheduler`, and read by `inspect`.
        self._schedule_end = None
        self.gamma = check_gamma_rule(gamma)
        self.per_channel = check_boolean("per_channel", per_channel)
        default = keras.config.image_data_format()
        self.data_format = check_data_format(data_format, default)
        self.seed = check_seed(seed, bits=32)
        self.rate_scale = check_float("rate_scale", rate_scale)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.supports_masking = True
        # A variable, because compiled code treats a float as constant.
        # float32, because float16 cannot tell 0.9999 from 1.
        self._variable = self.add_weight(
            name="keep_prob",
            initializer=keras.initializers.Constant(self._keep_prob),
            dtype="float32",
            trainable=False,
            autocast=False,
        )

    @property
    def weights(self):
        """Empty, so that weights match those of a network without the layer."""
        return []

    def load_own_variables(self, store):
        # The file of a network without the layer has no `keep_prob`.
        if len(store.keys()):
            super().load_own_variables(store)

    @property
    def keep_prob(self) -> float:
        """Float in (0, 1]: nominal fraction of units to keep."""
        stored = np.float32(keras.ops.convert_to_numpy(self._variable))
        if stored == np.float32(self._keep_prob):
            return self._keep_prob
        # Loaded: the shortest float that rounds to this float32.
        return float(str(stored))

    @keep_prob.setter
    def keep_prob(self, keep_prob: float) -> None:
        self._keep_prob = check_keep_prob(keep_prob)
        self._schedule_end = None
        self._variable.assign(self._keep_prob)

    def build(self, input_shape):
        check_rank("inputs", input_shape, self.rank + 2)

    def get_build_config(self):
        config = super().get_build_config()
        return config and {**config, "schedule_end": self._schedule_end}

    def build_from_config(self, config):
        super().build_from_config(config)
        self._schedule_end = config.get("schedule_end")

    def call(self, inputs, training=False):
        check_rank("inputs", inputs, self.rank + 2)
        if not keras.backend.is_float_dtype(inputs.dtype):
            # In an integer dtype, the kept fraction would be 0.
            inputs = keras.ops.cast(inputs, self.compute_dtype)
        if not training:
            return inputs
        return drop_blocks(
            inputs,
            backend.draw_seed(self.seed_generator),
            keras.ops.convert_to_tensor(self._variable),
            block_sides=self._block_sides,
            gamma_rule=self.gamma,
            per_channel=self.per_channel,
            data_format=self.data_format,
        )

    def compute_output_shape(self, input_shape):
        check_rank("inputs", input_shape, self.rank + 2)
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


@keras.saving.register_keras_serializable(package="dropblock_lib")
class DropBlock1D(BaseDropBlock):
    """`DropBlock2D` for sequences: `(batch, steps, channels)`."""

    rank = 1


@keras.saving.register_keras_serializable(package="dropblock_lib")
class DropBlock2D(BaseDropBlock):
    """Drops square blocks of every feature map during training.

    Neighboring units of a feature map are correlated, so what
    `Dropout` drops can be guessed from the units around it. DropBlock
    drops whole blocks. Blocks of one unit drop as `Dropout` does, and
    blocks as large as the map as `SpatialDropout2D` does.

    Every sample and channel has its own mask. Kept units are divided
    by the fraction of units kept in the whole batch, so that a batch
    of ones keeps its mean. At inference the layer returns its input.

    Args:
        block_size: Side of a block in units: an integer, or a tuple
            of sides. Blocks are clipped to the map, per axis.
        keep_prob: Float in (0, 1]. Nominal fraction of units to keep.
            Assigning it takes effect in compiled code (for your own
            loop on JAX, see `KeepProbScheduler`); models save it.
        gamma: Rule for the probability of a seed. `"paper"`, equation
            1, drops somewhat less than `1 - keep_prob`, because blocks
            overlap; `"exact"` drops `1 - keep_prob` in expectation.
        per_channel: Whether each channel gets its own mask, as in the
            paper. If False, the channels of a sample share one.
        data_format: `"channels_last"` or `"channels_first"`. Defaults
            to `keras.config.image_data_format()`.
        seed: Integer in [0, 2**32), or None. Makes masks reproducible.
        rate_scale: Float in (0, 1]. Factor that `KeepProbScheduler`
            applies to the scheduled rate. The layer does not use it.
        **kwargs: `name`, `dtype` and other arguments of Keras layers.

    Call arguments:
        inputs: Tensor. Integers and Booleans are converted to the
            layer's dtype. Any dimension may be unknown at build time.
        training: Boolean. Units are dropped only if it is True.

    Input and output shape:
        `(batch, height, width, channels)`, or with
        `"channels_first"`, `(batch, channels, height, width)`.

    Raises:
        ValueError: If an argument, or the input, is invalid.

    Example:

    >>> layer = DropBlock2D(block_size=7, keep_prob=0.9)
    >>> layer(keras.ops.ones((2, 14, 14, 8)), training=True).shape
    (2, 14, 14, 8)

    Reference:
        Algorithm 1, [Ghiasi et al.](https://arxiv.org/abs/1810.12890).
    """


@keras.saving.register_keras_serializable(package="dropblock_lib")
class DropBlock3D(BaseDropBlock):
    """`DropBlock2D` for `(batch, depth, height, width, channels)`."""

    rank = 3
