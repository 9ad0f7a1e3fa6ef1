"""The colors of the book's figures, pages and text.

The hues come from color-blind-safe sets by Okabe and Ito and by Paul Tol. They also
differ in lightness, so that a page printed in gray remains readable. The book's style
sheet is generated from these names. The book's figures are drawn in the light colors,
then translated to the dark ones.
"""

import re

PALETTE = {
    "kept": "#0072B2",
    "dropped": "#D08000",
    "seed": "#882255",
    "valid": "#009E73",
    "ink": "#1F2328",
    "paper": "#FFFFFF",
    "muted": "#59636E",
}

PALETTE_DARK = {
    "kept": "#56B4E9",
    "dropped": "#D55E00",
    "seed": "#F0E442",
    "valid": "#009E73",
    "ink": "#E6E3DC",
    "paper": "#15191E",
    "muted": "#9AA4AF",
}

# Lines of charts: Paul Tol's "bright" set, distinct with any color vision. Each pair is
# a color and its dark twin; the dark ones are equally far apart.
LINES = {
    "blue": ("#4477AA", "#5C93D6"),
    "red": ("#EE6677", "#FF8A92"),
    "green": ("#228833", "#3FA650"),
    "yellow": ("#CCBB44", "#EBDD73"),
    "purple": ("#AA3377", "#C65C9C"),
    "cyan": ("#66CCEE", "#9BE0FA"),
}
GRID = ("#E4E7EB", "#2C333B")

# Every color of the figures -> its dark twin.
TWINS = {
    **{PALETTE[name]: PALETTE_DARK[name] for name in PALETTE},
    **dict(LINES.values()),
    **dict([GRID]),
}


def darken(svg: str) -> str:
    """Replaces the light colors of a figure with their dark twins."""
    return re.sub(
        "#[0-9A-Fa-f]{6}(?![0-9A-Za-z])",
        lambda color: TWINS.get(color[0].upper(), color[0]),
        svg,
    )


def css(light: str = "html", dark: str = 'html[data-theme="dark"]') -> str:
    """The palette as CSS variables, under a selector for each color scheme.

    Print is always light.
    """

    def rule(selector, palette):
        lines = [f"  --{name}: {color};" for name, color in palette.items()]
        return "\n".join([f"{selector} {{", *lines, "}", ""])

    return f"{rule(light, PALETTE)}@media screen {{\n{rule(dark, PALETTE_DARK)}}}\n"
