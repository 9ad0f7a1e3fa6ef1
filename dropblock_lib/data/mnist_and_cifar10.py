"""What MNIST and CIFAR-10 look like, and how to tell whether arrays are they."""

import dataclasses
import hashlib
import logging

import numpy as np

from dropblock_lib.data.dataset import Dataset

logger = logging.getLogger("dropblock_lib")


@dataclasses.dataclass(frozen=True)
class Format:
    train_size: int
    test_size: int
    image_shape: tuple[int, ...]
    classes: tuple[str, ...]


FORMATS = {
    "mnist": Format(60_000, 10_000, (28, 28), tuple("0123456789")),
    "cifar10": Format(
        50_000,
        10_000,
        (32, 32, 3),
        (
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
    ),
}


def make_dataset(name, arrays, path, origin):
    """Checks the arrays that were read from `path` and makes a `Dataset` of them.

    Raises:
        ValueError: If shape, type or range are not those of the data set.
    """
    form = FORMATS[name]
    arrays = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
    for split, size in (("train", form.train_size), ("test", form.test_size)):
        _check_images(arrays, f"x_{split}", (size, *form.image_shape), name, path)
        _check_labels(arrays, f"y_{split}", size, len(form.classes), name, path)
        arrays[f"x_{split}"] = arrays[f"x_{split}"].reshape(
            size, *form.image_shape[:2], -1
        )
        arrays[f"y_{split}"] = arrays[f"y_{split}"].reshape(size).astype("int64")
    source = RECOGNIZE[name](**arrays)
    if source == f"{name}-unknown":
        logger.warning(
            "%s has the form of %s, but its content is not known to be it: "
            "results made with it are marked %s",
            path,
            name,
            source,
        )
    return Dataset(
        requested=name,
        name=name,
        source=source,
        origin=origin,
        classes=form.classes,
        **arrays,
    )


def _check_images(arrays, key, shape, name, path):
    array = arrays[key]
    # 8 bits without a sign also settle the range, 0 to 255.
    if array.dtype != np.uint8 or array.shape != shape:
        raise ValueError(
            f"Invalid data file {path}. Expected the images of {name}, uint8 of "
            f"shape {shape}, in `{key}`. Received: {array.dtype} of shape "
            f"{array.shape}"
        )


def _check_labels(arrays, key, size, classes, name, path):
    array = arrays[key]
    if array.dtype.kind not in "iu" or array.shape not in ((size,), (size, 1)):
        raise ValueError(
            f"Invalid data file {path}. Expected the labels of {name}, integers of "
            f"shape ({size},) or ({size}, 1), in `{key}`. Received: {array.dtype} of "
            f"shape {array.shape}"
        )
    if array.min() < 0 or array.max() >= classes:
        raise ValueError(
            f"Invalid data file {path}. Expected labels from 0 to {classes - 1} in "
            f"`{key}`. Received: labels from {array.min()} to {array.max()}"
        )


def _sha256(*arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array)
    return digest.hexdigest()


def _recognize_mnist(x_train, y_train, x_test, y_test):
    # Of the pixels and labels, not of the file: a file may be compressed anew.
    known = "c2069063c1105f2bf96266aef1ff68c6e13bdda7a54e37bf19c16f1db24efc83"
    labels = y_train.astype("uint8"), y_test.astype("uint8")
    return "mnist" if _sha256(x_train, x_test, *labels) == known else "mnist-unknown"


def _recognize_cifar10(x_train, y_train, x_test, y_test):
    first_labels = [6, 9, 9, 4, 1, 1, 2, 7, 8, 3], [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    # The sum of all training pixels, from the published mean of each channel:
    # 125.306918046875, 122.950394140625 and 113.86538318359375.
    pixel_sum = 18_540_682_003
    balanced = np.all(np.bincount(y_train, minlength=10) == 5_000)
    balanced &= np.all(np.bincount(y_test, minlength=10) == 1_000)
    total = int(x_train.sum(dtype="int64"))
    starts = y_train[:10].tolist(), y_test[:10].tolist()
    if balanced and starts == first_labels and total == pixel_sum:
        return "cifar10"
    # A copy of CIFAR-10 that went through JPEG, in an order of its own. Its pixels
    # depend on the decoder, its labels do not.
    jpeg_labels = "bfecf51857bbd06be1ba2f34c9213e92d5c95dff289417c8b3392370e6abc96b"
    labels = y_train.astype("uint8"), y_test.astype("uint8")
    near = abs(total - pixel_sum) < 0.5 * x_train.size
    if near and _sha256(*labels) == jpeg_labels:
        return "cifar10-jpeg"
    return "cifar10-unknown"


RECOGNIZE = {"mnist": _recognize_mnist, "cifar10": _recognize_cifar10}
