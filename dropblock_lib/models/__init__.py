"""The networks of the book, one per module."""

from functools import partial

from dropblock_lib.models.custom_net import custom_net
from dropblock_lib.models.densenet121 import densenet121
from dropblock_lib.models.resnet9 import resnet9
from dropblock_lib.models.resnet50 import resnet50
from dropblock_lib.models.retinanet import retinanet

# The classifiers by name. Each has the signature (variant="none",
# input_shape=(32, 32, 3), classes=10, seed=None), takes raw pixels, 0 to 255, and
# returns logits. Those with several placements also have an argument `where`.
NETWORKS = {
    "custom_net": custom_net,
    "resnet50": resnet50,
    "resnet50_cifar": partial(resnet50, stem="cifar"),
    "densenet121": densenet121,
    "densenet121_cifar": partial(densenet121, stem="cifar"),
    "resnet9": resnet9,
    "resnet9_wide": partial(resnet9, width=64),
}

_lite0 = partial(
    retinanet,
    backbone="efficientnet_lite0",
    where="last-stages-and-pyramid",
    levels=(4, 6),
    channels=96,
    head_layers=1,
    anchor_size=2.5,
)

# The detectors by name. Each has the signature (variant="none", classes=80,
# image_size=512, weights=None, seed=None). If it loads weights, the model's attribute
# `pretrained` has their `file` and `sha256`, which the run's record contains.
DETECTORS = {
    "retinanet": retinanet,
    # For images of about 100 pixels: smaller anchors, lighter heads, and no levels of
    # one or two pixels.
    "retinanet_light": partial(
        retinanet, levels=(3, 5), head_layers=2, anchor_size=2.0
    ),
    # For a few hundred photographs of 256 to 320 pixels: with pretrained weights, and,
    # for comparison, without.
    "retinanet_lite0": partial(_lite0, frozen_stages=3, frozen_normalization=True),
    "retinanet_lite0_scratch": _lite0,
}

# Names of the networks in tables and figures.
LABELS = {
    "custom_net": "CustomNet",
    "resnet50": "ResNet-50",
    "resnet50_cifar": "ResNet-50, CIFAR stem",
    "densenet121": "DenseNet-121",
    "densenet121_cifar": "DenseNet-121, CIFAR stem",
    "resnet9": "ResNet-9",
    "resnet9_wide": "ResNet-9, full width",
    "retinanet": "RetinaNet",
    "retinanet_light": "RetinaNet, light heads",
    "retinanet_lite0": "RetinaNet, EfficientNet-Lite0",
    "retinanet_lite0_scratch": "RetinaNet, EfficientNet-Lite0, all layers trained",
}

__all__ = [
    "DETECTORS",
    "LABELS",
    "NETWORKS",
    "custom_net",
    "densenet121",
    "resnet9",
    "resnet50",
    "retinanet",
]
