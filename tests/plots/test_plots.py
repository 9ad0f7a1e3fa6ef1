"""Figures show what they are given: layers, masks, curves and accuracies."""

from collections import Counter

import keras
import numpy as np
import pytest
from drawing import check_figure
from matplotlib.patches import PathPatch

from dropblock_lib import plots
from dropblock_lib.data import Dataset
from dropblock_lib.experiments.guessing import keep_masks
from dropblock_lib.masks import expected_drop_rate, gamma
from dropblock_lib.palette import LINES, PALETTE
from dropblock_lib.plots.style import variant_color, variant_dashes
from dropblock_lib.variants import VARIANTS, Variant, variant_title

HISTORIES = {
    "none": [
        {"accuracy": [0.5, 0.9], "val_accuracy": [0.4, 0.6],
         "loss": [1.5, 0.2], "val_loss": [1.6, 1.2]},
        {"accuracy": [0.7, 0.9], "val_accuracy": [0.4, 0.4],
         "loss": [1.5, 0.4], "val_loss": [1.4, 1.2]},
    ],
}  # fmt: skip
LOSSES = {"none": [(1.0, 2.0), (1.2, 1.8)], "dropblock-7-0.7": [(1.5, 1.6)]}


def texts(fig):
    found = [text.get_text() for ax in fig.axes for text in ax.texts]
    return Counter(text for text in found if text)


def lines(fig):
    return {line.get_label(): line.get_ydata() for line in fig.axes[0].lines}


@pytest.mark.parametrize(
    "draw",
    [
        plots.residual_blocks,
        plots.two_placements,
        plots.dense_block,
        lambda: plots.masks_by_group({"stem": (8, 1)}, 7, 0.5),
        lambda: plots.shortfall(7, (56, 14, 8, 7)),
        lambda: plots.valid_seed_region(7, 14),
        plots.evidence,
        lambda: plots.validation_curves(HISTORIES, published={"slides": 0.6}),
        lambda: plots.losses_by_variant({"a": LOSSES}),
        lambda: plots.published_gains({"plain": 76.5, "ours": 78.1}, {"here": 1.6}),
    ],
)
def test_a_figure_has_the_colors_of_the_palette_and_fits_a_page(draw):
    check_figure(draw())


def test_published_numbers_are_written_beside_their_points():
    fig = plots.published_gains(
        {"plain": 76.5, "rival": 76.8, "ours": 78.1}, {"here": 1.6, "there": 0.2}
    )
    above, below = [[text.get_text() for text in ax.texts] for ax in fig.axes]
    assert above == ["76.50", "76.80 (+0.30)", "78.10 (+1.60)"]
    assert below == ["+1.6", "+0.2"]
    ends = [[line.get_xdata()[-1] for line in ax.lines[2::2]] for ax in fig.axes]
    assert ends == [[76.5, 76.8, 78.1], [1.6, 0.2]]


def test_pictures_keep_their_values():
    gray = np.arange(4, dtype="uint8").reshape(2, 2, 1)
    color = np.arange(12, dtype="uint8").reshape(2, 2, 3)
    fig = plots.pictures({"gray": [gray, gray + 9.4], "color": [color]}, columns=2)
    shown = [[image.get_array() for image in ax.images] for ax in fig.axes]
    # A gray image is not stretched to its darkest and brightest pixels.
    np.testing.assert_array_equal(shown[0][0], gray.repeat(3, -1))
    np.testing.assert_array_equal(shown[0][1], (gray + 9).repeat(3, -1))
    np.testing.assert_array_equal(shown[1][0], color)
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["gray", "color"]


@pytest.mark.parametrize("requested", ["digits", "mnist"])
def test_pictures_of_a_stand_in_have_a_banner(requested):
    images = np.zeros((1, 4, 4, 1), "uint8")
    dataset = Dataset(
        requested=requested, name="digits", source="digits", origin="stand-in",
        x_train=images, y_train=np.zeros(1), x_test=images, y_test=np.zeros(1),
        classes=("0",),
    )  # fmt: skip
    banner = plots.pictures({"0": images}, dataset=dataset)._suptitle
    if requested == "mnist":
        assert banner.get_text() == "Stand-in: digits instead of mnist"
    else:
        assert banner is None


@pytest.mark.parametrize("keep_prob", [0.75, 1.0])
def test_the_area_drawn_as_dropped_is_that_of_the_mask(keep_prob):
    rng = np.random.default_rng(0)
    feature_map = rng.random((12, 9, 4))
    mask = keep_masks("dropblock", (1, 12, 9, 4), keep_prob, rng, 3)[0]
    whole = np.ones_like(mask)
    fig = plots.channels_under_masks(feature_map, {"whole": whole, "some": mask})
    for ax, expected in zip(fig.axes, (whole, mask), strict=True):
        paths = [patch.get_path() for patch in ax.patches]
        areas = [
            np.prod(np.ptp(corners[:4], 0))
            for path in paths
            for corners in path.vertices.reshape(-1, 5, 2)
        ]
        assert sum(areas) == (expected == 0).sum()
        (image,) = ax.images
        # Four channels with a line between them.
        assert np.isfinite(image.get_array().filled(np.nan)).sum() == feature_map.size


