"""Requirements for every figure of the book."""

import io
import re

from dropblock_lib.palette import TWINS


def check_figure(fig):
    """Checks that a figure is small and uses only colors that have dark twins."""
    drawing = io.StringIO()
    fig.savefig(drawing, format="svg")
    colors = re.findall("#[0-9a-f]{6}(?![0-9a-z])", drawing.getvalue())
    assert colors
    assert {color.upper() for color in colors} - TWINS.keys() == set()
    assert fig.get_figwidth() <= 6
    assert len(drawing.getvalue()) < 200_000
