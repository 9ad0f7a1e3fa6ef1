"""The style of all figures: paper, colors and lines."""

import contextlib

import matplotlib.pyplot as plt

from dropblock_lib.palette import GRID, LINES, PALETTE
from dropblock_lib.variants import get_variant

# At most 6 inches wide, and a phone shows its text in 9 pixels.
STYLE = {
    "figure.dpi": 144,
    "figure.facecolor": PALETTE["paper"],
    "figure.constrained_layout.use": True,
    "font.size": 12,
    "text.color": PALETTE["ink"],
    "axes.facecolor": "none",
    "axes.edgecolor": PALETTE["muted"],
    "axes.labelcolor": PALETTE["ink"],
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID[0],
    "xtick.color": PALETTE["muted"],
    "ytick.color": PALETTE["muted"],
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
# Figures are drawn in light colors; `palette.darken` knows each one's dark twin.
COLORS = {name: light for name, (light, dark) in LINES.items()}
LINE_COLORS = tuple(COLORS.values())
_METHOD_COLORS = {
    "none": PALETTE["muted"],
    "dropout": COLORS["blue"],
    "spatial": COLORS["yellow"],
    "custom": COLORS["cyan"],
}
# A color says the size of the blocks: a block of one unit is Dropout, and one that
# covers every map is SpatialDropout.
_BLOCK_COLORS = {1: COLORS["blue"], 3: COLORS["red"], 7: COLORS["purple"]}
_COVERS_EVERY_MAP = 32
_BROKEN = (0, (4, 1.5))


def variant_color(variant):
    """The color of a variant, one of the palette unless it has its own.

    Args:
        variant: Name of a variant.
    """
    try:
        found = get_variant(variant)
    except ValueError:
        return COLORS["cyan"]
    if found.color:
        return found.color
    if found.method != "dropblock":
        return _METHOD_COLORS[found.method]
    block = found.block_size
    side = max(block) if isinstance(block, tuple) else block
    if side >= _COVERS_EVERY_MAP:
        return _METHOD_COLORS["spatial"]
    return _BLOCK_COLORS.get(side, COLORS["green"])


def variant_dashes(variant):
    """The line style of a variant: broken where a DropBlock drops over a fifth.

    Args:
        variant: Name of a variant.
    """
    try:
        keep_prob = get_variant(variant).keep_prob
    except ValueError:
        return "-"
    return _BROKEN if keep_prob is not None and keep_prob < 0.8 else "-"


@contextlib.contextmanager
def figure(columns=1, rows=1, width=3.6, height=3.4, **kwargs):
    """Axes of a new figure in the book's style: `(figure, axes)`."""
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(
            rows, columns, figsize=(width * columns, height * rows), **kwargs
        )
        yield fig, axes
        # Closed, or a notebook would show the returned figure twice.
        plt.close(fig)
