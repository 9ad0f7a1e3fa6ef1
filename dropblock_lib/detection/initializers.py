"""The weights RetinaNet begins with, where KerasHub's are not the paper's."""

import math

import keras

# Of ten thousand anchors all but a few are background. Without the prior their loss
# would drown all else in the first steps.
PRIOR = 0.01
HEAD_STDDEV = 0.01


def begin_heads(model, seeds):
    """Draw the heads of a detector as the paper does.

    KerasHub 0.32 gives the bias that says "one anchor in a hundred holds an object"
    to the head that predicts boxes instead of the one that predicts classes, and
    draws kernels with a standard deviation of 0.05, with which a fresh model has a
    loss in the thousands.

    Args:
        model: A `keras_hub.models.RetinaNetObjectDetector`.
        seeds: Iterator of integers, or of `None`.

    Reference:

    - [Lin et al., 2017](https://arxiv.org/abs/1708.02002), section 4.1.
    """
    for head in (model.box_head, model.classification_head):
        for layer in (*head.conv_layers, head.prediction_layer):
            draw = keras.initializers.RandomNormal(stddev=HEAD_STDDEV, seed=next(seeds))
            layer.kernel.assign(draw(layer.kernel.shape))
            if layer.bias is not None:
                layer.bias.assign(keras.ops.zeros(layer.bias.shape))
    bias = model.classification_head.prediction_layer.bias
    bias.assign(keras.ops.full(bias.shape, -math.log((1 - PRIOR) / PRIOR)))


def begin_pyramid(pyramid, seeds):
    """Draw the convolutions of a feature pyramid from known seeds.

    Args:
        pyramid: The `feature_pyramid` of a `keras_hub.models.RetinaNetBackbone`.
        seeds: Iterator of integers, or of `None`.
    """
    convolutions = (
        *pyramid.lateral_conv_layers.values(),
        *pyramid.output_conv_layers.values(),
    )
    for layer in convolutions:
        draw = keras.initializers.GlorotUniform(seed=next(seeds))
        layer.kernel.assign(draw(layer.kernel.shape))
