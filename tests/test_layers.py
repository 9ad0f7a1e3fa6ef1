"""The Keras layer against the NumPy reference, probabilities and Keras' layers."""

import json
import math

import keras
import ml_dtypes
import numpy as np
import oracle
import pytest
from backend import (
    BACKEND,
    DTYPES,
    array,
    compiled,
    gradient,
    noise_of_seeds,
    tensor,
    trained,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from keras.src.testing import TestCase

import dropblock_lib as dbl
from dropblock_lib import DropBlock2D

pytestmark = pytest.mark.backends

FEAT_SIZES = [56, 14, 8, 7, 4, (8, 14), (14, 8)]
BLOCK_SIZES = [1, 3, 4, 7]
GAMMAS = {"paper": dbl.gamma, "exact": dbl.exact_gamma}

# JAX recompiles for every shape.
repeatable = settings(
    deadline=None, derandomize=True, max_examples=8 if BACKEND == "jax" else 30
)


class Noise:
    """Replaces NumPy's generator and returns the given noise."""

    def __init__(self, noise):
        self.noise = noise

    def random(self, shape):
        assert shape == self.noise.shape
        return self.noise


def random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def noise_for(x, block_size, per_channel=True, seed=0):
    samples, *sides, channels = x.shape
    seed_shape = dbl.seed_shape(block_size, tuple(sides))
    shape = (samples, *seed_shape, channels if per_channel else 1)
    return np.random.default_rng(seed).random(shape, dtype="float32")


def drops(layer, shape):
    """Where the layer drops during training."""
    return array(trained(layer, ops.ones(shape))) == 0


def dropped_model(*layers, input_shape=(8, 8, 4), **compile_arguments):
    """A model whose metric `dropped` is the fraction of units that its layers drop."""
    model = keras.Sequential([keras.Input(input_shape), *layers])

    def dropped(y_true, y_pred):
        return ops.mean(ops.cast(ops.equal(y_pred, 0), "float32"))

    # A weight that does not train, because Keras warns about models without any.
    model.add(keras.layers.Dense(input_shape[-1], kernel_initializer="identity"))
    optimizer = keras.optimizers.SGD(0.0)
    model.compile(optimizer, "mse", metrics=[dropped], **compile_arguments)
    return model


def plain_model(layer):
    return keras.Sequential([keras.Input((8, 8, 4)), layer, keras.layers.Flatten()])


# The same noise gives the reference's mask


@repeatable
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 3, 4, 9, (2, 3), (4, 1), (9, 2)]),
    st.sampled_from([(5, 5), (4, 7), (7, 4), (1, 6)]),
    st.sampled_from([(1, 1), (2, 3)]),
    st.sampled_from([1.0, 0.9, 0.6, 0.1]),
    st.sampled_from(["paper", "exact"]),
    st.booleans(),
    st.sampled_from(["channels_last", "channels_first"]),
)
def test_given_the_same_noise_it_equals_the_reference(
    seed, block_size, feat_size, others, keep_prob, rule, per_channel, data_format
):
    samples, channels = others
    x = random((samples, *feat_size, channels), seed)
    noise = noise_for(x, block_size, per_channel, seed)
    expected = dbl.drop_block(
        x, block_size, keep_prob, Noise(noise), gamma=rule, per_channel=per_channel
    )
    if data_format == "channels_first":
        x, noise, expected = (np.moveaxis(a, -1, 1) for a in (x, noise, expected))

    layer = DropBlock2D(
        block_size,
        keep_prob,
        gamma=rule,
        per_channel=per_channel,
        data_format=data_format,
    )
    with noise_of_seeds(noise):
        y = array(trained(layer, tensor(x)))
    np.testing.assert_array_equal(y == 0, expected == 0)
    np.testing.assert_allclose(y, expected, rtol=1e-6)


LAYERS = {1: dbl.DropBlock1D, 2: DropBlock2D, 3: dbl.DropBlock3D}


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("block_size", "feat_size", "rule", "per_channel"),
    [
        (3, (9,), "paper", True),
        ((4,), (3,), "exact", False),
        (2, (4, 3, 5), "exact", True),
        ((3, 1, 9), (5, 2, 4), "paper", False),
    ],
)
def test_sequences_and_volumes_equal_the_reference(
    block_size, feat_size, rule, per_channel, data_format
):
    x = random((2, *feat_size, 3))
    shape = (2, *dbl.seed_shape(block_size, feat_size), 3 if per_channel else 1)
    noise = np.random.default_rng(1).random(shape, dtype="float32")
    options = {"gamma": rule, "per_channel": per_channel}
    expected = dbl.drop_block(x, block_size, 0.6, Noise(noise), **options)
    if data_format == "channels_first":
        x, noise, expected = (np.moveaxis(a, -1, 1) for a in (x, noise, expected))
    layer = LAYERS[len(feat_size)](block_size, 0.6, data_format=data_format, **options)
    with noise_of_seeds(noise):
        y = array(trained(layer, tensor(x)))
    np.testing.assert_array_equal(y == 0, expected == 0)
    np.testing.assert_allclose(y, expected, rtol=1e-6)


