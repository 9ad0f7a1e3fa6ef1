"""CustomNet, a small convolutional network without skip connections."""

from collections.abc import Callable

import keras
import numpy as np
from keras.initializers import GlorotUniform

from dropblock_lib.arguments import (
    check_choice,
    check_classes,
    check_image_shape,
    check_seed,
)
from dropblock_lib.models._building import MOMENTUM, rescale
from dropblock_lib.models.normalization import BatchNormalization
from dropblock_lib.variants import Variant, get_variant

PLACEMENTS = ("after-pooling", "before-pooling")
FILTERS = (32, 64, 128)


def custom_net(
    variant: str | Variant | Callable = "none",
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    seed: int | None = None,
    *,
    where: str = "after-pooling",
) -> keras.Model:
    """CustomNet: three stages of two convolutions, pooling and a regularizer.

    A stage is (3x3 convolution, ReLU, batch normalization) twice, then 2x2 max
    pooling, with the regularizer ("drop1" to "drop3") after or before the pooling.
    The stages have 32, 64 and 128 filters; a dense layer on the flattened feature map
    classifies. For images of 32x32, feature maps at the regularizer are this wide::

        "after-pooling":   conv conv pool [16]  conv conv pool [8]   conv conv pool [4]
        "before-pooling":  conv conv [32] pool  conv conv [16] pool  conv conv [8] pool

    The slides regularize after the pooling, where a block of 7 covers the last map and
    most of the one before. Before the pooling, a block is smaller than all three maps.

    The architecture is that of A. Kumar's public Keras tutorial (2018), with ReLU
    instead of ELU; the slides call it CustomNet. With Dropout of 0.2, 0.3 and 0.4, an
    L2 penalty of 1e-4, augmentation and 125 epochs on all images, the tutorial reaches
    about 90% on CIFAR-10.

    At the default shape the network has 309,290 parameters, 308,394 of them trainable.
    The other 896 are the moving means and variances of batch normalization. The counts
    are the same for all variants: the `keep_prob` of a `DropBlock2D` is a variable, but
    not among its weights. The slides print 309,962, because their layer has 2 * H * W
    weights.

    The network takes raw pixels, 0 to 255, scales them to [-1, 1], and returns logits:
    compile it with `from_logits=True`, and use `keras.ops.softmax` for probabilities.

    Args:
        variant: The regularizer: a key of `dropblock_lib.VARIANTS` or another name of
            that form, a `Variant`, or a function `factory(name=None, seed=None)` that
            returns a new layer. `"none"` means no regularizer.
        input_shape: `(height, width, channels)`, height and width at least 8. Pooling
            halves them three times, rounding down.
        classes: Number of classes.
        seed: Random seed of the weights and regularizers, or `None`. With the same
            seed, all variants begin with the same weights.
        where: `"after-pooling"`, as in the slides, or `"before-pooling"`.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        ValueError: If an argument is not as described.

    Example:

    >>> model = custom_net("dropblock-3-0.9")
    >>> model.get_layer("drop1").block_size
    3

    Reference:

    - A. Kumar, 2018, "Achieving 90% accuracy in object recognition task on CIFAR-10
      dataset with Keras: convolutional neural networks".
    - Ludovico Ottobre and Gianmarco Evangelista, slides on DropBlock,
      Sapienza University of Rome: "CustomNet Experiment".
    """
    factory = get_variant(variant)
    input_shape = check_image_shape(input_shape)
    classes = check_classes(classes)
    kernel_seeds, drop_seeds = _layer_seeds(seed)
    check_choice("where", where, PLACEMENTS)

    # === Functional Model ===
    inputs = keras.Input(shape=input_shape, name="image")
    x = rescale(inputs)
    for stage, filters in enumerate(FILTERS, start=1):
        for block in (1, 2):
            place = f"{stage}_{block}"
            x = keras.layers.Conv2D(
                filters,
                3,
                padding="same",
                kernel_initializer=GlorotUniform(next(kernel_seeds)),
                name=f"conv{place}",
            )(x)
            x = keras.layers.Activation("relu", name=f"relu{place}")(x)
            x = BatchNormalization(momentum=MOMENTUM, name=f"norm{place}")(x)
        drop = factory(name=f"drop{stage}", seed=next(drop_seeds))
        if drop is not None and where == "before-pooling":
            x = drop(x)
        x = keras.layers.MaxPooling2D(name=f"pool{stage}")(x)
        if drop is not None and where == "after-pooling":
            x = drop(x)
    x = keras.layers.Flatten(name="flatten")(x)
    outputs = keras.layers.Dense(
        classes, kernel_initializer=GlorotUniform(next(kernel_seeds)), name="logits"
    )(x)
    return keras.Model(inputs, outputs, name="custom_net")


def _layer_seeds(seed):
    """Returns random seeds for the seven kernels and for the three regularizers."""
    if check_seed(seed) is None:
        return iter([None] * 7), iter([None] * 3)
    state = np.random.SeedSequence(int(seed)).generate_state(10) >> 1
    return iter(state[:7].tolist()), iter(state[7:].tolist())
