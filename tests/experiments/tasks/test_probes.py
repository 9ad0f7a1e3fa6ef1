"""The probes of a trained classifier, each against an independent computation."""

import itertools
import json
import random
import warnings

import keras
import numpy as np
import pytest
from backend import BACKEND, array, gradient, tensor
from keras import ops

from dropblock_lib.experiments.tasks import activation_maps, probes
from dropblock_lib.experiments.tasks.calibration import (
    accuracy,
    negative_log_likelihood,
)
from dropblock_lib.experiments.tasks.split import Split
from dropblock_lib.keep_prob_scheduler import find_drop_block_layers
from dropblock_lib.variants import Variant, get_variant

pytestmark = pytest.mark.backends

SHAPE = (16, 16, 3)
CLASSES = 3
NOISY = Variant("dropblock", block_size=3, keep_prob=0.7)


def build(variant="none", seed=0, named=True, end="average"):
    """A network with every kind of noise, all of whose weights have been changed."""
    layers = keras.layers
    layers = [
        keras.Input(SHAPE),
        layers.Rescaling(1 / 255),
        layers.Conv2D(4, 3, strides=2, activation="relu", name="conv1"),
        layers.BatchNormalization(name="norm1"),
        get_variant(variant)(name="drop1", seed=seed),
        layers.SpatialDropout2D(0.3, seed=1),
        layers.Conv2D(5, 3, activation="relu", name="conv2"),
        layers.BatchNormalization(name="norm2"),
        layers.Flatten() if end == "flat" else layers.GlobalAveragePooling2D(),
        layers.Dense(CLASSES, name="logits"),
    ]
    model = keras.Sequential([layer for layer in layers if layer is not None])
    if not named:
        for layer in model.layers:
            layer.name = f"{type(layer).__name__.lower()}_{random.random()}"
    rng = np.random.default_rng(seed)
    drop_blocks = {
        id(w) for layer in find_drop_block_layers(model) for w in layer.weights
    }
    for weight in model.weights:
        if id(weight) not in drop_blocks:
            weight.assign(rng.uniform(0.1, 1, weight.shape) - 0.5 * weight.trainable)
    return compiled(model)


def compiled(model):
    jit_compile = False if BACKEND == "tensorflow" else "auto"
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"], jit_compile=jit_compile)
    return model


def some_images(count, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 256, (count, *SHAPE), dtype="uint8"),
        rng.integers(0, CLASSES, count),
    )


def some_split(train=40, val=25, test=20):
    return Split(*some_images(train, 1), *some_images(val, 2), *some_images(test, 3))


def state_of(model):
    return [array(variable.value) for variable in model.variables]


# === Batch normalization without the noise ===


def test_one_batch_gives_the_moments_of_that_batch():
    x, _ = some_images(30)
    network = build()
    for layer in network.layers:
        if hasattr(layer, "rate"):
            layer.rate = 0.0
    expected = array(network(tensor(x), training=True))
    assert probes.estimate_moments(network, x) == 1
    found = network.predict(x, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_moments_are_means_over_batches(monkeypatch):
    monkeypatch.setattr(probes, "MOMENT_BATCH_SIZE", 8)
    x, _ = some_images(30)
    network = build()
    norm = network.get_layer("norm1")
    norm.moving_mean.assign(np.full(norm.moving_mean.shape, np.nan))
    momentum = norm.momentum
    assert probes.estimate_moments(network, x, rng_seed=5) == 3
    order = np.random.default_rng(5).permutation(30)[:24]
    maps = keras.Model(network.inputs, network.get_layer("conv1").output)
    batches = array(maps(tensor(x[order]))).reshape(3, 8, -1, 4).astype("float64")
    batches = batches.reshape(3, -1, 4)
    means, variances = batches.mean(axis=1).mean(axis=0), batches.var(axis=1)
    np.testing.assert_allclose(array(norm.moving_mean.value), means, rtol=1e-4)
    found = array(norm.moving_variance.value)
    np.testing.assert_allclose(found, variances.mean(axis=0), rtol=1e-3)
    assert norm.momentum == momentum
    # The layers are in inference mode again, so predicting changes nothing.
    network.predict(x, verbose=0)
    np.testing.assert_array_equal(array(norm.moving_variance.value), found)


def test_without_batch_normalization_there_is_nothing_to_estimate():
    model = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    )
    assert probes.recalibrated(model, build, some_split(), batch_size=8) is None


