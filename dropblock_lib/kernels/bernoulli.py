"""Independent Bernoulli bits, packed in words, from few random numbers.

Every bit is 1 with probability p. Two methods draw from this distribution.

`dense_bits` compares one random number per bit with p.

`sparse_bits` draws the gaps from each 1 to the next. A gap is geometric: it exceeds n
if n bits in a row are 0, which has probability (1 - p)^n. With u uniform in (0, 1),

    gap = 1 + floor(log(u) / log(1 - p))

exceeds n exactly when u <= (1 - p)^n. The running sum of the gaps gives the positions
of the ones. That takes one random number per 1, not per bit: at p = 0.01, a hundredth
as many.
"""

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from dropblock_lib.kernels import backend
from dropblock_lib.kernels.gamma import Size, Tensor
from dropblock_lib.kernels.packed_masks import WORD_BITS, lowest_bits

# With a larger p there are too many ones for `sparse_bits` to save anything.
SPARSE_BELOW = 0.1
# `sparse_bits` draws rows of about this many bits, so that sums of gaps stay small.
ROW_BITS = 2**16
# The largest probability that a row has more ones than random numbers reserved for it.
TRUNCATED = 1e-15


def draw_bits(
    rng_seed: Tensor,
    probability: Tensor,
    reserved: Sequence[float],
    shape: Sequence[Size],
    bits: Size,
) -> Tensor:
    """Draws independent bits, packed in words.

    Args:
        rng_seed: Drawn from a `keras.random.SeedGenerator`.
        probability: Probability in [0, 1] that a bit is 1, a float32 scalar tensor or
            a float.
        reserved: Increasing probabilities. Random numbers are reserved for each of
            them, and the first one not below `probability` is used. Above the last
            one, every bit takes its own random number.
        shape: Shape of the words, integers or scalar tensors.
        bits: Number of bits to draw in every word, an integer or a scalar tensor.

    Returns:
        Int32 tensor of the given shape. Bits above the lowest `bits` are 0. The result
        depends on the arguments only, so that a resumed training run repeats exactly.
    """
    cond = _cond_now if _is_known(probability) else ops.cond

    if backend.is_exporting():
        # The exported program cannot branch on the probability.
        return dense_bits(rng_seed, probability, shape, bits)

    def draw(reserved):
        if not reserved or reserved[0] > SPARSE_BELOW:
            return dense_bits(rng_seed, probability, shape, bits)
        return cond(
            probability <= reserved[0],
            lambda: sparse_bits(rng_seed, probability, reserved[0], shape, bits),
            lambda: draw(reserved[1:]),
        )

    return draw(tuple(reserved))


def dense_bits(
    rng_seed: Tensor, probability: Tensor, shape: Sequence[Size], bits: Size
) -> Tensor:
    """Draws every Bernoulli bit, a few bit positions per loop iteration."""
    positions = _positions_per_iteration(shape)
    if isinstance(bits, int):
        positions = min(positions, bits)
    powers = np.left_shift(1, np.arange(positions), dtype="int32")
    powers = ops.convert_to_tensor(powers.reshape((-1,) + (1,) * len(shape)))

    def draw(i):
        noise = _uniform((positions, *shape), _derived_seed(rng_seed, i))
        return backend.combine_bits(noise < probability, powers)

    if isinstance(bits, int) and bits == positions:
        return draw(0)
    loop = _fori_loop_now if _is_known(probability) else ops.fori_loop
    words = loop(
        0,
        -(-bits // positions),
        lambda i, words: words | ops.left_shift(draw(i), i * positions),
        ops.zeros(shape, "int32"),
    )
    # The last iteration may draw more bits than requested.
    return words & lowest_bits(bits)


def sparse_bits(
    rng_seed: Tensor,
    probability: Tensor,
    reserved: float,
    shape: Sequence[Size],
    bits: Size,
) -> Tensor:
    """Draws the positions of the ones, for a `probability` up to `reserved`."""
    words = math.prod(shape)
    words_per_row = ROW_BITS // bits
    rows = -(-words // words_per_row)
    noise = _uniform((rows, room_for_ones(reserved)), rng_seed)
    found = backend.place_ones(noise, probability, words_per_row, bits)
    return ops.reshape(found[:words], shape)


def room_for_ones(probability: float) -> int:
    """Bounds the number of ones in a row, except with probability `TRUNCATED`.

    By Bernstein's inequality their number exceeds its mean m by t or more with
    probability at most exp(-t² / (2 (m + t / 3))).
    """
    mean = ROW_BITS * probability
    a = -math.log(TRUNCATED)
    excess = a / 3 + math.sqrt(a**2 / 9 + 2 * a * mean)
    return math.ceil(mean + excess)


def _positions_per_iteration(shape):
    """Bit positions per loop iteration: a power of two, for about `ROW_BITS` bits.

    On small maps a single bit position has so few bits that the loop's overhead would
    take most of the time; on large maps many positions would take too much memory.
    """
    groups, *others = shape
    if not all(isinstance(side, int) for side in others):
        return 1
    bits_per_position = math.prod(others) * (groups if isinstance(groups, int) else 1)
    positions = WORD_BITS
    while positions > 1 and positions * bits_per_position > ROW_BITS:
        positions //= 2
    return positions


def _is_known(probability):
    return isinstance(probability, float) or backend.is_concrete(probability)


# Replacements for `ops.cond` and `ops.fori_loop` if values are known.


def _cond_now(predicate, true_fn, false_fn):
    return true_fn() if predicate else false_fn()


def _fori_loop_now(lower, upper, body_fn, init_val):
    for iteration in range(lower, upper):
        init_val = body_fn(iteration, init_val)
    return init_val


def _derived_seed(rng_seed, index):
    """Derives an independent random seed for each loop iteration."""
    # A seed is two numbers. Keras increments the second; for PyTorch, it adds the two.
    return rng_seed + (ops.cast(index, rng_seed.dtype) + 1) * 0x51ED270B


def _uniform(shape, rng_seed):
    return backend.uniform(shape, DrawnSeed(rng_seed))


class DrawnSeed(keras.random.SeedGenerator):
    """Gives `keras.random` a random seed that has already been drawn."""

    def __init__(self, rng_seed):
        self.rng_seed = rng_seed

    def next(self, ordered=True):
        return self.rng_seed