@pytest.mark.parametrize("rank", LAYERS)
def test_every_rank_drops_saves_and_rejects_in_the_same_way(rank, tmp_path):
    sides = {1: (60,), 2: (12, 9), 3: (6, 7, 5)}[rank]
    inputs = keras.Input((*sides, 8))
    layer = LAYERS[rank](3, 0.8, gamma="exact", seed=1)
    model = keras.Model(inputs, layer(inputs))
    y = array(trained(layer, ops.ones((16, *sides, 8))))
    gamma = dbl.exact_gamma(0.8, 3, sides)
    error = oracle.standard_error(gamma, 3, sides, 16 * 8)
    assert abs((y == 0).mean() - 0.2) < 5 * error
    assert y.mean(dtype="float64") == pytest.approx(1, rel=1e-5)
    model.save(tmp_path / "model.keras")
    [loaded] = dbl.find_drop_block_layers(
        keras.saving.load_model(tmp_path / "model.keras")
    )
    assert loaded.get_config() == layer.get_config()
    assert keras.saving.get_registered_name(LAYERS[rank]) == (
        f"dropblock_lib>DropBlock{rank}D"
    )
    with pytest.raises(ValueError, match=f"a tensor of rank {rank + 2}"):
        LAYERS[rank](3)(np.ones((2,) * (rank + 3), "float32"))
    with pytest.raises(ValueError, match="argument `block_size`"):
        LAYERS[rank]((3,) * (rank % 3 + 1))


def exported(model, shape, folder):
    """A function of an array: the model as an exported program.

    Args:
        model: Model with one input.
        shape: Shape of its input, with `None` for a size that may vary.
        folder: Where to write the program.
    """
    if BACKEND != "torch":
        import tensorflow as tf

        model.export(folder, verbose=False)
        program = tf.saved_model.load(folder)
        return lambda x: program.serve(x).numpy()
    import torch

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model(x)

    varying = {
        axis: torch.export.Dim(f"size{axis}", max=1000)
        for axis, size in enumerate(shape)
        if size is None
    }
    example = torch.ones([8 if size is None else size for size in shape])
    program = torch.export.export(
        Module(), (example,), dynamic_shapes=(varying,), strict=False
    )
    torch.export.save(program, folder)
    module = torch.export.load(folder).module()
    return lambda x: module(torch.tensor(x)).detach().numpy()


@pytest.mark.parametrize(
    "sides", [(20,), (None,), (6, 7), (5, None), (4, 3, 5), (None, None, None)]
)
def test_an_export_that_samples_takes_batches_and_maps_of_any_size(sides, tmp_path):
    """On JAX and PyTorch, unknown sizes are symbols while the model is exported."""
    block_size, options = {
        1: (3, {"data_format": "channels_first"}),
        2: ((3, 2), {"gamma": "exact"}),
        3: (2, {"per_channel": False, "data_format": "channels_last"}),
    }[len(sides)]
    layer = LAYERS[len(sides)](block_size, 0.6, **options)

    def shape_of(sides):
        return (32, *sides) if layer.data_format == "channels_first" else (*sides, 32)

    inputs = keras.Input(shape_of(sides))
    model = keras.Model(inputs, layer(inputs, training=True))
    program = exported(model, (None, *shape_of(sides)), tmp_path / "export.pt2")

    # The second maps are smaller than a block where their size is unknown.
    for samples, others in ((40, (7, 3, 5)), (200, (1, 1, 1))):
        pairs = zip(sides, others, strict=False)
        feat_size = tuple(side or other for side, other in pairs)
        x = np.ones((samples, *shape_of(feat_size)), "float32")
        first, second = (program(x) for _ in range(2))
        assert first.shape == x.shape
        assert (first != second).any()
        assert first.mean(dtype="float64") == pytest.approx(1, rel=1e-5)
        gamma = GAMMAS[layer.gamma](0.6, block_size, feat_size)
        masks = samples * (32 if layer.per_channel else 1)
        error = oracle.standard_error(gamma, block_size, feat_size, masks)
        expected = dbl.expected_drop_rate(gamma, block_size, feat_size)
        assert abs((first == 0).mean() - expected) < 5 * error


# How much is dropped


RATES = [("paper", block, feat) for feat in FEAT_SIZES for block in BLOCK_SIZES]
RATES += [("exact", 3, 4), ("exact", 4, (8, 14)), ("exact", 7, 14), ("exact", 7, 56)]


@pytest.mark.parametrize(("rule", "block_size", "feat_size"), RATES)
def test_the_dropped_fraction_is_the_expected_one(rule, block_size, feat_size):
    keep_prob = 0.8
    samples, channels = (24, 4) if feat_size == 56 else (128, 16)
    layer = DropBlock2D(block_size, keep_prob, gamma=rule, seed=1)
    x = ops.ones((samples, *oracle.sides(feat_size), channels))
    y = array(compiled(layer)(x))
    dropped = y == 0

    gamma = GAMMAS[rule](keep_prob, block_size, feat_size)
    expected = dbl.expected_drop_rate(gamma, block_size, feat_size)
    tolerance = 5 * oracle.standard_error(
        gamma, block_size, feat_size, samples * channels
    )
    assert abs(dropped.mean() - expected) < tolerance
    # The scale preserves the mean over the batch.
    assert y.mean(dtype="float64") == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("keep_prob", [0.999, 0.1, 0.001, 1e-6, 1e-12, 1e-44, 1e-300])