# === DropBlock at inference ===


def all_or_nothing(variant="none", rate_scale=1.0):
    """Class 1 unless a whole map of 7x7 is dropped."""
    drop = get_variant(variant)()
    if hasattr(drop, "rate_scale"):
        drop.rate_scale = rate_scale
    layers = [
        keras.Input((7, 7, 1)),
        drop,
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(2),
    ]
    model = keras.Sequential([layer for layer in layers if layer is not None])
    model.layers[-1].set_weights([np.array([[0.0, 1.0]]), np.array([0.1, 0.0])])
    return compiled(model)


@pytest.mark.parametrize("rate_scale", [1.0, 0.25])
def test_accuracy_equals_the_kept_fraction_if_blocks_cover_the_map(rate_scale):
    count = 1_000
    x = np.full((count, 7, 7, 1), 255, "uint8")
    y = np.ones(count, "int64")

    def found():
        return probes.drop_block_at_inference(
            all_or_nothing(),
            lambda variant: all_or_nothing(variant, rate_scale),
            x,
            y,
            batch_size=250,
        )

    first = found()
    assert first["images"] == count
    assert first["block_size"] == [1, 7]
    ones, sevens = first["accuracy"]
    assert ones == [1.0] * 6, "a block of 1 never drops a whole map"
    assert sevens[0] == 1.0
    for keep_prob, share in zip(first["keep_prob"], sevens, strict=True):
        kept = 1 - rate_scale * (1 - keep_prob)
        assert abs(share - kept) <= 4.5 * np.sqrt(kept * (1 - kept) / count)
    # Four batches with the same noise would leave shares of 250 images.
    assert any(round(share * count) % 4 for share in sevens)
    assert found() == first, "unseeded layers draw other masks"


def test_keep_prob_1_is_the_plain_network():
    x, y = some_images(40)
    model = build(NOISY)
    found = probes.drop_block_at_inference(
        model, lambda variant: build(variant, seed=9), x, y, batch_size=20
    )
    plain = model.evaluate(x, y, verbose=0, return_dict=True)["accuracy"]
    assert [row[0] for row in found["accuracy"]] == [pytest.approx(plain)] * 2


def test_a_network_that_ignores_the_variant_has_no_blocks():
    x, y = some_images(4)
    found = probes.drop_block_at_inference(
        build(), lambda variant: build(), x, y, batch_size=4
    )
    assert found is None


@pytest.mark.parametrize("named", [True, False])
def test_copies_weights_by_name_or_by_position(named):
    source = build("none", named=named)
    target = build(NOISY, seed=1, named=named)
    [drop_block] = find_drop_block_layers(target)
    drop_block.keep_prob = 0.6
    probes.copy_weights(source, target)
    x, _ = some_images(4)
    np.testing.assert_array_equal(
        target.predict(x, verbose=0), source.predict(x, verbose=0)
    )
    assert drop_block.keep_prob == 0.6


def test_rejects_another_architecture():
    with pytest.raises(ValueError, match="argument `target`"):
        probes.copy_weights(build(), build(end="flat"))


# === Squares and noise ===


@pytest.mark.parametrize("side", [0, 1, 5, 16])
def test_a_square_hides_exactly_its_pixels(side):
    images = np.zeros((200, 16, 20, 3), "uint8")
    hidden = probes.occlude(images, side) == probes.GRAY
    assert hidden.sum() == 200 * 3 * side**2
    assert (hidden.any(axis=2).sum(axis=1) == side).all()
    assert (hidden.any(axis=1).sum(axis=1) == side).all()
    assert images.max() == 0, "the images were changed"
    if side == 5:
        # All positions are equally likely, so some squares touch each edge.
        rows, columns = hidden[..., 0].any(axis=2), hidden[..., 0].any(axis=1)
        for touched in (rows[:, 0], rows[:, -1], columns[:, 0], columns[:, -1]):
            assert touched.any()


