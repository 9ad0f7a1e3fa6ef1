"""DenseNet-121 for small images, regularized in its dense blocks."""

from collections.abc import Callable

import keras

from dropblock_lib.models._building import for_small_images
from dropblock_lib.variants import Variant


def densenet121(
    variant: str | Variant | Callable = "none",
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    seed: int | None = None,
    *,
    stem: str = "imagenet",
    where: str | Callable = "dense-block-relu",
) -> keras.Model:
    """DenseNet-121, regularized as in the slides.

    The network is `keras.applications.DenseNet121`: a stem, four dense blocks of
    6, 12, 24 and 16 layers with transitions between them, global average pooling,
    and a dense layer. A layer of a dense block is batch normalization, ReLU, a
    1x1 convolution, batch normalization, ReLU and a 3x3 convolution, whose 32
    channels are concatenated to all previous ones. The regularizer follows the two
    ReLUs ("drop_conv2_block1_0_relu" and so on), in 58 x 2 = 116 places.

    For images of 32x32, the feature maps at the regularizers are

    - 8, 4, 2 and 1 pixels wide in the four dense blocks with `stem="imagenet"`,
    - 32, 16, 8 and 4 pixels wide with `stem="cifar"`.

    Pixels, logits, borders, and the momentum of batch normalization are as in
    `resnet50`.

    Args:
        variant, input_shape, classes, seed, stem: As for `resnet50`.
        where: A placement or a function, as for `insert_after`; by default the
            placement of the slides.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        ValueError: If an argument is not as described.

    Example:

    >>> model = densenet121("dropblock-7-0.9")
    >>> len(dbl.find_drop_block_layers(model))
    116

    Reference:

    - [Huang et al., 2017](https://arxiv.org/abs/1608.06993), table 1; the stem
      `"cifar"`: section 3.
    - Ludovico Ottobre and Gianmarco Evangelista, slides on DropBlock,
      Sapienza University of Rome: "DenseNet Experiment".
    """
    return for_small_images(
        keras.applications.DenseNet121,
        where=where,
        variant=variant,
        input_shape=input_shape,
        classes=classes,
        seed=seed,
        stem=stem,
        name="densenet121",
    )
