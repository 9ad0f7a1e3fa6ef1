"""CustomNet against the slides' summary."""

import math

import keras
import numpy as np
import pytest
from keras import ops

import dropblock_lib as dbl
from dropblock_lib import models
from dropblock_lib.variants import VARIANTS, Variant

# The slides' summary: kind, output shape, parameters.
SUMMARY = [
    ("Conv2D", (32, 32, 32), 896),
    ("Activation", (32, 32, 32), 0),
    ("BatchNormalization", (32, 32, 32), 128),
    ("Conv2D", (32, 32, 32), 9_248),
    ("Activation", (32, 32, 32), 0),
    ("BatchNormalization", (32, 32, 32), 128),
    ("MaxPooling2D", (16, 16, 32), 0),
    ("drop1", (16, 16, 32), None),
    ("Conv2D", (16, 16, 64), 18_496),
    ("Activation", (16, 16, 64), 0),
    ("BatchNormalization", (16, 16, 64), 256),
    ("Conv2D", (16, 16, 64), 36_928),
    ("Activation", (16, 16, 64), 0),
    ("BatchNormalization", (16, 16, 64), 256),
    ("MaxPooling2D", (8, 8, 64), 0),
    ("drop2", (8, 8, 64), None),
    ("Conv2D", (8, 8, 128), 73_856),
    ("Activation", (8, 8, 128), 0),
    ("BatchNormalization", (8, 8, 128), 512),
    ("Conv2D", (8, 8, 128), 147_584),
    ("Activation", (8, 8, 128), 0),
    ("BatchNormalization", (8, 8, 128), 512),
    ("MaxPooling2D", (4, 4, 128), 0),
    ("drop3", (4, 4, 128), None),
    ("Flatten", (2048,), 0),
    ("Dense", (10,), 20_490),
]


def trainable(model):
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


@pytest.mark.parametrize("variant", VARIANTS)
def test_is_the_network_of_the_slides(variant):
    model = models.custom_net(variant)
    assert trainable(model) == 308_394
    assert model.count_params() == 309_290

    has_drops = variant != "none"
    expected = [row for row in SUMMARY if has_drops or not row[0].startswith("drop")]
    layers = model.layers[2:]  # after the input and the rescaling
    assert len(layers) == len(expected)
    for layer, (kind, shape, parameters) in zip(layers, expected, strict=True):
        assert kind in (layer.__class__.__name__, layer.name)
        assert layer.output.shape[1:] == shape
        if parameters is not None:
            assert layer.count_params() == parameters
    assert [layer.count_params() for layer in model.layers[:2]] == [0, 0]


def test_every_place_has_its_own_layer():
    model = models.custom_net("dropblock-7-0.7")
    drops = [model.get_layer(f"drop{i}") for i in (1, 2, 3)]
    assert len({id(layer) for layer in drops}) == 3
    assert [layer.block_size for layer in drops] == [7, 7, 7]
    assert [layer.keep_prob for layer in drops] == [0.7, 0.7, 0.7]


def test_a_seed_fixes_weights_and_noise_and_variants_have_equal_weights():
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3))

    def outputs(seed, variant="dropblock-3-0.7", training=True):
        model = models.custom_net(variant, seed=seed)
        return ops.convert_to_numpy(model(x.astype("float32"), training=training))

    np.testing.assert_array_equal(outputs(1), outputs(1))
    assert not np.allclose(outputs(1), outputs(2))
    plain = outputs(1, "none", training=False)
    np.testing.assert_array_equal(outputs(1, training=False), plain)
    np.testing.assert_array_equal(outputs(1, "dropout-0.25", training=False), plain)
    model = models.custom_net(seed=1)
    kernels = [layer.kernel for layer in model.layers if hasattr(layer, "kernel")]
    first_values = {float(ops.ravel(kernel)[0]) for kernel in kernels}
    assert len(first_values) == 7, "two kernels were drawn from the same seed"


