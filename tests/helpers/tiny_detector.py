"""The smallest detector: RetinaNet on three convolutions."""

import keras
import keras_hub

from dropblock_lib.detection.detector import RetinaNet
from dropblock_lib.detection.initializers import initialize_heads, initialize_pyramid
from dropblock_lib.detection.pyramid_encoder import PyramidEncoder
from dropblock_lib.models._building import seed_streams
from dropblock_lib.variants import get_variant

LEVELS = {"P3": "third", "P4": "fourth", "P5": "fifth"}


def small_encoder(image_size=64, variant="none", seed=0):
    """Three feature maps, 8, 16 and 32 times smaller than the image."""
    kernels, drops = seed_streams(seed)

    def convolution(size, name):
        draw = keras.initializers.GlorotUniform(seed=next(kernels))
        return keras.layers.Conv2D(
            8,
            size,
            strides=size,
            activation="relu",
            kernel_initializer=draw,
            name=name,
        )

    x = inputs = keras.Input((image_size, image_size, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(x)
    x = convolution(8, "third")(x)
    drop = get_variant(variant)(name="drop", seed=next(drops))
    if drop is not None:
        x = drop(x)
    x = convolution(2, "fourth")(x)
    x = convolution(2, "fifth")(x)
    return keras.Model(inputs, x, name="small")


def pyramid(encoder, image_size=64):
    """A pyramid of three levels on a `PyramidEncoder`."""
    return keras_hub.models.RetinaNetBackbone(
        encoder, 3, 5, use_p5=True, image_shape=(image_size, image_size, 3)
    )


def tiny_detector(
    variant="none", classes=3, image_size=64, weights=None, seed=0, *, cls=RetinaNet
):
    """A detector with the arguments of those in `DETECTORS`."""
    encoder = small_encoder(image_size, variant, seed)
    model = cls(
        pyramid(PyramidEncoder(encoder, LEVELS), image_size),
        classes,
        bounding_box_format="xyxy",
        pre_logits_num_conv_layers=1,
    )
    if cls is RetinaNet:
        kernels, _ = seed_streams(seed)
        initialize_pyramid(model.backbone.feature_pyramid, kernels)
        initialize_heads(model, kernels)
    return model
