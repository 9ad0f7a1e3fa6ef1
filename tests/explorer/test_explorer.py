"""The mask explorer in Python, and its script's numbers if Node is installed."""

import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import explorer_vectors
import ipywidgets
import keras
import ml_dtypes
import numpy as np
import pytest
from colors import contrast
from IPython.core.formatters import DisplayFormatter
from scipy import stats

import dropblock_lib as dbl
from dropblock_lib.explorer import pictures
from dropblock_lib.explorer.noise import mix, noise
from dropblock_lib.explorer.state import CHECKS, PRESETS, TRIES
from dropblock_lib.explorer.still import BRIGHT, DIM
from dropblock_lib.explorer.texts import TEXTS
from dropblock_lib.palette import PALETTE, PALETTE_DARK

FILES = Path(dbl.__file__).parent / "explorer"
VECTORS = json.loads(explorer_vectors.FILE.read_text())
NUMBERS = ("gamma", "nominal", "expected", "realized", "scale")

every_state = pytest.mark.parametrize(
    "vector", VECTORS["states"], ids=lambda vector: vector["state"]["method"]
)


# === The shared vectors ===


def test_the_vectors_agree_with_the_oracle():
    found = json.loads(json.dumps(explorer_vectors.vectors()))
    for ours, vector in zip(found["states"], VECTORS["states"], strict=True):
        for name in NUMBERS:
            # Powers differ in the last digit between processors.
            relative = explorer_vectors.RELATIVE
            assert ours.pop(name) == pytest.approx(vector[name], rel=relative)
    bare = [
        {key: value for key, value in vector.items() if key not in NUMBERS}
        for vector in VECTORS["states"]
    ]
    assert found == VECTORS | {"states": bare}


@pytest.mark.parametrize("vector", VECTORS["noise"], ids=str)
def test_noise_equals_the_vectors(vector):
    seed, mask, row, column, expected = vector
    assert noise(seed, mask + 1, row + 1, column + 1)[-1, -1, -1] == expected


@every_state
def test_masks_and_readouts_equal_the_vectors(vector):
    explorer = dbl.MaskExplorer(**vector["state"])
    shape = (-1, explorer.height, explorer.width)
    for name, found in (("seeds", explorer.seeds), ("keep", explorer.keep_mask)):
        expected = [[int(digit) for digit in row] for row in vector[name]]
        expected = np.moveaxis(np.reshape(expected, shape), 0, -1)
        np.testing.assert_array_equal(found, np.broadcast_to(expected, found.shape))
    for name in NUMBERS:
        relative = explorer_vectors.RELATIVE
        assert explorer.readouts[name] == pytest.approx(vector[name], rel=relative)


