"""Reading an `.npz` file that may be anything."""

import os
import zipfile

import numpy as np

KEYS = ("x_train", "y_train", "x_test", "y_test")


def read_npz(path):
    """The four arrays of a data set, by name; never unpickles.

    Raises:
        ValueError: If the file cannot be read, or is no `.npz` file with the
            arrays; the message names it.
    """
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
            arrays = {key: archive[key] for key in KEYS}
    # What damaged bytes make of the zip and array readers is not a closed list.
    except Exception as error:
        raise ValueError(
            f"Invalid data file {path}. Expected an .npz file, without pickled "
            f"objects, that holds {', '.join(KEYS)}. Received: {error}"
        ) from error
    return arrays
