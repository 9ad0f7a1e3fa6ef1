"""The colors of the book: defined here once, for figures, pages and text alike.

The hues are Okabe and Ito's and Paul Tol's color-blind-safe sets. Their
lightness differs as well, so that a page printed in gray keeps its meaning.
The book's style sheet is written from these names when the book is built.
"""

PALETTE = {
    "kept": "#0072B2",
    "dropped": "#E69F00",
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


def css(light="html", dark='html[data-theme="dark"]'):
    """The palette as CSS variables, below a selector for each of the two schemes.

    Paper is always light.
    """

    def rule(selector, palette):
        lines = [f"  --{name}: {color};" for name, color in palette.items()]
        return "\n".join([f"{selector} {{", *lines, "}", ""])

    return f"{rule(light, PALETTE)}@media screen {{\n{rule(dark, PALETTE_DARK)}}}\n"