def test_takes_raw_pixels_to_logits():
    model = models.custom_net(seed=0)
    x = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype="uint8")
    scaled = model.get_layer("rescaling")(x)
    np.testing.assert_allclose(scaled, x / 127.5 - 1, rtol=0, atol=1e-6)
    logits = ops.convert_to_numpy(model(x))
    assert logits.dtype == "float32"
    assert (logits < 0).any() and not np.allclose(logits.sum(axis=-1), 1)


@pytest.mark.parametrize(
    ("shape", "map_sides"),
    [((28, 28, 1), (14, 7, 3)), ((8, 8, 3), (4, 2, 1)), ((40, 8, 3), (20, 10, 5))],
)
def test_takes_other_sizes_and_classes(shape, map_sides):
    model = models.custom_net("dropblock-7-0.9", input_shape=shape, classes=4)
    heights = tuple(model.get_layer(f"drop{i}").output.shape[1] for i in (1, 2, 3))
    assert heights == map_sides
    assert model(np.zeros((2, *shape))).shape == (2, 4)


def test_saves_and_loads(tmp_path):
    model = models.custom_net("dropblock-3-0.9", seed=0)
    model.get_layer("drop2").keep_prob = 0.6
    model.save(tmp_path / "net.keras")
    loaded = keras.saving.load_model(tmp_path / "net.keras")
    x = np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 3))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(loaded(x)), ops.convert_to_numpy(model(x))
    )
    keep_probs = [loaded.get_layer(f"drop{i}").keep_prob for i in (1, 2, 3)]
    assert keep_probs == [0.9, 0.6, 0.9]


@pytest.mark.parametrize(
    ("where", "sides"), [("after-pooling", [16, 8, 4]), ("before-pooling", [32, 16, 8])]
)
def test_the_regularizers_sit_before_or_after_the_pooling(where, sides):
    model = models.custom_net("dropblock-7-0.7", where=where)
    names = [layer.name for layer in model.layers]
    for stage, side in enumerate(sides, start=1):
        pool, drop = (names.index(f"{kind}{stage}") for kind in ("pool", "drop"))
        assert drop - pool == (1 if where == "after-pooling" else -1)
        assert model.layers[drop].output.shape[1:3] == (side, side)
        assert model.layers[drop].output is model.layers[drop + 1].input
    assert model.count_params() == 309_290


def test_placements_begin_with_the_same_weights_and_seeds():
    after, before = (
        models.custom_net("dropblock-3-0.7", seed=1, where=where)
        for where in ("after-pooling", "before-pooling")
    )
    x = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(before(x)), ops.convert_to_numpy(after(x))
    )
    for stage in (1, 2, 3):
        seeds = {model.get_layer(f"drop{stage}").seed for model in (after, before)}
        assert len(seeds) == 1
    plain = models.custom_net("none", seed=1, where="before-pooling")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(plain(x)), ops.convert_to_numpy(after(x))
    )


def test_accepts_custom_variants():
    def noise(name=None, seed=None):
        return keras.layers.GaussianNoise(0.1, name=name, seed=seed)

    for variant, kind in (
        (noise, keras.layers.GaussianNoise),
        (Variant("spatial", rate=0.1), keras.layers.SpatialDropout2D),
        ("dropblock-5x3-0.8-exact", dbl.DropBlock2D),
    ):
        model = models.custom_net(variant, (8, 8, 3))
        drops = [model.get_layer(f"drop{stage}") for stage in (1, 2, 3)]
        assert {type(drop) for drop in drops} == {kind}


@pytest.mark.parametrize(
    "arguments",
    [
        {"where": "main-path-relu"},
        {"where": None},
        {"variant": "dropblock"},
        {"input_shape": (7, 32, 3)},
        {"input_shape": (32, 32)},
        {"input_shape": (32, 32, 0)},
        {"input_shape": (None, None, 3)},
        {"input_shape": 32},
        {"classes": 1},
        {"classes": 2.0},
        {"classes": True},
        {"seed": -1},
        {"seed": "0"},
    ],
)
def test_names_the_bad_argument(arguments):
    [(name, value)] = arguments.items()
    with pytest.raises(ValueError, match=f"argument `{name}`") as caught:
        models.custom_net(**arguments)
    assert f"{name}={value!r}" in str(caught.value)
