"""The named variants are those of the slides, and names and numbers agree."""

import json
import random

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from keras import ops

import dropblock_lib as dbl
from dropblock_lib.variants import (
    VARIANTS,
    Variant,
    get_variant,
    variant_order,
    variant_title,
)

pytestmark = pytest.mark.backends

# The dropped fraction of 64 maps of 16x16 has a standard deviation: units, or maps, are
# dropped independently, except by DropBlock.
SAMPLES, SIDE, CHANNELS = 16, 16, 4
UNITS = SAMPLES * SIDE**2 * CHANNELS
MAPS = SAMPLES * CHANNELS
SHAPE = (SAMPLES, SIDE, SIDE, CHANNELS)


def expected_fraction_and_deviation(variant):
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


def test_the_slides_variants_are_registered():
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


def test_the_variant_none_makes_no_layer():
    assert VARIANTS["none"](name="drop1", seed=0) is None


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "none"])
def test_drops_the_fraction_in_its_name(variant):
    layer = VARIANTS[variant](name="drop1", seed=5)
    dropped = ops.convert_to_numpy(layer(ops.ones(SHAPE), training=True)) == 0
    share, deviation = expected_fraction_and_deviation(variant)
    assert abs(dropped.mean() - share) < 5 * deviation
    whole_maps = dropped.mean(axis=(1, 2))
    if variant.startswith("spatial"):
        assert set(np.unique(whole_maps)) <= {0.0, 1.0}
    else:
        assert ((whole_maps > 0) & (whole_maps < 1)).any()


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "none"])
def test_seeded_layers_repeat_their_noise_even_after_serialization(variant):
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
def test_an_error_about_an_unknown_name_lists_the_known_names(variant):
    with pytest.raises(ValueError, match="argument `variant`") as caught:
        get_variant(variant)
    assert all(known in str(caught.value) for known in VARIANTS)
    assert f"variant={variant!r}" in str(caught.value)


# === Names and numbers ===

NAMES = {
    "dropout-0": {"rate": 0.0},
    "dropout-0.1": {"rate": 0.1},
    "dropout-0.00001": {"rate": 1e-5},
    "spatial-0.1": {"rate": 0.1},
    "dropblock-1-0.9": {"block_size": 1, "keep_prob": 0.9},
    "dropblock-3-1": {"block_size": 3, "keep_prob": 1.0},
    "dropblock-3x5-0.9": {"block_size": (3, 5), "keep_prob": 0.9},
    "dropblock-5-0.85-exact": {"block_size": 5, "keep_prob": 0.85, "gamma": "exact"},
    "dropblock-5-0.85-shared": {"block_size": 5, "per_channel": False},
    "dropblock-5-0.85-exact-shared": {"gamma": "exact", "per_channel": False},
    "dropblock-10-0.9": {"block_size": 10, "gamma": "paper", "per_channel": True},
}
NEAR_MISSES = [
    *("dropout-0.250", "dropout-1", "dropout-.25", "dropout-1e-05", "dropout--0.1"),
    *(
        "dropout-0.25 ",
        "dropout-0.25\n",
        "dropout-0.25-exact",
        "dropout",
        "spatial-1.0",
    ),
    *("spatial-0,3", "spatial-00.3", "dropblock-3", "dropblock-3-1.5", "dropblock-3-0"),
    *("dropblock-3-1.0", "dropblock-3-0.0", "dropblock-0-0.9", "dropblock-03-0.9"),
    *("dropblock-3x3-0.9", "dropblock-3x0-0.9", "dropblock-3x5x7-0.9", "none-0"),
    *("dropblock-3-0.9-shared-exact", "dropblock-3-0.9-paper", "dropblock--3-0.9"),
    *("dropblock-\u0663-0.9", "dropblock-3.0-0.9", "DropBlock-3-0.9", "custom"),
]
RATES = st.floats(0, 1, exclude_max=True)
KEEP_PROBS = st.floats(0, 1, exclude_min=True)
SIDES = st.integers(1, 999)


@st.composite
def variants(draw):
    method = draw(st.sampled_from(["none", "dropout", "spatial", "dropblock"]))
    if method == "none":
        return Variant()
    if method != "dropblock":
        return Variant(method, rate=draw(RATES))
    return Variant(
        method,
        block_size=draw(st.one_of(SIDES, st.tuples(SIDES, SIDES))),
        keep_prob=draw(KEEP_PROBS),
        gamma=draw(st.sampled_from([None, "paper", "exact"])),
        per_channel=draw(st.sampled_from([None, True, False])),
    )


@given(variants())
@example(Variant("dropout", rate=1 / 3))
@example(Variant("dropout", rate=-0.0))
@example(Variant("spatial", rate=5e-324))
@example(Variant("spatial", rate=1 - 2**-53))
@example(Variant("dropblock", block_size=3, keep_prob=1))
@example(Variant("dropblock", block_size=3, keep_prob=1e-5))
def test_names_and_numbers_round_trip(variant):
    assert get_variant(variant.name) == variant
    read = json.loads(json.dumps(variant.numbers()))
    assert Variant.of_numbers(read) == variant
    assert Variant.of_numbers(read).name == variant.name
    assert variant_title(variant.name) == variant.title


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_not_registered_makes_its_layer(name):
    variant = get_variant(name)
    layer = variant(name="drop1", seed=3)
    assert variant.name == name and layer.name == "drop1"
    kinds = {
        "dropout": keras.layers.Dropout,
        "spatial": keras.layers.SpatialDropout2D,
        "dropblock": dbl.DropBlock2D,
    }
    assert type(layer) is kinds[name.partition("-")[0]]
    for field, value in NAMES[name].items():
        assert getattr(layer, field) == getattr(variant, field) == value
    assert layer.seed == 3
    assert layer(ops.ones((1, 4, 4, 2)), training=True).shape == (1, 4, 4, 2)


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_a_variant_has_one_name(name):
    with pytest.raises(ValueError, match="argument `variant`") as caught:
        get_variant(name)
    assert repr(name) in str(caught.value)
    assert "dropblock-5-0.8-exact" in str(caught.value)
    assert variant_title(name) == name


