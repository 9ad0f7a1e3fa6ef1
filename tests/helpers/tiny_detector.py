"""The smallest detector: RetinaNet on three convolutions."""

import keras

from dropblock_lib.detection.detector import RetinaNet
from dropblock_lib.detection.pyramid import build_pyramid
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


def tiny_detector(variant="none", classes=3, image_size=64, weights=None, seed=0):
    """A detector with the arguments of those in `DETECTORS`."""
    kernels, _ = seed_streams(seed)
    encoder = small_encoder(image_size, variant, seed)
    pyramid = build_pyramid(encoder, LEVELS, 3, 5, seeds=kernels)
    return RetinaNet(pyramid, classes, head_layers=1, seeds=kernels)