def test_there_is_no_shortfall_if_a_block_covers_the_map():
    fig = plots.shortfall(7, (14, 7))
    large, covered = (line.get_xydata() for line in fig.axes[0].lines)
    np.testing.assert_allclose(covered[:, 1], 0, atol=1e-12)
    share = expected_drop_rate(gamma(0.9, 7, 14), 7, 14)
    np.testing.assert_allclose(np.interp(0.1, *large.T), 0.1 - share)
    assert texts(fig) == {"14 x 14": 1, "7 x 7": 1}


def test_both_kinds_of_residual_blocks_have_two_drop_layers():
    drawn = texts(plots.residual_blocks())
    assert drawn["DropBlock"] == 4
    # Three convolutions on each main path, one on the skip connection.
    assert drawn["1 x 1 conv"] + drawn["3 x 3 conv"] == 2 * 3 + 1


def test_the_papers_code_drops_at_two_more_places_of_a_block():
    assert texts(plots.two_placements())["DropBlock"] == 2 + 4


def test_a_dense_block_keeps_its_channels_and_adds_more():
    drawn = texts(plots.dense_block(first=40, growth=20, layers=4))
    assert drawn["40"] == 5
    assert drawn["20"] == 1 + 2 + 3 + 4
    assert drawn["DropBlock"] == 2


def test_a_block_that_covers_the_map_drops_whole_channels():
    fig = plots.masks_by_group({"stem": (4, 32)}, block_size=7, keep_prob=0.5)
    widths = [
        [patch.get_extents().width for patch in ax.patches if type(patch) is PathPatch]
        for ax in fig.axes
    ]
    small, large = widths
    assert len(small) >= 2
    assert len(large) == 2 * 16  # every channel loses something
    channel = fig.axes[0].patches[0].get_extents().width
    np.testing.assert_allclose(small, channel)
    assert min(large) < channel


def test_each_channel_has_its_mask():
    keep_masks = np.ones((6, 6, 4), bool)
    keep_masks[:3, :, 1] = False
    fig = plots.masks_of_channels(
        {"one half": keep_masks, "all kept": np.ones((6, 6, 4), bool)}
    )
    check_figure(fig)
    ax, whole = fig.axes
    assert not [patch for patch in whole.patches if type(patch) is PathPatch]
    assert ax.get_title(loc="left") == "one half"
    dropped = [patch for patch in ax.patches if type(patch) is PathPatch]
    # The second channel is right of the first.
    assert len(dropped) == 2
    np.testing.assert_allclose(dropped[0].get_path().get_extents().extents,
                               [1.12, 0, 2.12, 0.5])  # fmt: skip


def test_losses_go_from_training_to_validation():
    first = {variant: runs[:1] for variant, runs in LOSSES.items()}
    fig = plots.losses_by_variant({"one": first, "two": LOSSES})
    for ax, settings in zip(fig.axes, (first, LOSSES), strict=True):
        runs = [run for found in settings.values() for run in found]
        shown = [line for line in ax.lines if len(line.get_xdata()) == 2]
        assert [tuple(line.get_xdata()) for line in shown] == runs
        # Each run is near the row of its variant, and none on another.
        rows = [line.get_ydata()[0] for line in shown]
        assert [round(row) for row in rows] == [0] * (len(runs) - 1) + [1]
        assert len(set(rows)) == len(rows)
        assert shown[-1].is_dashed() and not shown[0].is_dashed()
    labels = [label.get_text() for label in fig.axes[0].get_yticklabels()]
    assert labels == ["plain", "DropBlock 7/0.7"]


def test_losses_have_the_same_scale_in_all_panels():
    far = {v: [(a, b + 3) for a, b in runs] for v, runs in LOSSES.items()}
    fig = plots.losses_by_variant({"near": LOSSES, "far": far})
    spans = [np.ptp(ax.get_xlim()) for ax in fig.axes]
    np.testing.assert_allclose(*spans)
    for ax in fig.axes:
        low, high = ax.get_xlim()
        ends = np.concatenate([line.get_xdata() for line in ax.lines]).astype(float)
        assert low < ends.min() and ends.max() < high


def test_validation_curves_are_labeled_at_their_ends():
    far = {"val_accuracy": [0.1, None, 0.2]}
    near = {"val_accuracy": [0.4, None, 0.6]}
    fig = plots.validation_curves(
        {"none": [near, near], "spatial-0.7": [far]}, lowest=0.3, published={"x": 0.5}
    )
    [ax] = fig.axes
    assert texts(fig) == {"plain": 1, "x": 1}
    np.testing.assert_array_equal(lines(fig)["plain"], [0.4, 0.6])
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1, 3])
    title = ax.get_title(loc="left")
    assert title == "SpatialDropout 0.7 is not drawn: it ends at 20%"


