"""Text in the palette's colors can be read, and its colors told apart."""

import pytest

from dropblock_lib.palette import PALETTE, PALETTE_DARK

both = pytest.mark.parametrize(
    "palette", [PALETTE, PALETTE_DARK], ids=["light", "dark"]
)


def luminance(color):
    """Relative luminance as the Web Content Accessibility Guidelines define it."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_light_and_dark_name_the_same_colors():
    assert PALETTE.keys() == PALETTE_DARK.keys()


@both
@pytest.mark.parametrize("name", ["ink", "muted", "kept"])
def test_text_and_links_can_be_read(palette, name):
    assert contrast(palette[name], palette["paper"]) >= 4.5


@both
@pytest.mark.parametrize("pair", [("kept", "dropped"), ("dropped", "seed")])
def test_neighbors_in_a_mask_differ_without_color(palette, pair):
    one, other = (palette[name] for name in pair)
    assert contrast(one, other) >= 1.5
