"""Figures of doses and effects, including before any run is recorded."""

import pytest
from drawing import check_figure

from dropblock_lib import plots
from dropblock_lib.plots.style import variant_color

LINE = {
    "variant": "dropblock-7-0.9",
    "x": [0, 0.1, 0.2],
    "y": [0.6, 0.62, 0.61],
    "low": [0.6, 0.61, 0.6],
    "high": [0.6, 0.63, 0.62],
}
ROWS = [
    {"label": "a", "difference": 0.01, "low": -0.01, "high": 0.03, "variant": "none"},
    {"label": "b", "difference": None},
    {"label": "c", "difference": None, "verdict": "did not learn"},
    {"label": "d", "difference": 0.02, "low": None, "high": None},
]


def texts(fig):
    return [text.get_text() for ax in fig.axes for text in ax.texts]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.against_dose({"accuracy": {"7": LINE}, "loss": {}}),
        lambda: plots.effects({"one": ROWS, "two": ROWS[1:]}),
    ],
)
def test_a_figure_has_the_colors_of_the_palette_and_fits_a_page(draw):
    check_figure(draw())


def test_a_line_has_the_color_of_its_variant_and_its_values():
    fig = plots.against_dose({"accuracy": {"7": LINE}}, percent=["accuracy"])
    [line] = fig.axes[0].lines
    assert line.get_color() == variant_color("dropblock-7-0.9")
    assert list(line.get_ydata()) == LINE["y"]
    assert texts(fig) == []
    percent = fig.axes[0].yaxis.get_major_formatter()
    assert [percent(value) for value in (0.64, 0.615, 0.07)] == ["64%", "61.5%", "7%"]


def test_a_panel_without_lines_says_that_no_runs_are_recorded():
    assert texts(plots.against_dose({"a": {}, "b": {}})) == ["no complete run yet"] * 2


def test_effects_are_drawn_in_points_on_a_linear_axis():
    fig = plots.effects({"one": ROWS})
    [ax] = fig.axes
    assert ax.get_xscale() == "linear"
    _, interval, mean, single = ax.lines
    assert list(interval.get_xdata()) == [-1, 3] and mean.get_xdata() == [1]
    assert texts(fig) == ["no complete run yet", "did not learn"]
    # A single run is an open dot.
    assert single.get_xdata() == [2]
    assert single.get_markerfacecolor() != mean.get_markerfacecolor()
