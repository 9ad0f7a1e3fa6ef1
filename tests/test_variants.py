"""The named variants mean what the slides mean by them."""

import keras
import numpy as np
import pytest
from keras import ops

import dropblock_lib as dbl
from dropblock_lib.variants import VARIANTS, get_variant

pytestmark = pytest.mark.backends

# The share that a variant drops of 64 maps of 16x16, and the standard deviation of
# that share: each unit, or each map, is dropped on its own, but for DropBlock.
SAMPLES, SIDE, CHANNELS = 16, 16, 4
UNITS = SAMPLES * SIDE**2 * CHANNELS
MAPS = SAMPLES * CHANNELS
SHAPE = (SAMPLES, SIDE, SIDE, CHANNELS)


def expected_share_and_deviation(variant):
    kind, *figures = variant.split("-")
    if kind == "dropout":
        rate = float(figures[0])
        return rate, (rate * (1 - rate) / UNITS) ** 0.5
    if kind == "spatial":
        rate = float(figures[0])
        return rate, (rate * (1 - rate) / MAPS) ** 0.5
    block_size, keep_prob = int(figures[0]), float(figures[1])
    gamma = dbl.gamma(keep_prob, block_size, SIDE)
    rate = dbl.expected_drop_rate(gamma, block_size, SIDE)
    # A block of size k correlates a unit with fewer than (2k - 1) ** 2 others.
    return rate, (rate * (1 - rate) * (2 * block_size - 1) ** 2 / UNITS) ** 0.5


def test_the_slides_variants_are_there():
    assert set(VARIANTS) == {
        "none",
        "dropout-0.25",
        "spatial-0.7",
        "spatial-0.3",
        "dropblock-3-0.9",
        "dropblock-7-0.9",
        "dropblock-7-0.7",
        "dropblock-3-0.7",
    }
    assert dbl.VARIANTS is VARIANTS


def test_none_is_no_layer():
    assert VARIANTS["none"](name="drop1", seed=0) is None


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "none"])
def test_drops_the_share_in_its_name(variant):
    layer = VARIANTS[variant](name="drop1", seed=5)
    dropped = ops.convert_to_numpy(layer(ops.ones(SHAPE), training=True)) == 0
    share, deviation = expected_share_and_deviation(variant)
    assert abs(dropped.mean() - share) < 5 * deviation
    whole_maps = dropped.mean(axis=(1, 2))
    if variant.startswith("spatial"):
        assert set(np.unique(whole_maps)) <= {0.0, 1.0}
    else:
        assert ((whole_maps > 0) & (whole_maps < 1)).any()


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "none"])
def test_seeded_layers_repeat_also_after_serialization(variant):
    def noise(layer):
        return ops.convert_to_numpy(layer(ops.ones(SHAPE), training=True))

    first = VARIANTS[variant](name="drop1", seed=3)
    config = keras.saving.serialize_keras_object(first)
    loaded = keras.saving.deserialize_keras_object(config)
    expected = noise(first)
    assert loaded.name == "drop1"
    np.testing.assert_array_equal(noise(loaded), expected)
    np.testing.assert_array_equal(noise(VARIANTS[variant](seed=3)), expected)
    assert not np.array_equal(noise(VARIANTS[variant](seed=4)), expected)


@pytest.mark.parametrize("variant", ["dropblock", "Dropout-0.25", "", None, 3])
def test_an_unknown_name_lists_the_known(variant):
    with pytest.raises(ValueError, match="argument `variant`") as caught:
        get_variant(variant)
    assert all(known in str(caught.value) for known in VARIANTS)
    assert f"variant={variant!r}" in str(caught.value)