@pytest.mark.parametrize(
    ("method", "arguments", "name"),
    [
        ("nothing", {}, "method"),
        (None, {}, "method"),
        ("none", {"rate": 0.5}, "rate"),
        ("none", {"keep_prob": 0.5}, "keep_prob"),
        ("dropout", {}, "rate"),
        ("dropout", {"rate": 1}, "rate"),
        ("dropout", {"rate": float("nan")}, "rate"),
        ("dropout", {"rate": "0.5"}, "rate"),
        ("dropout", {"rate": False}, "rate"),
        ("spatial", {"rate": -0.1}, "rate"),
        ("spatial", {"rate": 0.1, "block_size": 3}, "block_size"),
        ("spatial", {"rate": 0.1, "per_channel": True}, "per_channel"),
        ("dropblock", {"keep_prob": 0.9}, "block_size"),
        ("dropblock", {"block_size": 3}, "keep_prob"),
        ("dropblock", {"block_size": 0, "keep_prob": 0.9}, "block_size"),
        ("dropblock", {"block_size": 3, "keep_prob": 0}, "keep_prob"),
        ("dropblock", {"block_size": 3, "keep_prob": 0.9, "rate": 0.1}, "rate"),
        ("dropblock", {"block_size": 3, "keep_prob": 0.9, "gamma": ""}, "gamma"),
        ("dropblock", {"block_size": 3, "keep_prob": 0.9, "per_channel": 1},
         "per_channel"),
        ("dropblock", {"block_size": 3, "keep_prob": 0.9, "factory": print}, "factory"),
        ("custom", {"factory": 3}, "factory"),
    ],
)  # fmt: skip
def test_an_error_about_an_invalid_number_names_it(method, arguments, name):
    with pytest.raises(ValueError, match=f"argument `{name}`"):
        Variant(method, **arguments)


def test_a_variant_is_defined_by_its_numbers_and_cannot_be_changed():
    variant = Variant("dropblock", block_size=[5, 5], keep_prob=np.float64(1))
    assert variant.numbers() == {
        "method": "dropblock",
        "block_size": 5,
        "keep_prob": 1.0,
        "gamma": "paper",
        "per_channel": True,
    }
    assert {variant: 1}[get_variant("dropblock-5-1")] == 1
    assert Variant("dropout", rate=np.float32(0.5)) == get_variant("dropout-0.5")
    with pytest.raises(AttributeError):
        variant.keep_prob = 0.5
    assert get_variant(variant) is variant


# === Functions as variants ===


def mine(name=None, seed=None):
    return dbl.DropBlock2D((3, 5), 0.7, gamma="exact", name=name, seed=seed)


def test_a_function_is_a_variant():
    variant = get_variant(mine)
    assert (variant.method, variant.name, variant.title) == ("custom", None, None)
    assert variant.numbers() == {
        "method": "custom",
        "block_size": [3, 5],
        "keep_prob": 0.7,
        "gamma": "exact",
        "per_channel": True,
    }
    layers = [variant(name="drop1", seed=3) for _ in range(2)]
    assert layers[0] is not layers[1]
    assert (layers[0].name, layers[0].seed) == ("drop1", 3)
    assert variant == get_variant(mine)
    assert variant != get_variant(lambda name=None, seed=None: mine(name, seed))
    assert get_variant(lambda name=None, seed=None: None)() is None


def test_a_registered_function_has_its_name_and_place(monkeypatch):
    monkeypatch.setitem(VARIANTS, "mine", mine)
    labeled = Variant("custom", factory=mine, label="Mine!", color="#CC3311")
    monkeypatch.setitem(VARIANTS, "labeled", labeled)
    assert get_variant("mine") == get_variant(mine)
    assert variant_title("mine") == "mine"
    assert variant_title("labeled") == "Mine!"
    assert get_variant("labeled").color == "#CC3311"
    in_order = [
        *VARIANTS,
        "dropout-0.1",
        "spatial-0.2",
        "dropblock-5-0.9",
        "dropblock-5-0.8",
        "dropblock-7x3-0.9",
        "theirs",
    ]
    assert in_order[-7:-5] == ["labeled", "dropout-0.1"]
    assert sorted(reversed(in_order), key=variant_order) == in_order


def test_looking_up_a_function_uses_no_random_numbers():
    random.seed(1)
    names = [keras.layers.Dropout(0.5).name]
    state = random.getstate()
    get_variant(
        lambda name=None, seed=None: keras.layers.Dropout(0.5, None, seed, name=name)
    )
    assert random.getstate() == state
    names.append(keras.layers.Dropout(0.5).name)
    before, after = (
        int(name.rpartition("_")[2] or 0) if "_" in name else 0 for name in names
    )
    assert after == before + 1


@pytest.mark.parametrize(
    "function", [lambda: None, lambda name=None, seed=None: 3, keras.layers.Dropout]
)
def test_a_function_that_makes_no_layers_is_rejected(function):
    with pytest.raises(ValueError, match=r"factory\(name=None, seed=None\)") as caught:
        get_variant(function)
    assert "argument `variant`" in str(caught.value)


def test_the_variant_of_a_record_makes_no_layers_if_it_was_a_function():
    variant = Variant.of_numbers(get_variant(mine).numbers())
    assert (variant.block_size, variant.keep_prob) == ((3, 5), 0.7)
    with pytest.raises(ValueError, match="argument `factory`"):
        variant(name="drop1")
