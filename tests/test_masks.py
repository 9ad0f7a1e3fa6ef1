"""The algorithm in NumPy against the paper, exact arithmetic and probabilities."""

import itertools
import math

import ml_dtypes
import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dropblock_lib as dbl

FEAT_SIZES = [56, 14, 8, 7, 4, (8, 14), (14, 8)]
MANY_FEAT_SIZES = [*FEAT_SIZES, 1, (1, 9), 100]
BLOCK_SIZES = [1, 3, 4, 7]
KEEP_PROBS = [0.999, 0.99, 0.9, 0.75, 0.5, 0.25, 0.1, 0.01, 0.001]

SMALL_MAPS = {1: 16, 2: 8, 3: 4}


@st.composite
def sizes(draw, map_sides=SMALL_MAPS):
    """The sizes of a block and of a map with 1 to 3 sides."""
    rank = draw(st.integers(1, 3))
    side = st.integers(1, 9)
    block_size = draw(st.one_of(side, st.tuples(*[side] * rank)))
    return block_size, draw(st.tuples(*[st.integers(1, map_sides[rank])] * rank))


repeatable = settings(deadline=None, derandomize=True, max_examples=150)


@repeatable
@given(sizes())
def test_the_valid_seed_region_is_where_a_block_fits(sizes):
    expected = tuple(len(places) for places in oracle.valid_places(*sizes))
    assert dbl.seed_shape(*sizes) == expected


@repeatable
@given(st.data(), sizes(), st.lists(st.integers(1, 2), max_size=2))
def test_seeds_grow_to_the_blocks_of_the_paper(data, sizes, leading):
    block_size, feat_size = sizes
    shape = (*leading, *dbl.seed_shape(block_size, feat_size))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    seeds = (rng.random(shape) > data.draw(st.sampled_from([0, 0.2, 1]))).astype(int)
    mask = dbl.expand_seeds(seeds, block_size, feat_size)
    assert mask.shape == (*leading, *feat_size)
    for where in np.ndindex(*leading):
        is_center = oracle.centers(seeds[where] == 0, block_size, feat_size)
        expected = oracle.keep_mask(is_center, block_size)
        np.testing.assert_array_equal(mask[where], expected)


@pytest.mark.parametrize("dtype", ["bool", "int8", "float32", "float64"])
def test_the_keep_mask_has_the_dtype_of_the_seeds(dtype):
    mask = dbl.expand_seeds(np.zeros((2, 2), dtype), 3)
    assert mask.dtype == dtype
    assert mask.shape == (4, 4)


@repeatable
@given(
    st.integers(0, 2**32 - 1),
    sizes(),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([1.0, 0.95, 0.7, 0.3, 0.01]),
    st.sampled_from(["paper", "exact"]),
    st.booleans(),
)
def test_drop_block_is_algorithm_1(
    seed, sizes, samples, channels, keep_prob, rule, per_channel
):
    block_size, feat_size = sizes
    x = np.random.default_rng(seed).normal(size=(samples, *feat_size, channels))
    dropped = dbl.drop_block(
        x,
        block_size,
        keep_prob,
        np.random.default_rng(seed),
        gamma=rule,
        per_channel=per_channel,
    )
    shape = (samples, *dbl.seed_shape(block_size, feat_size))
    noise = np.random.default_rng(seed).random((*shape, channels if per_channel else 1))
    rules = {"paper": dbl.gamma, "exact": dbl.exact_gamma}
    is_seed = noise < rules[rule](keep_prob, block_size, feat_size)
    expected = oracle.drop_block(x, is_seed, block_size)
    np.testing.assert_allclose(dropped, expected, rtol=1e-15)


def test_the_example_of_the_slides():
    seeds = np.array([[1, 1, 1], [1, 1, 1], [0, 0, 1]])
    expected = np.ones((5, 5))
    expected[2:5, 0:4] = 0
    mask = dbl.expand_seeds(seeds, 3)
    np.testing.assert_array_equal(mask, expected)
    assert mask.sum() == 13

    class Noise:
        def random(self, shape):
            return np.where(seeds == 0, 0.0, 1.0).reshape(shape)

    x = np.arange(1.0, 26).reshape(1, 5, 5, 1)
    dropped = dbl.drop_block(x, 3, 0.9, Noise())
    np.testing.assert_allclose(dropped[0, :, :, 0], x[0, :, :, 0] * expected * 25 / 13)