def test_larger_squares_hide_what_smaller_ones_hide():
    images = np.zeros((100, 32, 32, 1), "uint8")
    hidden = [probes.occlude(images, side) > 0 for side in probes.SQUARE_SIDES]
    for smaller, larger in itertools.pairwise(hidden):
        assert (smaller <= larger).all()
    few = probes.occlude(images[:7], 8) > 0
    np.testing.assert_array_equal(few, hidden[2][:7])
    assert (few != (probes.occlude(images[:7], 8, rng_seed=1) > 0)).any()


def test_noise_has_its_standard_deviation_and_is_clipped():
    images = np.full((50, 16, 16, 3), 128, "uint8")
    noisy = probes.add_noise(images, 16).astype("float64")
    # The standard deviation of a sample varies by sd / sqrt(2 n); rounding to whole
    # numbers adds a variance of 1 / 12.
    expected = np.sqrt(16**2 + 1 / 12)
    assert abs(noisy.std() - expected) < 5 * expected / np.sqrt(2 * noisy.size)
    assert abs(noisy.mean() - 128) < 5 * expected / np.sqrt(noisy.size)
    np.testing.assert_array_equal(probes.add_noise(images, 0), images)
    white = probes.add_noise(np.full((50, 16, 16, 3), 255, "uint8"), 8)
    assert white.dtype == "uint8"
    assert 0.4 < (white == 255).mean() < 0.6


# === Predictions ===


@pytest.mark.parametrize("classes", [2, 256, 300])
def test_predictions_are_decoded_as_they_were_encoded(classes):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(21, classes)), rng.integers(0, classes, 21)
    logits[0, -1] = 99
    labels[:4] = np.argmax(logits[:4], axis=-1)
    entry = json.loads(json.dumps(probes.encode_predictions(logits, labels)))
    predicted, right = probes.decode_predictions(entry)
    np.testing.assert_array_equal(predicted, np.argmax(logits, axis=-1))
    np.testing.assert_array_equal(right, predicted == labels)


# === Class activation maps ===


def test_maps_are_gradient_times_activation_and_their_mean_is_the_logit():
    model = build()
    x, _ = some_images(3)
    maps, predicted = activation_maps.class_activation_maps(model, x)
    logits = model.predict(x, verbose=0)
    np.testing.assert_array_equal(predicted, np.argmax(logits, axis=-1))
    assert maps.shape == (3, 5, 5)
    _, bias = model.get_layer("logits").get_weights()
    chosen = logits[np.arange(3), predicted]
    np.testing.assert_allclose(
        maps.mean(axis=(1, 2)) + bias[predicted], chosen, rtol=1e-5, atol=1e-5
    )

    features = keras.Model(model.inputs, model.get_layer("norm2").output)(tensor(x))
    dense = model.get_layer("logits")
    wanted = [2, 0, 1]
    one_hot = tensor(np.eye(3)[wanted], "float32")
    slopes = gradient(
        lambda f: ops.sum(dense(ops.mean(f, axis=(1, 2))) * one_hot), features
    )
    expected = 25 * (array(slopes) * array(features)).sum(axis=-1)
    maps, again = activation_maps.class_activation_maps(model, x, wanted, batch_size=2)
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(again, predicted)