def test_the_exact_rule_holds_at_any_keep_prob(keep_prob):
    masks, feat_size = (2000, 5), (9, 6)
    layer = DropBlock2D(3, keep_prob, gamma="exact", seed=4)
    dropped = drops(layer, (masks[0], *feat_size, masks[1]))
    gamma = dbl.exact_gamma(keep_prob, 3, feat_size)
    error = oracle.standard_error(gamma, 3, feat_size, math.prod(masks))
    # One unit is the smallest difference that can be observed.
    assert abs(dropped.mean() - (1 - keep_prob)) < 5 * error + 1 / dropped.size


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_no_place_is_favored_and_masks_are_uncorrelated(data_format):
    """Each unit drops as often as its seeds imply, and masks are independent."""
    block_size, keep_prob, feat_size, masks = (3, 2), 0.7, (7, 6), (80, 60)
    layer = DropBlock2D(block_size, keep_prob, data_format=data_format, seed=2)
    if data_format == "channels_last":
        dropped = drops(layer, (masks[0], *feat_size, masks[1]))
        dropped = np.moveaxis(dropped, -1, 1)
    else:
        dropped = drops(layer, (*masks, *feat_size))
    count = math.prod(masks)
    fields = dropped.reshape(count, *feat_size)

    gamma = dbl.gamma(keep_prob, block_size, feat_size)
    expected = 1 - (1 - gamma) ** dbl.cover_counts(block_size, feat_size)
    errors = np.sqrt(expected * (1 - expected) / count)
    assert (np.abs(fields.mean(axis=0) - expected) < 5 * errors).all()

    # If the masks of a sample, or of a channel, were correlated, its mean would vary
    # more than that of 60, or 80, independent masks. A mean of that many is nearly
    # normal, so the variance of n means has a relative error of √(2 / n).
    variance = oracle.drop_rate_variance(gamma, block_size, feat_size)
    for axes in ((1, 2, 3), (0, 2, 3)):
        rates = dropped.mean(axis=axes)
        off = np.mean((rates - expected.mean()) ** 2) * (count / rates.size)
        assert abs(off - variance) < 5 * variance * np.sqrt(2 / rates.size)


def test_masks_differ_between_samples_channels_and_calls():
    layer = DropBlock2D(3, 0.7, seed=3)
    first, second = (drops(layer, (4, 12, 12, 4)) for _ in range(2))
    masks = np.concatenate([np.moveaxis(d, -1, 1) for d in (first, second)])
    assert len({mask.tobytes() for mask in masks.reshape(-1, 144)}) == 2 * 4 * 4


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_channels_share_one_mask_without_per_channel(data_format):
    layer = DropBlock2D(3, 0.7, per_channel=False, data_format=data_format, seed=3)
    axis = -1 if data_format == "channels_last" else 1
    dropped = np.moveaxis(drops(layer, (4, 16, 16, 16)), axis, -1)
    assert (dropped == dropped[..., :1]).all()
    assert len({mask.tobytes() for mask in dropped[..., 0]}) == 4
    gamma = dbl.gamma(0.7, 3, 16)
    rate = dbl.expected_drop_rate(gamma, 3, 16)
    assert abs(dropped.mean() - rate) < 5 * oracle.standard_error(gamma, 3, 16, 4)


# Its limits are Dropout and SpatialDropout2D


@pytest.mark.parametrize("rule", ["paper", "exact"])
def test_a_block_of_one_unit_behaves_as_dropout(rule):
    shape, rate = (64, 10, 10, 8), 0.3
    ours = array(
        DropBlock2D(1, 1 - rate, gamma=rule, seed=1)(ops.ones(shape), training=True)
    )
    theirs = array(keras.layers.Dropout(rate, seed=1)(ops.ones(shape), training=True))
    error = math.sqrt(rate * (1 - rate) / math.prod(shape))
    for y in (ours, theirs):
        dropped = y == 0
        assert abs(dropped.mean() - rate) < 5 * error
        # Neighbors are independent: they are dropped together only by chance.
        for axis in (0, 1, 2, 3):
            together = dropped & np.roll(dropped, 1, axis)
            # Each unit is in two pairs, so adjacent pairs are correlated.
            p = rate**2
            variance = p * (1 - p) + 2 * (rate**3 - p**2)
            assert abs(together.mean() - p) < 5 * math.sqrt(variance / dropped.size)
    # Dropout divides by the expected fraction, DropBlock by the actual one.
    kept = 1 - (ours == 0).mean()
    np.testing.assert_allclose(ours[ours != 0], 1 / kept, rtol=1e-5)
    np.testing.assert_allclose(theirs[theirs != 0], 1 / (1 - rate), rtol=1e-5)
    assert abs(1 / kept - 1 / (1 - rate)) < 5 * error / (1 - rate) ** 2 * 1.1


@pytest.mark.parametrize("block_size", [6, 7, (9, 6)])
def test_a_block_that_covers_the_map_behaves_as_spatial_dropout(block_size):
    shape, rate = (200, 5, 6, 20), 0.3
    ours = DropBlock2D(block_size, 1 - rate, seed=1)
    theirs = keras.layers.SpatialDropout2D(rate, seed=1)
    for layer in (ours, theirs):
        dropped = drops(layer, shape)
        assert (dropped == dropped[:, :1, :1]).all()
        channels = dropped[:, 0, 0]
        error = math.sqrt(rate * (1 - rate) / channels.size)
        assert abs(channels.mean() - rate) < 5 * error


# When it drops


