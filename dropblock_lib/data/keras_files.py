"""The files that `keras.datasets` keeps and downloads, read without unpickling."""

import dataclasses
import os
import pathlib
import pickletools
import tempfile

import numpy as np

from dropblock_lib.data import downloads
from dropblock_lib.data.npz import read_npz


@dataclasses.dataclass(frozen=True)
class KerasFile:
    """What `keras.datasets` passes to `keras.utils.get_file`."""

    fname: str
    origin: str
    file_hash: str
    extract: bool = False


FILES = {
    "mnist": KerasFile(
        "mnist.npz",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
        "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    ),
    "cifar10": KerasFile(
        "cifar-10-batches-py-target",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        extract=True,
    ),
}

BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
BATCH_SIZE = 10_000

SECONDS_OF_SILENCE = 20


def locate(name):
    """The file or folder that Keras has of a data set, downloaded if need be.

    Returns:
        `(path, None)`, or `(None, reason)` where there is none and none to be had.
    """
    file = FILES[name]
    path = cache_folder("datasets") / file.fname
    if path.exists():
        return path, None
    reason = downloads.why_unreachable(file.origin)
    if reason is None:
        reason = _download(file, path)
    return (None, reason) if reason else (path, None)


def read(name, path):
    """The four arrays of a data set, by name, from what `locate` found."""
    if name == "mnist":
        return read_npz(path)
    batches = [_read_batch(path / "cifar-10-batches-py" / batch) for batch in BATCHES]
    images, labels = zip(*batches, strict=True)
    x_test, y_test = _read_batch(path / "cifar-10-batches-py" / "test_batch")
    return {
        "x_train": np.concatenate(images),
        "y_train": np.concatenate(labels),
        "x_test": x_test,
        "y_test": y_test,
    }


def cache_folder(kind):
    """Where Keras keeps downloaded files: "datasets" or "models"."""
    home = pathlib.Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    # Where Keras goes when it may not write at home.
    if home.exists() and not os.access(home, os.W_OK):
        temporary = "/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()
        home = pathlib.Path(temporary) / ".keras"
    return home / kind


def _download(file, path):
    """Fetches and checks a file as Keras does; the reason if that fails, or nothing."""
    import keras

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with downloads.silence_limit(SECONDS_OF_SILENCE):
            keras.utils.get_file(
                fname=file.fname,
                origin=file.origin,
                file_hash=file.file_hash,
                extract=file.extract,
                cache_dir=path.parent.parent,
            )
    except Exception as error:
        # Keras leaves a file of the wrong content behind, which would be taken
        # for a broken data set the next time.
        if path.is_file():
            path.unlink()
        return f"downloading {file.origin} failed ({error})"
    return None


def _read_batch(path):
    """Images and labels of a CIFAR-10 batch, a pickle, without unpickling it.

    The pickle is a dictionary of the strings "labels" and "data", among others: a
    list of small integers, and an array whose bytes are one long string. Walking
    over the instructions shows both; none is carried out.
    """
    labels, pixels, latest_string = [], None, None
    try:
        with open(path, "rb") as file:
            for instruction, value, _ in pickletools.genops(file):
                if instruction.name in ("SHORT_BINSTRING", "BINSTRING"):
                    if len(value) == BATCH_SIZE * 3072:
                        pixels = value
                    else:
                        latest_string = value
                elif instruction.name == "BININT1" and latest_string == "labels":
                    labels.append(value)
        if pixels is None or len(labels) != BATCH_SIZE:
            raise ValueError(f"{len(labels)} labels, pixels: {pixels is not None}")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Invalid data file {path}. Expected a batch of CIFAR-10 as "
            f"keras.datasets downloads it, with {BATCH_SIZE} images and labels; "
            f"delete its folder to have it fetched again. Received: {error}"
        ) from error
    images = np.frombuffer(pixels.encode("latin-1"), dtype="uint8")
    images = images.reshape(BATCH_SIZE, 3, 32, 32).transpose(0, 2, 3, 1)
    return images, np.array(labels)