def test_the_share_of_maps_by_hand():
    maps = [
        [[4, 3], [2, 1]],  # 4, 3 and half of 2 are 8 of 10
        [[-5, 8], [-1, 2]],  # 8 of 10
        [[0, 0], [5, -9]],  # four fifths of a cell
        [[1, 1], [1, 1]],
        [[-1, -2], [0, 0]],
        [[np.nan, 1], [1, 1]],
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = activation_maps.evidence_share(np.array(maps, "float64"))
    expected = [2.5 / 4, 1 / 4, 0.8 / 4, 0.8, np.nan, np.nan]
    np.testing.assert_allclose(found, expected)
    assert len(activation_maps.evidence_share(np.full((2, 2, 2), -1.0))) == 2


def test_evidence_of_hand_made_maps(monkeypatch):
    monkeypatch.setattr(activation_maps, "SHOWN_IMAGES", 1)
    logits = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    maps = np.zeros((3, 2, 2, 2))
    maps[0, :, :, 0] = [[4, 3], [2, 1]]
    maps[1, :, :, 1] = [[0, 10], [-3, 0]]
    maps[2, :, :, 0] = 1  # of the class that is not predicted
    found = activation_maps.evidence(logits, maps)
    assert found["images"] == [0] and found["classes"] == [0]
    assert found["maps"] == [[[4.0, 3.0], [2.0, 1.0]]]
    assert found["share"] == pytest.approx((0.625 + 0.2) / 2)
    assert found["standard_deviation"] == pytest.approx(0.425 / np.sqrt(2))
    assert found["count"] == 2


def test_a_network_without_maps_is_rejected():
    with pytest.raises(ValueError, match="argument `model`"):
        activation_maps.class_activation_maps(build(end="flat"), some_images(1)[0])


# === All probes ===


@pytest.fixture(scope="module")
def probed():
    """A model, its state before it was probed, and the result."""
    model = build(NOISY, seed=3)
    before = state_of(model)
    images = some_split()
    result = probes.probe(model, build, images, batch_size=16)
    return model, before, images, result


def test_probing_changes_nothing(probed):
    model, before, images, result = probed
    for value, old in zip(state_of(model), before, strict=True):
        np.testing.assert_array_equal(value, old)
    keras.utils.set_random_seed(1)
    states = random.getstate(), np.random.get_state()[1].tolist()
    again = probes.probe(model, lambda v: build(v, seed=None), images, batch_size=16)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states
    noise = array(keras.random.uniform((3,)))
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(array(keras.random.uniform((3,))), noise)
    assert again == result, "the same model gives other numbers"


def test_a_result_is_json_and_complete(probed):
    _, _, _, result = probed
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert set(result) == set(probes.FINAL) | {
        "calibration",
        "recalibrated",
        "drop_block_at_inference",
        "occlusion",
        "noise",
        "predictions",
        "evidence",
    }
    assert all(value is not None for value in result.values())
    assert result["occlusion"]["accuracy"][0] == result["test_accuracy"]
    assert result["noise"]["accuracy"][0] == result["test_accuracy"]
    assert result["drop_block_at_inference"]["accuracy"][1][0] == pytest.approx(
        result["test_accuracy"]
    )
    assert result["calibration"]["nll"] == result["test_loss"]
    assert sum(result["calibration"]["count"]) == 20


def test_loss_and_accuracy_are_those_of_keras(probed):
    model, _, images, result = probed
    for part in ("train", "val", "test"):
        x, y = getattr(images, f"x_{part}"), getattr(images, f"y_{part}")
        expected = model.evaluate(x, y, verbose=0, return_dict=True)
        assert result[f"{part}_loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert result[f"{part}_accuracy"] == pytest.approx(expected["accuracy"])
    predicted, right = probes.decode_predictions(result["predictions"])
    assert right.mean() == result["test_accuracy"]
    np.testing.assert_array_equal(
        predicted, np.argmax(model.predict(images.x_test, verbose=0), axis=-1)
    )


def test_perturbed_images_are_what_the_network_sees(probed):
    model, _, images, result = probed
    x, y = images.x_test, images.y_test
    seen = {
        "occlusion": probes.occlude(x, 8),
        "noise": probes.add_noise(x, 16),
    }
    for key, pixels in seen.items():
        expected = model.evaluate(pixels, y, verbose=0, return_dict=True)["accuracy"]
        assert result[key]["accuracy"][2] == pytest.approx(expected)


def test_a_network_that_diverged_has_a_result():
    model = build(NOISY, end="flat")
    kernel = model.get_layer("logits").kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        result = probes.probe(
            model, lambda v: build(v, end="flat"), some_split(), batch_size=16
        )
    json.dumps(result, allow_nan=False)
    assert [result[f"{part}_loss"] for part in ("train", "val", "test")] == [None] * 3
    assert 0 <= result["test_accuracy"] <= 1
    assert result["recalibrated"]["test_loss"] is None
    assert result["evidence"] is None


@pytest.mark.skipif(BACKEND == "torch", reason="slow on PyTorch without a GPU")
def test_in_mixed_precision_sums_are_in_double_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build()
        x, y = some_images(12)
        maps, predicted = activation_maps.class_activation_maps(model, x)
        logits = model.predict(x, verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert maps.dtype == "float64"
    exact = np.asarray(logits).astype("float64")
    assert accuracy(exact, y) == np.mean(predicted == y)
    assert negative_log_likelihood(logits, y) == pytest.approx(
        negative_log_likelihood(exact, y), rel=1e-12
    )
