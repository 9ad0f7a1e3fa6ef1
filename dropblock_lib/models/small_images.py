"""Networks that were made for large images, rebuilt for small ones."""

import keras

from dropblock_lib.arguments import check_classes, check_image_shape, invalid
from dropblock_lib.insertion import check_where, insert_after
from dropblock_lib.models.normalization import BatchNormalization
from dropblock_lib.models.seed_streams import seed_streams
from dropblock_lib.variants import get_variant

STEMS = ("imagenet", "cifar")
SMALLEST = 32  # the images are halved five times
# Keras' 0.99 needs some 500 steps to forget the moments it began with: a short run
# would train well and yet classify at chance.
MOMENTUM = 0.9


def for_small_images(
    application, *, where, variant, input_shape, classes, seed, stem, name
):
    """One of Keras' applications as a classifier of small images.

    Args:
        application: A function of `keras.applications` whose stem is made of
            "conv1_conv", a convolution, and a max pooling.
        where: A placement of `insert_after`, for the regularizers.
        variant: The regularizer, as `get_variant` takes it.
        input_shape: `(height, width, channels)`, each side at least 8.
        classes: Number of classes.
        seed: Integer, or `None`.
        stem: `"imagenet"` or `"cifar"`.
        name: Name of the model.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        ValueError: If an argument is not as described.
    """
    factory = get_variant(variant)
    height, width, channels = check_image_shape(input_shape)
    classes = check_classes(classes)
    kernel_seeds, drop_seeds = seed_streams(seed)
    if stem not in STEMS:
        raise invalid("stem", "'imagenet' or 'cifar'", stem)
    check_where(where)

    inputs = keras.Input(shape=(height, width, channels), name="image")
    x = inputs
    missing = [max(0, SMALLEST - size) for size in (height, width)]
    if any(missing):
        sides = [(size // 2, size - size // 2) for size in missing]
        x = keras.layers.ZeroPadding2D(sides, name="border")(x)
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(x)
    trunk = application(include_top=False, weights=None, input_tensor=x, pooling="avg")
    outputs = keras.layers.Dense(classes, name="logits")(trunk.output)
    model = keras.Model(inputs, outputs, name=name)
    model = with_seeds(model, kernel_seeds, stem)
    if factory.method == "none":
        return model
    return insert_after(
        model, lambda name: factory(name=name, seed=next(drop_seeds)), where
    )


def with_seeds(model, kernel_seeds, stem="imagenet"):
    """The model with seeded kernels, a shorter memory and the stem asked for.

    Args:
        model: A functional `keras.Model`, one of Keras' applications.
        kernel_seeds: Iterator of integers, or of `None`.
        stem: `"imagenet"` or `"cifar"`.

    Returns:
        A new model.
    """
    own = ("border",)  # paddings that are not the application's

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
        if stem == "cifar" and isinstance(layer, shrinks) and layer.name not in own:
            return args[0]
        return layer(*args, **kwargs)

    return keras.models.clone_model(model, clone_function=rebuild, call_function=call)
