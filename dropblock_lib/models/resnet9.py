"""ResNet-9: a small residual network on whose maps a block is a block."""

import keras

from dropblock_lib.arguments import (
    check_classes,
    check_image_shape,
    invalid,
    is_whole,
)
from dropblock_lib.insertion import check_where, insert_after
from dropblock_lib.models.normalization import BatchNormalization
from dropblock_lib.models.seed_streams import seed_streams
from dropblock_lib.models.small_images import MOMENTUM
from dropblock_lib.variants import get_variant


def resnet9(
    variant: str = "none",
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    seed: int | None = None,
    *,
    where="main-path-relu",
    width: int = 32,
) -> keras.Model:
    """ResNet-9, the small residual network of the DAWNBench entries for CIFAR-10.

    A unit below is 3x3 convolution, batch normalization, ReLU. Side of the map and
    number of channels are those of a 32x32 image at the default width::

        unit "stem"                              32   32
        unit "conv1", 2x2 max pooling            16   64
        residual block 1 of two units            16   64
        unit "conv2", 2x2 max pooling             8  128
        unit "conv3", 2x2 max pooling             4  256
        residual block 2 of two units             4  256
        global average pooling, dense

    There is no ReLU after the additions. The regularizer goes where `where` says::

        conv1 ── pool ─┬─ unit [m,p] ── unit [m,p] ─ + ─[s]─ conv2 ...
                       └──────────── [p] ────────────┘

    - "main-path-relu", the slides' place: after both ReLUs of each block [m];
    - "paper-code", that of the paper's authors: the same places and the skip
      connection [p], with a quarter of the rate in block 1;
    - "last-group": the places of "paper-code" in block 2 alone;
    - "after-addition": behind each sum [s].

    The original ends in 4x4 max pooling; global average pooling makes class
    activation maps possible. At the default width, half the original's, it has
    1.6 million parameters.

    Args:
        variant: The regularizer: a key of `dropblock_lib.VARIANTS`, another name of
            that form, a `Variant`, or a function `factory(name=None, seed=None)`
            that returns a new layer. `"none"` puts nothing there.
        input_shape: `(height, width, channels)` of the images, height and width
            at least 8.
        classes: Number of classes.
        seed: Integer that fixes the initial weights and the regularizers'
            noise, or `None`. With the same seed all variants begin with the
            same weights.
        where: A placement of `insert_after`, or a function layer -> bool.
        width: Number of channels of the first unit; the original has 64.

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
    if not is_whole(width, at_least=1):
        raise invalid("width", "a positive integer", width)
    width = int(width)
    check_where(where)

    def unit(x, filters, name):
        x = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer=_initializer(next(kernel_seeds)),
            name=f"{name}_conv",
        )(x)
        x = BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")(x)
        return keras.layers.Activation("relu", name=f"{name}_relu")(x)

    def block(x, filters, name):
        main = unit(unit(x, filters, f"{name}_1"), filters, f"{name}_2")
        return keras.layers.Add(name=f"{name}_add")([x, main])

    # === Functional Model ===
    inputs = keras.Input(shape=input_shape, name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(inputs)
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
        classes, kernel_initializer=_initializer(next(kernel_seeds)), name="logits"
    )(x)
    model = keras.Model(inputs, outputs, name="resnet9")
    if factory.method == "none":
        return model
    return insert_after(
        model, lambda name: factory(name=name, seed=next(drop_seeds)), where
    )


def _initializer(seed):
    return keras.initializers.HeNormal(seed=seed)
