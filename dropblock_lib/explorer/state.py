"""The explorer's state: its presets, and the checks of its values."""

from functools import partial

import numpy as np

from dropblock_lib.arguments import (
    GAMMA_RULES,
    check_boolean,
    check_choice,
    check_float,
    check_integer,
    invalid,
)
from dropblock_lib.explorer.pictures import PICTURES
from dropblock_lib.explorer.texts import TEXTS

LARGEST_SIDE = 64
MOST_CHANNELS = 16

# The noise of seed 1245 drops one of the five channels under SpatialDropout, and nearly
# a fifth of the units under the other methods.
PHOTO = {
    "method": "dropblock",
    "block_size": 7,
    "keep_prob": 0.8,
    "height": 32,
    "width": 32,
    "channels": 5,
    "per_channel": True,
    "gamma": "exact",
    "seed": 1245,
    "picture": "cat",
    "step": "drop",
    "channel": 0,
}
START = PHOTO | {"marks": True, "compare": False}
PRESETS = {
    "photo": {"label": "a photograph", "state": PHOTO},
    "star": {
        "label": "a star",
        "state": PHOTO
        | {"picture": "star", "height": 24, "width": 24, "block_size": 5},
    },
    "digit": {
        "label": "a digit",
        "state": PHOTO
        | {"picture": "digit", "height": 16, "width": 16, "block_size": 3},
    },
    # The noise of seed 50 gives the seeds of the slides.
    "slides": {
        "label": "5 x 5, by hand",
        "state": PHOTO
        | {
            "block_size": 3,
            "keep_prob": 0.9,
            "height": 5,
            "width": 5,
            "channels": 1,
            "gamma": "paper",
            "seed": 50,
            "picture": "numbers",
        },
    },
    "stage": {
        "label": "14 x 14, as in ResNet-50",
        "state": PHOTO
        | {
            "keep_prob": 0.9,
            "height": 14,
            "width": 14,
            "channels": 8,
            "gamma": "paper",
            "channel": 1,
        },
    },
}
SIDE_BY_SIDE = {"marks": False, "compare": True}
# Three things to try.
TRIES = [
    {"label": TEXTS["tries"][name], "state": PHOTO | change | SIDE_BY_SIDE}
    for name, change in {
        "dropout": {"method": "dropout"},
        "dropblock": {"method": "dropblock"},
        "spatial": {"method": "dropblock", "block_size": 32},
    }.items()
]


_check_side = partial(check_integer, high=LARGEST_SIDE)
CHECKS = {
    "method": partial(check_choice, choices=TEXTS["method"]),
    "block_size": _check_side,
    "keep_prob": check_float,
    "height": _check_side,
    "width": _check_side,
    "channels": partial(check_integer, high=MOST_CHANNELS),
    "per_channel": check_boolean,
    "gamma": partial(check_choice, choices=GAMMA_RULES),
    "seed": partial(check_integer, low=0, high=2**32 - 1),
    "picture": partial(check_choice, choices=PICTURES),
    "step": partial(check_choice, choices=TEXTS["step"]),
    "channel": partial(check_integer, low=0, high=MOST_CHANNELS - 1),
    "marks": check_boolean,
    "compare": check_boolean,
}


def check_feature_map(values) -> np.ndarray:
    """Checks a feature map, and returns it as an array (channels, height, width)."""
    array = np.asarray(values)
    array = array[..., None] if array.ndim == 2 else array
    fits = (
        array.ndim == 3
        and all(1 <= side <= LARGEST_SIDE for side in array.shape[:2])
        and 1 <= array.shape[2] <= MOST_CHANNELS
    )
    if not fits:
        expected = (
            f"an array (height, width) or (height, width, channels) with sides of 1 "
            f"to {LARGEST_SIDE} and up to {MOST_CHANNELS} channels"
        )
        raise invalid("feature_map", expected, array.shape)
    # The floats of ml_dtypes, such as bfloat16, have the kind "V".
    is_real = array.dtype.kind in "biuf" or (
        array.dtype.kind == "V" and np.can_cast(array.dtype, float)
    )
    if not (is_real and np.isfinite(array.astype(float)).all()):
        raise invalid("feature_map", "an array of finite numbers", values)
    return np.moveaxis(array.astype(float), -1, 0)