def test_it_returns_its_input_unless_training():
    x = tensor(random((2, 6, 6, 3)))
    layer = DropBlock2D(3, 0.3, seed=1)
    for arguments in ({}, {"training": False}, {"training": None}):
        np.testing.assert_array_equal(array(layer(x, **arguments)), array(x))
    assert (array(layer(x, training=True)) == 0).any()


@pytest.mark.parametrize("rule", ["paper", "exact"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_keep_prob_1_is_the_identity_even_for_the_largest_numbers(rule, dtype):
    x = random((2, 6, 6, 3)).astype("float64")
    layer = DropBlock2D(3, 1.0, gamma=rule, dtype=dtype)
    for edge in (float(ml_dtypes.finfo(dtype).max), -math.inf):
        x[0, 0, 0, 0] = edge
        y = layer(tensor(x, dtype), training=True)
        np.testing.assert_array_equal(array(y), array(tensor(x, dtype)))


@pytest.mark.parametrize("shape", [(3, 9, 9, 32), (41, 3, 3, 4)])
def test_keep_prob_1_is_the_identity_in_compiled_code(shape):
    """A compiler may multiply by a rounded reciprocal instead of dividing."""
    x = random(shape)
    np.testing.assert_array_equal(array(compiled(DropBlock2D(3, 1.0))(tensor(x))), x)


def test_fit_drops_and_predict_does_not():
    model = dropped_model(DropBlock2D(3, 0.6, gamma="exact", seed=5))
    x = np.ones((64, 8, 8, 4), "float32")
    history = model.fit(x, x, batch_size=32, verbose=0, validation_data=(x, x)).history
    gamma = dbl.exact_gamma(0.6, 3, 8)
    assert abs(history["dropped"][0] - 0.4) < 5 * oracle.standard_error(
        gamma, 3, 8, 64 * 4
    )
    assert history["val_dropped"] == [0]
    np.testing.assert_array_equal(model.predict(x, verbose=0), x)


# Dtypes and extreme numbers


@pytest.mark.parametrize("sides", [(7, 5), (12,), (4, 5, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_output_has_the_dtype_of_the_input(dtype, sides):
    x = random((2, *sides, 3))
    noise = noise_for(x, 3)
    layer = LAYERS[len(sides)](3, 0.6, dtype=dtype)
    with noise_of_seeds(noise):
        y = layer(tensor(x, dtype), training=True)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    rounded = array(tensor(x, dtype)).astype("float64")
    expected = dbl.drop_block(rounded, 3, 0.6, Noise(noise))
    # The scale is rounded once, and the product once more.
    np.testing.assert_allclose(
        array(y), expected, rtol=2 * float(ml_dtypes.finfo(dtype).eps)
    )
    np.testing.assert_array_equal(array(y) == 0, expected == 0)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "bool"])
def test_integers_are_dropped_and_scaled_as_floats(dtype):
    x = (100 * np.ones((4, 16, 16, 3))).astype(dtype)
    same, floats = (DropBlock2D(3, 0.8, seed=1) for _ in range(2))
    y = array(same(tensor(x, dtype), training=True))
    np.testing.assert_array_equal(y, array(floats(x.astype("float32"), training=True)))
    assert y.mean() == pytest.approx(x.mean(), rel=1e-5)
    inference = same(tensor(x, dtype))
    assert keras.backend.standardize_dtype(inference.dtype) == "float32"
    np.testing.assert_array_equal(array(inference), x)
    inputs = keras.Input((16, 16, 3), dtype=dtype)
    assert DropBlock2D(3, dtype="mixed_float16")(inputs).dtype == "float16"


def test_a_layer_that_computes_in_integers_is_rejected():
    with pytest.raises(ValueError, match=r"argument `dtype`.*floating-point.*'uint8'"):
        DropBlock2D(3, dtype="uint8")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_leaves_keep_prob_precise(policy):
    layer = DropBlock2D(3, 0.9999, dtype=policy, seed=1)
    y = layer(ops.ones((64, 20, 20, 16)), training=True)
    assert keras.backend.standardize_dtype(y.dtype) == policy.removeprefix("mixed_")
    [keep_prob] = (v for v in layer.variables if v.name == "keep_prob")
    assert keras.backend.standardize_dtype(keep_prob.dtype) == "float32"
    gamma = dbl.gamma(0.9999, 3, 20)
    rate = dbl.expected_drop_rate(gamma, 3, 20)
    error = oracle.standard_error(gamma, 3, 20, 64 * 16)
    assert abs((array(y) == 0).mean() - rate) < min(5 * error, rate)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("keep_prob", [0.9, 0.5, 1e-6])
def test_the_output_is_finite_for_the_largest_numbers(dtype, keep_prob):
    # The range of the other dtypes is far beyond any scaled activation.
    largest = 65504.0 if dtype == "float16" else 1e29
    for block_size, shape in ((3, (2, 9, 9, 2)), (7, (1, 7, 7, 1))):
        layer = DropBlock2D(block_size, keep_prob, dtype=dtype, seed=1)
        for value in (largest, -largest, largest / 1.5, 1.0):
            x = np.full(shape, value)
            y = array(layer(tensor(x, dtype), training=True))
            assert np.isfinite(y).all()
            assert np.isin(np.sign(y), (0, np.sign(value))).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_empty_batch_stays_empty(dtype):
    y = DropBlock2D(3, 0.9, dtype=dtype)(ops.zeros((0, 8, 8, 4), dtype), training=True)
    assert tuple(y.shape) == (0, 8, 8, 4)


@pytest.mark.parametrize("shape", [(2, 0, 8, 4), (2, 8, 0, 4), (2, 8, 8, 0)])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_maps_without_units_stay_empty(gamma, shape):
    y = DropBlock2D(3, 0.9, gamma=gamma)(ops.zeros(shape), training=True)
    assert tuple(y.shape) == shape


@pytest.mark.parametrize("training", [False, True])
def test_complex_numbers_are_rejected_rather_than_cut(training):
    x = ops.convert_to_tensor(np.ones((2, 8, 8, 4), "complex64"))
    with pytest.raises(ValueError, match=r"argument `inputs`.*floats, integers or Bo"):
        DropBlock2D(3)(x, training=training)


@pytest.mark.parametrize("block_size", [1, 5, 7, (7, 1)])
def test_the_output_is_zero_rather_than_nan_if_nothing_is_kept(block_size):
    layer = DropBlock2D(block_size, 1e-12, gamma="exact", seed=1)
    y = array(layer(tensor(random((1, 5, 5, 1))), training=True))
    np.testing.assert_array_equal(y, np.zeros_like(y))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "largest"])
@pytest.mark.parametrize("sides", [(6, 6), (40,), (4, 4, 5)])
def test_dropped_values_affect_neither_outputs_nor_gradients(dtype, value, sides):
    if value == "largest":
        value = float(ml_dtypes.finfo(dtype).max)
    x = random((2, *sides, 2)).astype("float64")
    x.flat[0] = float(ml_dtypes.finfo(dtype).max) / 2
    noise = noise_for(x, 3, seed=1)
    # The large unit is kept: dropped ones must not affect its scale.
    noise.flat[0] = 1
    dropped = dbl.drop_block(np.ones_like(x), 3, 0.5, Noise(noise)) == 0
    assert not dropped.flat[0]
    assert 0.2 < dropped.mean() < 0.8
    layer = LAYERS[len(sides)](3, 0.5, dtype=dtype)

    def run(x):
        x = tensor(x, dtype)
        with noise_of_seeds(noise):
            y = layer(x, training=True)
            slope = gradient(lambda x: ops.sum(layer(x, training=True) / 64), x)
        return array(y), array(slope)

    for spoiled, clean in zip(run(np.where(dropped, value, x)), run(x), strict=True):
        np.testing.assert_array_equal(spoiled, clean)
        assert np.isfinite(spoiled).all()
        assert (spoiled[dropped] == 0).all()


@pytest.mark.parametrize("sides", [(6, 7), (9,), (3, 4, 5)])
@pytest.mark.parametrize("per_channel", [True, False])
def test_the_gradient_is_the_mask_times_the_scale(per_channel, sides):
    shape = (3, *sides, 2)
    x, weights = random(shape), tensor(random(shape, seed=1))
    noise = noise_for(x, 2, per_channel)
    layer = LAYERS[len(sides)](2, 0.6, per_channel=per_channel)
    with noise_of_seeds(noise):
        slope = gradient(
            lambda x: ops.sum(layer(x, training=True) * weights), tensor(x)
        )
    mask_times_scale = dbl.drop_block(
        np.ones_like(x), 2, 0.6, Noise(noise), per_channel=per_channel
    )
    np.testing.assert_allclose(
        array(slope), mask_times_scale * array(weights), rtol=1e-6
    )


# Unknown and changing sizes


def test_a_model_takes_maps_of_any_size_even_smaller_than_the_block():
    inputs = keras.Input((None, None, 3))
    outputs = DropBlock2D((5, 3), 0.5, seed=1)(inputs)
    assert outputs.shape == (None, None, None, 3)
    pooled = keras.layers.GlobalAveragePooling2D()(outputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(pooled))
    model.compile("sgd", "mse")
    for shape in ((4, 9, 8, 3), (2, 3, 2, 3), (1, 1, 12, 3)):
        loss = model.train_on_batch(np.ones(shape, "float32"), np.ones((shape[0], 1)))
        assert np.isfinite(loss)


@pytest.mark.skipif(
    BACKEND != "tensorflow",
    reason=f"{BACKEND} compiles for known sizes only",
)
@pytest.mark.parametrize("rule", ["paper", "exact"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("block_size", "shapes"),
    [
        ((4, 3), [(3, 7, 6, 2), (2, 3, 5, 2), (1, 2, 2, 2), (1, 9, 1, 2)]),
        ((4,), [(3, 9, 2), (1, 2, 2)]),
        ((2, 1, 3), [(2, 3, 4, 5, 2), (1, 1, 2, 2, 2)]),
    ],
)
def test_unknown_sizes_in_compiled_code_give_the_reference(
    rule, data_format, block_size, shapes
):
    import tensorflow as tf

    rank = len(block_size)
    layer = LAYERS[rank](block_size, 0.7, gamma=rule, data_format=data_format)
    last = data_format == "channels_last"
    unknown = (None,) * rank
    unknown = (None, *unknown, 2) if last else (None, 2, *unknown)
    layer.build(unknown)
    for shape in shapes:
        x = random(shape)
        noise = noise_for(x, block_size)
        expected = dbl.drop_block(x, block_size, 0.7, Noise(noise), gamma=rule)
        if not last:
            x, noise, expected = (np.moveaxis(a, -1, 1) for a in (x, noise, expected))
        signature = tf.TensorSpec(unknown, "float32")
        call = tf.function(lambda x: layer(x, training=True), [signature])
        with noise_of_seeds(noise):
            np.testing.assert_allclose(array(call(x)), expected, rtol=1e-6)


@pytest.mark.skipif(
    BACKEND != "tensorflow",
    reason=f"{BACKEND} compiles for known sizes only",
)
@pytest.mark.parametrize("rule", ["paper", "exact"])
def test_unknown_sizes_in_a_compiled_fit(rule):
    import tensorflow as tf

    sizes = [(16, 9, 8), (8, 3, 20), (4, 2, 2)] * 2

    def batches():
        for size in sizes:
            yield (np.ones((*size, 4), "float32"),) * 2

    spec = tf.TensorSpec((None, None, None, 4), "float32")
    data = tf.data.Dataset.from_generator(batches, output_signature=(spec, spec))
    layer = DropBlock2D(5, 0.6, gamma=rule, seed=1)
    model = dropped_model(layer, input_shape=(None, None, 4))
    seen = []
    remember = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(logs["dropped"])
    )
    model.fit(data, verbose=0, callbacks=[remember])
    # The metric is a running mean; its differences belong to single batches.
    totals = np.array(seen) * np.arange(1, len(seen) + 1)
    batches_dropped = np.diff(totals, prepend=0)
    for (samples, *sides), dropped in zip(sizes, batches_dropped, strict=True):
        feat_size = tuple(sides)
        gamma = GAMMAS[rule](0.6, 5, feat_size)
        expected = dbl.expected_drop_rate(gamma, 5, feat_size)
        error = oracle.standard_error(gamma, 5, feat_size, samples * 4)
        assert abs(dropped - expected) < 5 * error


@pytest.mark.skipif(
    BACKEND != "tensorflow", reason=f"{BACKEND} has no tf.function to hand to XLA"
)
@pytest.mark.parametrize("rule", ["paper", "exact"])
def test_xla_gives_the_reference(rule):
    import tensorflow as tf

    x = random((2, 7, 6, 2))
    noise = noise_for(x, 3)
    layer = DropBlock2D(3, 0.7, gamma=rule)
    layer.build(x.shape)
    call = tf.function(lambda x: layer(x, training=True), jit_compile=True)
    with noise_of_seeds(noise):
        y = array(call(x))
    expected = dbl.drop_block(x, 3, 0.7, Noise(noise), gamma=rule)
    np.testing.assert_allclose(y, expected, rtol=1e-6)


# Assigning keep_prob


def test_keep_prob_reads_back_what_was_assigned():
    for layer in (DropBlock2D(3, 0.9), DropBlock2D(3, 0.9)):
        for value in (0.8, 1 / 3, 1.0, 1e-300, np.float64(0.1)):
            layer.keep_prob = value
            assert layer.keep_prob == value
            assert type(layer.keep_prob) is float
        layer.keep_prob = 0.8
        layer.keep_prob -= 0.07
        assert layer.keep_prob == 0.8 - 0.07
        layer.build((None, 4, 4, 1))
        assert layer.keep_prob == 0.8 - 0.07
        layer.keep_prob -= 0.07
        assert layer.keep_prob == 0.8 - 0.07 - 0.07


@pytest.mark.parametrize("sides", [(64,), (4, 5, 4)])
def test_a_schedule_takes_effect_at_every_rank(sides):
    layer = LAYERS[len(sides)](2, 0.5, gamma="exact", seed=1)
    model = dropped_model(layer, input_shape=(*sides, 4))
    x = np.ones((64, *sides, 4), "float32")
    scheduler = dbl.KeepProbScheduler(dbl.linear_schedule(1.0, 0.5, steps=2))
    history = model.fit(x, x, epochs=3, callbacks=[scheduler], verbose=0).history
    for dropped, keep_prob in zip(history["dropped"], (1, 0.75, 0.5), strict=True):
        gamma = dbl.exact_gamma(keep_prob, 2, sides)
        error = oracle.standard_error(gamma, 2, sides, 64 * 4)
        assert abs(dropped - (1 - keep_prob)) <= 5 * error


def test_an_assigned_keep_prob_takes_effect_in_a_compiled_step():
    layer = DropBlock2D(2, 1.0, gamma="exact", seed=1)
    model = dropped_model(layer)
    x = np.ones((64, 8, 8, 4), "float32")
    for keep_prob in (1.0, 0.7, 0.3):
        layer.keep_prob = keep_prob
        dropped = model.train_on_batch(x, x, return_dict=True)["dropped"]
        model.reset_metrics()
        gamma = dbl.exact_gamma(keep_prob, 2, 8)
        error = oracle.standard_error(gamma, 2, 8, 64 * 4)
        assert abs(float(dropped) - (1 - keep_prob)) <= 5 * error


@pytest.mark.parametrize("block_size", [1, 3, 7])
def test_every_keep_prob_holds_in_code_compiled_for_another(block_size):
    layer = DropBlock2D(block_size, 0.9, seed=1)
    call = compiled(layer)
    x = ops.ones((40, 12, 10, 16))
    for keep_prob in (0.9, 1.0, 0.999, 0.99, 0.95, 0.7, 0.5, 0.3, 0.1, 0.05):
        layer.keep_prob = keep_prob
        dropped = array(call(x)) == 0
        gamma = dbl.gamma(keep_prob, block_size, (12, 10))
        expected = dbl.expected_drop_rate(gamma, block_size, (12, 10))
        error = oracle.standard_error(gamma, block_size, (12, 10), 40 * 16)
        assert abs(dropped.mean() - expected) <= 5 * error
        # The end of the batch drops as much; random numbers would run out there first.
        last = dropped[-10:].mean()
        assert abs(last - expected) <= 5 * error * 2


def test_masks_do_not_depend_on_earlier_values_of_keep_prob():
    """Otherwise a resumed training run would differ from an uninterrupted one."""
    first, second = DropBlock2D(3, 0.3, seed=1), DropBlock2D(3, 1.0, seed=1)
    x = ops.ones((8, 12, 10, 16))
    outputs = []
    for layer in (first, second):
        layer.keep_prob = 0.8
        outputs.append(array(compiled(layer)(x)))
    np.testing.assert_array_equal(*outputs)


@pytest.mark.parametrize("bad", [0, 1.5, -1, math.nan, "0.9", True, None])
@pytest.mark.parametrize("built", [True, False])
def test_a_bad_assignment_leaves_the_old_value(bad, built):
    layer = DropBlock2D(3, 0.8)
    if built:
        layer.build((None, 4, 4, 1))
    with pytest.raises(ValueError) as error:
        layer.keep_prob = bad
    assert str(error.value) == (
        "Invalid value received for argument `keep_prob`. "
        f"Expected a float in (0, 1]. Received: keep_prob={bad!r}"
    )
    assert layer.keep_prob == 0.8
    if built:
        assert float(array(layer.variables[0].value)) == pytest.approx(0.8)


def test_an_assigned_keep_prob_is_kept_by_save_and_load(tmp_path):
    model = plain_model(DropBlock2D((3, 2), 0.9, gamma="exact", per_channel=False))
    model.layers[0].keep_prob = 0.37

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").layers[0]
    assert loaded.get_config() == model.layers[0].get_config()
    assert loaded.keep_prob == 0.37
    assert float(array(loaded.variables[0].value)) == np.float32(0.37)

    model.save_weights(tmp_path / "model.weights.h5")
    other = plain_model(DropBlock2D((3, 2), 0.9))
    other.load_weights(tmp_path / "model.weights.h5")
    assert other.layers[0].keep_prob == 0.37
    assert other.layers[0].get_config()["keep_prob"] == 0.37


def network(*between, seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            keras.layers.Conv2D(4, 3, name="first"),
            *between,
            keras.layers.Conv2D(2, 3, name="second"),
        ]
    )


