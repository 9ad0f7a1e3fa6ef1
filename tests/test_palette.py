"""Text in the palette's colors is readable, and its colors are distinct."""

import pytest
from colors import contrast

from dropblock_lib.palette import (
    GRID,
    LINES,
    PALETTE,
    PALETTE_DARK,
    TWINS,
    darken,
)
from dropblock_lib.plots import style

both = pytest.mark.parametrize(
    "palette", [PALETTE, PALETTE_DARK], ids=["light", "dark"]
)


def test_light_and_dark_name_the_same_colors():
    assert PALETTE.keys() == PALETTE_DARK.keys()


@both
@pytest.mark.parametrize("name", ["ink", "muted", "kept"])
def test_text_and_links_are_legible(palette, name):
    assert contrast(palette[name], palette["paper"]) >= 4.5


@both
@pytest.mark.parametrize("pair", [("kept", "dropped"), ("dropped", "seed")])
def test_neighbors_in_a_mask_differ_without_color(palette, pair):
    one, other = (palette[name] for name in pair)
    assert contrast(one, other) >= 1.5


def test_every_color_has_one_twin():
    pairs = [(PALETTE[name], PALETTE_DARK[name]) for name in PALETTE]
    pairs += [*LINES.values(), GRID]
    assert len(TWINS) == len(pairs)
    assert set(TWINS.items()) == set(pairs)
    # `darken` looks up colors in uppercase.
    assert [color for color in TWINS if color != color.upper()] == []
    # Colors that differ in light mode also differ in dark mode.
    assert len(set(TWINS.values())) == len(TWINS)


@pytest.mark.parametrize("name", LINES)
def test_lines_can_be_seen_in_the_dark(name):
    assert contrast(LINES[name][1], PALETTE_DARK["paper"]) >= 3


def test_the_grid_is_faint_in_both():
    assert 1.1 < contrast(GRID[0], PALETTE["paper"]) < 1.6
    assert 1.1 < contrast(GRID[1], PALETTE_DARK["paper"]) < 1.6


def test_darkening_reaches_every_color_and_nothing_else():
    svg = "".join(
        f'<path id="x{number}" style="fill: {write(color)}; stroke: {write(color)}"/>'
        for number, color in enumerate(TWINS)
        for write in (str.upper, str.lower)
    )
    others = '<use href="#e6e3dcba"/><path style="fill: none; stroke: #123456"/>'
    dark = darken(svg + others)
    assert dark.endswith(others)
    assert {dark.count(twin) for twin in TWINS.values()} == {4}


def over(color, alpha, paper):
    """The color that results from a translucent color on paper."""
    mixed = [
        alpha * int(color[i : i + 2], 16) + (1 - alpha) * int(paper[i : i + 2], 16)
        for i in (1, 3, 5)
    ]
    return "#" + "".join(f"{round(channel):02X}" for channel in mixed)


@both
@pytest.mark.parametrize("name", ["KEPT", "DROPPED"])
def test_numbers_on_cells_are_legible(palette, name):
    color, alpha = getattr(style, name)
    color = color if palette is PALETTE else TWINS[color]
    cell = over(color, alpha, palette["paper"])
    assert contrast(palette["ink"], cell) >= 4.5
