"""Seeds of blocks, drawn with few random numbers.

DropBlock needs a coin for every place where a block may be set: heads, and a block is
set. Heads come up with probability gamma, all coins are independent, and almost all
show tails. There are two ways to throw them, with the same distribution.

`_throw` throws every coin: one random number a coin, heads if it is below gamma.

`_skip` goes from heads to heads. The number of throws up to and including the next
heads is geometric: it exceeds n if n throws in a row show tails, which has probability
(1 - gamma)^n. So with u uniform in (0, 1),

    throws = 1 + floor(log(u) / log(1 - gamma))

exceeds n just if u < (1 - gamma)^n. Its running sum is where heads lie. That takes one
random number a seed, not one a coin: at a gamma of 0.01, a hundredth.
"""

import math

import keras
import numpy as np
from keras import ops

from dropblock_lib.kernels.packed_masks import WORD_BITS

# Above it heads are so many that skipping from one to the next saves nothing.
SKIPPING_PAYS_BELOW = 0.1
# Coins lie in rows of about so many, so that sums of throws stay short.
ROW = 2**16
# The probability that a row has more heads than there are random numbers for it.
TRUNCATED = 1e-15


def draw_seeds(generator, gamma, expected_gammas, packing, places):
    """Throws a coin for every bit of packed masks.

    Args:
        generator: `keras.random.SeedGenerator`.
        gamma: Float32 scalar tensor in [0, 1]: the probability of heads.
        expected_gammas: Rising floats. Numbers are set aside for each of them, and
            those for the first that is not below `gamma` are used. Where it exceeds
            all, every coin is thrown.
        packing: A `Packing`.
        places: Shape of the words of one group, of integers or scalar tensors.

    Returns:
        Int32 tensor (groups, *places): bits are 1 where a seed is, and 0 for a sample
        that there is not. They depend on nothing but the generator's state, `gamma`
        and the other arguments, so that a training that is resumed goes on alike.
    """
    shape = (packing.groups, *places)
    # One draw, whichever way is taken: compiled code cannot advance the generator
    # in one branch only.
    seed = generator.next()
    choose = _choose_now if _is_known(gamma) else ops.cond

    def draw(expected):
        worth_it = expected and expected[0] <= SKIPPING_PAYS_BELOW
        if not worth_it:
            return _throw(seed, gamma, shape, packing.bits)
        return choose(
            gamma <= expected[0],
            lambda: _skip(seed, gamma, expected[0], shape, packing.bits),
            lambda: draw(expected[1:]),
        )

    seeds = draw(tuple(expected_gammas))
    present = packing.present()
    if present is None:
        return seeds
    return seeds & ops.reshape(present, (-1,) + (1,) * len(places))


