"""Where to look for a data set, in which order, and what to say about it."""

import dataclasses
import logging
import os
import pathlib

from dropblock_lib.data import keras_files
from dropblock_lib.data.coco import read_coco
from dropblock_lib.data.mnist_and_cifar10 import FORMATS, make_dataset
from dropblock_lib.data.npz import read_npz
from dropblock_lib.data.stand_ins.digits import load_digits
from dropblock_lib.data.stand_ins.scenes import load_scenes
from dropblock_lib.data.stand_ins.shapes import load_shapes

logger = logging.getLogger("dropblock_lib")

BUILT_IN = {"digits": load_digits, "shapes": load_shapes, "scenes": load_scenes}
# Folders in the form of COCO, and what there is to say about their images.
FOLDERS = {"coco2017-mini": "resized to 512 pixels", "coco2017": ""}
STAND_INS = {
    "mnist": load_digits,
    "cifar10": load_shapes,
    **dict.fromkeys(FOLDERS, load_scenes),
}
VARIABLE = "DROPBLOCK_DATA"


def load_dataset(name, data_dir=None):
    """Loads a data set, or the built-in stand-in for it, and says which.

    `"mnist"` and `"cifar10"` are looked for in this order:

    1. in the directory `data_dir` or, without that argument, in the one the
       environment variable `DROPBLOCK_DATA` names: files `mnist.npz` and
       `cifar10.npz` with the arrays `x_train`, `y_train`, `x_test` and `y_test`, as
       in `keras.datasets`;
    2. in Keras' own cache of downloaded files;
    3. at the address Keras downloads from, unless it does not answer within three
       seconds (which is remembered until the process ends);
    4. among the stand-ins: `"digits"` for MNIST, `"shapes"` for CIFAR-10.

    For detection there are `"coco2017"`, which is COCO 2017 as it is published, and
    `"coco2017-mini"`, some hundred of its images. They are folders of these names,
    with `annotations/instances_train2017.json`, `annotations/instances_val2017.json`
    and the images in `train2017` and `val2017`. They are looked for in the first
    place only, never downloaded, and `"scenes"` stands in for them.

    A missing file leads to the next place. A file that is there but broken never
    does: it raises. `"digits"`, `"shapes"` and `"scenes"` are built in and looked
    for nowhere. Files are checked, and nothing is ever unpickled. What was used is in
    the result (`name`, `source`, `origin`, `description`) and in the log
    `dropblock_lib`, as a warning where it is not what was asked for.

    Args:
        name: `"mnist"`, `"cifar10"`, `"digits"` or `"shapes"`; for detection
            `"coco2017"`, `"coco2017-mini"` or `"scenes"`.
        data_dir: Optional directory to look in first, instead of `DROPBLOCK_DATA`.

    Returns:
        A `Dataset`; for detection a `DetectionDataset`.

    Raises:
        ValueError: For an unknown name, for a directory that does not exist, and
            for a file that is truncated, of another shape or type, or no `.npz`
            file at all; the message names the file.
        ImportError: If `"digits"` is wanted and scikit-learn is not installed, or
            COCO is there and pycocotools is not installed.

    Example:

    >>> dataset = load_dataset("shapes")
    >>> dataset.x_train.shape, dataset.source
    ((10000, 32, 32, 3), 'shapes')
    """
    names = (*FORMATS, *FOLDERS, *BUILT_IN)
    if name not in names:
        known = ", ".join(f'"{known}"' for known in names)
        raise ValueError(
            "Invalid value received for argument `name`. Expected one of "
            f"{known}. Received: name={name!r}"
        )
    if name in BUILT_IN:
        dataset = BUILT_IN[name]()
        logger.info("Using %s", dataset)
        return dataset

    missing = []
    for find in (_in_directory, _nowhere if name in FOLDERS else _at_keras):
        dataset, reason = find(name, data_dir)
        if dataset is not None:
            logger.info("Using %s", dataset)
            return dataset
        missing.append(reason)

    why = "; ".join(reason for reason in missing if reason)
    logger.warning("%s was not found: %s", name, why)
    dataset = STAND_INS[name](requested=name)
    logger.warning("Using %s", dataset)
    return dataset


def _in_directory(name, data_dir):
    if data_dir is not None:
        origin, directory = "data_dir", pathlib.Path(data_dir)
        what = "argument `data_dir`"
    elif os.environ.get(VARIABLE):
        origin, directory = VARIABLE, pathlib.Path(os.environ[VARIABLE])
        what = f"environment variable `{VARIABLE}`"
    else:
        return None, f"neither data_dir nor ${VARIABLE} is set"
    # A mistyped directory must not turn into a night of training on the stand-in.
    if not directory.is_dir():
        raise ValueError(
            f"Invalid value received for {what}. Expected an existing directory. "
            f"Received: {origin}={os.fspath(directory)!r}"
        )
    path = directory / (name if name in FOLDERS else f"{name}.npz")
    if not os.path.lexists(path):
        return None, f"there is no {path}"
    if name in FOLDERS:
        dataset = dataclasses.replace(
            read_coco(path),
            requested=name,
            name=name,
            source=name,
            origin=origin,
            note=FOLDERS[name],
        )
        return dataset, None
    return make_dataset(name, read_npz(path), path, origin), None


def _nowhere(name, data_dir):
    return None, "it is not downloaded"


def _at_keras(name, data_dir):
    path, reason = keras_files.locate(name)
    if path is None:
        return None, reason
    return make_dataset(name, keras_files.read(name, path), path, "keras"), None