@pytest.mark.parametrize("way", ["weights.h5", "h5", "set_weights"])
@pytest.mark.parametrize("drops", [True, False])
def test_weights_fit_a_network_with_the_layer_and_one_without(way, drops, tmp_path):
    drop = DropBlock2D(3, 0.8)
    if drops:
        source, target = network(seed=1), network(drop)
    else:
        source, target = network(drop, seed=1), network()
    path = tmp_path / f"source.{way}"
    if way == "set_weights":
        target.set_weights(source.get_weights())
    elif way == "h5":
        source.save(path)
        target.load_weights(path)
    else:
        source.save_weights(path)
        target.load_weights(path)
    for mine, theirs in zip(target.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert drop.keep_prob == 0.8


# Configuration


@pytest.mark.parametrize(
    "arguments",
    [
        {"block_size": 7},
        {"block_size": (3, 5), "keep_prob": 0.8, "gamma": "exact", "seed": 0},
        {"block_size": [2, 4], "per_channel": False, "data_format": "channels_first"},
        {"block_size": np.int64(3), "seed": np.int64(7), "dtype": "mixed_bfloat16"},
    ],
)
def test_a_layer_comes_back_from_its_configuration(arguments):
    layer = DropBlock2D(**arguments, name="drop")
    config = layer.get_config()
    assert DropBlock2D.from_config(config).get_config() == config
    # As in a file, without custom objects.
    stored = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    assert stored["registered_name"] == "dropblock_lib>DropBlock2D"
    assert keras.saving.deserialize_keras_object(stored).get_config() == config
    for name in (
        "keep_prob",
        "gamma",
        "per_channel",
        "data_format",
        "seed",
        "rate_scale",
    ):
        assert config[name] == getattr(layer, name)


def test_a_layer_comes_back_from_a_file_of_the_first_version():
    """The first version had other module names, and no `rate_scale` or schedule end."""
    config = {
        "name": "drop",
        "trainable": True,
        "dtype": {
            "module": "keras",
            "class_name": "DTypePolicy",
            "config": {"name": "mixed_float16"},
            "registered_name": None,
        },
        "block_size": [3, 5],
        "keep_prob": 0.8,
        "gamma": "exact",
        "per_channel": False,
        "data_format": "channels_first",
        "seed": 7,
    }
    stored = {
        "module": "dropblock_lib.drop_block_2d",
        "class_name": "DropBlock2D",
        "config": config,
        "registered_name": "dropblock_lib>DropBlock2D",
        "build_config": {"input_shape": [None, 8, 12, 12]},
    }
    layer = keras.saving.deserialize_keras_object(stored)
    assert type(layer) is DropBlock2D and layer.built
    written = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    assert written["config"] == {**config, "rate_scale": 1.0}


def test_the_default_arguments():
    layer = DropBlock2D(3)
    config = layer.get_config()
    del config["name"], config["dtype"]
    assert config == {
        "trainable": True,
        "block_size": 3,
        "keep_prob": 0.9,
        "gamma": "paper",
        "per_channel": True,
        "data_format": keras.config.image_data_format(),
        "seed": None,
        "rate_scale": 1.0,
    }


def test_a_cloned_model_has_the_current_keep_prob():
    model = plain_model(DropBlock2D((3, 2), 0.9, seed=1))
    model.layers[0].keep_prob = 0.6
    clone = keras.models.clone_model(model)
    assert clone.layers[0] is not model.layers[0]
    assert clone.layers[0].get_config() == model.layers[0].get_config()
    clone.layers[0].keep_prob = 0.3
    assert model.layers[0].keep_prob == 0.6


# Reproducibility


def test_the_same_seed_draws_the_same_masks_and_another_does_not():
    shape = (2, 8, 8, 4)

    def two_calls(seed):
        layer = DropBlock2D(3, 0.6, seed=seed)
        x = ops.ones(shape)
        return np.stack([array(layer(x, training=True)) for _ in range(2)])

    np.testing.assert_array_equal(two_calls(7), two_calls(7))
    assert (two_calls(7) != two_calls(8)).any()
    assert (two_calls(None) != two_calls(None)).any()


@pytest.mark.parametrize("keep_prob", [1.0, 0.9, 0.5, 0.1])
def test_a_call_advances_the_generator_once_however_bits_are_drawn(keep_prob):
    """Compiled code cannot advance it in one branch only."""
    expected = keras.random.SeedGenerator(7)
    expected.next()
    layer = DropBlock2D(2, keep_prob, seed=7)
    layer(ops.ones((4, 3, 3, 2)), training=True)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer.seed_generator.state.value),
        ops.convert_to_numpy(expected.state.value),
    )


