"""Seeds for everything in a network that is drawn."""

import numpy as np

from dropblock_lib.arguments import check_seed


def seed_streams(seed):
    """Seeds for kernels and for regularizers, without end.

    Two streams, so that a variant with regularizers begins with the same weights
    as the one without.

    Args:
        seed: Non-negative integer, or `None` for streams of `None`.

    Returns:
        Two iterators.

    Raises:
        ValueError: If the seed is not as described.
    """
    check_seed(seed)
    return [_stream(seed, kind) for kind in (0, 1)]


def _stream(seed, kind):
    rng = None if seed is None else np.random.default_rng((int(seed), kind))
    while True:
        yield None if rng is None else int(rng.integers(2**31))
