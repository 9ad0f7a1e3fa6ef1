"""Figures of the benchmarks show what was measured."""

import numpy as np
import pytest
from drawing import check_figure
from matplotlib.patches import Rectangle

from dropblock_lib import expand_seeds, plots
from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.speed import MARKS

SHAPES = [(32, 56, 56, 64), (8, 64, 64, 256)]


def layer_speed():
    def document(factor):
        rows = [
            {"shape": list(shape), "block_size": 7, "keep_prob": keep_prob,
             "contestant": name, "ratio": factor * ratio, "ratio_low": 0.8 * ratio,
             "ratio_high": 1.2 * ratio}
            for shape in SHAPES
            for keep_prob in (0.9, 0.5)
            for name, ratio in (("DropBlock2D", 0.5), ("Dropout", 1.0), ("x * c", 0.2))
        ]  # fmt: skip
        return {"rows": rows}

    return {"tensorflow": document(1.0), "jax": document(0.5)}


def peer_rates():
    def row(size, name, **found):
        return {"size": size, "block_size": 7, "nominal": 0.1,
                "contestant": name} | found  # fmt: skip

    return {
        "jax": {"rows": [row([8, 8], "KerasCV", error="no")]},
        "torch": {
            "rows": [
                row([8, 8], "DropBlock2D", dropped=0.096, not_finite=0),
                row([8, 8], "KerasCV", dropped=0.03, not_finite=5),
                row([7, 7], "DropBlock2D", dropped=0.1, not_finite=0),
                row([7, 7], "KerasCV", error="no"),
            ]
        },
    }


def points(ax, color):
    """Positions of the marks of one color, without those of the legend."""
    found = [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in ax.lines
        if line.get_color() == color and len(line.get_xdata()) == 1
    ]
    return sorted(found, key=lambda point: point[1])


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.layer_speed(layer_speed()),
        lambda: plots.peer_rates(peer_rates()),
    ],
)
def test_a_figure_has_the_colors_of_the_palette_and_fits_a_page(draw):
    check_figure(draw())


def test_layers_are_at_their_ratio_in_the_panel_of_their_backend():
    fig = plots.layer_speed(layer_speed())
    color, _ = MARKS["DropBlock2D"]
    shown = {ax.get_title(loc="left"): points(ax, color) for ax in fig.axes}
    assert shown == {
        "TensorFlow": [(0.5, 0), (0.5, 1)],
        "JAX": [(0.25, 0), (0.25, 1)],
    }
    names = [text.get_text() for text in fig.axes[0].get_yticklabels()]
    assert names == ["32x56x56x64", "8x64x64x256"]


def test_layers_of_every_rank_have_the_same_mark():
    documents = layer_speed()
    row = documents["jax"]["rows"][0]
    volume = {"contestant": "DropBlock3D", "shape": [4, 8, 8, 8, 16], "ratio": 0.3}
    documents["jax"]["rows"].append(row | volume)
    fig = plots.layer_speed(documents)
    color, _ = MARKS["DropBlock2D"]
    assert points(fig.axes[1], color) == [(0.25, 0), (0.25, 1), (0.3, 2)]
    [legend] = fig.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == ["DropBlock", "SpatialDropout2D", "x * c"]


def test_peers_are_at_their_rate_and_errors_in_their_own_column():
    ax = plots.peer_rates(peer_rates()).axes[0]
    ours, theirs = (points(ax, MARKS[name][0]) for name in ("DropBlock2D", "KerasCV"))
    np.testing.assert_allclose([rate for rate, _ in ours], [0.096, 0.1])
    assert theirs[0][0] == 0.03, "a layer that works on one backend has no error"
    errors = [
        tick for tick, label in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
        if label.get_text() == "error"
    ]  # fmt: skip
    assert errors == [theirs[1][0]] and errors[0] > 0.1
    rings = points(ax, PALETTE["dropped"])
    assert rings == [theirs[0]]
    # The contestants of one map are side by side, in its row.
    assert ours[0][1] != theirs[0][1]
    assert all(round(place) == 0 for _, place in (ours[0], theirs[0]))


def test_a_peer_far_from_the_nominal_rate_is_named_beside_its_mark():
    ax = plots.peer_rates(peer_rates()).axes[0]
    [label] = ax.texts
    assert label.get_text() == "KerasCV, 3.0%"
    _, place = points(ax, MARKS["KerasCV"][0])[0]
    assert label.xy == (0.1, place), "the name crosses the line at the nominal rate"


def test_only_chosen_peers_are_shown():
    ax = plots.peer_rates(peer_rates(), contestants=("KerasCV",)).axes[0]
    assert points(ax, MARKS["DropBlock2D"][0]) == []


@pytest.mark.parametrize(
    ("draw", "documents"),
    [(plots.layer_speed, layer_speed()), (plots.peer_rates, peer_rates())],
)
def test_documents_without_a_row_to_show_are_rejected(draw, documents):
    row = r"Expected at least one row with block_size=7"
    with pytest.raises(ValueError, match=rf"{row}.*Received: no documents"):
        draw({})
    row = row.replace("7", "9")
    with pytest.raises(ValueError, match=rf"{row}.*Received: 2 without one: "):
        draw(documents, block_size=9)


def test_skipping_shows_the_gaps_between_ones():
    bits = np.zeros(20, bool)
    bits[[2, 3, 11]] = True
    [ax] = plots.skipping(bits).axes
    assert [text.get_text() for text in ax.texts] == ["3", "1", "8"]
    cells = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert [cell.get_x() for cell in cells] == list(range(20))
    colors = [cell.get_facecolor() for cell in cells]
    ones = {color for color, bit in zip(colors, bits, strict=True) if bit}
    zeros = set(colors) - ones
    assert len(ones) == len(zeros) == 1


def test_doubling_reaches_the_block_in_few_steps():
    seeds = np.zeros(6, bool)
    seeds[[1, 4]] = True
    fig = plots.doubling(seeds, block_size=5)
    check_figure(fig)
    [ax] = fig.axes
    assert [text.get_text() for text in ax.texts] == [
        "the seeds",
        "shifted by 1: blocks of 2",
        "shifted by 2: blocks of 4",
        "shifted by 1: blocks of 5",
    ]
    cells = [patch for patch in ax.patches if patch.get_width() == 0.9]
    kept = cells[0].get_facecolor()
    strips = np.array([cell.get_facecolor() != kept for cell in cells]).reshape(4, 10)
    assert np.flatnonzero(strips[0]).tolist() == [1, 4]
    assert (strips[-1] == (expand_seeds(~seeds, (5,)) == 0)).all()