@pytest.mark.parametrize("vector", VECTORS["pictures"])
def test_feature_maps_equal_the_vectors(vector):
    size = vector["height"], vector["width"]
    expected = np.reshape(vector["values"], (-1, *size))
    found = pictures.feature_map(vector["picture"], *size, len(expected))
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_the_script_agrees_with_the_vectors():
    test = Path(__file__).with_name("explorer.test.mjs")
    ran = subprocess.run(
        ["node", "--test", test],
        env={**os.environ, "EXPLORER_SCRIPT": str(FILES / "explorer.js")},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert int(re.search(r"pass (\d+)", ran.stdout)[1]) >= len(VECTORS["states"])


def test_the_script_is_small_and_imports_nothing():
    script = (FILES / "explorer.js").read_text()
    assert len(script.encode()) < 26_500
    assert not re.search(r"^\s*import\b|\bimport\(|https?:", script, re.MULTILINE)


# === The noise ===


def test_mixing_is_one_to_one():
    some = np.random.default_rng(0).integers(0, 2**32, 100_000, np.uint32)
    assert len(np.unique(mix(some))) == len(np.unique(some))


def test_noise_is_uniform_and_neighbors_are_independent():
    """Tests 2^18 draws in 64 bins, and pairs one step apart along each axis."""
    field = np.stack([noise(seed, 4, 64, 64) for seed in range(16)])
    counts = np.histogram(field, bins=64, range=(0, 1))[0]
    assert stats.chisquare(counts).pvalue > 1e-6
    for axis in range(field.ndim):
        ahead, behind = (
            np.take(field, range(start, field.shape[axis] - 1 + start), axis).ravel()
            for start in (1, 0)
        )
        # Under independence a correlation has a standard error of 1 / sqrt(n).
        correlation = np.corrcoef(ahead, behind)[0, 1]
        assert abs(correlation) < 5 / np.sqrt(ahead.size)


def test_a_larger_map_keeps_the_noise_it_has():
    np.testing.assert_array_equal(noise(5, 2, 6, 7), noise(5, 3, 9, 8)[:2, :6, :7])


def test_seeds_appear_as_keep_prob_falls_and_none_disappears():
    explorer = dbl.MaskExplorer()
    before = np.zeros((explorer.height, explorer.width, explorer.channels), bool)
    for keep_prob in (1.0, 0.9, 0.7, 0.4, 0.1):
        explorer.keep_prob = keep_prob
        assert (explorer.seeds | before == explorer.seeds).all()
        before = explorer.seeds
    assert before.any()


# === Pictures ===


def test_the_digit_is_from_scikit_learn():
    from sklearn.datasets import load_digits

    drawn = pictures.decode(pictures.PICTURES["digit"])
    np.testing.assert_allclose(drawn, load_digits().images[13] / 16)


def test_the_photograph_uses_all_levels():
    drawn = pictures.decode(pictures.PICTURES["cat"])
    assert drawn.shape == (48, 48)
    assert (drawn.min(), drawn.max()) == (0, 1)


def test_the_star_has_five_tips():
    """A circle between notches and tips crosses the star five times."""
    star = pictures.star()
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    inside = pictures.sample(
        star, 0.5 + 0.33 * np.sin(angle), 0.5 + 0.33 * np.cos(angle)
    )
    entered = (inside > 0.5) & (np.roll(inside, 1) <= 0.5)
    assert entered.sum() == 5


# === The widget's state ===


def test_the_slides_example():
    explorer = dbl.MaskExplorer("slides")
    assert np.argwhere(explorer.seeds[..., 0]).tolist() == [[3, 1], [3, 2]]
    assert explorer.keep_mask.sum() == 13
    assert explorer.readouts["scale"] == pytest.approx(25 / 13)
    assert explorer.values[0, :, 0].tolist() == [6, 5, 8, 9, 1]
    assert explorer.result[0, 0, 0] == pytest.approx(6 * 25 / 13)


@pytest.mark.parametrize("preset", PRESETS)
def test_result_equals_the_reference_on_the_same_noise(preset):
    explorer = dbl.MaskExplorer(preset)
    height, width = dbl.seed_shape(explorer.block, (explorer.height, explorer.width))
    top, left = (side // 2 for side in explorer.block)

    class SameNoise:
        def random(self, shape):
            field = noise(explorer.seed, shape[-1], explorer.height, explorer.width)
            valid = field[:, top : top + height, left : left + width]
            return np.moveaxis(valid, 0, -1)[None]

    expected = dbl.drop_block(
        explorer.values[None],
        explorer.block,
        explorer.keep_prob,
        SameNoise(),
        gamma=explorer.gamma,
        per_channel=explorer.per_channel,
    )
    np.testing.assert_allclose(explorer.result, expected[0])


@pytest.mark.parametrize(
    ("method", "layer"),
    [("dropout", keras.layers.Dropout), ("spatial", keras.layers.SpatialDropout2D)],
)
def test_other_methods_scale_as_in_keras(method, layer):
    # This mask of SpatialDropout keeps three of five channels.
    explorer = dbl.MaskExplorer(method=method, seed=2)
    dropped = layer(0.2)(np.ones((1, 4, 4, 64), "float32"), training=True)
    expected = keras.ops.convert_to_numpy(dropped).max()
    assert explorer.readouts["scale"] == pytest.approx(expected)


def test_a_photograph_loses_the_same_share_under_every_method():
    explorer = dbl.MaskExplorer()
    for method in ("dropout", "dropblock", "spatial"):
        explorer.method = method
        assert explorer.readouts["expected"] == pytest.approx(0.2)
        assert explorer.readouts["realized"] == pytest.approx(0.2, abs=0.01)
    # SpatialDropout drops one channel of five, and not the photograph.
    assert explorer.keep_mask.any((0, 1)).tolist() == [1, 1, 0, 1, 1]


def test_the_suggested_examples_are_valid_states():
    for attempt in TRIES:
        explorer = dbl.MaskExplorer(**attempt["state"])
        assert explorer.compare
        assert explorer.readouts["expected"] == pytest.approx(0.2)
    # The last one: a block as large as the map.
    assert explorer.block == (explorer.height, explorer.width)


def test_the_users_own_feature_map_is_dropped():
    own = np.random.default_rng(0).normal(size=(6, 9, 3))
    explorer = dbl.MaskExplorer(feature_map=own, keep_prob=0.6)
    assert (explorer.height, explorer.width, explorer.channels) == (6, 9, 3)
    np.testing.assert_allclose(explorer.values, own, rtol=1e-3)
    with pytest.raises(ValueError, match=r"`height`.*6, as in `feature_map`.*8"):
        explorer.height = 8
    assert explorer.height == 6


@pytest.mark.parametrize(
    "dtype", ["float16", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, "int8", "bool"]
)
def test_a_feature_map_may_have_any_numeric_dtype(dtype):
    own = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    explorer = dbl.MaskExplorer(feature_map=own)
    np.testing.assert_array_equal(explorer.values[..., 0], own.astype(float))
    if not np.can_cast(dtype, int):
        own[0, 0] = np.nan
        with pytest.raises(ValueError, match=r"`feature_map`.*finite"):
            dbl.MaskExplorer(feature_map=own)


def test_traits_are_observed_and_linked():
    explorer, slider = dbl.MaskExplorer(), ipywidgets.FloatSlider(0.5, max=1)
    seen = []
    explorer.observe(lambda change: seen.append(change["new"]), "block_size")
    ipywidgets.link((slider, "value"), (explorer, "keep_prob"))
    explorer.block_size = 9
    slider.value = 0.4
    assert seen == [9]
    assert explorer.keep_prob == 0.4
    explorer.keep_prob = 0.6
    assert slider.value == 0.6


@pytest.mark.parametrize(
    "state",
    [
        {"method": "dropconnect"},
        {"block_size": 0},
        {"block_size": 2.5},
        {"keep_prob": 0},
        {"keep_prob": 1.5},
        {"keep_prob": float("nan")},
        {"height": 65},
        {"width": True},
        {"channels": 17},
        {"per_channel": 1},
        {"gamma": "best"},
        {"seed": -1},
        {"seed": 2**32},
        {"picture": "dog"},
        {"step": 3},
        {"channel": 16},
        {"marks": "yes"},
        {"compare": 2},
        {"preset": "moon"},
        {"feature_map": np.zeros((65, 3))},
        {"feature_map": np.zeros(3)},
        {"feature_map": np.full((3, 3), np.nan)},
        {"feature_map": np.full((3, 3), "1")},
        {"feature_map": np.zeros((3, 3), "V2")},
        {"feature_map": np.zeros((3, 3), "M8[s]")},
        {"feature_map": np.zeros((3, 3), complex)},
    ],
    ids=str,
)
def test_bad_input_is_named(state):
    (name,) = state
    wording = rf"Invalid value received for argument `{name}`\. Expected .*Received: "
    with pytest.raises(ValueError, match=f"(?s){wording}"):
        dbl.MaskExplorer(**state)
    if name in CHECKS:
        explorer = dbl.MaskExplorer()
        before = getattr(explorer, name)
        with pytest.raises(ValueError, match=wording):
            setattr(explorer, name, state[name])
        assert getattr(explorer, name) == before


REJECTED = {
    "method": "dropconnect",
    "block_size": 0,
    "keep_prob": 0,
    "height": 65,
    "width": True,
    "channels": 17,
    "per_channel": 1,
    "gamma": "best",
    "seed": -1,
    "picture": "dog",
    "step": 3,
    "channel": 16,
    "marks": "yes",
    "compare": 2,
}


def assigned_while_held(explorer, state):
    with explorer.hold_trait_notifications():
        for name, value in state.items():
            setattr(explorer, name, value)


@pytest.mark.parametrize("set_all", [dbl.MaskExplorer.set_state, assigned_while_held])
@pytest.mark.parametrize("name", REJECTED)
def test_an_invalid_value_leaves_the_whole_state_unchanged(name, set_all):
    explorer = dbl.MaskExplorer(seed=3)
    before, seen = explorer.page_html(), []
    explorer.observe(seen.append, [*CHECKS])
    good = {"seed": 4, "marks": False, "picture": "digit", "gamma": "paper"}
    good.pop(name, None)
    for state in (
        {name: REJECTED[name]},
        {**good, name: REJECTED[name]},
        {name: REJECTED[name], **good},
    ):
        with pytest.raises(ValueError, match=f"argument `{name}`"):
            set_all(explorer, state)
        assert explorer.page_html() == before
    assert not seen
    set_all(explorer, good)
    assert {key: getattr(explorer, key) for key in good} == good
    assert {change.name for change in seen} == {*good}


def test_an_invalid_value_is_never_visible_while_notifications_are_held():
    explorer = dbl.MaskExplorer()
    with explorer.hold_trait_notifications():
        with pytest.raises(ValueError, match="argument `keep_prob`"):
            explorer.keep_prob = 0
        assert explorer.readouts["nominal"] == pytest.approx(0.2)


def test_a_page_that_sends_an_invalid_state_gets_the_valid_one(monkeypatch):
    explorer, sent = dbl.MaskExplorer(feature_map=np.ones((6, 9))), []
    monkeypatch.setattr(explorer, "send_state", lambda *_: sent.append(explorer.height))
    with pytest.raises(ValueError, match="as in `feature_map`"):
        explorer.set_state({"height": 8})
    assert sent == [6]


def test_an_unknown_argument_is_named():
    with pytest.raises(TypeError, match="no argument `keep_probability`"):
        dbl.MaskExplorer(keep_probability=0.9)


def test_texts_fit_a_single_mask():
    for step in ("seeds", "blocks"):
        assert "{masks} masks" not in TEXTS["explain"][step]["spatial"]


# === Display ===


def test_a_page_gets_the_state_and_a_picture():
    explorer = dbl.MaskExplorer("slides", keep_prob=0.85)
    page = explorer.page_html()
    state = json.loads(html.unescape(re.search(r'explorer="([^"]*)"', page)[1]))
    assert {name: state[name] for name in CHECKS} == {
        name: getattr(explorer, name) for name in CHECKS
    }
    assert "<svg" in page and "keep_prob 0.85" in page
    assert "<script" not in page


def test_the_still_picture_drops_what_the_mask_drops():
    explorer = dbl.MaskExplorer("slides")
    page = explorer.page_html()
    path = re.search(r'class="dropped"[^>]* d="([^"]*)"', page)[1]
    corners = [tuple(map(int, c)) for c in re.findall(r"M(\d+) (\d+)", path)]
    dropped = {(y // 10, x // 10) for x, y in corners}
    assert dropped == {*map(tuple, np.argwhere(explorer.keep_mask[..., 0] == 0))}


def test_the_still_picture_of_the_map_drops_nothing():
    page = dbl.MaskExplorer("slides", step="map").page_html()
    assert re.search(r'class="dropped"[^>]* d=""', page)
    assert 'class="seed"' not in page and 'class="valid"' not in page
    numbers = re.findall(r"<text [^>]*>([^<]*)<", page)
    assert numbers[:5] == ["6", "5", "8", "9", "1"] and "0" not in numbers


def test_numbers_on_the_still_picture_are_plain():
    own = np.full((5, 5), -1500.0)
    explorer = dbl.MaskExplorer(feature_map=own, block_size=3, keep_prob=0.5, seed=50)
    page = explorer.page_html()
    assert {*re.findall(r"<text [^>]*>([^<]*)<", page)} == {"0", "-1500"}


def test_numbers_on_the_still_picture_are_legible():
    page = dbl.MaskExplorer("slides").page_html()
    cells = {
        (int(x), int(y)): color
        for color, path in re.findall(r'<path [^>]*fill="([^"]*)"[^>]* d="(.*?)"', page)
        for x, y in re.findall(r"M(\d+) (\d+)", path)
    }
    numbers = re.findall(r'<text x="(\d+)" y="([\d.]+)" [^>]*fill="([^"]*)"', page)
    assert len(numbers) == len(cells) == 25
    for x, y, color in numbers:
        cell = cells[int(x) // 10 * 10, int(float(y)) // 10 * 10]
        assert contrast(color, cell) >= 4.5
    # The style sheet would override these colors.
    (rule,) = re.findall("-still text {.*}", (FILES / "explorer.css").read_text())
    assert "fill" not in rule


def test_side_by_side_there_is_a_still_picture_of_each_method():
    page = dbl.MaskExplorer(compare=True).page_html()
    captions = re.findall("<figcaption>(\\w+) ", page)
    assert captions == ["Dropout", "DropBlock", "SpatialDropout"]


def test_there_is_no_scale_if_nothing_is_kept():
    page = dbl.MaskExplorer(method="spatial", channels=1, keep_prob=0.001).page_html()
    assert "100.0% by this mask" in page and "kept units by \u2013" in page


@pytest.mark.parametrize("palette", [PALETTE, PALETTE_DARK], ids=["light", "dark"])
def test_every_color_of_a_unit_differs_from_the_page(palette):
    own = re.findall(
        "--(dim|bright|faint): (#\\w{6});", (FILES / "explorer.css").read_text()
    )
    tints = dict(own[:3] if palette is PALETTE else own[3:])
    assert tints.keys() == {"dim", "bright", "faint"}
    if palette is PALETTE:
        assert (tints["dim"], tints["bright"]) == (DIM, BRIGHT)
    cells = [*tints.values()]
    cells += [palette[name] for name in ("kept", "dropped", "seed", "valid", "muted")]
    for color in cells:
        assert contrast(color, palette["paper"]) >= 3, color


def test_a_notebook_gets_the_widget_and_html():
    data, _ = DisplayFormatter().format(dbl.MaskExplorer())
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/html"].startswith('<div class="mask-explorer"')


def test_colab_gets_only_the_widget(monkeypatch):
    explorer = dbl.MaskExplorer()
    monkeypatch.setitem(sys.modules, "google.colab", object())
    monkeypatch.setattr("anywidget.widget.repr_mimebundle", lambda **_: ({}, {}))
    data, _ = DisplayFormatter().format(explorer)
    assert "text/html" not in data


def test_a_closed_widget_is_shown_as_text():
    explorer = dbl.MaskExplorer()
    explorer.close()
    data, _ = DisplayFormatter().format(explorer)
    assert set(data) == {"text/plain"}


def test_without_anywidget_the_package_works_and_says_what_is_missing():
    code = """
import sys
sys.modules["anywidget"] = None
import dropblock_lib as dbl
dbl.DropBlock2D(3)
try:
    dbl.MaskExplorer()
except ImportError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MaskExplorer needs anywidget" in ran.stdout, ran.stderr


def test_the_package_alone_imports_no_widget():
    code = "import sys, dropblock_lib; print('ipywidgets' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.strip() == "False", ran.stderr
