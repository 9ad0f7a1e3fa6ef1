"""What every figure of the book must be."""

import io
import re

from dropblock_lib.palette import TWINS


def check_figure(fig):
    """In colors of the palette alone, which have dark twins; small; not too wide."""
    drawing = io.StringIO()
    fig.savefig(drawing, format="svg")
    colors = re.findall("#[0-9a-f]{6}(?![0-9a-z])", drawing.getvalue())
    assert colors
    assert {color.upper() for color in colors} - TWINS.keys() == set()
    assert fig.get_figwidth() <= 6
    assert len(drawing.getvalue()) < 200_000
