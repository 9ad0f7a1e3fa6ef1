"""ResNet-9: its size, feature maps and regularizers."""

import keras
import numpy as np
import pytest
from keras import ops

import dropblock_lib as dbl
from dropblock_lib import models
from dropblock_lib.models.normalization import BatchNormalization
from dropblock_lib.placements import PLACEMENTS
from dropblock_lib.variants import VARIANTS, Variant

# 3x3 kernels without bias and four numbers per channel in the normalization that
# follows, from 3 to 32 to 64, 64, 64, 128, 256, 256, 256 channels; then a dense layer.
PARAMETERS = (
    (9 * 3 * 32 + 4 * 32)
    + (9 * 32 * 64 + 4 * 64)
    + 2 * (9 * 64 * 64 + 4 * 64)
    + (9 * 64 * 128 + 4 * 128)
    + (9 * 128 * 256 + 4 * 256)
    + 2 * (9 * 256 * 256 + 4 * 256)
    + (256 + 1) * 10
)
# Placement -> (name of a regularizer, names of the layers that read it, its keep_prob
# in a variant with keep_prob 0.6). Maps are 16 wide in block 1 and 4 wide in block 2.
PLACES = {
    "main-path-relu": [
        ("drop_block1_1_relu", ["block1_2_conv"], 0.6),
        ("drop_block1_2_relu", ["block1_add"], 0.6),
        ("drop_block2_1_relu", ["block2_2_conv"], 0.6),
        ("drop_block2_2_relu", ["block2_add"], 0.6),
    ],
    "paper-code": [
        ("drop_block1_1_relu", ["block1_2_conv"], 0.9),
        ("drop_block1_add_skip", ["block1_add"], 0.9),
        ("drop_block1_2_relu", ["block1_add"], 0.9),
        ("drop_block2_1_relu", ["block2_2_conv"], 0.6),
        ("drop_block2_add_skip", ["block2_add"], 0.6),
        ("drop_block2_2_relu", ["block2_add"], 0.6),
    ],
    "last-group": [
        ("drop_block2_1_relu", ["block2_2_conv"], 0.6),
        ("drop_block2_add_skip", ["block2_add"], 0.6),
        ("drop_block2_2_relu", ["block2_add"], 0.6),
    ],
    "after-addition": [
        ("drop_block1_add", ["conv2_conv"], 0.6),
        ("drop_block2_add", ["average"], 0.6),
    ],
}


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype("float32")


def outputs(model, x, **kwargs):
    return ops.convert_to_numpy(model(x, **kwargs))


def readers(model, layer):
    return [
        other.name
        for other in model.layers
        if any(tensor is layer.output for tensor in keras.tree.flatten(other.input))
        and other is not layer
    ]


def test_has_the_parameters_counted_by_hand():
    assert PARAMETERS == 1_648_362
    assert models.resnet9().count_params() == PARAMETERS
    wide = models.NETWORKS["resnet9_wide"]()
    kernels = 9 * 64 * (3 + 128 + 2 * 2 * 128 + 2 * 256 + 4 * 512 + 2 * 8 * 512)
    norms = 4 * 64 * (1 + 2 + 2 * 2 + 4 + 8 + 2 * 8)
    assert wide.count_params() == kernels + norms + (512 + 1) * 10
    assert models.LABELS.keys() >= {"resnet9", "resnet9_wide"}


def test_maps_are_as_the_docstring_says():
    model = models.resnet9()
    shapes = {
        "stem_relu": (32, 32, 32),
        "pool1": (16, 16, 64),
        "block1_1_relu": (16, 16, 64),
        "block1_add": (16, 16, 64),
        "pool2": (8, 8, 128),
        "pool3": (4, 4, 256),
        "block2_1_relu": (4, 4, 256),
        "block2_add": (4, 4, 256),
        "average": (256,),
        "logits": (10,),
    }
    assert {name: model.get_layer(name).output.shape[1:] for name in shapes} == shapes
    # No ReLU follows the additions.
    assert readers(model, model.get_layer("block1_add")) == ["conv2_conv"]
    assert readers(model, model.get_layer("block2_add")) == ["average"]
    kind = keras.layers.BatchNormalization
    norms = [layer for layer in model.layers if isinstance(layer, kind)]
    assert len(norms) == 8
    assert {(type(norm), norm.momentum) for norm in norms} == {
        (BatchNormalization, 0.9)
    }


@pytest.mark.parametrize("where", PLACES)
def test_regularizers_sit_where_the_docstring_draws_them(where):
    model = models.resnet9("dropblock-3-0.6", where=where, width=2)
    found = [
        (drop.name, readers(model, drop), pytest.approx(drop.keep_prob))
        for drop in dbl.find_drop_block_layers(model)
    ]
    assert sorted(found, key=str) == sorted(PLACES[where], key=str)
    for drop in dbl.find_drop_block_layers(model):
        side, channels = (16, 4) if "block1" in drop.name else (4, 16)
        assert drop.output.shape[1:] == (side, side, channels)
    # Only the addition reads a dropped skip connection.
    assert readers(model, model.get_layer("pool1"))[0] == "block1_1_conv"


