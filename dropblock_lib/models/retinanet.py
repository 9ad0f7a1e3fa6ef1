"""RetinaNet with a ResNet-50 backbone, which is regularized."""

from collections.abc import Callable

import keras
import numpy as np

from dropblock_lib.arguments import check_float, check_integer, invalid
from dropblock_lib.data.downloads import find_weights
from dropblock_lib.insertion import check_where
from dropblock_lib.models._building import regularize, seed_streams, with_seeds
from dropblock_lib.variants import Variant, get_variant

# The last feature map of each width in keras.applications' ResNet-50.
LEVELS = {"P3": "conv3_block4_out", "P4": "conv4_block6_out", "P5": "conv5_block3_out"}
# ImageNet's mean pixel: red, green, blue.
MEAN_COLOR = (123.68, 116.779, 103.939)
LEVEL_RANGES = [(low, high) for low in (3, 4, 5) for high in (5, 6, 7)]


def retinanet(
    variant: str | Variant | Callable = "none",
    classes: int = 80,
    image_size: int = 512,
    weights: str | None = None,
    seed: int | None = None,
    *,
    where: str | Callable = "main-path-relu",
    levels: tuple[int, int] = (3, 7),
    head_layers: int = 4,
    anchor_size: float = 4.0,
) -> keras.Model:
    """RetinaNet with a ResNet-50 backbone, regularized as in the slides.

    The parts are KerasHub's: a feature pyramid on the last three groups of the
    ResNet-50, nine anchors at every position of every level, and two convolutional
    heads that all levels share, one for the classes and one for the boxes. The
    regularizer follows the ReLUs of the main path of each block of the ResNet-50, in
    32 places.

    Requires the extra `detection`.

    Args:
        variant: The regularizer: a key of `dropblock_lib.VARIANTS` or another name of
            that form, a `Variant`, or a function `factory(name=None, seed=None)` that
            returns a new layer. `"none"` means no regularizer.
        classes: Number of classes, at least one.
        image_size: Height and width of the images in pixels, a multiple of 32.
        weights: Initial weights of the ResNet-50: `None` for random ones, `"imagenet"`,
            which Keras downloads if they are not in its cache, or the path of a file
            with weights of `keras.applications.ResNet50` without its top.
        seed: Random seed of the weights and regularizers, or `None`. With the same
            seed, all variants begin with the same weights.
        where: A placement of `insert_after`.
        levels: The finest and the coarsest level of the pyramid. A feature map of
            level `n` is `2**n` times smaller than the image.
        head_layers: Number of convolutions in each head before the last.
        anchor_size: Side of the smallest square anchor of a level, in pixels of its
            map. Objects much smaller than the smallest anchor of the finest level, by
            default 32 pixels, are never assigned an anchor.

    Returns:
        A `dropblock_lib.detection.RetinaNet`, compiled with Adam and a learning rate
        of 5e-5, KerasHub's default.

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
    - Ludovico Ottobre and Gianmarco Evangelista, slides on DropBlock,
      La Sapienza, University of Rome: "RetinaNet on ResNet-50 Experiment".
    """
    factory = get_variant(variant)
    classes = check_integer("classes", classes)
    image_size = check_integer("image_size", image_size, 64)
    if image_size % 32:
        raise invalid("image_size", "a multiple of 32", image_size)
    if levels not in LEVEL_RANGES:
        raise invalid("levels", "a finest of 3 to 5 and a coarsest of 5 to 7", levels)
    lowest, highest = levels
    head_layers = check_integer("head_layers", head_layers, 0)
    anchor_size = check_float("anchor_size", anchor_size, "(0, inf)")
    check_where(where)
    kernel_seeds, drop_seeds = seed_streams(seed)
    try:
        import keras_hub
    except ImportError as error:
        raise ImportError(
            "RetinaNet requires KerasHub. Install it with "
            '`pip install "dropblock-lib[detection]"`.'
        ) from error
    # Imported late: KerasHub is optional.
    from dropblock_lib.detection.detector import BOX_FORMAT, RetinaNet
    from dropblock_lib.detection.initializers import (
        initialize_heads,
        initialize_pyramid,
    )
    from dropblock_lib.detection.pyramid_encoder import PyramidEncoder

    encoder = _resnet50(image_size, weights, kernel_seeds)
    encoder = regularize(encoder, factory, where, drop_seeds)
    backbone = keras_hub.models.RetinaNetBackbone(
        PyramidEncoder(encoder, LEVELS, name="encoder"),
        min_level=lowest,
        max_level=highest,
        use_p5=True,
        image_shape=(image_size, image_size, 3),
        name="backbone",
    )
    model = RetinaNet(
        backbone,
        classes,
        anchor_generator=keras_hub.layers.AnchorGenerator(
            BOX_FORMAT,
            min_level=lowest,
            max_level=highest,
            num_scales=3,
            aspect_ratios=[0.5, 1.0, 2.0],
            anchor_size=anchor_size,
        ),
        pre_logits_num_conv_layers=head_layers,
        bounding_box_format=BOX_FORMAT,
        name="retinanet",
    )
    initialize_pyramid(backbone.feature_pyramid, kernel_seeds)
    initialize_heads(model, kernel_seeds)
    return model


def _resnet50(image_size, weights, kernel_seeds):
    """Makes Keras' ResNet-50 without its top, for RGB pixels from 0 to 255."""
    inputs = keras.Input((image_size, image_size, 3), name="image")
    offset = [-value for value in MEAN_COLOR]
    x = keras.layers.Rescaling(1.0, offset=offset, name="rescaling")(inputs)
    encoder = keras.applications.ResNet50(
        include_top=False, weights=find_weights(weights), input_tensor=x
    )
    if weights is None:
        return with_seeds(encoder, kernel_seeds)
    # Keras' weights expect channels in the order blue, green, red.
    first = encoder.get_layer("conv1_conv").kernel
    first.assign(np.flip(keras.ops.convert_to_numpy(first), axis=2))
    return encoder
