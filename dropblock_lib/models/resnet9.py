"""ResNet-9, a small residual network whose maps are larger than a block."""

from collections.abc import Callable

import keras
from keras.initializers import HeNormal

from dropblock_lib.arguments import check_classes, check_image_shape, check_integer
from dropblock_lib.insertion import check_where
from dropblock_lib.models._building import (
    MOMENTUM,
    regularize,
    rescale,
    seed_streams,
)
from dropblock_lib.models.normalization import BatchNormalization
from dropblock_lib.variants import Variant, get_variant


def resnet9(
    variant: str | Variant | Callable = "none",
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    seed: int | None = None,
    *,
    where: str | Callable = "main-path-relu",
    width: int = 32,
) -> keras.Model:
    """ResNet-9, the small residual network of the DAWNBench entries for CIFAR-10.

    In this table, a unit is 3x3 convolution, batch normalization, ReLU. The side of
    the map and the number of channels are for a 32x32 image and the default width::

        unit "stem"                              32   32
        unit "conv1", 2x2 max pooling            16   64
        residual block 1 of two units            16   64
        unit "conv2", 2x2 max pooling             8  128
        unit "conv3", 2x2 max pooling             4  256
        residual block 2 of two units             4  256
        global average pooling, dense

    No ReLU follows the additions. The regularizer is placed according to `where`::

        conv1 ── pool ─┬─ unit [m,p] ── unit [m,p] ─ + ─[s]─ conv2 ...
                       └──────────── [p] ────────────┘

    - "main-path-relu", as in the slides: after both ReLUs of each block [m];
    - "paper-code", as in the code of the paper's authors: the same places and the
      skip connection [p], with a quarter of the rate in block 1;
    - "last-group": the places of "paper-code" in block 2 alone;
    - "after-addition": after each sum [s].

    The original ends in 4x4 max pooling; global average pooling makes class
    activation maps possible. At the default width, half of the original's, the
    network has 1.6 million parameters.

    Args:
        variant, input_shape, classes, seed: As for `resnet50`.
        where: A placement of `insert_after`, or a function layer -> bool.
        width: Number of channels of the first unit; 64 in the original.

    Returns:
        A functional `keras.Model`, not compiled. It takes raw pixels, 0 to 255, and
        returns logits.

    Raises:
        ValueError: If an argument is not as described.

    Example:

    >>> model = resnet9("dropblock-3-0.9")
    >>> len(dbl.find_drop_block_layers(model))
    4

    Reference:

    - D. Page, 2018, "How to train your ResNet", the network of the series' final
      parts.
    - [Zhou et al., 2016](https://arxiv.org/abs/1512.04150), on global average
      pooling and class activation maps.
    """
    factory = get_variant(variant)
    input_shape = check_image_shape(input_shape)
    classes = check_classes(classes)
    kernel_seeds, drop_seeds = seed_streams(seed)
    width = check_integer("width", width)
    check_where(where)

    def unit(x, filters, name):
        x = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer=HeNormal(next(kernel_seeds)),
            name=f"{name}_conv",
        )(x)
        x = BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")(x)
        return keras.layers.Activation("relu", name=f"{name}_relu")(x)

    def block(x, filters, name):
        main = unit(unit(x, filters, f"{name}_1"), filters, f"{name}_2")
        return keras.layers.Add(name=f"{name}_add")([x, main])

    # === Functional Model ===
    inputs = keras.Input(shape=input_shape, name="image")
    x = rescale(inputs)
    x = unit(x, width, "stem")
    x = unit(x, 2 * width, "conv1")
    x = keras.layers.MaxPooling2D(name="pool1")(x)
    x = block(x, 2 * width, "block1")
    x = unit(x, 4 * width, "conv2")
    x = keras.layers.MaxPooling2D(name="pool2")(x)
    x = unit(x, 8 * width, "conv3")
    x = keras.layers.MaxPooling2D(name="pool3")(x)
    x = block(x, 8 * width, "block2")
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    outputs = keras.layers.Dense(
        classes, kernel_initializer=HeNormal(next(kernel_seeds)), name="logits"
    )(x)
    model = keras.Model(inputs, outputs, name="resnet9")
    return regularize(model, factory, where, drop_seeds)
