"""What the networks share: seeds, regularizers, and applications for small images."""

from collections.abc import Callable, Iterator

import keras
import numpy as np

from dropblock_lib.arguments import (
    check_choice,
    check_classes,
    check_image_shape,
    check_seed,
)
from dropblock_lib.insertion import check_where, insert_after
from dropblock_lib.models.normalization import BatchNormalization
from dropblock_lib.variants import get_variant

SMALLEST = 32  # the applications halve images five times
# With Keras' default of 0.99, the moving mean and variance take about 500 steps to
# converge: a short run would train well and yet classify at chance.
MOMENTUM = 0.9

Seeds = Iterator[int | None]


def seed_streams(seed: int | None) -> tuple[Seeds, Seeds]:
    """Returns endless random seeds for kernels and for regularizers.

    The two streams are independent, so that a variant with regularizers begins with
    the same weights as the one without.

    Args:
        seed: Non-negative integer, or `None` for streams of `None`.
    """
    seed = check_seed(seed)
    return _stream(seed, 0), _stream(seed, 1)


def _stream(seed, kind):
    rng = None if seed is None else np.random.default_rng((seed, kind))
    while True:
        yield None if rng is None else int(rng.integers(2**31))


def rescale(inputs):
    """Scales pixels from [0, 255] to [-1, 1]."""
    return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(inputs)


def regularize(model, factory, where, seeds):
    """Inserts the regularizers of a variant, if it has any."""
    if factory.method == "none":
        return model
    return insert_after(model, lambda name: factory(name=name, seed=next(seeds)), where)


def for_small_images(
    application: Callable[..., keras.Model],
    *,
    where,
    variant,
    input_shape,
    classes,
    seed,
    stem,
    name: str,
) -> keras.Model:
    """Rebuilds one of Keras' applications as a classifier of small images.

    Args:
        application: A function of `keras.applications` whose stem is the convolution
            "conv1_conv" and a max pooling.
        where: A placement of `insert_after`, for the regularizers.
        variant, input_shape, classes, seed, stem: As for `resnet50`.
        name: Name of the model.

    Returns:
        A functional `keras.Model`, not compiled.
    """
    factory = get_variant(variant)
    input_shape = check_image_shape(input_shape)
    classes = check_classes(classes)
    kernel_seeds, drop_seeds = seed_streams(seed)
    check_choice("stem", stem, ("imagenet", "cifar"))
    check_where(where)

    x = inputs = keras.Input(shape=input_shape, name="image")
    missing = [max(0, SMALLEST - size) for size in input_shape[:2]]
    if any(missing):
        sides = [(size // 2, size - size // 2) for size in missing]
        x = keras.layers.ZeroPadding2D(sides, name="border")(x)
    x = rescale(x)
    trunk = application(include_top=False, weights=None, input_tensor=x, pooling="avg")
    outputs = keras.layers.Dense(classes, name="logits")(trunk.output)
    model = keras.Model(inputs, outputs, name=name)
    model = with_seeds(model, kernel_seeds, stem)
    return regularize(model, factory, where, drop_seeds)


def with_seeds(
    model: keras.Model, kernel_seeds: Seeds, stem: str = "imagenet"
) -> keras.Model:
    """Copies an application, with seeded kernels, `MOMENTUM`, and the given stem.

    Args:
        model: A functional `keras.Model`, one of Keras' applications.
        kernel_seeds: Iterator of random seeds, or of `None`.
        stem: `"imagenet"` or `"cifar"`.

    Returns:
        A new model.
    """

    def rebuild(layer):
        config = layer.get_config()
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
            config["kernel_initializer"] = keras.initializers.GlorotUniform(
                seed=next(kernel_seeds)
            )
        if isinstance(layer, keras.layers.BatchNormalization):
            return BatchNormalization.from_config(config | {"momentum": MOMENTUM})
        if layer.name == "conv1_conv" and stem == "cifar":
            config |= {"kernel_size": 3, "strides": 1, "padding": "same"}
        return type(layer).from_config(config)

    def call(layer, *args, **kwargs):
        shrinks = (keras.layers.ZeroPadding2D, keras.layers.MaxPooling2D)
        if stem == "cifar" and isinstance(layer, shrinks) and layer.name != "border":
            return args[0]
        return layer(*args, **kwargs)

    return keras.models.clone_model(model, clone_function=rebuild, call_function=call)
