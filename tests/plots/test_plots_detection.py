"""Figures of detection show boxes and losses correctly."""

import numpy as np
import pytest
from drawing import check_figure
from matplotlib.colors import to_hex
from matplotlib.patches import PathPatch, Rectangle

from dropblock_lib import plots
from dropblock_lib.detection.anchors import Assignment
from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.boxes import FOUND, IGNORED, OBJECT

IMAGE = np.random.default_rng(0).integers(0, 256, (300, 400, 3), "uint8")
OBJECTS = np.array([[40, 60, 200, 160], [250, 10, 390, 290]], "float32")
ANCHORS = np.array(
    [[30, 60, 200, 160], [0, 0, 40, 40], [60, 80, 240, 190], [240, 0, 390, 290]],
    "float32",
)
ASSIGNED = Assignment(
    anchors=ANCHORS,
    levels=np.array(["P3", "P3", "P4", "P5"]),
    overlaps=np.array([[0.9, 0], [0, 0], [0.45, 0], [0, 0.9]]),
    labels=np.array([7, -1, -2, 3]),
)


def grid(side):
    """Four anchors at each of side x side positions."""
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    center = np.stack([x, y], -1)[:, :, None] * 256 / side
    half = np.array([[8, 8], [16, 8], [8, 16], [24, 24]])
    return np.concatenate([center - half, center + half], -1)


FIGURES = {
    "images": lambda: plots.images_with_boxes(
        {
            "truth": {"image": IMAGE, "objects": (OBJECTS, ["cat", "dog"])},
            "detected": {"image": IMAGE, "found": (OBJECTS + 5, ["cat", "cow"])},
        }
    ),
    "pyramid": lambda: plots.pyramid(
        IMAGE, {"P3": np.ones((40, 50)), "P4": np.ones((20, 25))}
    ),
    "anchors": lambda: plots.anchors_of_positions(
        IMAGE, {"P3": grid(16), "P5": grid(4)}, {"P3": (8, 9), "P5": (2, 1)}
    ),
    "overlaps": lambda: plots.overlaps(
        [([0, 0, 30, 30], [15, 0, 45, 30]), ([0, 0, 30, 30], [40, 0, 60, 20])]
    ),
    "assignment": lambda: plots.assignment(IMAGE, OBJECTS, ASSIGNED, 0),
    "focal_loss": lambda: plots.focal_loss((0, 2)),
    "shares": lambda: plots.loss_shares({"a": (3, 1), "b": (10, 30)}),
    "masks": lambda: plots.masks_over_image(
        IMAGE, {"one": np.array([[1, 0], [1, 1]]), "two": np.ones((4, 4))}
    ),
    "class_losses": lambda: plots.class_losses(
        {"none": [[9.0, None, 0.5], [7.0, None, 0.3]], "mine": [[1.0, 0.9, 0.8]]},
        {"untrained": 1.1, "knows nothing": 0.9},
    ),
    "no_class_losses": lambda: plots.class_losses({}, {}, notice="not run yet"),
}


def boxes(ax, kind):
    """Left, top, right and bottom of the outlines in the color of a kind."""
    return [
        [p.get_x(), p.get_y(), p.get_x() + p.get_width(), p.get_y() + p.get_height()]
        for p in ax.patches
        if isinstance(p, Rectangle)
        and not p.get_fill()
        and to_hex(p.get_edgecolor()).upper() == kind["color"].upper()
    ]


def titles(fig):
    return [ax.get_title(loc="left") for ax in fig.axes]


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_a_figure_has_the_colors_of_the_palette_and_fits_a_page(draw):
    check_figure(draw())


def test_boxes_are_drawn_where_they_are():
    truth, detected = FIGURES["images"]().axes
    np.testing.assert_allclose(boxes(truth, OBJECT), OBJECTS)
    assert boxes(truth, FOUND) == []
    np.testing.assert_allclose(boxes(detected, FOUND), OBJECTS + 5)
    assert [text.get_text() for text in detected.texts] == ["cat", "cow"]
    # In pixels of the image, though fewer are shown.
    [shown] = truth.images
    assert shown.get_extent() == [0, 400, 300, 0]
    assert max(shown.get_array().shape) < 400


def test_a_name_is_aligned_away_from_the_nearer_edges():
    left, right = FIGURES["images"]().axes[0].texts
    assert (left.get_ha(), left.get_va()) == ("left", "bottom")
    assert (right.get_ha(), right.get_va()) == ("right", "top")


def test_names_of_neighbors_do_not_cover_each_other():
    neighbors = [[100, 100, 180, 200], [130, 104, 190, 220]]
    panel = {"image": IMAGE, "objects": (neighbors, ["one", "other"])}
    one, other = plots.images_with_boxes({"": panel}).axes[0].texts
    assert (one.xy, one.get_va()) == ((100, 100), "bottom")
    assert (other.xy, other.get_va()) == ((130, 220), "top")