def test_every_placement_for_residual_networks_is_tested_here():
    assert PLACES.keys() == PLACEMENTS.keys() - {"dense-block-relu"}


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "none"])
def test_paper_code_drops_a_quarter_in_block_1_for_all_variants(variant):
    model = models.resnet9(variant, where="paper-code", width=1)
    drops = [layer for layer in model.layers if layer.name.startswith("drop_")]
    assert len(drops) == 6
    for drop in drops:
        dropped = 1 - drop.keep_prob if hasattr(drop, "keep_prob") else drop.rate
        numbers = VARIANTS[variant]
        whole = numbers.rate or 1 - numbers.keep_prob
        share = 0.25 if "block1" in drop.name else 1
        assert dropped == pytest.approx(share * whole)


@pytest.mark.backends
def test_variants_have_equal_weights_and_a_seed_fixes_weights_and_noise():
    x = pixels(2, 16, 16, 3)

    def made(variant, seed=1, **arguments):
        return models.resnet9(variant, (16, 16, 3), seed=seed, width=1, **arguments)

    plain = outputs(made("none"), x)
    assert not np.array_equal(outputs(made("none", seed=2), x), plain)
    for where in ("main-path-relu", "paper-code"):
        first, again = (made("dropblock-3-0.6", where=where) for _ in range(2))
        np.testing.assert_array_equal(outputs(first, x), plain)
        noisy = outputs(first, x, training=True)
        np.testing.assert_array_equal(outputs(again, x, training=True), noisy)
        assert not np.array_equal(outputs(first, x, training=True), noisy)
    drops = dbl.find_drop_block_layers(first)
    assert len({drop.seed for drop in drops}) == len(drops) == 6
    kernels = [layer.kernel for layer in first.layers if hasattr(layer, "kernel")]
    firsts = {float(ops.ravel(kernel)[0]) for kernel in kernels}
    assert len(firsts) == len(kernels) == 9, "two kernels drawn from the same seed"


def test_takes_raw_pixels_to_logits():
    model = models.resnet9(seed=0, width=4)
    x = pixels(8, 32, 32, 3).astype("uint8")
    scaled = model.get_layer("rescaling")(x)
    np.testing.assert_allclose(scaled, x / 127.5 - 1, rtol=0, atol=1e-6)
    logits = outputs(model, x)
    assert logits.dtype == "float32"
    assert (logits < 0).any() and not np.allclose(logits.sum(axis=-1), 1)


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 8, 3), (40, 9, 2)])
def test_takes_other_sizes_and_classes(shape):
    model = models.resnet9("dropblock-7-0.9", shape, classes=4, width=np.int64(1))
    assert model(np.zeros((2, *shape))).shape == (2, 4)
    sides = [drop.output.shape[1] for drop in dbl.find_drop_block_layers(model)]
    assert sides == [shape[0] // 2] * 2 + [shape[0] // 8] * 2


def test_learns_saves_and_loads(tmp_path):
    model = models.resnet9("dropblock-3-0.9", (8, 8, 3), 2, seed=0, width=2)
    labels = np.arange(32) % 2
    x = pixels(32, 8, 8, 3) / 4 + 100 * labels[:, None, None, None]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(x, labels, batch_size=8, epochs=5, verbose=0)
    got = outputs(model, x)
    assert (got.argmax(-1) == labels).mean() > 0.9
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(outputs(loaded, x), got, rtol=1e-5, atol=1e-5)


def test_accepts_custom_variants():
    def noise(name=None, seed=None):
        return keras.layers.GaussianNoise(0.1, name=name, seed=seed)

    for variant, kind in (
        (noise, keras.layers.GaussianNoise),
        (Variant("spatial", rate=0.1), keras.layers.SpatialDropout2D),
        ("dropblock-5x3-0.8-exact", dbl.DropBlock2D),
    ):
        model = models.resnet9(variant, (8, 8, 3), width=1)
        assert sum(type(layer) is kind for layer in model.layers) == 4
    with pytest.raises(ValueError, match="`keep_prob` or `rate`"):
        models.resnet9(noise, (8, 8, 3), width=1, where="paper-code")


@pytest.mark.parametrize(
    "arguments",
    [
        {"variant": "dropblock"},
        {"input_shape": (7, 32, 3)},
        {"classes": 1},
        {"seed": -1},
        {"width": 0},
        {"width": 32.0},
        {"width": True},
        {"where": "nowhere"},
        {"where": None},
        {"where": "nowhere", "variant": "dropblock-3-0.9"},
    ],
)
def test_names_the_bad_argument(arguments):
    (name, value), *_ = arguments.items()
    with pytest.raises(ValueError, match=f"argument `{name}`") as caught:
        models.resnet9(**arguments)
    assert f"{name}={value!r}" in str(caught.value)


def test_says_what_a_placement_of_other_networks_needs():
    with pytest.raises(ValueError, match="needs blocks that concatenate"):
        models.resnet9("dropblock-3-0.9", width=1, where="dense-block-relu")
