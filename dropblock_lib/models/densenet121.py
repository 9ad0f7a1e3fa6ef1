"""DenseNet-121 for small images, with a regularizer before each convolution."""

import keras

from dropblock_lib.models.small_images import for_small_images


def densenet121(
    variant: str = "none",
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    seed: int | None = None,
    *,
    stem: str = "imagenet",
    where: str = "dense-block-relu",
) -> keras.Model:
    """DenseNet-121, regularized where the slides do it.

    The network is `keras.applications.DenseNet121`: a stem, four dense blocks of
    6, 12, 24 and 16 layers with transitions between them, global average pooling,
    and a dense layer. A layer of a dense block is batch normalization, ReLU, a
    1x1 convolution, batch normalization, ReLU and a 3x3 convolution, whose 32
    channels are put beside all those before. The regularizer sits behind the two
    ReLUs ("drop_conv2_block1_0_relu" and so on), at 58 x 2 = 116 places.

    For images of 32x32 the maps at the regularizers are, in pixels,

    - 8, 4, 2 and 1 wide in the four dense blocks with `stem="imagenet"`,
    - 32, 16, 8 and 4 wide with `stem="cifar"`.

    Pixels, logits, borders, and the momentum of batch normalization are as in
    `resnet50`.

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
        stem: `"imagenet"`, a 7x7 convolution and a pooling, which make the map
            a quarter as wide, as the slides have it; or `"cifar"`, a 3x3
            convolution, which leaves it as it is.
        where: A placement of `insert_after`; by default the slides'.

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
      La Sapienza, University of Rome: "DenseNet Experiment".
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