def test_a_level_is_shown_with_its_size():
    fig = FIGURES["pyramid"]()
    assert titles(fig)[:3] == ["300 x 400", "P3: 40 x 50", "P4: 20 x 25"]
    shapes = [ax.images[0].get_array().shape[:2] for ax in fig.axes[1:3]]
    assert shapes == [(40, 50), (20, 25)]


def test_the_anchors_of_one_position_are_shown():
    fig = FIGURES["anchors"]()
    assert titles(fig) == ["P3: 16 x 16", "P5: 4 x 4"]
    for ax, anchors in zip(fig.axes, (grid(16)[8, 9], grid(4)[2, 1]), strict=True):
        np.testing.assert_allclose(boxes(ax, FOUND), anchors)
        center = (anchors[0, :2] + anchors[0, 2:]) / 2
        dots = [line.get_xydata()[0] for line in ax.lines]
        np.testing.assert_allclose(dots, [center, center])


def test_an_overlap_is_measured_and_shaded():
    fig = FIGURES["overlaps"]()
    # 15 x 30 of 2 * 900 - 450; and boxes that do not overlap.
    assert titles(fig) == ["IoU 0.33", "IoU 0.00"]
    shaded = [
        [
            (*p.get_xy(), p.get_width(), p.get_height())
            for p in ax.patches
            if p.get_fill() and to_hex(p.get_facecolor()) == PALETTE["ink"].lower()
        ]
        for ax in fig.axes
    ]
    assert shaded == [[(15, 0, 15, 30)], []]


def test_anchors_are_shown_with_the_object_that_they_overlap():
    found, ignored = FIGURES["assignment"]().axes
    assert found.get_title(loc="left") == "1 to find it"
    assert ignored.get_title(loc="left") == "1 ignored"
    np.testing.assert_allclose(boxes(found, FOUND), ANCHORS[:1])
    np.testing.assert_allclose(boxes(ignored, IGNORED), ANCHORS[2:3])
    for ax in (found, ignored):
        np.testing.assert_allclose(boxes(ax, OBJECT), OBJECTS[:1])


def test_the_focal_loss_without_gamma_is_cross_entropy():
    plain, focal = FIGURES["focal_loss"]().axes[0].lines
    p = plain.get_xdata()
    np.testing.assert_allclose(plain.get_ydata(), -np.log(p), atol=1e-12)
    np.testing.assert_allclose(focal.get_ydata(), (1 - p) ** 2 * plain.get_ydata())


def test_shares_of_the_loss_add_up():
    [ax] = FIGURES["shares"]().axes
    background, objects = (
        [(bar.get_x(), bar.get_width()) for bar in bars] for bars in ax.containers
    )
    assert background == [(0, 0.75), (0, 0.25)]
    assert objects == [(0.75, 0.25), (0.25, 0.75)]


def test_a_mask_is_stretched_over_the_image():
    dropped, whole = FIGURES["masks"]().axes
    [patch] = [p for p in dropped.patches if isinstance(p, PathPatch)]
    (left, top), (right, bottom) = patch.get_path().get_extents().get_points()
    assert (left, top, right, bottom) == (200, 0, 400, 150)
    assert len(whole.patches) == 0


def test_class_losses_are_means_beside_their_yardsticks():
    [ax] = FIGURES["class_losses"]().axes
    plain, mine, *levels = ax.lines
    # The second epoch was not validated.
    np.testing.assert_allclose(plain.get_xydata(), [[1, 8], [3, 0.4]])
    assert (plain.get_label(), mine.get_label()) == ("plain", "mine")
    assert [line.get_ydata()[0] for line in levels] == [1.1, 0.9]
    # Losses far above the yardsticks are cut off.
    assert ax.get_ylim() == (0, 2.2)


def test_high_class_losses_have_an_axis_that_starts_above_zero():
    high = {"plain": [[0.8, 0.7]], "dropblock-7-0.9": [[0.8, 0.6]]}
    [ax] = plots.class_losses(high, {"untrained": 1.1}).axes
    low, top = ax.get_ylim()
    assert low == pytest.approx(0.54) and 1.1 < top < 2.2


def test_class_losses_of_a_run_that_diverged_are_left_out():
    runs = {"none": [[1.0, 0.9]], "dropout-0.25": [[None, float("nan")]]}
    [ax] = plots.class_losses(runs, {"untrained": 1.1}).axes
    low, high = ax.get_ylim()
    assert low < 0.9 and high > 1.1


def test_missing_class_losses_are_announced():
    [ax] = FIGURES["no_class_losses"]().axes
    assert [text.get_text() for text in ax.texts] == ["not run yet"]
    assert not ax.lines
