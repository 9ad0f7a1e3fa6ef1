"""The style of all figures: paper, colors and lines."""

import contextlib

import matplotlib.pyplot as plt

from dropblock_lib.palette import GRID, LINES, PALETTE

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
VARIANT_COLORS = {
    "none": PALETTE["muted"],
    "dropout-0.25": COLORS["blue"],
    "spatial-0.7": COLORS["yellow"],
    "spatial-0.3": COLORS["yellow"],
    "dropblock-3-0.9": COLORS["red"],
    "dropblock-7-0.9": COLORS["purple"],
    "dropblock-3-0.7": COLORS["red"],
    "dropblock-7-0.7": COLORS["purple"],
}
# A color says the size of the blocks, and a broken line that more is dropped.
VARIANT_DASHES = {"dropblock-3-0.7": (0, (4, 1.5)), "dropblock-7-0.7": (0, (4, 1.5))}


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
