"""DropBlock as a Keras 3 layer, for TensorFlow, JAX and PyTorch."""

from typing import Any

import keras
import numpy as np
from keras import ops

from dropblock_lib.arguments import (
    check_boolean,
    check_fraction,
    check_gamma_rule,
    check_keep_prob,
    check_seed,
    check_sides,
    invalid,
)
from dropblock_lib.kernels import drop_blocks

_COUNTED = ("int", "uint", "bool")


@keras.saving.register_keras_serializable(package="dropblock_lib")
class DropBlock2D(keras.layers.Layer):
    """Drops square blocks of every feature map during training.

    Neighboring units of a feature map are correlated, so what `Dropout` drops can be
    guessed from the units around it. DropBlock drops contiguous blocks instead. With
    `block_size=1` it is `Dropout`; with a block that covers the map it drops whole
    channels, as `SpatialDropout2D` does.

    Every sample and every channel has a mask of its own. Kept units are scaled by
    the number of units over the number of kept units, counted over the whole batch,
    so that the mean activation stays. At inference the layer returns its input.

    Args:
        block_size: Side of a block in pixels: a positive integer, or a pair
            (height, width). Even sides are allowed. A block larger than the feature
            map is clipped to it, per axis.
        keep_prob: Float in (0, 1]. Nominal fraction of units to keep. It can be
            assigned at any time, `layer.keep_prob = 0.8`, and takes effect in
            compiled code too; it is saved and loaded with the weights.
        gamma: The rule that turns `keep_prob` into the probability of a seed.
            `"paper"` is equation 1, which drops somewhat less than `1 - keep_prob`
            because blocks overlap; `"exact"` drops `1 - keep_prob` in expectation.
        per_channel: Whether every channel has a mask of its own, which the paper
            found to be better. If False, the channels of a sample share one.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to
            `keras.config.image_data_format()`.
        seed: Integer in [0, 2**32), or None. Makes the masks repeatable.
        rate_scale: Float in (0, 1]. `KeepProbScheduler` multiplies the rate
            `1 - keep_prob` of its schedule by it. The layer itself does not use it.
        **kwargs: `name`, `dtype` and other arguments of every Keras layer.

    Call arguments:
        inputs: Tensor of rank 4. Integers and Booleans are converted to the layer's
            dtype. Height, width and batch size may be unknown when the model is built.
        training: Boolean. Units are dropped only if it is True.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, channels, height, width)`
        with `data_format="channels_first"`.

    Output shape:
        Same as the input shape.

    Raises:
        ValueError: If an argument is invalid, or the input is not of rank 4.

    Example:

    >>> layer = DropBlock2D(block_size=7, keep_prob=0.9)
    >>> layer(keras.ops.ones((2, 14, 14, 8)), training=True).shape
    (2, 14, 14, 8)

    Reference:
        [Ghiasi et al., 2018](https://arxiv.org/abs/1810.12890), Algorithm 1.
    """

    def __init__(
        self,
        block_size: int | tuple[int, int],
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
        if not keras.backend.is_float_dtype(self.compute_dtype):
            raise invalid("dtype", "a floating-point dtype", self.compute_dtype)
        self._block_sides = check_sides("block_size", block_size)
        is_tuple = isinstance(block_size, (tuple, list))
        self.block_size = self._block_sides if is_tuple else self._block_sides[0]
        self._keep_prob_variable = None
        self._keep_prob = check_keep_prob(keep_prob)
        # Set by `KeepProbScheduler`, and read by `inspect`.
        self._schedule_end = None
        self.gamma = check_gamma_rule(gamma)
        self.per_channel = check_boolean("per_channel", per_channel)
        self.data_format = _check_data_format(data_format)
        self.seed = check_seed(seed, bits=32)
        self.rate_scale = check_fraction("rate_scale", rate_scale)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.supports_masking = True

    @property
    def weights(self):
        """Empty, so that weights of a network without the layer fit one with it.

        `keep_prob` is in `variables`, as the random state is, and is saved with them.
        """
        return []

    def load_own_variables(self, store):
        # A file of a network without the layer leaves `keep_prob` as it is.
        if len(store.keys()):
            super().load_own_variables(store)

    @property
    def keep_prob(self) -> float:
        """Float in (0, 1]: the current nominal fraction of units to keep."""
        if self._keep_prob_variable is None:
            return self._keep_prob
        stored = np.float32(ops.convert_to_numpy(self._keep_prob_variable))
        # The variable is a float32. Return the float that was assigned or, if another
        # was loaded, the shortest one that rounds to it.
        if stored == np.float32(self._keep_prob):
            return self._keep_prob
        return float(str(stored))

    @keep_prob.setter
    def keep_prob(self, keep_prob: float) -> None:
        self._keep_prob = check_keep_prob(keep_prob)
        self._schedule_end = None
        if self._keep_prob_variable is not None:
            self._keep_prob_variable.assign(self._keep_prob)

    def build(self, input_shape):
        self._check_rank(input_shape)
        # A variable, because compiled code treats a Python float as a constant. It
        # stays float32 in mixed precision: float16 cannot tell 0.9999 from 1.
        self._keep_prob_variable = self.add_weight(
            name="keep_prob",
            shape=(),
            initializer=keras.initializers.Constant(self._keep_prob),
            dtype="float32",
            trainable=False,
            autocast=False,
        )
        self.built = True

    def get_build_config(self):
        config = super().get_build_config()
        return config and {**config, "schedule_end": self._schedule_end}

    def build_from_config(self, config):
        super().build_from_config(config)
        self._schedule_end = config.get("schedule_end")

    def call(self, inputs, training=False):
        self._check_rank(inputs.shape)
        if keras.backend.standardize_dtype(inputs.dtype).startswith(_COUNTED):
            # Cast to an integer, the kept fraction would be 0.
            inputs = ops.cast(inputs, self.compute_dtype)
        if not training:
            return inputs
        return drop_blocks(
            inputs,
            self.seed_generator.next(),
            ops.convert_to_tensor(self._keep_prob_variable),
            block_sides=self._block_sides,
            gamma_rule=self.gamma,
            per_channel=self.per_channel,
            channel_axis=-1 if self.data_format == "channels_last" else 1,
        )

    def compute_output_shape(self, input_shape):
        self._check_rank(input_shape)
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

    def _check_rank(self, shape):
        rank = len(self._block_sides) + 2
        if len(shape) != rank:
            raise invalid("inputs", f"a tensor of rank {rank}", tuple(shape))


def _check_data_format(data_format):
    if data_format is None:
        return keras.config.image_data_format()
    if data_format not in ("channels_last", "channels_first"):
        expected = "'channels_last', 'channels_first' or None"
        raise invalid("data_format", expected, data_format)
    return data_format
