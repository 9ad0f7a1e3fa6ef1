"""The style of all figures: paper, colors and lines."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dropblock_lib.palette import GRID, LINES, PALETTE
from dropblock_lib.variants import get_variant

# Figures are at most 6 inches wide, so that their text is 9 pixels high on a phone.
STYLE: dict[Any, Any] = {
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
# (color, opacity), such that numbers on top are legible on light and on dark paper.
KEPT = PALETTE["kept"], 0.2
DROPPED = PALETTE["dropped"], 0.74
# Figures are drawn in light colors; `palette.darken` replaces each by its dark twin.
COLORS = {name: light for name, (light, dark) in LINES.items()}
LINE_COLORS = tuple(COLORS.values())
_METHOD_COLORS = {
    "none": PALETTE["muted"],
    "dropout": COLORS["blue"],
    "spatial": COLORS["yellow"],
    "custom": COLORS["cyan"],
}
# The color shows the block size: a block of one unit is Dropout, and one that covers
# every map is SpatialDropout.
_BLOCK_COLORS = {1: COLORS["blue"], 3: COLORS["red"], 7: COLORS["purple"]}
_COVERS_EVERY_MAP = 32
_BROKEN = (0, (4, 1.5))


def variant_color(variant: str) -> str:
    """The color of a variant, given by name: its own, or one of the palette."""
    try:
        found = get_variant(variant)
    except ValueError:
        return COLORS["cyan"]
    if found.color:
        return found.color
    if found.method != "dropblock":
        return _METHOD_COLORS[found.method]
    block = found.block_size or 1
    side = max(block) if isinstance(block, tuple) else block
    if side >= _COVERS_EVERY_MAP:
        return _METHOD_COLORS["spatial"]
    return _BLOCK_COLORS.get(side, COLORS["green"])


def variant_dashes(variant: str) -> Any:
    """The line style of a variant, given by name: dashed if it keeps less than 0.8."""
    try:
        keep_prob = get_variant(variant).keep_prob
    except ValueError:
        return "-"
    return _BROKEN if keep_prob is not None and keep_prob < 0.8 else "-"


@contextlib.contextmanager
def figure(
    columns: int = 1,
    rows: int = 1,
    width: float = 3.6,
    height: float = 3.4,
    **kwargs: Any,
) -> Iterator[tuple[Figure, Any]]:
    """Axes of a new figure in the book's style: `(figure, axes)`.

    `width` and `height` are those of a column and a row, in inches; `kwargs` are for
    `matplotlib.pyplot.subplots`.
    """
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(
            rows, columns, figsize=(width * columns, height * rows), **kwargs
        )
        yield fig, axes
        # A notebook would show an open figure a second time.
        plt.close(fig)


@contextlib.contextmanager
def panels(
    count: int, columns: int, width: float, height: float, **kwargs: Any
) -> Iterator[tuple[Figure, Sequence[Axes]]]:
    """A list of axes, `columns` in a row, in a new figure: `(figure, axes)`."""
    rows = -(-count // columns)
    with figure(columns, rows, width, height, squeeze=False, **kwargs) as (fig, axes):
        for ax in axes.flat[count:]:
            ax.set_visible(False)
        yield fig, axes.flat[:count]


def name_rows(ax: Axes, names: Sequence[str], rows: Sequence[float] | None = None):
    """Names the rows of a chart, which are at 0, 1 ... from the top or at `rows`."""
    if rows is None:
        rows = range(len(names))
        ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_yticks(rows, names)
    ax.tick_params(axis="y", colors=PALETTE["ink"], length=0)
    ax.grid(axis="y", visible=False)


def add_rectangle(ax: Axes, corner, width: float, height: float, **style: Any):
    """Draws a rectangle from its corner (left, top)."""
    ax.add_patch(Rectangle(corner, width, height, **style))


def count_epochs(ax: Axes):
    """Labels the horizontal axis as whole epochs."""
    ax.set_xlabel("epoch")
    ax.locator_params(axis="x", integer=True)