def test_an_even_block_extends_one_place_further_up_and_left_of_its_center():
    is_center = np.zeros((4, 4), bool)
    is_center[2, 2] = True
    seeds = np.ones((3, 3), int)
    seeds[1, 1] = 0
    expected = [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    np.testing.assert_array_equal(oracle.keep_mask(is_center, 2), expected)
    np.testing.assert_array_equal(dbl.expand_seeds(seeds, 2), expected)


def test_gamma_of_the_paper_as_printed():
    assert dbl.gamma(0.9, 3, 5) == pytest.approx(0.1 / 9 * 25 / 9, rel=1e-15)
    assert str(dbl.gamma(0.9, 3, 5)).startswith("0.030864197")


@repeatable
@given(st.floats(1e-9, 1), sizes(map_sides={1: 200, 2: 200, 3: 200}))
def test_gamma_is_equation_1_to_the_last_digit(keep_prob, sizes):
    exact = oracle.paper_gamma(keep_prob, *sizes)
    assert dbl.gamma(keep_prob, *sizes) == pytest.approx(float(exact), rel=1e-15, abs=0)
    assert exact <= 1


@pytest.mark.parametrize(
    ("block_size", "feat_size"),
    [
        *((1, 3), (2, 3), (3, 3), (2, 4), (3, 5), ((1, 2), (3, 4)), ((5, 2), (3, 5))),
        *((3, (9,)), ((4,), 7), ((2, 1, 3), (3, 2, 3)), (2, (2, 3, 3))),
    ],
)
@pytest.mark.parametrize("gamma", [0.0, 0.03, 0.4, 1.0])
def test_the_expected_drop_rate_is_that_of_all_seed_fields(
    gamma, block_size, feat_size
):
    expected = oracle.drop_rate_by_enumeration(gamma, block_size, feat_size)
    rate = dbl.expected_drop_rate(gamma, block_size, feat_size)
    assert rate == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_a_gamma_above_one_drops_everything():
    assert dbl.expected_drop_rate(1.5, 3, 5) == 1.0


@pytest.mark.parametrize(
    ("block_size", "feat_size"),
    [
        *itertools.product([*BLOCK_SIZES, 2, 9, (1, 5), (6, 3)], MANY_FEAT_SIZES),
        *itertools.product([1, 4, 7], [(56,), (3,), (8, 14, 5), (1, 2, 3)]),
    ],
)
def test_the_exact_gamma_hits_keep_prob(block_size, feat_size):
    gammas = [dbl.exact_gamma(p, block_size, feat_size) for p in KEEP_PROBS]
    rates = [dbl.expected_drop_rate(g, block_size, feat_size) for g in gammas]
    np.testing.assert_allclose(rates, 1 - np.array(KEEP_PROBS), rtol=0, atol=1e-12)
    assert gammas == sorted(gammas)
    assert dbl.exact_gamma(1, block_size, feat_size) == 0


@pytest.mark.parametrize("keep_prob", [1e-6, 1e-10, 1e-17, 1e-100, 5e-324])
def test_the_exact_gamma_of_a_tiny_keep_prob_is_still_a_probability(keep_prob):
    gamma = dbl.exact_gamma(keep_prob, 7, 56)
    assert 0.999 < gamma <= 1
    rate = dbl.expected_drop_rate(gamma, 7, 56)
    assert rate == pytest.approx(1 - keep_prob, rel=0, abs=1e-12)


def test_the_exact_gamma_where_it_has_a_closed_form():
    assert dbl.exact_gamma(0.9, 1, 7) == pytest.approx(0.1, rel=1e-14)
    assert dbl.exact_gamma(0.9, 7, 7) == pytest.approx(0.1, rel=1e-14)


@pytest.mark.parametrize("feat_size", [*FEAT_SIZES, (40,), (4, 5, 3)])
@pytest.mark.parametrize("block_size", BLOCK_SIZES)
@pytest.mark.parametrize("rule", ["paper", "exact"])
def test_the_dropped_fraction_is_the_expected_one(rule, block_size, feat_size):
    keep_prob, masks = 0.8, 200 if feat_size == 56 else 1500
    make = {"paper": dbl.gamma, "exact": dbl.exact_gamma}[rule]
    gamma = make(keep_prob, block_size, feat_size)
    expected = dbl.expected_drop_rate(gamma, block_size, feat_size)
    if rule == "exact":
        assert expected == pytest.approx(1 - keep_prob, rel=1e-12)

    x = np.ones((masks // 2, *oracle.sides(feat_size), 2))
    rng = np.random.default_rng(20181030)
    dropped = dbl.drop_block(x, block_size, keep_prob, rng, gamma=rule) == 0
    tolerance = 5 * oracle.standard_error(gamma, block_size, feat_size, masks)
    assert abs(dropped.mean() - expected) < tolerance


@pytest.mark.parametrize(
    ("block_size", "feat_size"),
    [(1, 3), (2, 3), (2, 4), ((1, 2), (3, 4)), (3, 5), (3, (9,)), (2, (2, 3, 4))],
)
def test_the_variance_that_tolerances_are_based_on(block_size, feat_size):
    """The oracle's formula against the mean square over all seed fields."""
    gamma, shape = 0.2, dbl.seed_shape(block_size, feat_size)
    fields = np.array(list(np.ndindex(*[2] * math.prod(shape))))
    weights = np.prod(np.where(fields, 1 - gamma, gamma), axis=1)
    masks = dbl.expand_seeds(fields.reshape(-1, *shape), block_size, feat_size)
    rates = 1 - masks.reshape(len(masks), -1).mean(axis=1)
    mean = np.sum(weights * rates)
    expected = np.sum(weights * (rates - mean) ** 2)
    variance = oracle.drop_rate_variance(gamma, block_size, feat_size)
    assert variance == pytest.approx(expected, rel=1e-10)


def test_cover_counts_by_hand():
    np.testing.assert_array_equal(
        dbl.cover_counts((2, 3), (3, 4)), [[1, 2, 2, 1], [2, 4, 4, 2], [1, 2, 2, 1]]
    )
    np.testing.assert_array_equal(dbl.cover_counts(9, (2, 3)), np.ones((2, 3)))
    np.testing.assert_array_equal(dbl.cover_counts(3, (5,)), [1, 2, 3, 2, 1])
    volume = dbl.cover_counts((2, 1, 2), (2, 1, 3))
    np.testing.assert_array_equal(volume, [[[1, 2, 1]], [[1, 2, 1]]])


def test_tuples_decide_how_many_sides_a_map_has_and_integers_mean_two():
    for function in (dbl.gamma, dbl.exact_gamma):
        assert function(0.9, 7, 14) == function(0.9, (7, 7), (14, 14))
        for rank in (1, 2, 3):
            whole = function(0.9, (7,) * rank, (14,) * rank)
            assert function(0.9, 7, (14,) * rank) == whole
            assert function(0.9, (7,) * rank, 14) == whole
    assert dbl.seed_shape(3, [5, 6, 7]) == (3, 4, 5)
    assert dbl.expand_seeds(np.ones((2, 3, 4)), 2).shape == (2, 4, 5)
    assert dbl.expand_seeds(np.ones((2, 3, 4)), (2,)).shape == (2, 3, 5)
    assert dbl.expand_seeds(np.ones((2, 3, 4)), 2, (3, 4, 5)).shape == (3, 4, 5)


@pytest.mark.parametrize("shape", [(2, 0, 8, 4), (2, 8, 0, 4), (0, 8, 8, 4)])
@pytest.mark.parametrize("gamma", ["paper", "exact"])
def test_maps_without_units_stay_empty(gamma, shape):
    rng = np.random.default_rng(0)
    assert dbl.drop_block(np.ones(shape), 3, 0.9, rng, gamma=gamma).shape == shape
    with pytest.raises(ValueError, match="argument `keep_prob`"):
        dbl.drop_block(np.ones(shape), 3, 0, rng, gamma=gamma)


def test_inference_and_keep_prob_1_return_the_input():
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype("float32")
    for arguments in ({"keep_prob": 0.5, "training": False}, {"keep_prob": 1}):
        y = dbl.drop_block(x, 3, rng=np.random.default_rng(1), **arguments)
        np.testing.assert_array_equal(y, x)
        assert y.dtype == x.dtype


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dropped_units_are_zero_whatever_their_value_was(dtype):
    x = np.full((1, 4, 4, 1), np.nan, dtype)
    y = dbl.drop_block(x, 9, 1e-12, np.random.default_rng(0))
    np.testing.assert_array_equal(y, np.zeros_like(x))
    assert y.dtype == dtype


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_integers_are_scaled_as_floats(dtype):
    x = np.full((4, 8, 8, 3), 200).astype(dtype)
    y = dbl.drop_block(x, 3, 0.5, np.random.default_rng(0))
    expected = dbl.drop_block(x.astype("float32"), 3, 0.5, np.random.default_rng(0))
    assert y.dtype == "float32" and y.max() > x.max()
    np.testing.assert_array_equal(y, expected)


def test_bfloat16_stays_bfloat16():
    x = np.ones((1, 8, 8, 4), ml_dtypes.bfloat16)
    y = dbl.drop_block(x, 3, 0.9, np.random.default_rng(0))
    expected = dbl.drop_block(x.astype("float32"), 3, 0.9, np.random.default_rng(0))
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, expected.astype(ml_dtypes.bfloat16))


def test_a_shared_mask_is_the_same_in_every_channel():
    x = np.ones((4, 8, 8, 3))
    shared = dbl.drop_block(x, 3, 0.7, np.random.default_rng(0), per_channel=False)
    own = dbl.drop_block(x, 3, 0.7, np.random.default_rng(0))
    assert (shared == shared[..., :1]).all()
    assert 0 < (shared == 0).mean() < 1
    assert (own != own[..., :1]).any()


@pytest.mark.parametrize("function", [dbl.gamma, dbl.exact_gamma])
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((0, 3, 5), "keep_prob"),
        ((float("nan"), 3, 5), "keep_prob"),
        ((0.9, 0, 5), "block_size"),
        ((0.9, 2.5, 5), "block_size"),
        ((0.9, 3, 0), "feat_size"),
        ((0.9, 3, (5, 5, 5, 5)), "feat_size"),
        ((0.9, (3,) * 4, 5), "block_size"),
        ((0.9, 3, ()), "feat_size"),
        ((0.9, (3, 3, 3), (5, 5)), "block_size"),
    ],
)
def test_the_gammas_reject_bad_arguments(function, arguments, name):
    with pytest.raises(ValueError, match=f"received for argument `{name}`"):
        function(*arguments)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((-0.1, 3, 5), "gamma"), ((0.1, -1, 5), "block_size"), ((0.1, 3, 0), "feat_size")],
)
def test_the_expected_drop_rate_rejects_bad_arguments(arguments, name):
    with pytest.raises(ValueError, match=f"received for argument `{name}`"):
        dbl.expected_drop_rate(*arguments)


