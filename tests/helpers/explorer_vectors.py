"""Numbers that the mask explorer must show, computed only from the oracle.

    python tests/helpers/explorer_vectors.py    # rewrites explorer_vectors.json

The explorer computes them in Python and in JavaScript. Both are tested against that
file, and the file is tested against this module.
"""

import json
from pathlib import Path

import numpy as np
import oracle
from scipy.ndimage import map_coordinates

FILE = Path(__file__).parents[1] / "explorer" / "explorer_vectors.json"

SLIDES = {
    "method": "dropblock",
    "block_size": 3,
    "keep_prob": 0.9,
    "height": 5,
    "width": 5,
    "channels": 1,
    "per_channel": True,
    "gamma": "paper",
    "seed": 50,
}
STATES = [
    SLIDES,
    SLIDES | {"seed": 0, "keep_prob": 0.5, "gamma": "exact"},
    SLIDES | {"seed": 2**32 - 1, "keep_prob": 0.3, "channels": 3},
    SLIDES | {"keep_prob": 0.3, "channels": 3, "per_channel": False},
    SLIDES | {"keep_prob": 1.0, "seed": 7},
    SLIDES | {"height": 9, "width": 4, "block_size": 4, "keep_prob": 0.6, "seed": 12},
    SLIDES | {"height": 4, "width": 9, "block_size": 7, "keep_prob": 0.4, "seed": 3},
    SLIDES | {"height": 4, "width": 3, "block_size": 9, "keep_prob": 0.2, "seed": 5},
    SLIDES | {"height": 1, "width": 1, "keep_prob": 0.05, "seed": 6},
    SLIDES | {"method": "dropout", "channels": 2, "keep_prob": 0.7},
    SLIDES | {"method": "dropout", "channels": 2, "per_channel": False, "seed": 9},
    SLIDES | {"method": "spatial", "channels": 6, "keep_prob": 0.5},
    SLIDES | {"method": "spatial", "channels": 2, "per_channel": False, "seed": 4},
    SLIDES
    | {"height": 14, "width": 12, "block_size": 7, "channels": 2, "seed": 123456}
    | {"gamma": "exact", "keep_prob": 0.35},
]
# Two correct computations of a number may differ by this much.
RELATIVE = 1e-9


def mix(x):
    """The explorer's hash of a 32-bit integer, with Python integers."""
    x = (x ^ (x >> 16)) * 0x21F0AAAD % 2**32
    x = (x ^ (x >> 15)) * 0xD35A2D97 % 2**32
    return x ^ (x >> 15)


def noise(seed, mask, row, column):
    x = 0
    for value in (seed, mask, row, column):
        x = mix((x + value + 0x9E3779B9) % 2**32)
    return x / 2**32


def block_of(state):
    size = state["height"], state["width"]
    return {
        "dropout": (1, 1),
        "spatial": size,
        "dropblock": oracle.clipped(state["block_size"], size),
    }[state["method"]]


def expected_rate(gamma, block, size):
    down, across = (
        [len(places) for places in oracle._places(*pair)]
        for pair in zip(block, size, strict=True)
    )
    return float(np.mean(1 - (1 - gamma) ** np.outer(down, across)))


def exact_gamma(keep_prob, block, size):
    """Uses bisection, because the expected rate increases with gamma."""
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if expected_rate(middle, block, size) < 1 - keep_prob:
            low = middle
        else:
            high = middle
    return low


def vector(state):
    size = state["height"], state["width"]
    block = block_of(state)
    if state["gamma"] == "exact":
        gamma = exact_gamma(state["keep_prob"], block, size)
    else:
        gamma = float(oracle.paper_gamma(state["keep_prob"], block, size))
    rows, columns = map(oracle.valid_centers, block, size)
    seeds, keep = [], []
    for mask in range(state["channels"] if state["per_channel"] else 1):
        is_center = np.zeros(size, bool)
        for row in rows:
            for column in columns:
                is_center[row, column] = noise(state["seed"], mask, row, column) < gamma
        seeds.append(is_center.astype(int))
        keep.append(oracle.keep_mask(is_center, block))
    kept, units = int(np.sum(keep)), int(np.size(keep))
    is_dropblock = state["method"] == "dropblock"
    return {
        "state": state,
        "seeds": ["".join(map(str, mask.flat)) for mask in seeds],
        "keep": ["".join(map(str, mask.flat)) for mask in keep],
        "gamma": gamma,
        "nominal": 1 - state["keep_prob"],
        "expected": expected_rate(gamma, block, size),
        "realized": 1 - kept / units,
        "scale": units / max(kept, 1) if is_dropblock else 1 / state["keep_prob"],
    }


# A coarse, non-square picture of a slope with a bump.
PICTURE = {"rows": ["0123", "05z3", "0123"], "unit": 0.5, "edges": True}


def feature_map(picture, height, width, channels):
    """SciPy's interpolation between the centers of the picture's pixels."""
    image = np.array([[int(digit, 36) for digit in row] for row in picture["rows"]])
    image = image * picture["unit"]

    def look(v, u):
        places = np.broadcast_arrays(v * image.shape[0] - 0.5, u * image.shape[1] - 0.5)
        return map_coordinates(image, places, order=1, mode="nearest")

    v = (np.arange(height)[:, None] + 0.5) / height
    u = (np.arange(width)[None, :] + 0.5) / width
    maps = [look(v, u)]
    for edge in range(channels - 1):
        dv, du = (
            0.06 * np.sin(2 * np.pi * edge / 7),
            0.06 * np.cos(2 * np.pi * edge / 7),
        )
        slope = look(v + dv, u + du) - look(v - dv, u - du)
        maps.append(np.maximum(slope, 0) if picture["edges"] else maps[0])
    return np.stack(maps)


def picture_vector(picture, height, width, channels):
    values = feature_map(picture, height, width, channels)
    return {
        "picture": picture,
        "height": height,
        "width": width,
        "values": [round(float(value), 12) for value in values.flat],
    }


def vectors():
    places = [(0, 0, 0, 0), (50, 0, 3, 1), (2**32 - 1, 15, 63, 63), (7, 1, 2, 3)]
    return {
        "noise": [[*place, noise(*place)] for place in places],
        "states": [vector(state) for state in STATES],
        "pictures": [
            picture_vector(PICTURE, 7, 5, 8),
            picture_vector(PICTURE | {"edges": False}, 2, 3, 2),
        ],
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n")
