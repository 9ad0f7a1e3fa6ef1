"""MNIST and CIFAR-10: reading their files without unpickling, and checking them."""

import dataclasses
import hashlib
import logging
import os
import pickletools
import zipfile

import numpy as np

from dropblock_lib.arguments import invalid_file
from dropblock_lib.data.dataset import Dataset

logger = logging.getLogger("dropblock_lib")

KEYS = ("x_train", "y_train", "x_test", "y_test")
# The files of CIFAR-10 as Keras downloads it.
BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
BATCH_SIZE = 10_000


@dataclasses.dataclass(frozen=True)
class Format:
    train_size: int
    test_size: int
    image_shape: tuple[int, ...]
    classes: tuple[str, ...]


_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
FORMATS = {
    "mnist": Format(60_000, 10_000, (28, 28), tuple("0123456789")),
    "cifar10": Format(50_000, 10_000, (32, 32, 3), tuple(_CIFAR10.split())),
}


# === Reading ===


def read_npz(path):
    """Reads the four arrays of a data set from an `.npz` file, by name."""
    try:
        if not zipfile.is_zipfile(path):
            with open(path, "rb") as file:
                start = file.read(8)
            raise ValueError(
                f"{os.path.getsize(path)} bytes that start with {start!r}: a "
                "truncated file, or a file of another kind"
            )
        with np.load(path, allow_pickle=False) as archive:
            absent = [key for key in KEYS if key not in archive.files]
            if absent:
                raise ValueError(
                    f"the arrays {archive.files}, without {', '.join(absent)}"
                )
            return {key: archive[key] for key in KEYS}
    # Damaged bytes make the zip and array readers raise all kinds of errors.
    except Exception as error:
        expected = (
            f"an .npz file, without pickled objects, that contains {', '.join(KEYS)}"
        )
        raise invalid_file(path, expected, error) from error


def read_keras_files(name, path):
    """Reads the four arrays of a data set from Keras' cache, by name."""
    if name == "mnist":
        return read_npz(path)
    folder = path / "cifar-10-batches-py"
    images, labels = zip(*(_read_batch(folder / b) for b in BATCHES), strict=True)
    x_test, y_test = _read_batch(folder / "test_batch")
    return {
        "x_train": np.concatenate(images),
        "y_train": np.concatenate(labels),
        "x_test": x_test,
        "y_test": y_test,
    }


def _read_batch(path):
    """Reads a CIFAR-10 batch, a pickle, without unpickling it.

    The pickle is a dictionary. Among its items are "labels", a list of small integers,
    and "data", an array whose bytes are one long string. Both can be read from the
    pickle's opcodes, none of which is executed.
    """
    labels, pixels, latest_string = [], None, None
    try:
        with open(path, "rb") as file:
            for instruction, value, _ in pickletools.genops(file):
                if instruction.name in ("SHORT_BINSTRING", "BINSTRING"):
                    if isinstance(value, str) and len(value) == BATCH_SIZE * 3072:
                        pixels = value
                    else:
                        latest_string = value
                elif instruction.name == "BININT1" and latest_string == "labels":
                    labels.append(value)
        if pixels is None or len(labels) != BATCH_SIZE:
            raise ValueError(f"{len(labels)} labels, pixels: {pixels is not None}")
    except (OSError, ValueError) as error:
        expected = (
            f"a batch of CIFAR-10 as keras.datasets downloads it, with {BATCH_SIZE} "
            "images and labels; delete its folder to have it downloaded again"
        )
        raise invalid_file(path, expected, error) from error
    images = np.frombuffer(pixels.encode("latin-1"), dtype="uint8")
    images = images.reshape(BATCH_SIZE, 3, 32, 32).transpose(0, 2, 3, 1)
    return images, np.array(labels)


# === Checking ===


def make_dataset(name, arrays, path, origin):
    """Checks the arrays that were read from `path`, and makes a `Dataset`."""
    form = FORMATS[name]
    arrays = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
    for split, size in (("train", form.train_size), ("test", form.test_size)):
        images, labels = f"x_{split}", f"y_{split}"
        _check_images(arrays, images, (size, *form.image_shape), name, path)
        _check_labels(arrays, labels, size, len(form.classes), name, path)
        arrays[images] = arrays[images].reshape(size, *form.image_shape[:2], -1)
        arrays[labels] = arrays[labels].reshape(size).astype("int64")
    source = RECOGNIZE[name](**arrays)
    if source == f"{name}-unknown":
        message = "%s has the format of %s, but unknown content: results are marked %s"
        logger.warning(message, path, name, source)
    return Dataset(
        requested=name,
        name=name,
        source=source,
        origin=origin,
        classes=form.classes,
        x_train=arrays["x_train"],
        y_train=arrays["y_train"],
        x_test=arrays["x_test"],
        y_test=arrays["y_test"],
    )


def _check_images(arrays, key, shape, name, path):
    array = arrays[key]
    # Unsigned 8 bits imply the range, 0 to 255.
    if array.dtype != np.uint8 or array.shape != shape:
        expected = f"the images of {name}, uint8 of shape {shape}, in `{key}`"
        raise invalid_file(path, expected, f"{array.dtype} of shape {array.shape}")


def _check_labels(arrays, key, size, classes, name, path):
    array = arrays[key]
    if array.dtype.kind not in "iu" or array.shape not in ((size,), (size, 1)):
        expected = (
            f"the labels of {name}, integers of shape ({size},) or ({size}, 1), in "
            f"`{key}`"
        )
        raise invalid_file(path, expected, f"{array.dtype} of shape {array.shape}")
    if array.min() < 0 or array.max() >= classes:
        expected = f"labels from 0 to {classes - 1} in `{key}`"
        received = f"labels from {array.min()} to {array.max()}"
        raise invalid_file(path, expected, received)


def _sha256(*arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array)
    return digest.hexdigest()


def _recognize_mnist(x_train, y_train, x_test, y_test):
    # A hash of the arrays, because a file may be compressed in different ways.
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
    # A reordered copy of CIFAR-10 that was compressed as JPEG. Its pixels depend on
    # the decoder, but its labels do not.
    jpeg_labels = "bfecf51857bbd06be1ba2f34c9213e92d5c95dff289417c8b3392370e6abc96b"
    labels = y_train.astype("uint8"), y_test.astype("uint8")
    near = abs(total - pixel_sum) < 0.5 * x_train.size
    if near and _sha256(*labels) == jpeg_labels:
        return "cifar10-jpeg"
    return "cifar10-unknown"


RECOGNIZE = {"mnist": _recognize_mnist, "cifar10": _recognize_cifar10}
