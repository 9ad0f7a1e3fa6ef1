"""Cuts the icons' fonts down to the few icons that the pages show.

Whole, they weigh 300 KB; two dozen icons weigh so little that the style sheet
carries them, and no icon appears later than the text beside it.
"""

import base64
import io
import re
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

# File, and the family and weight by which the theme's rules ask for it.
FONTS = (
    ("fa-solid-900.ttf", "Font Awesome 6 Free", 900),
    ("fa-regular-400.ttf", "Font Awesome 6 Free", 400),
    ("fa-brands-400.ttf", "Font Awesome 6 Brands", 400),
)
# An icon is a character from Unicode's area for private use.
ICON = re.compile("[\ue000-\uf8ff]")


def cut(path, characters):
    """Returns the font as WOFF with `characters` only, or None if it has none."""
    font = TTFont(path)
    kept = characters & font.getBestCmap().keys()
    if not kept:
        return None
    options = subset.Options(hinting=False, layout_features=[])
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=kept)
    subsetter.subset(font)
    font.flavor = "woff"
    buffer = io.BytesIO()
    font.save(buffer)
    return buffer.getvalue()


def icon_fonts(css, static):
    """Returns `@font-face` rules that hold the icons which `css` names."""
    characters = set(map(ord, ICON.findall(css)))
    rules = []
    for name, family, weight in FONTS:
        (path,) = Path(static).glob(f"vendor/fontawesome/*/webfonts/{name}")
        if font := cut(path, characters):
            data = base64.b64encode(font).decode()
            rules.append(
                f'@font-face{{font-family:"{family}";font-weight:{weight};'
                f'src:url(data:font/woff;base64,{data}) format("woff")}}'
            )
    return "\n".join(rules)
