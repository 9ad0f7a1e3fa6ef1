"""ResNet-50 and DenseNet-121 against the papers' tables and the slides' places."""

import math

import keras
import numpy as np
import pytest
from keras import ops

import dropblock_lib as dbl
from dropblock_lib import models

NETWORKS = {"resnet50": models.resnet50, "densenet121": models.densenet121}
# keras.applications' networks without their tops, and a dense layer for ten classes:
# 23,587,712 + 20,490 and 7,037,504 + 10,250.
PARAMETERS = {"resnet50": 23_608_202, "densenet121": 7_047_754}
# Number of blocks, or of layers of the dense block, in each of the four groups.
GROUPS = {"resnet50": (3, 4, 6, 3), "densenet121": (6, 12, 24, 16)}
# The ReLUs that a regularizer follows in the slides.
UNITS = {"resnet50": ("1_relu", "2_relu"), "densenet121": ("0_relu", "1_relu")}
SIDES = {"imagenet": (8, 4, 2, 1), "cifar": (32, 16, 8, 4)}


def pixels(*shape):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, shape).astype("float32")


@pytest.fixture(scope="module")
def made():
    """Returns networks by their arguments. Each is built once, which takes seconds."""
    networks = {}

    def make(name, variant="none", **arguments):
        key = (name, variant, *sorted(arguments.items()))
        if key not in networks:
            networks[key] = NETWORKS[name](variant, seed=1, **arguments)
        return networks[key]

    return make


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("stem", SIDES)
def test_regularizers_sit_where_the_slides_put_them(made, name, stem):
    model = made(name, "dropblock-3-0.7", stem=stem)
    expected = {
        f"drop_conv{group}_block{block}_{unit}": side
        for group, (count, side) in enumerate(
            zip(GROUPS[name], SIDES[stem], strict=True), start=2
        )
        for block in range(1, count + 1)
        for unit in UNITS[name]
    }
    drops = dbl.find_drop_block_layers(model)
    assert {layer.name: layer.output.shape[1] for layer in drops} == expected
    assert len({layer.seed for layer in drops}) == len(drops)


@pytest.mark.parametrize("name", NETWORKS)
def test_is_the_network_of_the_paper(made, name):
    model = made(name)
    assert model.count_params() == PARAMETERS[name]
    # Only the stem's 7x7 convolution becomes one of 3x3; ResNet's has a bias.
    small = made(name, "dropblock-3-0.7", stem="cifar")
    assert small.count_params() == PARAMETERS[name] - (49 - 9) * 3 * 64


@pytest.mark.parametrize("name", NETWORKS)
def test_variants_have_equal_weights_and_a_seed_fixes_them(made, name):
    x = pixels(2, 32, 32, 3)
    plain = ops.convert_to_numpy(made(name)(x))
    dropping = made(name, "dropblock-3-0.7", stem="imagenet")
    np.testing.assert_array_equal(ops.convert_to_numpy(dropping(x)), plain)
    noisy = ops.convert_to_numpy(dropping(x, training=True))
    again = NETWORKS[name]("dropblock-3-0.7", seed=1)
    np.testing.assert_array_equal(ops.convert_to_numpy(again(x, training=True)), noisy)
    kernels = [layer.kernel for layer in again.layers if hasattr(layer, "kernel")]
    firsts = {float(ops.ravel(kernel)[0]) for kernel in kernels}
    assert len(firsts) == len(kernels), "two kernels were drawn from the same seed"


def test_kernels_have_the_spread_of_their_initializer(made):
    # Glorot's uniform distribution over its fans, whatever the application used.
    for layer in made("resnet50").layers:
        if not hasattr(layer, "kernel"):
            continue
        kernel = ops.convert_to_numpy(layer.kernel)
        field = math.prod(kernel.shape[:-2])
        limit = math.sqrt(6 / (field * (kernel.shape[-2] + kernel.shape[-1])))
        assert np.abs(kernel).max() <= limit
        # The mean square of n uniform draws: limit²/3, with a relative deviation
        # of sqrt(4 / 5n), here 0.0093 for the smallest kernel's n = 9,216.
        assert np.mean(kernel**2) == pytest.approx(limit**2 / 3, rel=6 * 0.0093)


def test_digits_get_a_black_border(made):
    small = models.resnet50("none", (28, 28, 1), seed=1)
    large = models.resnet50("none", (32, 32, 1), seed=1)
    digits = pixels(2, 28, 28, 1)
    framed = np.pad(digits, ((0, 0), (2, 2), (2, 2), (0, 0)))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(small(digits)), ops.convert_to_numpy(large(framed))
    )
    assert small.get_layer("conv1_conv").input.shape[1:] == (38, 38, 1)


def test_takes_other_sizes_and_classes():
    model = models.resnet50("dropblock-3-0.7", (9, 70, 2), classes=4, stem="cifar")
    assert model(pixels(1, 9, 70, 2)).shape == (1, 4)
    assert model.get_layer("conv2_block1_1_relu").output.shape[1:3] == (32, 70)


@pytest.mark.parametrize("name", ["custom_net", "resnet9", "resnet50"])
def test_channels_first_is_rejected(name):
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="need channels-last images"):
            models.NETWORKS[name]()
    finally:
        keras.config.set_image_data_format("channels_last")


def test_batch_normalization_has_a_momentum_for_short_runs(made):
    norms = [
        layer
        for layer in made("densenet121").layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert {norm.momentum for norm in norms} == {0.9} and len(norms) == 121


def test_says_what_a_placement_of_other_networks_needs():
    with pytest.raises(ValueError, match="'paper-code' needs blocks that end in an"):
        models.densenet121("dropblock-3-0.9", where="paper-code")


def test_the_last_group_of_resnet50_has_maps_of_four_pixels_with_the_small_stem():
    model = models.resnet50("dropblock-3-0.7", stem="cifar", where="last-group")
    drops = dbl.find_drop_block_layers(model)
    assert len(drops) == 12 and {drop.output.shape[1] for drop in drops} == {4}


@pytest.mark.parametrize(
    "arguments",
    [
        {"variant": "dropblock"},
        {"input_shape": (7, 32, 3)},
        {"classes": 1},
        {"seed": -1},
        {"stem": "mnist"},
        {"stem": None},
        {"where": "nowhere"},
    ],
)
def test_names_the_bad_argument(arguments):
    [(name, value)] = arguments.items()
    for network in NETWORKS.values():
        with pytest.raises(ValueError, match=f"argument `{name}`") as caught:
            network(**arguments)
        assert f"{name}={value!r}" in str(caught.value)
