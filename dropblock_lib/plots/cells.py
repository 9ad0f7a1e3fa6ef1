"""Feature maps cell by cell: what is kept, what is dropped, where seeds may stand."""

import numpy as np
from matplotlib.patches import Patch, Rectangle

from dropblock_lib.masks import cover_counts, seed_shape
from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.style import figure

# A color and its opacity: numbers on top can be read, on light paper and on dark.
KEPT = PALETTE["kept"], 0.2
DROPPED = PALETTE["dropped"], 0.74


def draw_cells(ax, shades, values=None):
    """Draws a feature map cell by cell, as shapes, which have a dark twin.

    Args:
        ax: Matplotlib axes.
        shades: Rows of cells; a cell is a pair of a color and its opacity.
        values: Array (height, width) whose numbers are written into the cells.
    """
    height, width = len(shades), len(shades[0])
    for row, column in np.ndindex(height, width):
        color, alpha = shades[row][column]
        ax.add_patch(
            Rectangle(
                (column, row), 1, 1, facecolor=color, alpha=alpha, edgecolor="none"
            )
        )
        if values is not None:
            ax.text(
                column + 0.5,
                row + 0.5,
                f"{values[row, column]:g}",
                ha="center",
                va="center",
            )
    for line in range(height + 1):
        ax.plot([0, width], [line, line], color=PALETTE["paper"], lw=1)
    for line in range(width + 1):
        ax.plot([line, line], [0, height], color=PALETTE["paper"], lw=1)
    ax.set(xlim=(-0.05, width + 0.05), ylim=(height + 0.05, -0.05), aspect="equal")
    ax.axis("off")


def draw_map(ax, shape, keep_mask=None, seeds=None, valid=None, values=None, title=""):
    """Draws what is kept and dropped of a feature map.

    Args:
        ax: Matplotlib axes.
        shape: (height, width) of the map.
        keep_mask: Array (height, width): 0 where dropped.
        seeds: Boolean array (height, width): True at the place of a seed.
        valid: (top, left, height, width) of the valid seed region.
        values: Array (height, width) whose numbers are written into the cells.
        title: String.
    """
    keep_mask = np.ones(shape) if keep_mask is None else keep_mask
    draw_cells(
        ax, [[KEPT if kept else DROPPED for kept in r] for r in keep_mask], values
    )
    if seeds is not None:
        for row, column in np.argwhere(seeds):
            ax.add_patch(
                Rectangle(
                    (column + 0.17, row + 0.17), 0.66, 0.66, fill=False,
                    edgecolor=PALETTE["seed"], linewidth=2.4, zorder=3,
                )
            )  # fmt: skip
    if valid is not None:
        top, left, valid_height, valid_width = valid
        ax.add_patch(
            Rectangle(
                (left, top), valid_width, valid_height, fill=False,
                edgecolor=PALETTE["valid"], linewidth=3, zorder=2,
            )
        )  # fmt: skip
    ax.set_title(title)


def legend_of_cells(fig, *names):
    """A legend below the figure for some of kept, dropped, seed and valid region."""
    entries = {
        "kept": Patch(facecolor=KEPT[0], alpha=KEPT[1], label="kept"),
        "dropped": Patch(facecolor=DROPPED[0], alpha=DROPPED[1], label="dropped"),
        "seed": Patch(
            facecolor="none", edgecolor=PALETTE["seed"], linewidth=2, label="seed"
        ),
        "valid": Patch(
            facecolor="none",
            edgecolor=PALETTE["valid"],
            linewidth=2,
            label="valid seed region",
        ),
    }
    fig.legend(
        handles=[entries[name] for name in names],
        loc="outside lower center",
        ncols=len(names),
    )


def valid_region(block_size, feat_size):
    """(top, left, height, width) of the valid seed region within the map.

    Args:
        block_size: Side of a block in pixels.
        feat_size: (height, width) of the map in pixels.
    """
    offset = [min(block_size, side) // 2 for side in feat_size]
    return (*offset, *seed_shape(block_size, feat_size))


def seeds_on_map(seeds, block_size, feat_size):
    """Places seeds of the valid seed region (0 = seed) on the map: True = seed."""
    top, left, height, width = valid_region(block_size, feat_size)
    on_map = np.zeros(feat_size, bool)
    on_map[top : top + height, left : left + width] = np.asarray(seeds) == 0
    return on_map


def valid_seed_region(block_size, feat_size):
    """The valid seed region, and the block of a seed in its corner."""
    shape = (feat_size, feat_size)
    region = valid_region(block_size, shape)
    corner = np.zeros(shape, bool)
    corner[region[0], region[1]] = True
    keep_mask = np.ones(shape)
    keep_mask[:block_size, :block_size] = 0
    with figure(columns=2, width=3.0, height=3.3) as (fig, (left, right)):
        draw_map(left, shape, valid=region, title="Where a seed may stand")
        draw_map(
            right, shape, keep_mask, corner, region, title="The block of a corner seed"
        )
        legend_of_cells(fig, "kept", "dropped", "seed", "valid")
    return fig


def covering_places(block_size, feat_size):
    """How many places of a seed would drop each unit of the map."""
    counts = cover_counts(block_size, feat_size)
    color, most = DROPPED
    shades = [[(color, most * n / counts.max()) for n in row] for row in counts]
    with figure(width=4.4, height=4.2) as (fig, ax):
        draw_cells(ax, shades, counts)
    return fig


def example_step(shape, titles, panels):
    """Two maps side by side; each panel is a dict of `draw_map`'s arguments."""
    with figure(columns=2, width=3.0, height=3.3) as (fig, axes):
        for ax, title, panel in zip(axes, titles, panels, strict=True):
            draw_map(ax, shape, title=title, **panel)
    return fig