@pytest.mark.parametrize(
    ("seeds", "arguments"),
    [
        (np.ones(3), (3,)),
        (np.full((3, 3), 0.5), (3,)),
        (np.full((3, 3), np.nan), (3,)),
        (np.ones((3, 3)), (3, (5, 6))),
        (np.ones((2, 2)), (9, 4)),
        (np.ones((3, 3)), ((3, 3, 3),)),
        (np.ones((3, 3)), ((3,), (6,))),
    ],
)
def test_seeds_that_do_not_fit_are_rejected(seeds, arguments):
    with pytest.raises(ValueError, match="received for argument `seeds`"):
        dbl.expand_seeds(seeds, *arguments)


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"x": np.ones((5, 5))}, "x"),
        ({"x": np.ones((1, 5, 5, 5, 5, 1))}, "x"),
        ({"block_size": (3, 3, 3)}, "block_size"),
        ({"block_size": 0}, "block_size"),
        ({"keep_prob": 1.5}, "keep_prob"),
        ({"keep_prob": 1.5, "training": False}, "keep_prob"),
        ({"gamma": "best"}, "gamma"),
        ({"x": np.ones((1, 5, 5, 1), complex)}, "x"),
        ({"x": np.full((1, 5, 5, 1), "1")}, "x"),
        ({"rng": 0}, "rng"),
        ({"per_channel": "no"}, "per_channel"),
        ({"training": None}, "training"),
    ],
)
def test_drop_block_rejects_bad_arguments(changed, name):
    arguments = {
        "x": np.ones((1, 5, 5, 1)),
        "block_size": 3,
        "keep_prob": 0.9,
        "rng": np.random.default_rng(0),
    }
    with pytest.raises(ValueError, match=f"received for argument `{name}`"):
        dbl.drop_block(**{**arguments, **changed})
