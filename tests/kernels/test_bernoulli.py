"""The two ways to draw seeds: are they independent coins, all with one probability?

A count of heads among n coins has mean n p and variance n p (1 - p). Tolerances are
five standard errors of what is measured.
"""

import keras
import numpy as np
import pytest
from backend import BACKEND
from keras import ops
from scipy import stats

from dropblock_lib.kernels import bernoulli
from dropblock_lib.kernels.bernoulli import draw_seeds
from dropblock_lib.kernels.packed_masks import Packing

pytestmark = pytest.mark.backends

GAMMAS = [0.0005, 0.003, 0.03, 0.09]
# Two rows of coins and a part of a third, where a group fills 32 bits.
PLACES = (13, 37, 10)
WAYS = {"skip": lambda gamma: [min(1.01 * gamma, 0.1)], "throw": lambda gamma: []}


def drawn(way, gamma, samples=32, places=PLACES, seed=0, times=40):
    """Coins as booleans (times, groups, *places, samples in a group)."""
    packing = Packing.of(samples, 1)
    generator = keras.random.SeedGenerator(seed)

    expected = WAYS[way](gamma) if isinstance(way, str) else way

    def draw():
        gamma_now = ops.convert_to_tensor(gamma, "float32")
        return draw_seeds(generator, gamma_now, expected, packing, places)

    if BACKEND == "tensorflow":
        import tensorflow as tf

        draw = tf.function(draw)
    elif BACKEND == "jax":
        import jax

        eagerly = draw

        def step(state):
            with keras.StatelessScope([(generator.state, state)]) as scope:
                coins = eagerly()
            return coins, scope.get_current_value(generator.state)

        step = jax.jit(step)

        def draw():
            coins, state = step(generator.state.value)
            generator.state.assign(state)
            return coins

    packed = np.stack([ops.convert_to_numpy(draw()) for _ in range(times)])
    assert packed.dtype == "int32"
    bits = packed.view("uint32")[..., None] >> np.arange(32, dtype="uint32") & 1 == 1
    # Bits that belong to nobody are 0.
    assert not bits[..., packing.size :].any()
    return bits[..., : packing.size]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_coins_are_alike_and_independent(way, gamma):
    coins = drawn(way, gamma)
    times = len(coins)
    coins = coins.reshape(times, -1)
    n = coins.size
    assert abs(coins.mean() - gamma) < 5 * np.sqrt(gamma * (1 - gamma) / n)

    # How often each place shows heads: a chi-squared test, normal for so many places.
    # Its terms have variance 2 + (1 - 6 v) / (v times), with v = gamma (1 - gamma).
    v = gamma * (1 - gamma)
    places = coins.shape[1]
    chi2 = np.sum((coins.sum(axis=0) - times * gamma) ** 2) / (times * v)
    assert abs(chi2 - places) < 5 * np.sqrt(places * (2 + (1 - 6 * v) / (v * times)))

    # Heads at two places a distance apart, within a word, across words and rows.
    for distance in (1, 2, 3, 31, 32, 33, 64, 65_536):
        pairs = coins[:, distance:] & coins[:, :-distance]
        p = gamma**2
        # Of three places in a row the middle one is in two pairs.
        variance = p * (1 - p) + 2 * (gamma**3 - p**2)
        assert (
            abs(pairs.mean() - p) < 5 * np.sqrt(variance / pairs.size) + 1 / pairs.size
        )

    # From one draw to the next they have nothing to do with each other.
    again = coins[1:] & coins[:-1]
    assert (
        abs(again.mean() - gamma**2)
        < 5 * np.sqrt(gamma**2 / again.size) + 1 / again.size
    )


@pytest.mark.parametrize("way", WAYS)
def test_the_number_of_heads_varies_as_that_of_coins(way):
    gamma, times = 0.02, 400
    coins = drawn(way, gamma, samples=20, places=(3, 5, 7), times=times)
    heads = coins.reshape(times, -1).sum(axis=1)
    n = coins[0].size
    variance = n * gamma * (1 - gamma)
    # The variance of a sample variance: 2 / times relative, and the kurtosis, small.
    excess = (1 - 6 * gamma * (1 - gamma)) / variance
    error = variance * np.sqrt((2 + excess) / times)
    assert abs(heads.var() - variance) < 5 * error


@pytest.mark.parametrize("way", WAYS)
def test_the_first_and_the_last_place_are_no_exception(way):
    """So are those around the end of a row of coins, and all of a lonely word."""
    gamma, times = 0.05, 300
    coins = drawn(way, gamma, places=(43, 50, 1), times=times).reshape(times, -1)
    row = bernoulli.ROW
    assert row < coins.shape[1] < 2 * row
    for start in (0, row - 32, row, coins.shape[1] - 32):
        some = coins[:, start : start + 32]
        error = np.sqrt(gamma * (1 - gamma) / some.size)
        assert abs(some.mean() - gamma) < 5 * error
    # Each for itself: 5.5 for the largest of 128.
    ends = np.concatenate([coins[:, :64], coins[:, -64:]], axis=1).mean(axis=0)
    assert (np.abs(ends - gamma) < 5.5 * np.sqrt(gamma * (1 - gamma) / times)).all()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("samples", [1, 3, 33, 40])
