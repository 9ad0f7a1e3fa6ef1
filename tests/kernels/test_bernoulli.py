"""Both methods draw independent bits, all with one probability.

The number of ones among n bits has mean n p and variance n p (1 - p). Tolerances are
five standard errors of what is measured.
"""

import keras
import numpy as np
import pytest
from backend import BACKEND
from keras import ops
from scipy import stats

from dropblock_lib.kernels import bernoulli
from dropblock_lib.kernels.bernoulli import draw_bits
from dropblock_lib.kernels.packed_masks import PackedMasks

pytestmark = pytest.mark.backends

PROBABILITIES = [0.0005, 0.003, 0.03, 0.09]
METHODS = {"sparse": lambda p: [min(1.01 * p, 0.1)], "dense": lambda p: []}
# Two rows of bits and part of a third, where a group fills 32 bits.
PLACES = (13, 37, 10)


def drawn(method, p, samples=32, places=PLACES, seed=0, times=40):
    """Bits as booleans (times, groups, *places, samples in a group)."""
    *sides, channels = places
    generator = keras.random.SeedGenerator(seed)
    reserved = METHODS[method](p) if isinstance(method, str) else method

    def draw():
        probability = ops.convert_to_tensor(p, "float32")
        rng_seed = generator.next()
        return PackedMasks.draw(
            samples,
            channels,
            sides,
            -1,
            lambda *shape: draw_bits(rng_seed, probability, reserved, *shape),
        ).words

    if BACKEND == "tensorflow":
        import tensorflow as tf

        draw = tf.function(draw)
    elif BACKEND == "jax":
        import jax

        eagerly = draw

        def step(state):
            with keras.StatelessScope([(generator.state, state)]) as scope:
                words = eagerly()
            return words, scope.get_current_value(generator.state)

        step = jax.jit(step)

        def draw():
            words, state = step(generator.state.value)
            generator.state.assign(state)
            return words

    words = np.stack([ops.convert_to_numpy(draw()) for _ in range(times)])
    assert words.dtype == "int32"
    bits = words.view("uint32")[..., None] >> np.arange(32, dtype="uint32") & 1 == 1
    _, group_size, channels_per_word = PackedMasks.layout(samples, channels)
    assert channels_per_word == 1
    # Bits that are not in use are 0.
    assert not bits[..., group_size:].any()
    return bits[..., :group_size]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("p", PROBABILITIES)
def test_bits_are_independent_and_have_one_probability(method, p):
    bits = drawn(method, p)
    times = len(bits)
    bits = bits.reshape(times, -1)
    n = bits.size
    assert abs(bits.mean() - p) < 5 * np.sqrt(p * (1 - p) / n)

    # How often each place is 1: a chi-squared test, normal for so many places.
    # Its terms have variance 2 + (1 - 6 v) / (v times), with v = p (1 - p).
    v = p * (1 - p)
    places = bits.shape[1]
    chi2 = np.sum((bits.sum(axis=0) - times * p) ** 2) / (times * v)
    assert abs(chi2 - places) < 5 * np.sqrt(places * (2 + (1 - 6 * v) / (v * times)))

    # Ones at two places a distance apart, within a word, across words and rows.
    for distance in (1, 2, 3, 31, 32, 33, 64, 65_536):
        pairs = bits[:, distance:] & bits[:, :-distance]
        both = p**2
        # The middle one of three places in a row is in two pairs.
        variance = both * (1 - both) + 2 * (p**3 - both**2)
        assert (
            abs(pairs.mean() - both)
            < 5 * np.sqrt(variance / pairs.size) + 1 / pairs.size
        )

    # Successive draws are independent.
    again = bits[1:] & bits[:-1]
    assert abs(again.mean() - p**2) < 5 * np.sqrt(p**2 / again.size) + 1 / again.size


@pytest.mark.parametrize("method", METHODS)
def test_the_number_of_ones_has_the_variance_of_independent_bits(method):
    p, times = 0.02, 400
    bits = drawn(method, p, samples=20, places=(3, 5, 7), times=times)
    ones = bits.reshape(times, -1).sum(axis=1)
    n = bits[0].size
    variance = n * p * (1 - p)
    # The relative variance of a sample variance is (2 + excess kurtosis) / times.
    excess = (1 - 6 * p * (1 - p)) / variance
    error = variance * np.sqrt((2 + excess) / times)
    assert abs(ones.var() - variance) < 5 * error


