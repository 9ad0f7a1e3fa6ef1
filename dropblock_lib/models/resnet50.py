"""ResNet-50 for small images, with a regularizer on the main path of each block."""

from collections.abc import Callable

import keras

from dropblock_lib.models._building import for_small_images
from dropblock_lib.variants import Variant


def resnet50(
    variant: str | Variant | Callable = "none",
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    seed: int | None = None,
    *,
    stem: str = "imagenet",
    where: str | Callable = "main-path-relu",
) -> keras.Model:
    """ResNet-50, regularized as in the slides.

    The network is `keras.applications.ResNet50`: a stem, four groups of 3, 4, 6
    and 3 residual blocks, global average pooling, and a dense layer. A block's
    main path is three convolutions, of 1x1, 3x3 and 1x1, each followed by batch
    normalization, the first two also by a ReLU. The regularizer follows these two
    ReLUs ("drop_conv2_block1_1_relu" and so on), in 16 x 2 = 32 places.

    For images of 32x32, the feature maps at the regularizers are

    - 8, 4, 2 and 1 pixels wide in the four groups with `stem="imagenet"`,
    - 32, 16, 8 and 4 pixels wide with `stem="cifar"`.

    `DropBlock2D` clips its block to the map: with `stem="imagenet"`, a block of 7x7
    amounts to SpatialDropout from the second group on.

    Like all networks here, it takes raw pixels, 0 to 255, scales them to [-1, 1], and
    returns logits. Images with a side of less than 32 pixels get a black border. Batch
    normalization has a momentum of 0.9 instead of Keras' 0.99, so that runs of a few
    hundred steps classify well.

    Args:
        variant: The regularizer: a key of `dropblock_lib.VARIANTS` or another name of
            that form, a `Variant`, or a function `factory(name=None, seed=None)` that
            returns a new layer. `"none"` means no regularizer.
        input_shape: `(height, width, channels)`, height and width at least 8.
        classes: Number of classes.
        seed: Random seed of the weights and regularizers, or `None`. With the same
            seed, all variants begin with the same weights.
        stem: `"imagenet"` as in the slides, a 7x7 convolution and a pooling, which
            reduce the map to a quarter of its width; or `"cifar"`, a 3x3 convolution
            at full width.
        where: A placement or a function, as for `insert_after`; by default the
            placement of the slides.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        ValueError: If an argument is not as described.

    Example:

    >>> model = resnet50("dropblock-7-0.9")
    >>> len(dbl.find_drop_block_layers(model))
    32

    Reference:

    - [He et al., 2016](https://arxiv.org/abs/1512.03385), table 1; the stem
      `"cifar"`: section 4.2.
    - Ludovico Ottobre and Gianmarco Evangelista, slides on DropBlock,
      Sapienza University of Rome: "ResNet Experiment".
    """
    return for_small_images(
        keras.applications.ResNet50,
        where=where,
        variant=variant,
        input_shape=input_shape,
        classes=classes,
        seed=seed,
        stem=stem,
        name="resnet50",
    )
