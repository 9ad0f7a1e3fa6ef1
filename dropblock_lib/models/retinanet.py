"""RetinaNet on a ResNet-50, with a regularizer in the backbone."""

import keras
import numpy as np

from dropblock_lib.arguments import invalid, is_whole
from dropblock_lib.data.downloads import find_weights
from dropblock_lib.insertion import check_where, insert_after
from dropblock_lib.models.seed_streams import seed_streams
from dropblock_lib.models.small_images import with_seeds
from dropblock_lib.variants import get_variant

# The last map of each width in keras.applications' ResNet-50.
LEVELS = {"P3": "conv3_block4_out", "P4": "conv4_block6_out", "P5": "conv5_block3_out"}
# Of ImageNet's pixels: red, green, blue.
MEAN_COLOR = (123.68, 116.779, 103.939)


def retinanet(
    variant: str = "none",
    classes: int = 80,
    image_size: int = 512,
    weights: str | None = None,
    seed: int | None = None,
    *,
    where="main-path-relu",
    levels: tuple[int, int] = (3, 7),
    head_layers: int = 4,
    anchor_size: float = 4.0,
) -> keras.Model:
    """RetinaNet on a ResNet-50, regularized where the slides do it.

    The parts are KerasHub's: a feature pyramid on the last three groups of the
    ResNet-50, nine anchors at every position of every level, and two heads of
    convolutions that all levels share, one for the classes and one for the boxes.
    The regularizer sits in the ResNet-50, behind the ReLUs of the main path of each
    block: 32 places.

    Needs the extra `detection`.

    Args:
        variant: The regularizer: a key of `dropblock_lib.VARIANTS`, another name of
            that form, a `Variant`, or a function `factory(name=None, seed=None)`
            that returns a new layer. `"none"` puts nothing there.
        classes: Number of classes, at least one.
        image_size: Height and width of the images in pixels, a multiple of 32.
        weights: `None` to begin at random, `"imagenet"` for a ResNet-50 trained on
            ImageNet, which Keras downloads if it is not in its cache, or the path
            of a file with weights of `keras.applications.ResNet50` without its top.
        seed: Integer that fixes the initial weights and the regularizers'
            noise, or `None`. With the same seed all variants begin with the same
            weights.
        where: A placement of `insert_after`.
        levels: The finest and the coarsest level of the pyramid. A map of level `n`
            is `2**n` times smaller than the image.
        head_layers: Number of convolutions in each head before the last.
        anchor_size: Side of the smallest square anchor of a level, in pixels of its
            map. An object much smaller than the smallest anchor of the finest level,
            by default 32 pixels, is never learned from.

    Returns:
        A `dropblock_lib.detection.detector.RetinaNet`, compiled with Adam at 5e-5 as
        KerasHub does it.

    Raises:
        ImportError: If KerasHub is not installed.
        OSError: If weights are asked for and cannot be had.
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
    # One is enough to find, if not to classify.
    if not is_whole(classes, at_least=1):
        raise invalid("classes", "a positive integer", classes)
    if not is_whole(image_size, at_least=64) or image_size % 32:
        raise invalid("image_size", "a multiple of 32, at least 64", image_size)
    lowest, highest = _check_levels(levels)
    if not is_whole(head_layers, at_least=0):
        raise invalid("head_layers", "a non-negative integer", head_layers)
    if not 0 < anchor_size < float("inf"):
        raise invalid("anchor_size", "a positive float", anchor_size)
    check_where(where)
    kernel_seeds, drop_seeds = seed_streams(seed)
    try:
        import keras_hub
    except ImportError as error:
        raise ImportError(
            "RetinaNet is built from KerasHub: pip install 'dropblock-lib[detection]'"
        ) from error
    # Here, because both import KerasHub.
    from dropblock_lib.detection.detector import BOX_FORMAT, RetinaNet
    from dropblock_lib.detection.initializers import (
        initialize_heads,
        initialize_pyramid,
    )
    from dropblock_lib.detection.pyramid_encoder import PyramidEncoder

    encoder = _resnet50(image_size, weights, kernel_seeds)
    if factory.method != "none":
        encoder = insert_after(
            encoder, lambda name: factory(name=name, seed=next(drop_seeds)), where
        )
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
    """Keras' ResNet-50 without its top, on pixels from 0 to 255 in RGB."""
    inputs = keras.Input((image_size, image_size, 3), name="image")
    offset = [-value for value in MEAN_COLOR]
    x = keras.layers.Rescaling(1.0, offset=offset, name="rescaling")(inputs)
    encoder = keras.applications.ResNet50(
        include_top=False, weights=find_weights(weights), input_tensor=x
    )
    if weights is None:
        return with_seeds(encoder, kernel_seeds)
    # Keras' weights are for channels in the order blue, green, red.
    first = encoder.get_layer("conv1_conv").kernel
    first.assign(np.flip(keras.ops.convert_to_numpy(first), axis=2))
    return encoder


def _check_levels(levels):
    known = [(low, high) for low in (3, 4, 5) for high in (5, 6, 7)]
    if levels not in known:
        raise invalid("levels", "a finest of 3 to 5 and a coarsest of 5 to 7", levels)
    return levels