def test_set_random_seed_makes_a_fit_repeat():
    x, y = random((32, 6, 6, 2)), random((32, 1), seed=1)

    def fit(seed):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential(
            [DropBlock2D(2, 0.5), keras.layers.Flatten(), keras.layers.Dense(1)]
        )
        model.compile("sgd", "mse")
        return model.fit(x, y, batch_size=8, epochs=2, verbose=0).history["loss"]

    first = fit(1)
    assert fit(1) == pytest.approx(first, rel=1e-5)
    assert fit(2) != pytest.approx(first, rel=1e-2)


# Invalid arguments


def message(name, expected, value):
    return (
        f"Invalid value received for argument `{name}`. Expected {expected}. "
        f"Received: {name}={value!r}"
    )


@pytest.mark.parametrize(
    ("name", "expected", "values"),
    [
        ("keep_prob", "a float in (0, 1]", [0, 1.5, math.nan, "0.9", True]),
        ("rate_scale", "a float in (0, 1]", [0, 1.5, "1", None]),
        (
            "block_size",
            "a positive integer or a tuple of 2 positive integers",
            [0, -1, 2.5, (3, 0)],
        ),
        ("gamma", "'paper' or 'exact'", ["best", None, 0.1]),
        ("per_channel", "True or False", ["yes", None, 1]),
        ("seed", "an integer in [0, 2**32) or None", ["1", 1.5, True, -1, 2**32]),
        (
            "data_format",
            "'channels_last', 'channels_first' or None",
            ["NHWC", 3, True],
        ),
    ],
)
def test_an_invalid_argument_is_rejected_with_the_common_wording(
    name, expected, values
):
    for value in values:
        with pytest.raises(ValueError) as error:
            DropBlock2D(**{"block_size": 3, name: value})
        assert str(error.value) == message(name, expected, value)


