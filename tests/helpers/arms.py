"""Tables of arms and seeds, made up for the tests of the statistics."""

import numpy as np


def random_arms(arms, seeds, rng_seed=0, effect=0.05):
    """Arm and seed effects larger than the residual, in arms "none", "a1", ..."""
    rng = np.random.default_rng(rng_seed)
    values = (
        0.7
        + rng.normal(0, effect, (arms, 1))
        + rng.normal(0, 0.02, (1, seeds))
        + rng.normal(0, 0.01, (arms, seeds))
    )
    return as_arms(values)


def as_arms(values):
    names = ["none", *(f"a{arm}" for arm in range(1, len(values)))]
    return {
        name: {seed: float(value) for seed, value in enumerate(row)}
        for name, row in zip(names, values, strict=True)
    }


def rows_of(result, key="arm"):
    return {row[key]: row for row in result["rows"]}
