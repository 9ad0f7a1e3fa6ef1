"""Diagrams of residual and dense blocks, drawn in units of inches."""

import contextlib

from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from dropblock_lib.palette import GRID, PALETTE
from dropblock_lib.plots.style import DROPPED, KEPT, figure

# Kind of a box -> color and opacity of its background.
BOXES = {
    "convolution": KEPT,
    "other": (GRID[0], 1.0),
    "drop": DROPPED,
    "map": KEPT,
    "new": (KEPT[0], 0.42),
}
BOX_HEIGHT = 0.31
GAP = 0.2


def draw_box(ax, center, top, text, kind, width, height=BOX_HEIGHT):
    """Draws a box with centered text."""
    color, alpha = BOXES[kind]
    ax.add_patch(
        FancyBboxPatch(
            (center - width / 2 + 0.05, top + 0.05), width - 0.1, height - 0.1,
            boxstyle="round,pad=0.03,rounding_size=0.06",
            facecolor=color, alpha=alpha, edgecolor="none", zorder=3,
        )
    )  # fmt: skip
    ax.text(
        center, top + height / 2, text,
        ha="center", va="center", zorder=4, color=PALETTE["ink"],
    )  # fmt: skip


def draw_line(ax, *points, head=True):
    """Draws a line through the points, with an arrowhead at its end."""
    x, y = zip(*points, strict=True)
    color = PALETTE["muted"]
    ax.plot(x, y, color=color, lw=1.5, solid_joinstyle="round", zorder=1)
    if head:
        ax.annotate(
            "", points[-1], points[-2],
            arrowprops={
                "arrowstyle": "-|>", "color": color, "lw": 1.5,
                "shrinkA": 0, "shrinkB": 0, "mutation_scale": 11,
            },
        )  # fmt: skip


def draw_units(ax, center, top, units, width):
    """Draws units downward with gaps between them, and returns the lower end.

    A unit is a list of boxes that touch, each of them (text, kind).
    """
    for number, unit in enumerate(units):
        if number:
            draw_line(ax, (center, top), (center, top + GAP))
            top += GAP
        for text, kind in unit:
            draw_box(ax, center, top, text, kind, width)
            top += BOX_HEIGHT
    return top


def draw_block(ax, left, title, units, skip, merge, after=None):
    """Draws a block with a main path and a skip connection, 3 inches wide.

    `units` and `skip` are the units of the two, as for `draw_units`. An empty `skip`
    is drawn as a line. `merge` is the symbol of the merge, and `after` the text of a
    box after it.
    """
    main, side, fork = left + 2.12, left + 0.62, 0.62
    ax.text(left + 0.1, 0.12, title, va="center", weight="bold")
    draw_line(ax, (main, 0.38), (main, 0.82))
    end = draw_units(ax, main, 0.82, units, 1.5)
    middle = end + GAP + 0.17
    draw_line(ax, (main, end), (main, end + GAP))
    ax.add_patch(Circle((main, fork), 0.05, facecolor=PALETTE["muted"], lw=0))

    ways_in = (main, fork), (side, fork)
    if skip:
        height = sum(len(unit) for unit in skip) * BOX_HEIGHT
        height += GAP * (len(skip) - 1)
        top = (0.82 + end - height) / 2
        draw_line(ax, *ways_in, (side, top))
        bottom = draw_units(ax, side, top, skip, 1.14)
        draw_line(ax, (side, bottom), (side, middle), (main - 0.17, middle))
    else:
        draw_line(ax, *ways_in, (side, middle), (main - 0.17, middle))
    ax.add_patch(
        Circle(
            (main, middle), 0.17, facecolor=PALETTE["paper"],
            edgecolor=PALETTE["muted"], lw=1.5, zorder=3,
        )
    )  # fmt: skip
    ax.text(main, middle, merge, ha="center", va="center_baseline", zorder=4)
    end = middle + 0.17
    if after:
        draw_line(ax, (main, end), (main, end + GAP))
        draw_box(ax, main, end + GAP, after, "other", 1.5)
        end += GAP + BOX_HEIGHT
    draw_line(ax, (main, end), (main, end + 0.28))


@contextlib.contextmanager
def diagram(height, width=6.0):
    """Axes in inches, with the origin at the top: `(figure, axes)`."""
    with figure(width=width, height=height) as (fig, ax):
        ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        ax.axis("off")
        yield fig, ax


_NORM, _RELU, _DROP = ("batch norm", "other"), ("ReLU", "other"), ("DropBlock", "drop")
_ONE, _THREE = ("1 x 1 conv", "convolution"), ("3 x 3 conv", "convolution")
_MAIN_PATH = [
    [_ONE, _NORM, _RELU], [_DROP], [_THREE, _NORM, _RELU], [_DROP], [_ONE, _NORM]
]  # fmt: skip


def residual_blocks() -> Figure:
    """ResNet-50's two kinds of blocks, with the slides' drop layers."""
    with diagram(6.1) as (fig, ax):
        draw_block(ax, 0, "identity block", _MAIN_PATH, [], "+", "ReLU")
        draw_block(ax, 3, "convolution block", _MAIN_PATH, [[_ONE, _NORM]], "+", "ReLU")
    return fig


def two_placements() -> Figure:
    """An identity block with the drop layers of the slides and of the paper's code."""
    with diagram(6.6) as (fig, ax):
        draw_block(ax, 0, "slides", _MAIN_PATH, [], "+", "ReLU")
        draw_block(
            ax, 3, "paper's code", [*_MAIN_PATH, [_DROP]], [[_DROP]], "+", "ReLU"
        )
    return fig


def dense_block(first: int = 64, growth: int = 32, layers: int = 3) -> Figure:
    """A dense block that grows by a few layers, and the parts of one layer.

    Args:
        first: Number of channels of the input.
        growth: Number of channels that each layer adds.
        layers: Number of layers to draw.
    """
    inches = 1.0 / 100  # per channel
    pitch, top, left = 1.32, 0.62, 0.1
    with diagram(5.05) as (fig, ax):
        ax.text(left, 0.12, "a dense block", va="center", weight="bold")
        ax.text(left, 0.46, "channels", va="center", color=PALETTE["muted"])
        for layer in range(layers + 1):
            start = left
            for part in range(layer + 1):
                channels = growth if part else first
                kind = "new" if part and part == layer else "map"
                width = channels * inches
                middle = start + width / 2
                draw_box(ax, middle, top, str(channels), kind, width, 0.4)
                if layer < layers:
                    draw_line(ax, (middle, top + 0.4), (middle, top + pitch))
                start += width
            if layer == layers:
                break
            new, branch, turn = start + growth * inches / 2, left + 2.0, top + 1.1
            read, write = (branch, top + 0.56), (new, top + pitch)
            draw_line(ax, (start, top + 0.2), (branch, top + 0.2), read)
            draw_box(ax, *read, f"layer {layer + 1}", "other", 0.86)
            draw_line(ax, (branch, top + 0.87), (branch, turn), (new, turn), write)
            top += pitch
        units = [[_NORM, _RELU], [_DROP], [_ONE, _NORM, _RELU], [_DROP], [_THREE]]
        draw_block(ax, 3, "one layer of it", units, [], "c")
    return fig