@pytest.mark.parametrize("shape", [(2, 5, 5), (2, 5, 5, 1, 1), (2, 5)])
def test_an_input_of_another_rank_is_rejected(shape):
    wording = "argument `inputs`. Expected a tensor of rank 4"
    with pytest.raises(ValueError, match=wording):
        DropBlock2D(3).build(shape)
    with pytest.raises(ValueError, match=wording):
        DropBlock2D(3)(np.ones(shape, "float32"))
    with pytest.raises(ValueError, match=wording):
        DropBlock2D(3)(keras.Input(shape[1:]))
    with pytest.raises(ValueError, match=wording):
        DropBlock2D(3).compute_output_shape(shape)
    built = DropBlock2D(3)
    built.build((None, 5, 5, 1))
    with pytest.raises(ValueError, match=wording):
        built(np.ones(shape, "float32"), training=True)


# Keras' own layer test


@pytest.mark.skipif(
    BACKEND == "torch",
    reason="on PyTorch, this test of Keras counts every parameter as a weight, and "
    "keep_prob is a parameter that is no weight",
)
class KerasLayerTest(TestCase):
    def check(self, input_shape, **init_kwargs):
        self.run_layer_test(
            DropBlock2D,
            init_kwargs={"block_size": 3, "keep_prob": 0.8, **init_kwargs},
            input_shape=input_shape,
            call_kwargs={"training": True},
            expected_output_shape=input_shape,
            expected_num_trainable_weights=0,
            expected_num_non_trainable_weights=0,
            expected_num_non_trainable_variables=2,
            expected_num_seed_generators=1,
            expected_num_losses=0,
            supports_masking=True,
            assert_built_after_instantiation=False,
        )

    def test_channels_last(self):
        self.check((2, 5, 6, 3), data_format="channels_last")

    def test_channels_first(self):
        self.check((2, 3, 5, 6), data_format="channels_first", gamma="exact")
