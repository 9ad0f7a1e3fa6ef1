"""The results on the slides by L. Ottobre and G. Evangelista, from one run each."""

# The variants in the order of the slides' tables. DenseNet's SpatialDropout has
# rate 0.3, the others' 0.7.
_VARIANTS = (
    "none",
    "dropout-0.25",
    "spatial-0.7",
    "dropblock-3-0.9",
    "dropblock-7-0.9",
)
_DENSENET_VARIANTS = tuple(
    name.replace("spatial-0.7", "spatial-0.3") for name in _VARIANTS
)
_ACCURACY = {
    ("resnet50", "cifar10"): (0.6878, 0.6619, 0.5477, 0.6935, 0.6743),
    ("densenet121", "cifar10"): (0.6581, 0.6060, 0.6105, 0.7040, 0.7146),
    ("custom_net", "cifar10"): (0.7813, 0.8264, 0.7617, 0.8004, 0.7956),
    ("resnet50", "mnist"): (0.9900, 0.9920, 0.9807, 0.9898, 0.9876),
    ("densenet121", "mnist"): (0.9899, 0.9893, 0.9799, 0.9910, 0.9919),
    ("custom_net", "mnist"): (0.9939, 0.9945, 0.9941, 0.9931, 0.9945),
}


# (network, dataset) -> variant -> test accuracy
ACCURACY = {}
for (_network, _dataset), _row in _ACCURACY.items():
    _names = _DENSENET_VARIANTS if _network == "densenet121" else _VARIANTS
    ACCURACY[_network, _dataset] = dict(zip(_names, _row, strict=True))

# Arms that may vary far more over the seeds than the others, `apart` in
# `statistics.blocked`. Chosen when only CustomNet on CIFAR-10 had several seeds.
UNEVEN = ("spatial-0.7", "spatial-0.3")

# variant -> (loss, val_loss) of RetinaNet on about 500 images of COCO 2017
RETINANET_LOSSES = {
    "none": (1.6236, 2.6221),
    "dropout-0.25": (1.6299, 2.5462),
    "spatial-0.7": (1.8380, 2.6808),
    "dropblock-7-0.7": (1.7043, 2.5539),
    "dropblock-7-0.9": (1.6841, 2.5540),
    "dropblock-3-0.7": (1.6414, 2.6322),
    "dropblock-3-0.9": (1.6985, 2.6010),
}
