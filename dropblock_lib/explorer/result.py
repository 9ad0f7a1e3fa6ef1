"""What a method drops: seeds, keep mask and numbers, from the explorer's state."""

from typing import Any, NamedTuple

import numpy as np

from dropblock_lib import masks
from dropblock_lib.explorer.noise import noise


class Result(NamedTuple):
    """Seeds and keep mask have the shape (masks, height, width)."""

    block: tuple[int, int]
    valid: tuple[slice, slice]
    seeds: np.ndarray
    keep_mask: np.ndarray
    readouts: dict[str, float]


def block_of(state: Any, method: str) -> tuple[int, int]:
    """Height and width of a block in units, clipped to the map."""
    if method == "dropout":
        return 1, 1
    if method == "spatial":
        return state.height, state.width
    return min(state.block_size, state.height), min(state.block_size, state.width)


def compute(state: Any, method: str) -> Result:
    """The result of `method` with the other attributes of `state`."""
    size = (state.height, state.width)
    block = block_of(state, method)
    rule = {"paper": masks.gamma, "exact": masks.exact_gamma}[state.gamma]
    gamma = rule(state.keep_prob, block, size)
    valid = tuple(
        slice(side // 2, side // 2 + length)
        for side, length in zip(block, masks.seed_shape(block, size), strict=True)
    )
    field = noise(state.seed, state.channels if state.per_channel else 1, *size)
    seeds = np.zeros(field.shape, bool)
    seeds[(..., *valid)] = field[(..., *valid)] < gamma
    keep_mask = masks.expand_seeds(1 - seeds[(..., *valid)].astype("int8"), block, size)
    kept = np.count_nonzero(keep_mask)
    # DropBlock divides by the fraction that the mask keeps; the other methods divide by
    # keep_prob, the expected fraction.
    by_mask = keep_mask.size / max(kept, 1)
    readouts = {
        "gamma": gamma,
        "nominal": 1 - state.keep_prob,
        "expected": masks.expected_drop_rate(gamma, block, size),
        "realized": 1 - kept / keep_mask.size,
        "scale": by_mask if method == "dropblock" else 1 / state.keep_prob,
    }
    return Result(block, (valid[0], valid[1]), seeds, keep_mask, readouts)
