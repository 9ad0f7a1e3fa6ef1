"""Weights of a ResNet-50 trained on ImageNet: found, or clearly said not to be."""

import os

from dropblock_lib.data.downloads import why_unreachable
from dropblock_lib.data.keras_files import cache_folder

FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/" + FILE


def find_weights(weights):
    """What to give `keras.applications.ResNet50`, once it is sure to find it.

    Args:
        weights: `None`, `"imagenet"`, or the path of a file.

    Returns:
        `None`, `"imagenet"` or the path.

    Raises:
        OSError: If the file does not exist, or ImageNet's weights are neither in
            Keras' cache nor can be downloaded.
    """
    if weights is None:
        return None
    if weights != "imagenet":
        if not os.path.isfile(weights):
            raise FileNotFoundError(
                "Invalid value received for argument `weights`. Expected None, "
                f"'imagenet' or an existing file. Received: weights={weights!r}"
            )
        return os.fspath(weights)
    if not (cache_folder("models") / FILE).is_file():
        reason = why_unreachable(ADDRESS)
        if reason:
            raise OSError(
                f"The weights of ImageNet are not in Keras' cache, and {reason}. "
                "Pass the path of a file with them, or weights=None to begin at "
                "random."
            )
    return weights
