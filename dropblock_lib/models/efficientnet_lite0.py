"""EfficientNet-Lite0, the backbone of a detector that trains in minutes."""

import hashlib
import os

import keras
import numpy as np

from dropblock_lib.arguments import invalid_file
from dropblock_lib.data import downloads
from dropblock_lib.models._building import MOMENTUM, Seeds
from dropblock_lib.models.normalization import BatchNormalization

REPEATS = (1, 2, 2, 3, 3, 4, 1)
WEIGHTS = "efficientnet_lite0_imagenet.npz"
PRESET = "efficientnet_lite0_ra_imagenet"
# ImageNet's mean and standard deviation of RGB in [0, 1], for KerasHub's weights.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def efficientnet_lite0(
    image_size: int, weights: str | os.PathLike | None, seeds: Seeds
) -> keras.Model:
    """EfficientNet-Lite0 without its top, for RGB pixels from 0 to 255.

    Args:
        image_size: Height and width of the images in pixels.
        weights: `None`, `"imagenet"` or the path of an `.npz` file. Its arrays are
            `stem_conv/kernel`, `stem_bn/gamma` (`beta`, `mean`, `var`) and, for the
            blocks `b0` to `b15`, `b0_expand/kernel`, `b0_expand_bn/gamma` and the same
            for `dw` and `project`, in Keras' layout.
        seeds: Iterator of random seeds for the kernels, or of `None`.

    Returns:
        A functional `keras.Model`, from images to the last block.

    Raises:
        ImportError: If KerasHub is not installed.
        OSError: If the weights are not available.
        ValueError: If the file lacks one of the arrays, or one has a wrong shape.
    """
    path = None if weights in (None, "imagenet") else os.fspath(weights)
    if path is not None and not os.path.isfile(path):
        raise FileNotFoundError(
            "Invalid value received for argument `weights`. Expected None, "
            f"'imagenet' or an existing file. Received: weights={weights!r}"
        )
    if weights == "imagenet":
        path = downloads.in_data_folder(WEIGHTS)
        if path is None:
            return _from_preset(image_size)
    model = _rebuild(_kerashub(image_size), seeds, "same", 1 / 128, -127 / 128)
    if path is not None:
        _load(model, path)
        model.pretrained = downloads.describe_weights(path)
    return model


def _kerashub(image_size):
    # Imported late: KerasHub is optional.
    import keras_hub

    return keras_hub.models.EfficientNetBackbone(
        stackwise_width_coefficients=[1.0] * 7,
        stackwise_depth_coefficients=[1.0] * 7,
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=list(REPEATS),
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        stackwise_squeeze_and_excite_ratios=[0] * 7,
        stackwise_block_types=["v1"] * 7,
        input_shape=(image_size, image_size, 3),
        dropout=0.0,
        activation="relu6",
        include_stem_padding=False,
        stem_conv_padding="same",
        batch_norm_epsilon=1e-3,
        use_depth_divisor_as_min_depth=True,
        cap_round_filter_decrease=True,
    )


def _rebuild(model, seeds, padding, scale, offset):
    """Copies KerasHub's model up to its last block.

    KerasHub pads depthwise convolutions equally on both sides, as PyTorch does. With a
    stride of 2, the results differ from those of Keras' padding.

    Args:
        model: A `keras_hub.models.EfficientNetBackbone`.
        seeds: Random seeds of the kernels.
        padding: `"same"`, or `"valid"` to keep KerasHub's padding.
        scale, offset: As for `keras.layers.Rescaling`.
    """

    def rebuild(layer):
        config = layer.get_config()
        if isinstance(layer, keras.layers.BatchNormalization):
            return BatchNormalization.from_config(config | {"momentum": MOMENTUM})
        for role in ("kernel", "depthwise"):
            if config.get(f"{role}_initializer"):
                config[f"{role}_initializer"] = keras.initializers.VarianceScaling(
                    2.0, "fan_out", "truncated_normal", seed=next(seeds)
                )
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            config["padding"] = padding
        return type(layer).from_config(config)

    rescaling = keras.layers.Rescaling(scale, offset=offset, name="rescaling")
    trunk = keras.Model(
        model.input,
        model.get_layer("block7a_project_bn").output,
        name="efficientnet_lite0",
    )
    image = keras.Input(model.input_shape[1:], name="image")

    def call(layer, x, **options):
        if x is image:
            x = rescaling(x)
        if isinstance(layer, keras.layers.ZeroPadding2D) and padding == "same":
            return x
        return layer(x, **options)

    return keras.models.clone_model(
        trunk,
        input_tensors=image,
        clone_function=rebuild,
        call_function=call,
    )


def layer_names() -> dict[str, str]:
    """Maps each name in a weights file to its layer; the top is left out."""
    names = {"stem_conv": "stem_conv", "stem_bn": "stem_bn"}
    places = [
        f"block{stage}{'abcd'[index]}_"
        for stage, count in enumerate(REPEATS, start=1)
        for index in range(count)
    ]
    parts = {
        "expand": ("expand_conv", "expand_bn"),
        "dw": ("dwconv", "dwconv_bn"),
        "project": ("project", "project_bn"),
    }
    for block, place in enumerate(places):
        for part, (convolution, normalization) in parts.items():
            if block or part != "expand":  # the first block does not expand
                names[f"b{block}_{part}"] = place + convolution
                names[f"b{block}_{part}_bn"] = place + normalization
    return names


def _load(model, path):
    moments = {"mean": "moving_mean", "var": "moving_variance"}
    with np.load(path, allow_pickle=False) as arrays:
        for name, layer_name in layer_names().items():
            layer = model.get_layer(layer_name)
            is_convolution = len(layer.weights) == 1
            for kind in ("kernel",) if is_convolution else ("gamma", "beta", *moments):
                key = f"{name}/{kind}"
                variable = getattr(layer, moments.get(kind, kind))
                shape = arrays[key].shape if key in arrays else None
                if shape != tuple(variable.shape):
                    expected = f"an array '{key}' of shape {tuple(variable.shape)}"
                    raise invalid_file(path, expected, shape or "none")
                variable.assign(arrays[key])


def _from_preset(image_size):
    import keras_hub

    url = "https://www.kaggle.com/api/v1/models/list"
    try:
        reason = downloads.why_unreachable(url)
        if reason:
            raise OSError(reason)
        trained = keras_hub.models.EfficientNetBackbone.from_preset(PRESET)
    except Exception as error:
        raise OSError(
            f"EfficientNet-Lite0's ImageNet weights ({WEIGHTS}) are not in the folder "
            f"weights/ of $DROPBLOCK_DATA, and KerasHub cannot download {PRESET}: "
            f"{error}. Pass the path of a weights file, or weights=None for random "
            "weights."
        ) from error
    config = trained.get_config() | {"input_shape": (image_size, image_size, 3)}
    model = type(trained).from_config(config)
    model.set_weights(trained.get_weights())
    scale = [1 / (255 * deviation) for deviation in DEVIATION]
    offset = [-m / deviation for m, deviation in zip(MEAN, DEVIATION, strict=True)]
    copy = _rebuild(model, iter(lambda: None, 0), "valid", scale, offset)
    for layer in copy.layers:
        if layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    digest = hashlib.sha256()
    for array in copy.get_weights():
        digest.update(array.tobytes())
    # KerasHub does not name the file: the digest is that of the arrays.
    copy.pretrained = {"file": PRESET, "sha256": digest.hexdigest()}
    return copy