def test_labels_of_curves_that_end_together_do_not_overlap():
    variants = ("none", "dropout-0.25", "dropblock-3-0.9")
    fig = plots.validation_curves(of_all(HISTORIES["none"], variants))
    [ax] = fig.axes
    heights = sorted(text.xyann[1] for text in ax.texts)
    assert np.diff(heights).min() > 0.05 * np.ptp(ax.get_ylim())


def test_a_variant_that_diverged_is_named_and_not_drawn():
    nan = [float("nan")] * len(HISTORIES["none"][0]["val_accuracy"])
    runs = {"none": HISTORIES["none"], "dropout-0.25": [{"val_accuracy": nan}]}
    [ax] = plots.validation_curves(runs).axes
    title = ax.get_title(loc="left")
    assert title == "Dropout 0.25 is not drawn: a run diverged"
    [ax] = plots.validation_curves({"none": [{"val_accuracy": nan}]}).axes
    assert "a run diverged" in ax.get_title(loc="left")


def test_groups_may_have_different_numbers_of_maps():
    fig = plots.masks_by_group({"a": (8, 4, 2), "b": (8,)}, block_size=3, keep_prob=0.5)
    assert [ax.axison for ax in fig.axes] == [False] * 6
    assert [len(ax.patches) > 0 for ax in fig.axes] == [True] * 4 + [False] * 2


def test_validation_curves_without_runs_say_so():
    fig = plots.validation_curves({}, published={"slides": 0.6})
    assert fig.axes[0].get_title(loc="left") == "No run is recorded yet"


# A registered function, a name that is not registered, and the variant of a record
# whose author registered it elsewhere.
OTHERS = ("mine", "dropblock-5-0.8-exact", "theirs")
OTHER_TITLES = ["mine", "DropBlock 5/0.8, exact", "theirs"]


def of_all(value, variants=("none", *OTHERS)):
    return dict.fromkeys(variants, value)


def labels(fig):
    """The names of a figure's variants, in its legend or beside its rows."""
    shown = [text.get_text() for ax in fig.axes for text in ax.get_yticklabels()]
    legends = [*fig.legends, *(ax.get_legend() for ax in fig.axes)]
    for legend in filter(None, legends):
        shown += [text.get_text() for text in legend.get_texts()]
    return shown + list(texts(fig))


FIGURES_OF_VARIANTS = {
    "sampling_error": lambda: plots.sampling_error({"slides": of_all(0.6)}, 100),
    "accuracy_by_variant": lambda: plots.accuracy_by_variant(
        list(of_all([0.5, 0.6]).items()), of_all(0.6)
    ),
    "validation_curves": lambda: plots.validation_curves(of_all(HISTORIES["none"])),
    "losses_by_variant": lambda: plots.losses_by_variant({"a": of_all([(1.0, 2.0)])}),
}


@pytest.fixture
def mine(monkeypatch):
    def factory(name=None, seed=None):
        return keras.layers.Dropout(0.3, name=name, seed=seed)

    monkeypatch.setitem(VARIANTS, "mine", factory)


@pytest.mark.parametrize("name", FIGURES_OF_VARIANTS)
def test_figures_draw_variants_that_the_slides_do_not_have(mine, name):
    fig = FIGURES_OF_VARIANTS[name]()
    check_figure(fig)
    shown = labels(fig)
    assert [title for title in shown if title in OTHER_TITLES] == OTHER_TITLES


def test_the_color_shows_what_a_variant_drops(mine, monkeypatch):
    blue, red, green, yellow, purple, cyan = (light for light, _ in LINES.values())
    expected = {
        "none": PALETTE["muted"],
        "dropout-0.1": blue,
        "dropblock-1-0.9": blue,
        "spatial-0.1": yellow,
        "dropblock-32-0.9": yellow,
        "dropblock-3-0.8-exact": red,
        "dropblock-3x7-0.9": purple,
        "dropblock-5-0.9": green,
        "mine": cyan,
        "theirs": cyan,
    }
    assert {name: variant_color(name) for name in expected} == expected
    monkeypatch.setitem(VARIANTS, "own", Variant("none", color="#CC3311", label="own"))
    assert variant_color("own") == "#CC3311" and variant_title("own") == "own"


def test_dashes_are_for_a_dropblock_that_drops_much(mine):
    names = ("dropblock-5-0.79", "dropblock-5-0.8", "spatial-0.7", "mine", "theirs")
    dashed = [name for name in names if variant_dashes(name) != "-"]
    assert dashed == ["dropblock-5-0.79"]
