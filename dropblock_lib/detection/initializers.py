"""The paper's initial weights for RetinaNet, where KerasHub's differ."""

import math
from collections.abc import Iterator

import keras
import keras_hub

# All but a few of ten thousand anchors are background. Without this prior, their
# loss would dominate the first steps.
PRIOR = 0.01
HEAD_STDDEV = 0.01


def initialize_heads(
    model: keras_hub.models.RetinaNetObjectDetector, seeds: Iterator[int | None]
) -> None:
    """Initializes the heads of a detector as in the paper.

    KerasHub 0.32 gives the bias for "one anchor in a hundred contains an object" to
    the box head instead of the classification head, and draws kernels with a standard
    deviation of 0.05, so that an untrained model's loss is in the thousands.

    Args:
        model: The detector.
        seeds: Iterator of random seeds, or of `None`.

    Reference:

    - [Lin et al., 2017](https://arxiv.org/abs/1708.02002), section 4.1.
    """
    for head in (model.box_head, model.classification_head):
        for layer in (*head.conv_layers, head.prediction_layer):
            normal = keras.initializers.RandomNormal(
                stddev=HEAD_STDDEV, seed=next(seeds)
            )
            layer.kernel.assign(normal(layer.kernel.shape))
            if layer.bias is not None:
                layer.bias.assign(keras.ops.zeros(layer.bias.shape))
    bias = model.classification_head.prediction_layer.bias
    bias.assign(keras.ops.full(bias.shape, -math.log((1 - PRIOR) / PRIOR)))


def initialize_pyramid(pyramid: keras.Model, seeds: Iterator[int | None]) -> None:
    """Initializes the convolutions of a feature pyramid from given seeds.

    Args:
        pyramid: The `feature_pyramid` of a `keras_hub.models.RetinaNetBackbone`.
        seeds: Iterator of random seeds, or of `None`.
    """
    convolutions = (
        *pyramid.lateral_conv_layers.values(),
        *pyramid.output_conv_layers.values(),
    )
    for layer in convolutions:
        glorot = keras.initializers.GlorotUniform(seed=next(seeds))
        layer.kernel.assign(glorot(layer.kernel.shape))
