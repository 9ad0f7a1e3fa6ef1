"""CustomNet, a small convolutional network without skip connections."""

import keras
import numpy as np

from dropblock_lib.arguments import (
    check_classes,
    check_image_shape,
    check_seed,
    invalid,
)
from dropblock_lib.models.normalization import BatchNormalization
from dropblock_lib.variants import get_variant

PLACEMENTS = ("after-pooling", "before-pooling")
_FILTERS = (32, 64, 128)
# Keras' 0.99 needs some 500 steps to forget the moments it began with: a short run
# would train well and yet classify at chance.
_MOMENTUM = 0.9


def custom_net(
    variant: str = "none",
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    seed: int | None = None,
    *,
    where: str = "after-pooling",
) -> keras.Model:
    """CustomNet: three stages of two convolutions, pooling and a regularizer.

    A stage is (3x3 convolution, ReLU, batch normalization) twice, then 2x2 max
    pooling, with the regularizer ("drop1" to "drop3") after or before the pooling.
    The stages have 32, 64 and 128 filters; a dense layer on the flattened map
    classifies. For images of 32x32 the regularizer meets these maps::

        "after-pooling":   conv conv pool [16]  conv conv pool [8]   conv conv pool [4]
        "before-pooling":  conv conv [32] pool  conv conv [16] pool  conv conv [8] pool

    The slides put it after the pooling, where a block of 7 covers the last map and
    most of the one before. Before the pooling it is a block on all three.

    The architecture is that of A. Kumar's public Keras tutorial (2018), with ReLU in
    place of its ELU; the slides call it CustomNet. With Dropout of 0.2, 0.3 and 0.4, an
    L2 penalty of 1e-4, augmentation and 125 epochs on all images, the tutorial reaches
    about 90% on CIFAR-10.

    At the default shape the network has 309,290 parameters, of which 308,394
    are trained (the other 896 are the batch normalizations' running moments).
    A `DropBlock2D` adds one non-trainable number each, its `keep_prob`, which
    training may change and a saved model keeps: 309,293. The slides print
    309,962, because their layer carries 2 * H * W weights.

    The network takes pixels as they are stored, 0 to 255, and scales them to
    [-1, 1] itself, without parameters. It returns logits: compile it with
    `from_logits=True`, and use `keras.ops.softmax` to read probabilities.

    Args:
        variant: The regularizer: a key of `dropblock_lib.VARIANTS`, another name of
            that form, a `Variant`, or a function `factory(name=None, seed=None)`
            that returns a new layer. `"none"` puts nothing there.
        input_shape: `(height, width, channels)` of the images, height and width
            at least 8. Pooling halves them three times, rounding down.
        classes: Number of classes.
        seed: Integer that fixes the initial weights and the regularizers'
            noise, or `None`. With the same seed all variants begin with the
            same weights.
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
      La Sapienza, University of Rome: "CustomNet Experiment".
    """
    factory = get_variant(variant)
    input_shape = check_image_shape(input_shape)
    classes = check_classes(classes)
    kernel_seeds, drop_seeds = _layer_seeds(seed)
    if where not in PLACEMENTS:
        raise invalid("where", f"one of {', '.join(PLACEMENTS)}", where)

    # === Functional Model ===
    inputs = keras.Input(shape=input_shape, name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(inputs)
    for stage, filters in enumerate(_FILTERS, start=1):
        for block in (1, 2):
            place = f"{stage}_{block}"
            x = keras.layers.Conv2D(
                filters,
                3,
                padding="same",
                kernel_initializer=_initializer(next(kernel_seeds)),
                name=f"conv{place}",
            )(x)
            x = keras.layers.Activation("relu", name=f"relu{place}")(x)
            x = BatchNormalization(momentum=_MOMENTUM, name=f"norm{place}")(x)
        drop = factory(name=f"drop{stage}", seed=next(drop_seeds))
        if drop is not None and where == "before-pooling":
            x = drop(x)
        x = keras.layers.MaxPooling2D(name=f"pool{stage}")(x)
        if drop is not None and where == "after-pooling":
            x = drop(x)
    x = keras.layers.Flatten(name="flatten")(x)
    outputs = keras.layers.Dense(
        classes, kernel_initializer=_initializer(next(kernel_seeds)), name="logits"
    )(x)
    return keras.Model(inputs, outputs, name="custom_net")


def _layer_seeds(seed: int | None):
    """Seeds of the seven kernels and of the three regularizers.

    Two streams, so that a variant with regularizers begins with the same weights
    as the one without.
    """
    if check_seed(seed) is None:
        return iter([None] * 7), iter([None] * 3)
    state = np.random.SeedSequence(int(seed)).generate_state(10) >> 1
    return iter(state[:7].tolist()), iter(state[7:].tolist())


def _initializer(seed: int | None) -> keras.Initializer:
    return keras.initializers.GlorotUniform(seed=seed)