def test_samples_that_there_are_not_have_no_seed(way, samples):
    coins = drawn(way, 0.09, samples, places=(4, 4, 4), times=60)
    coins = np.moveaxis(coins, -1, 2).reshape(60, -1, 64)
    assert not coins[:, samples:].any()
    rate = coins[:, :samples].mean(axis=(0, 2))
    assert (np.abs(rate - 0.09) < 5.5 * np.sqrt(0.09 * 0.91 / (60 * 64))).all()


@pytest.mark.parametrize("gamma", [0.0, 1e-30, 1e-7])
def test_a_gamma_of_almost_nothing_draws_almost_nothing(gamma):
    for way in WAYS:
        assert drawn(way, gamma).sum() <= 5


@pytest.mark.parametrize("gamma", [0.005, 0.011, 0.041, 0.3, 1.0])
def test_more_than_was_expected_is_not_cut_short(gamma):
    """Numbers were set aside for a gamma of 0.01, and for one of 0.04."""
    coins = drawn([0.01, 0.04], gamma, times=10)
    assert abs(coins.mean() - gamma) <= 5 * np.sqrt(gamma * (1 - gamma) / coins.size)
    assert abs(coins.reshape(10, -1)[:, -1000:].mean() - gamma) <= 5 * np.sqrt(
        gamma * (1 - gamma) / 10_000
    )


@pytest.mark.parametrize("gamma", [1e-9, 1e-4, *GAMMAS, 0.1])
def test_a_row_has_room_for_all_its_heads(gamma):
    room = bernoulli.most_heads(gamma)
    assert stats.binom.sf(room, bernoulli.ROW, gamma) < bernoulli.TRUNCATED
    # Not wasteful either.
    assert room < bernoulli.ROW * gamma + 12 * np.sqrt(bernoulli.ROW * gamma) + 50
    # Positions are summed in int32.
    assert room * (bernoulli.ROW + 1) < 2**31


@pytest.mark.skipif(BACKEND != "jax", reason=f"{BACKEND} compiles no single calls")
@pytest.mark.parametrize("gamma", [0.01, 0.3])
def test_calls_outside_of_compiled_code(gamma):
    """They compile nothing that was compiled before, and draw what it draws."""
    import jax

    compiled = []

    def listen(event, seconds, **details):
        if event.endswith("compile_duration"):
            compiled.append(event)

    packing = Packing.of(32, 1)
    # So many that they are thrown in several turns.
    places = (60, 60, 10)
    generator = keras.random.SeedGenerator(3)

    def draw(gamma, state):
        with keras.StatelessScope([(generator.state, state)]):
            return draw_seeds(generator, gamma, [0.02], packing, places)

    gamma, state = ops.convert_to_tensor(gamma, "float32"), generator.state.value
    first = draw(gamma, state)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        again = draw(gamma, state)
        assert not compiled
        in_compiled_code = jax.jit(draw)(gamma, state)
        assert compiled
    finally:
        jax.monitoring.clear_event_listeners()
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(in_compiled_code, first)


# What is relied on in Keras


def test_keras_takes_a_seed_that_was_drawn_before():
    first, second = (keras.random.SeedGenerator(7) for _ in range(2))
    expected = keras.random.uniform((50,), seed=first)
    noise = keras.random.uniform((50,), seed=bernoulli.Drawn(second.next()))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(noise), ops.convert_to_numpy(expected)
    )


def test_a_call_draws_one_seed_whichever_way():
    expected = keras.random.SeedGenerator(7)
    expected.next()
    for expected_gammas in ([0.05], [0.01], [0.01, 0.05], []):
        generator = keras.random.SeedGenerator(7)
        packing = Packing.of(4, 2)
        gamma = ops.convert_to_tensor(0.02)
        draw_seeds(generator, gamma, expected_gammas, packing, (2, 2, 2))
        np.testing.assert_array_equal(
            ops.convert_to_numpy(generator.state.value),
            ops.convert_to_numpy(expected.state.value),
        )


def test_no_two_bits_or_calls_share_noise():
    generator = keras.random.SeedGenerator(7)
    drawn_seeds = []
    for _ in range(40):
        seed = generator.next()
        drawn_seeds.append(seed)
        drawn_seeds += [bernoulli._another(seed, bit) for bit in range(32)]
    noise = [
        ops.convert_to_numpy(
            keras.random.uniform((2,), seed=bernoulli.Drawn(seed))
        ).tobytes()
        for seed in drawn_seeds
    ]
    assert len(set(noise)) == len(noise)
