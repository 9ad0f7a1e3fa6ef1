"""`load_dataset`: finds a data set, or its stand-in, and says which it used."""

import dataclasses
import logging
import os
import pathlib

from dropblock_lib.arguments import check_choice, invalid
from dropblock_lib.data import downloads
from dropblock_lib.data.coco import read_coco
from dropblock_lib.data.dataset import Dataset
from dropblock_lib.data.detection_dataset import DetectionDataset
from dropblock_lib.data.mnist_and_cifar10 import (
    FORMATS,
    make_dataset,
    read_keras_files,
    read_npz,
)
from dropblock_lib.data.stand_ins.digits import load_digits
from dropblock_lib.data.stand_ins.scenes import load_scenes
from dropblock_lib.data.stand_ins.shapes import load_shapes

logger = logging.getLogger("dropblock_lib")

BUILT_IN = {"digits": load_digits, "shapes": load_shapes, "scenes": load_scenes}
# Folders in COCO's format, with the note on their images.
FOLDERS = {"coco2017-mini": "resized to 512 pixels", "coco2017": ""}
STAND_INS = {
    "mnist": load_digits,
    "cifar10": load_shapes,
    **dict.fromkeys(FOLDERS, load_scenes),
}
VARIABLE = "DROPBLOCK_DATA"


def load_dataset(
    name: str, data_dir: str | os.PathLike | None = None
) -> Dataset | DetectionDataset:
    """Loads a data set, or the built-in stand-in for it, and says which.

    `"mnist"` and `"cifar10"` are looked for in this order:

    1. in the directory `data_dir` or, without that argument, in the one that the
       environment variable `DROPBLOCK_DATA` names: files `mnist.npz` and
       `cifar10.npz` with the arrays `x_train`, `y_train`, `x_test` and `y_test`, as
       in `keras.datasets`;
    2. in Keras' cache of downloaded files;
    3. at the address that Keras downloads from, if it responds within three
       seconds (otherwise, it is not tried again in this process);
    4. among the stand-ins: `"digits"` for MNIST, `"shapes"` for CIFAR-10.

    For detection, `"coco2017"` is COCO 2017 as it is published, and `"coco2017-mini"`
    a few hundred of its images. They are folders of these names, with
    `annotations/instances_train2017.json`, `annotations/instances_val2017.json`
    and the images in `train2017` and `val2017`. They are looked for only in the
    directory of step 1, and are never downloaded. Their stand-in is `"scenes"`.

    If a file is missing, the next place is tried; if a file is broken, an error is
    raised. `"digits"`, `"shapes"` and `"scenes"` are built in. Files are checked, and
    nothing is ever unpickled. The result (`name`, `source`, `origin`, `description`)
    and the logger `dropblock_lib` say which data set was used. The log entry is a
    warning if that is not the requested data set.

    Args:
        name: `"mnist"`, `"cifar10"`, `"digits"` or `"shapes"`; for detection
            `"coco2017"`, `"coco2017-mini"` or `"scenes"`.
        data_dir: Optional directory to look in first, instead of `DROPBLOCK_DATA`.

    Returns:
        A `Dataset`; for detection a `DetectionDataset`.

    Raises:
        ValueError: For an unknown name, a directory that does not exist, or a file
            that is truncated, of another shape or type, or not an `.npz` file; the
            message names the file.
        ImportError: If `"digits"` is needed and scikit-learn is not installed.

    Example:

    >>> dataset = load_dataset("shapes")
    >>> dataset.x_train.shape, dataset.source
    ((10000, 32, 32, 3), 'shapes')
    """
    check_choice("name", name, (*FORMATS, *FOLDERS, *BUILT_IN))
    if name in BUILT_IN:
        dataset = BUILT_IN[name]()
        logger.info("Using %s", dataset)
        return dataset

    reasons = []
    for find in (_from_directory, _from_keras):
        dataset, reason = find(name, data_dir)
        if dataset is not None:
            logger.info("Using %s", dataset)
            return dataset
        reasons.append(reason)

    logger.warning("%s was not found: %s", name, "; ".join(reasons))
    found = STAND_INS[name]()
    dataset = dataclasses.replace(found, requested=name, origin="stand-in")
    logger.warning("Using %s", dataset)
    return dataset


def _from_directory(name, data_dir):
    expected = "an existing directory"
    if data_dir is not None:
        origin, directory = "data_dir", pathlib.Path(data_dir)
    elif os.environ.get(VARIABLE):
        origin, directory = VARIABLE, pathlib.Path(os.environ[VARIABLE])
        expected += " in this environment variable"
    else:
        return None, f"neither data_dir nor ${VARIABLE} is set"
    # A typo in the directory must not lead to training on the stand-in.
    if not directory.is_dir():
        raise invalid(origin, expected, os.fspath(directory))
    path = directory / (name if name in FOLDERS else f"{name}.npz")
    if not os.path.lexists(path):
        return None, f"there is no {path}"
    if name not in FOLDERS:
        return make_dataset(name, read_npz(path), path, origin), None
    about = {"origin": origin, "note": FOLDERS[name]}
    names = dict.fromkeys(("requested", "name", "source"), name)
    return dataclasses.replace(read_coco(path), **names, **about), None


def _from_keras(name, data_dir):
    if name in FOLDERS:
        return None, "it is not downloaded"
    path, reason = downloads.locate(name)
    if path is None:
        return None, reason
    return make_dataset(name, read_keras_files(name, path), path, "keras"), None
