"""RetinaNet on a regularized ResNet-50 or EfficientNet-Lite0."""

import dataclasses
import os
from collections.abc import Callable

import keras
import numpy as np

from dropblock_lib.arguments import (
    check_boolean,
    check_choice,
    check_float,
    check_integer,
    invalid,
    is_whole,
)
from dropblock_lib.data.downloads import describe_weights, find_weights
from dropblock_lib.insertion import check_where
from dropblock_lib.models._building import regularize, seed_streams, with_seeds
from dropblock_lib.models.efficientnet_lite0 import efficientnet_lite0
from dropblock_lib.variants import Variant, get_variant

# ImageNet's mean pixel: red, green, blue.
MEAN_COLOR = (123.68, 116.779, 103.939)
LEVEL_RANGES = [(low, high) for low in (3, 4, 5) for high in (5, 6, 7)]
# A placement of detectors: see `retinanet`.
LAST_STAGES = "last-stages-and-pyramid"


def _resnet50(image_size, weights, kernel_seeds):
    """Makes Keras' ResNet-50 without its top, for RGB pixels from 0 to 255."""
    inputs = keras.Input((image_size, image_size, 3), name="image")
    offset = [-value for value in MEAN_COLOR]
    x = keras.layers.Rescaling(1.0, offset=offset, name="rescaling")(inputs)
    found = find_weights(weights)
    encoder = keras.applications.ResNet50(
        include_top=False, weights=found, input_tensor=x
    )
    if found is None:
        return with_seeds(encoder, kernel_seeds)
    encoder.pretrained = describe_weights(found)
    # Keras' weights expect channels in the order blue, green, red.
    first = encoder.get_layer("conv1_conv").kernel
    first.assign(np.flip(keras.ops.convert_to_numpy(first), axis=2))
    return encoder


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A feature extractor for a detector.

    Attributes:
        make: Function of the image size, the weights and random seeds that returns a
            model. If it loads weights, the model's attribute `pretrained` has their
            `file` and `sha256`.
        levels: Dict of level -> name of the layer with its last map.
        stem: Prefix of the names of the layers before the first stage.
        stages: Prefix of the layer names of each stage.
    """

    make: Callable[..., keras.Model]
    levels: dict[str, str]
    stem: str
    stages: tuple[str, ...]


BACKBONES = {
    "resnet50": Backbone(
        _resnet50,
        {"P3": "conv3_block4_out", "P4": "conv4_block6_out", "P5": "conv5_block3_out"},
        "conv1",
        ("conv2_", "conv3_", "conv4_", "conv5_"),
    ),
    "efficientnet_lite0": Backbone(
        efficientnet_lite0,
        {"P3": "block3b_add", "P4": "block5c_add", "P5": "block7a_project_bn"},
        "stem_",
        tuple(f"block{stage}" for stage in range(1, 8)),
    ),
}


def retinanet(
    variant: str | Variant | Callable = "none",
    classes: int = 80,
    image_size: int = 512,
    weights: str | os.PathLike | None = None,
    seed: int | None = None,
    *,
    backbone: str = "resnet50",
    where: str | Callable = "main-path-relu",
    levels: tuple[int, int] = (3, 7),
    channels: int = 256,
    head_layers: int = 4,
    anchor_size: float = 4.0,
    frozen_stages: int = 0,
    frozen_normalization: bool = False,
) -> keras.Model:
    """RetinaNet, regularized as in the slides or in the last stages and the pyramid.

    It has a feature pyramid on the last three resolutions of the backbone, nine anchors
    at every position of every level, and two convolutional heads that all levels share,
    one for the classes and one for the boxes.

    Where the regularizer goes:

    - `"main-path-relu"`, the slides' choice for ResNet-50: after the ReLUs of the main
      path of each block, in 32 places. The other placements of `insert_after` are
      possible, too.
    - `"last-stages-and-pyramid"`: after the activations of the last two stages of the
      backbone, and after each map of the pyramid.

    Requires the extra `detection`.

    Args:
        variant: The regularizer: a key of `dropblock_lib.VARIANTS` or another name of
            that form, a `Variant`, or a function `factory(name=None, seed=None)` that
            returns a new layer. `"none"` means no regularizer.
        classes: Number of classes, at least one.
        image_size: Height and width of the images in pixels, a multiple of 32 and at
            least 64.
        weights: Initial weights of the backbone: `None` for random ones; `"imagenet"`,
            read from the folder `weights/` of `$DROPBLOCK_DATA` or else downloaded by
            Keras or KerasHub; or the path of a file. For ResNet-50, the file has the
            weights of `keras.applications.ResNet50` without its top. For
            EfficientNet-Lite0, it is an `.npz` file; the docstring of
            `dropblock_lib.models.efficientnet_lite0.efficientnet_lite0` lists its
            arrays.
        seed: Random seed of the weights and regularizers, or `None`. With the same
            seed, all variants begin with the same weights.
        backbone: `"resnet50"` or `"efficientnet_lite0"`.
        where: Where the regularizer goes, see above.
        levels: The finest and the coarsest level of the pyramid. A feature map of
            level `n` is `2**n` times smaller than the image.
        channels: Number of channels in the pyramid and the heads, where training
            spends most of its time. For small data sets, 96 to 128 are enough.
        head_layers: Number of convolutions in each head before the last.
        anchor_size: Side of the smallest square anchor of a level, in pixels of its
            map. Objects much smaller than the smallest anchor of the finest level, by
            default 32 pixels, are never assigned an anchor.
        frozen_stages: Number of stages of the backbone that are not trained, along
            with its stem. ResNet-50 has 4 stages, EfficientNet-Lite0 has 7.
        frozen_normalization: Whether the batch normalization layers of the backbone
            keep their pretrained statistics and weights. A batch of 8 images is too
            small to estimate the statistics.

    Returns:
        A `dropblock_lib.detection.RetinaNet`, compiled with
        `dropblock_lib.detection.detection_optimizer()`.

    Raises:
        ImportError: If KerasHub is not installed.
        OSError: If the requested weights are not available.
        ValueError: If an argument is not as described.

    Example:

    >>> model = retinanet("dropblock-7-0.9", classes=10, image_size=128)
    >>> detections = model.predict(images)
    >>> detections["boxes"].shape
    (8, 100, 4)

    Reference:

    - [Lin et al., 2017](https://arxiv.org/abs/1708.02002).
    - [Ghiasi et al., 2018](https://arxiv.org/abs/1810.12890), section 4.2.
    - [Tan and Le, 2019](https://arxiv.org/abs/1905.11946), and the Lite variants in
      the authors' code.
    - Ludovico Ottobre and Gianmarco Evangelista, slides on DropBlock,
      Sapienza University of Rome: "RetinaNet on ResNet-50 Experiment".
    """
    factory = get_variant(variant)
    classes = check_integer("classes", classes)
    image_size = check_integer("image_size", image_size, 64)
    if image_size % 32:
        raise invalid("image_size", "a multiple of 32", image_size)
    is_pair = isinstance(levels, (tuple, list)) and len(levels) == 2
    if not (is_pair and all(is_whole(n, 3) for n in levels)) or (
        tuple(levels) not in LEVEL_RANGES
    ):
        expected = "a finest level of 3 to 5 and a coarsest of 5 to 7"
        raise invalid("levels", expected, levels)
    lowest, highest = levels
    if not (weights is None or isinstance(weights, (str, os.PathLike))):
        raise invalid("weights", "None, 'imagenet' or a path", weights)
    channels = check_integer("channels", channels)
    head_layers = check_integer("head_layers", head_layers, 0)
    anchor_size = check_float("anchor_size", anchor_size, "(0, inf)")
    check_choice("backbone", backbone, BACKBONES)
    chosen = BACKBONES[backbone]
    stages = len(chosen.stages)
    frozen_stages = check_integer("frozen_stages", frozen_stages, 0, stages)
    check_boolean("frozen_normalization", frozen_normalization)
    in_pyramid = where == LAST_STAGES
    if in_pyramid:
        where = _activation_of(chosen.stages[-2:])
    check_where(where, LAST_STAGES)
    kernel_seeds, drop_seeds = seed_streams(seed)
    try:
        import keras_hub  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "RetinaNet requires KerasHub. Install it with "
            '`pip install "dropblock-lib[detection]"`.'
        ) from error
    # Imported late: KerasHub is optional.
    from dropblock_lib.detection.detector import RetinaNet
    from dropblock_lib.detection.pyramid import build_pyramid

    encoder = chosen.make(image_size, weights, kernel_seeds)
    pretrained = getattr(encoder, "pretrained", None)
    encoder = regularize(encoder, factory, where, drop_seeds)
    frozen = (chosen.stem, *chosen.stages[:frozen_stages]) if frozen_stages else ()
    for layer in encoder.layers:
        is_normalization = isinstance(layer, keras.layers.BatchNormalization)
        if layer.name.startswith(frozen) or (frozen_normalization and is_normalization):
            layer.trainable = False
    known = {layer.name for layer in encoder.layers}
    pyramid = build_pyramid(
        encoder,
        # A map with a regularizer reaches the pyramid through it.
        {
            level: f"drop_{name}" if f"drop_{name}" in known else name
            for level, name in chosen.levels.items()
        },
        lowest,
        highest,
        channels,
        drop=(lambda name: factory(name=name, seed=next(drop_seeds)))
        if in_pyramid
        else None,
        seeds=kernel_seeds,
    )
    detector = RetinaNet(
        pyramid,
        classes,
        head_layers=head_layers,
        head_channels=channels,
        anchor_size=anchor_size,
        seeds=kernel_seeds,
        name="retinanet",
    )
    # The run's record contains it.
    detector.pretrained = pretrained
    return detector


def _activation_of(stages):
    def where(layer):
        is_activation = isinstance(layer, keras.layers.Activation)
        return is_activation and layer.name.startswith(stages)

    return where