@pytest.mark.parametrize("method", METHODS)
def test_places_at_the_ends_of_rows_have_the_same_probability(method):
    """Tests places at the ends of rows together, and the first and last separately."""
    p, times = 0.05, 300
    bits = drawn(method, p, places=(43, 50, 1), times=times).reshape(times, -1)
    row = bernoulli.ROW_BITS
    assert row < bits.shape[1] < 2 * row
    for start in (0, row - 32, row, bits.shape[1] - 32):
        some = bits[:, start : start + 32]
        error = np.sqrt(p * (1 - p) / some.size)
        assert abs(some.mean() - p) < 5 * error
    # Each place separately, with 5.5 standard errors for the largest of 128.
    ends = np.concatenate([bits[:, :64], bits[:, -64:]], axis=1).mean(axis=0)
    assert (np.abs(ends - p) < 5.5 * np.sqrt(p * (1 - p) / times)).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("samples", [1, 3, 33, 40])
def test_padding_samples_have_no_seed(method, samples):
    bits = drawn(method, 0.09, samples, places=(4, 4, 4), times=60)
    bits = np.moveaxis(bits, -1, 2).reshape(60, -1, 64)
    assert not bits[:, samples:].any()
    rate = bits[:, :samples].mean(axis=(0, 2))
    assert (np.abs(rate - 0.09) < 5.5 * np.sqrt(0.09 * 0.91 / (60 * 64))).all()


@pytest.mark.parametrize("p", [0.0, 1e-30, 1e-7])
def test_a_tiny_probability_draws_almost_nothing(p):
    for method in METHODS:
        assert drawn(method, p).sum() <= 5


@pytest.mark.parametrize("p", [0.005, 0.011, 0.041, 0.3, 1.0])
def test_more_ones_than_expected_are_not_truncated(p):
    """Random numbers are reserved for probabilities of 0.01 and of 0.04."""
    bits = drawn([0.01, 0.04], p, times=10)
    assert abs(bits.mean() - p) <= 5 * np.sqrt(p * (1 - p) / bits.size)
    assert abs(bits.reshape(10, -1)[:, -1000:].mean() - p) <= 5 * np.sqrt(
        p * (1 - p) / 10_000
    )


@pytest.mark.parametrize("p", [1e-9, 1e-4, *PROBABILITIES, 0.1])
def test_a_row_has_room_for_all_its_ones(p):
    room, row = bernoulli.room_for_ones(p), bernoulli.ROW_BITS
    assert stats.binom.sf(room, row, p) < bernoulli.TRUNCATED
    # Not much more room is reserved than needed.
    assert room < row * p + 12 * np.sqrt(row * p) + 50
    # Positions are summed in int32.
    assert room * (row + 1) < 2**31


@pytest.mark.skipif(BACKEND != "jax", reason=f"{BACKEND} compiles no single calls")
@pytest.mark.parametrize("p", [0.01, 0.3])
def test_calls_outside_of_compiled_code(p):
    """They compile nothing a second time, and draw what compiled code draws."""
    import jax

    compiled = []

    def listen(event, seconds, **details):
        if event.endswith("compile_duration"):
            compiled.append(event)

    # So many bits that `dense_bits` takes several iterations.
    shape, bits = (1, 60, 60, 10), 32

    def draw(p, rng_seed):
        return draw_bits(rng_seed, p, [0.02], shape, bits)

    p = ops.convert_to_tensor(p, "float32")
    rng_seed = keras.random.SeedGenerator(3).next()
    first = draw(p, rng_seed)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        again = draw(p, rng_seed)
        assert not compiled
        in_compiled_code = jax.jit(draw)(p, rng_seed)
        assert compiled
    finally:
        jax.monitoring.clear_event_listeners()
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(in_compiled_code, first)


# Behavior of Keras that we rely on


def test_keras_takes_a_seed_that_is_already_drawn():
    first, second = (keras.random.SeedGenerator(7) for _ in range(2))
    expected = keras.random.uniform((50,), seed=first)
    noise = keras.random.uniform((50,), seed=bernoulli.DrawnSeed(second.next()))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(noise), ops.convert_to_numpy(expected)
    )


def test_no_two_iterations_or_calls_share_noise():
    generator = keras.random.SeedGenerator(7)
    rng_seeds = []
    for _ in range(40):
        rng_seed = generator.next()
        rng_seeds.append(rng_seed)
        rng_seeds += [bernoulli._derived_seed(rng_seed, i) for i in range(32)]
    noise = [
        ops.convert_to_numpy(bernoulli._uniform((2,), rng_seed)).tobytes()
        for rng_seed in rng_seeds
    ]
    assert len(set(noise)) == len(noise)