def _throw(seed, gamma, shape, bits):
    """All coins, those of a few bits after those of the few before."""
    at_once = _bits_at_once(shape)
    if isinstance(bits, int):
        at_once = min(at_once, bits)
    lowest = np.left_shift(1, np.arange(at_once), dtype="int32")
    lowest = ops.convert_to_tensor(lowest.reshape((-1,) + (1,) * len(shape)))

    def throw(turn):
        noise = keras.random.uniform(
            (at_once, *shape), dtype="float32", seed=Drawn(_another(seed, turn))
        )
        return _pack(noise < gamma, lowest)

    if isinstance(bits, int) and bits == at_once:
        return throw(0)
    repeat = _repeat_now if _is_known(gamma) else ops.fori_loop
    coins = repeat(
        0,
        -(-bits // at_once),
        lambda turn, coins: coins | ops.left_shift(throw(turn), turn * at_once),
        ops.zeros(shape, "int32"),
    )
    # The last turn may go beyond the bits there are. In two steps, because a shift by
    # 32 has no meaning.
    beyond = ops.left_shift(ops.left_shift(-1, bits - 1), 1)
    return coins & ~beyond


def _bits_at_once(shape):
    """A power of two, such that a turn of the loop throws about a row of coins.

    On small maps the coins of a single bit are so few that the turn takes longer than
    they do; on large ones those of many bits would take much memory.
    """
    groups, *places = shape
    if not all(isinstance(side, int) for side in places):
        return 1
    coins_a_bit = math.prod(places) * (groups if isinstance(groups, int) else 1)
    at_once = WORD_BITS
    while at_once > 1 and at_once * coins_a_bit > ROW:
        at_once //= 2
    return at_once


def _skip(seed, gamma, expected_gamma, shape, bits):
    """Where the coins show heads, row by row, and the bits that stand for them."""
    words = math.prod(shape)
    words_a_row = ROW // bits
    rows = -(-words // words_a_row)
    noise = keras.random.uniform(
        (rows, most_heads(expected_gamma)), dtype="float32", seed=Drawn(seed)
    )
    # Noise comes in steps of 2**-23: half a step keeps clear of log(0).
    log_noise = ops.log(noise + 2**-24)
    log_tails = ops.log1p(-ops.maximum(gamma, 1e-20))
    tails = ops.cast(ops.minimum(log_noise / log_tails, ROW), "int32")
    coin = ops.cumsum(tails + 1, axis=1) - 1

    # What lies beyond the end of a row goes to a word behind it, which is cut off.
    word, bit = _divide(ops.minimum(coin, words_a_row * bits), bits)
    words_with_end = words_a_row + 1
    first_word = ops.arange(rows, dtype="int32") * words_with_end
    word = word + ops.expand_dims(first_word, 1)
    seeds = _collect(ops.left_shift(1, bit), word, rows * words_with_end)
    if not (isinstance(rows, int) and rows == 1):
        seeds = ops.reshape(seeds, (-1, words_with_end))[:, :words_a_row]
        seeds = ops.reshape(seeds, (-1,))
    return ops.reshape(seeds[:words], shape)


def _divide(coin, bits):
    """Quotient and remainder."""
    if isinstance(bits, int) and bits & (bits - 1) == 0:
        # A shift takes a fraction of the time of a division.
        shift = bits.bit_length() - 1
        return ops.right_shift(coin, shift), coin & (bits - 1)
    return coin // bits, coin % bits


def _pack(coins, bits):
    """The bits of the coins along the first axis that show heads, in one word."""
    if keras.backend.backend() == "torch":
        from dropblock_lib.kernels import torch

        return torch.pack(coins, bits)
    # They are different bits, so that their sum is their `or`.
    return ops.sum(ops.where(coins, bits, 0), axis=0)


def _collect(bit, word, words):
    """The `or` of the bits of each word. They differ, so that it is their sum."""
    if keras.backend.backend() == "torch":
        # Keras sums in float32 there, which holds 24 bits.
        from dropblock_lib.kernels import torch

        return torch.collect(bit, word, words)
    flat = ops.reshape(bit, (-1,)), ops.reshape(word, (-1,))
    return ops.segment_sum(*flat, num_segments=words)


def most_heads(gamma):
    """Random numbers enough for a row, but for a probability of `TRUNCATED`.

    By Bernstein's inequality the heads exceed their mean m by t or more with
    probability at most exp(-t² / (2 (m + t / 3))).
    """
    mean = ROW * gamma
    a = -math.log(TRUNCATED)
    excess = a / 3 + math.sqrt(a**2 / 9 + 2 * a * mean)
    return math.ceil(mean + excess)


def _is_known(gamma):
    """Whether JAX has a value for `gamma`, and is not compiling.

    There `ops.cond` and `ops.fori_loop` compile anew whenever they are called outside
    of compiled code, which takes a second. The other backends do not.
    """
    if keras.backend.backend() != "jax":
        return False
    try:
        float(gamma)
    except TypeError:
        return False
    return True


# What `ops.cond` and `ops.fori_loop` do, at once.


def _choose_now(condition, one, other):
    return one() if condition else other()


def _repeat_now(start, stop, step, value):
    for turn in range(start, stop):
        value = step(turn, value)
    return value


def _another(seed, index):
    """For each index a seed that the generator does not come to draw."""
    # Keras counts the second of a seed's two numbers up; PyTorch adds both.
    return seed + (ops.cast(index, seed.dtype) + 1) * 0x51ED270B


class Drawn(keras.random.SeedGenerator):
    """A seed in the form that `keras.random` takes, but drawn before."""

    def __init__(self, seed):
        self.seed = seed

    def next(self, ordered=True):
        return self.seed
