"""Every figure of the book, one function each. All return a Matplotlib figure."""

import contextlib

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Circle, FancyBboxPatch, Patch, PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.ticker import PercentFormatter

from dropblock_lib.masks import (
    cover_counts,
    drop_block,
    exact_gamma,
    expand_seeds,
    expected_drop_rate,
    gamma,
    seed_shape,
)
from dropblock_lib.palette import GRID, LINES, PALETTE
from dropblock_lib.variants import LABELS

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
}


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


# === Cells of a feature map ===

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


# === Gamma ===


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


def realized_rate(block_size, feat_sizes):
    """Nominal against expected dropped fraction under the paper's gamma."""
    nominal = np.linspace(0.001, 0.6, 80)
    with figure(width=5.6, height=3.8) as (fig, ax):
        ax.plot(nominal, nominal, color=PALETTE["muted"], ls="--", label="exact gamma")
        for feat_size, color in zip(feat_sizes, LINE_COLORS, strict=False):
            rates = [
                expected_drop_rate(
                    gamma(1 - rate, block_size, feat_size), block_size, feat_size
                )
                for rate in nominal
            ]
            ax.plot(nominal, rates, color=color, label=f"{feat_size} x {feat_size} map")
        ax.set(xlabel="nominal: 1 - keep_prob", ylabel="expected dropped fraction")
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.legend()
    return fig


def two_gammas(block_size, feat_size):
    """The paper's gamma and the exact one against keep_prob."""
    keep_probs = np.linspace(0.4, 1, 80)
    with figure(width=5.6, height=3.4) as (fig, ax):
        for rule, label, color in (
            (gamma, "paper, equation 1", LINE_COLORS[0]),
            (exact_gamma, "exact", LINE_COLORS[1]),
        ):
            values = [
                rule(keep_prob, block_size, feat_size) for keep_prob in keep_probs
            ]
            ax.plot(keep_probs, values, label=label, color=color)
        ax.set(xlabel="keep_prob", ylabel="gamma")
        ax.legend()
    return fig


# === The 5x5 example ===


def example_step(shape, titles, panels):
    """Two maps side by side; each panel is a dict of `draw_map`'s arguments."""
    with figure(columns=2, width=3.0, height=3.3) as (fig, axes):
        for ax, title, panel in zip(axes, titles, panels, strict=True):
            draw_map(ax, shape, title=title, **panel)
    return fig


# === Masks on pictures and on feature maps ===


def draw_image(ax, image, title, cmap="gray"):
    """Draws a picture, or a feature map, whose cells have sides of length 1."""
    height, width = image.shape[:2]
    # Drawn pixel by pixel: a browser enlarges them, rather than load large ones.
    ax.imshow(image, cmap=cmap, interpolation="none", extent=(0, width, height, 0))
    ax.set_title(title)
    ax.axis("off")


def dropped_path(keep_mask):
    """One path around all dropped units, a rectangle for each run within a row."""
    rectangles = []
    for row, kept in enumerate(keep_mask):
        ends = np.flatnonzero(np.diff(kept == 0, prepend=False, append=False))
        for left, right in ends.reshape(-1, 2):
            corners = [(left, row), (right, row), (right, row + 1), (left, row + 1)]
            rectangles.append(Path([*corners, corners[0]], closed=True))
    return Path.make_compound_path(*rectangles)


def four_masks(image, keep_masks):
    """One picture under several keep masks, two to a row.

    Args:
        image: Array (height, width) or (height, width, 3), in [0, 1].
        keep_masks: Dict of title -> array (height, width), 0 where dropped.
    """
    rows = -(-len(keep_masks) // 2)
    with figure(columns=2, rows=rows, width=3.0, height=3.3) as (fig, axes):
        fig.get_layout_engine().set(h_pad=0.1)
        for ax, (title, keep_mask) in zip(axes.flat, keep_masks.items(), strict=True):
            draw_image(ax, image, title)
            if not keep_mask.all():
                ax.add_patch(
                    PathPatch(dropped_path(keep_mask), color=PALETTE["dropped"], lw=0)
                )
    return fig


def three_ways(image, keep_prob=0.75, block_size=9, seed=1):
    """One picture whole, and as Dropout, DropBlock and SpatialDropout leave it.

    Args:
        image: Array (height, width, 3), in [0, 1]. Its pixels stand for units.
        keep_prob: Float in (0, 1]. Expected fraction of pixels kept.
        block_size: Side of a block in pixels.
        seed: Integer seed of the noise.
    """
    rng = np.random.default_rng(seed)
    side = image.shape[:2]
    single = (rng.random(side) < keep_prob).astype("int8")
    probability = exact_gamma(keep_prob, block_size, side)
    seeds = (rng.random(seed_shape(block_size, side)) >= probability).astype("int8")
    return four_masks(
        image,
        {
            "the whole picture": np.ones(side, "int8"),
            "Dropout: single pixels": single,
            "DropBlock: blocks": expand_seeds(seeds, block_size),
            "SpatialDropout: all or nothing": np.zeros(side, "int8"),
        },
    )


def image_and_feature_map(image, feature_map):
    """A picture beside one channel of the feature map it leads to."""
    with figure(columns=2, width=3.0, height=3.2) as (fig, (left, right)):
        size, map_size = image.shape[:2], feature_map.shape
        draw_image(left, image, f"image, {size[0]} x {size[1]}")
        draw_image(
            right, feature_map, f"one channel, {map_size[0]} x {map_size[1]}", "cividis"
        )
    return fig


def neighbor_correlation(correlations):
    """Correlation of two units of one channel against their distance.

    Args:
        correlations: Array; entry d is the correlation at a distance of d pixels.
    """
    with figure(width=5.6, height=3.2) as (fig, ax):
        ax.plot(correlations, marker="o", color=LINE_COLORS[0])
        ax.set(
            xlabel="distance in pixels of the feature map",
            ylabel="correlation",
            ylim=(min(0, min(correlations)) - 0.02, 1.02),
        )
    return fig


def guess_scores(scores):
    """How well dropped units can be guessed, one bar a way of dropping.

    Args:
        scores: Dict of label -> dict of guesser -> R².
    """
    labels = list(scores)
    guessers = list(next(iter(scores.values())))
    with figure(width=5.9, height=3.6) as (fig, ax):
        places = np.arange(len(labels))
        for number, guesser in enumerate(guessers):
            # An R² just below 0 is a guess as good as the mean, not a bar.
            values = [max(scores[label][guesser], 0.0) for label in labels]
            bars = ax.barh(
                places + 0.38 * number - 0.19,
                values,
                height=0.36,
                color=LINE_COLORS[number],
                label=guesser,
            )
            ax.bar_label(bars, fmt="%.2f", padding=3)
        ax.set_yticks(places, labels)
        ax.tick_params(axis="y", colors=PALETTE["ink"])
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.set(xlabel="R² of the guess (1 = perfect, 0 = no better than the mean)")
        ax.set_xlim(0, 1.05)
        fig.legend(loc="outside upper left", ncols=2)
    return fig


# === Data sets ===


def pictures(stacks, columns=5):
    """Small pictures, one below the other, in stacks that have a title.

    Args:
        stacks: Dict of title -> list of arrays (height, width, channels), 0 to 255.
        columns: Number of stacks to a row.
    """
    deepest = max(map(len, stacks.values()))
    rows = -(-len(stacks) // columns)
    size = 5.9 / columns
    with figure(
        columns, rows, width=size, height=deepest * size + 0.32, squeeze=False
    ) as (fig, axes):
        for ax in axes.flat[len(stacks) :]:
            ax.axis("off")
        for ax, (title, images) in zip(axes.flat, stacks.items(), strict=False):
            side = images[0].shape[0]
            for number, image in enumerate(images):
                image = np.asarray(image, "uint8")
                top = 1.06 * side * number
                # One channel is gray: 0 is black in every picture.
                image = image.repeat(3, -1) if image.shape[-1] == 1 else image
                ax.imshow(
                    image,
                    interpolation="none",
                    extent=(0, image.shape[1], top + side, top),
                )
            ax.set(xlim=(0, side), ylim=(1.06 * side * len(images), 0), title=title)
            ax.axis("off")
    return fig


def pixel_values(shares):
    """How often each range of pixel values occurs.

    Args:
        shares: Dict of label -> one share a range; the ranges are equally wide.
    """
    with figure(width=5.8, height=3.4) as (fig, ax):
        for number, (label, values) in enumerate(shares.items()):
            edges = np.linspace(0, 256, len(values) + 1)
            ax.stairs(
                values, edges, color=LINE_COLORS[number], label=label, lw=2, baseline=0
            )
        ax.set(xlabel="pixel value", ylabel="share of all pixels", xlim=(0, 256))
        ax.set_xticks([0, 64, 128, 192, 255])
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.legend()
    return fig


def split_parts(parts):
    """What a run uses of a data set, to scale.

    Args:
        parts: Dict of file -> dict of use -> number of images.
    """
    uses = list(dict.fromkeys(use for part in parts.values() for use in part))
    colors = [KEPT[0], PALETTE["valid"], GRID[0], DROPPED[0]]
    with figure(width=5.9, height=0.7 * len(parts) + 1.1) as (fig, ax):
        for use, color in zip(uses, colors, strict=False):
            left = [_before(part, use) for part in parts.values()]
            width = [part.get(use, 0) for part in parts.values()]
            ax.barh(
                range(len(parts)), width, left=left, height=0.5, color=color, label=use
            )
        ax.set_yticks(range(len(parts)), list(parts))
        ax.tick_params(axis="y", colors=PALETTE["ink"])
        ax.set_ylim(len(parts) - 0.5, -0.5)
        ax.grid(axis="y", visible=False)
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        ax.xaxis.get_major_locator().set_params(nbins=5)
        ax.set_xlabel("images")
        fig.legend(loc="outside upper left", ncols=len(uses))
    return fig


def _before(part, use):
    names = list(part)
    ahead = names[: names.index(use)] if use in names else []
    return sum(part[name] for name in ahead)


# === Masks on the maps of a network ===


def masks_by_group(sides_by_stem, block_size, keep_prob, channels=16, seed=180):
    """What DropBlock drops in the groups of a network: a few channels of each.

    Args:
        sides_by_stem: Dict of row title -> sides of the groups' maps in pixels.
        block_size: Side of a block in pixels.
        keep_prob: Float in (0, 1].
        channels: Number of channels to show, a square number.
        seed: Integer seed of the noise.
    """
    rng = np.random.default_rng(seed)
    rows, columns = len(sides_by_stem), max(map(len, sides_by_stem.values()))
    per_row = round(channels**0.5)
    with figure(columns, rows, width=1.48, height=1.85, squeeze=False) as (fig, axes):
        for line, (stem, sides) in zip(axes, sides_by_stem.items(), strict=True):
            for ax, side in zip(line, sides, strict=True):
                ones = np.ones((1, side, side, channels))
                masks = drop_block(ones, block_size, keep_prob, rng)[0] > 0
                # A gap between channels, as wide whatever the side of the map.
                for channel in range(channels):
                    row, column = divmod(channel, per_row)
                    draw_mask(ax, masks[..., channel], 1.12 * column, 1.12 * row)
                end = 1.12 * per_row - 0.12
                ax.set(xlim=(-0.05, end + 0.05), ylim=(end + 0.05, -0.05))
                ax.set(aspect="equal", title=f"{side} x {side}")
                ax.axis("off")
            line[0].set_title(f"{stem}\n{sides[0]} x {sides[0]}")
        legend_of_cells(fig, "kept", "dropped")
    return fig


def draw_mask(ax, keep_mask, left, top):
    """Draws a keep mask into a square of side 1."""
    square = Rectangle((left, top), 1, 1, facecolor=KEPT[0], alpha=KEPT[1], lw=0)
    ax.add_patch(square)
    if keep_mask.all():
        return
    path = dropped_path(keep_mask)
    path.vertices = path.vertices / len(keep_mask) + (left, top)
    for color, alpha in ((PALETTE["paper"], 1), DROPPED):
        ax.add_patch(PathPatch(path, facecolor=color, alpha=alpha, lw=0))


# === Diagrams of blocks, in inches ===

# What a box stands for: its color and the opacity of its ground.
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
    """Draws a box with a text in its middle."""
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
    """Draws a line through the points, with an arrow's head at its end."""
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
    """Draws boxes from top to bottom, a gap between two units; returns the end.

    Args:
        ax: Matplotlib axes.
        center: Middle of the column.
        top: Where the first unit begins.
        units: List of units; a unit is a list of pairs of a text and a kind of box,
            which touch.
        width: Width of a box.
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
    """Draws a block with two ways through it, within 3 inches.

    Args:
        ax: Matplotlib axes in inches, the origin on top.
        left: Where the block's 3 inches begin.
        title: String.
        units: The main path, as for `draw_units`.
        skip: The same for the skip connection; an empty list is a line.
        merge: The sign of what merges the two, such as "+".
        after: A text for a box behind that, or `None`.
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
    return end + 0.28


@contextlib.contextmanager
def diagram(height, width=6.0):
    """Axes in inches, the origin on top: `(figure, axes)`."""
    with figure(width=width, height=height) as (fig, ax):
        ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        ax.axis("off")
        yield fig, ax


_NORM, _RELU, _DROP = ("batch norm", "other"), ("ReLU", "other"), ("DropBlock", "drop")
_ONE, _THREE = ("1 x 1 conv", "convolution"), ("3 x 3 conv", "convolution")
_MAIN_PATH = [
    [_ONE, _NORM, _RELU], [_DROP], [_THREE, _NORM, _RELU], [_DROP], [_ONE, _NORM]
]  # fmt: skip


def residual_blocks():
    """ResNet-50's two kinds of blocks, with the slides' drop layers."""
    with diagram(6.1) as (fig, ax):
        draw_block(ax, 0, "identity block", _MAIN_PATH, [], "+", "ReLU")
        draw_block(ax, 3, "convolution block", _MAIN_PATH, [[_ONE, _NORM]], "+", "ReLU")
    return fig


def two_placements():
    """An identity block with the slides' drop layers, and with the paper's code's."""
    with diagram(6.6) as (fig, ax):
        draw_block(ax, 0, "slides", _MAIN_PATH, [], "+", "ReLU")
        draw_block(
            ax, 3, "paper's code", [*_MAIN_PATH, [_DROP]], [[_DROP]], "+", "ReLU"
        )
    return fig


def dense_block(first=64, growth=32, layers=3):
    """A dense block that grows by a few layers, and what such a layer consists of.

    Args:
        first: Channels of the map that comes in.
        growth: Channels that each layer adds.
        layers: Number of layers to draw.
    """
    inches = 1.0 / 100  # a channel
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


# === Schedules ===


def schedules(curves, ylabel="keep_prob"):
    """Values over the epochs.

    Args:
        curves: Dict of label -> one value an epoch.
    """
    with figure(width=5.8, height=3.4) as (fig, ax):
        for number, (label, values) in enumerate(curves.items()):
            ax.plot(
                values,
                marker="os^D"[number % 4],
                ms=4,
                color=LINE_COLORS[number],
                label=label,
            )
        ax.set(xlabel="epoch", ylabel=ylabel)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()
    return fig


# === Records ===


def sampling_error(figures, images):
    """Published accuracies with the error of counting on a finite test set.

    Args:
        figures: Dict of title -> dict of variant -> accuracy, one run each.
        images: Number of test images.
    """
    rows = sum(len(five) + 1 for five in figures.values())
    with figure(width=5.9, height=0.32 * rows + 0.7) as (fig, ax):
        place, places, names = 0, [], []
        for title, five in figures.items():
            places.append(place)
            names.append(title)
            for variant, accuracy in five.items():
                place += 1
                error = 1.96 * (accuracy * (1 - accuracy) / images) ** 0.5
                ends = [accuracy - error, accuracy + error]
                color = VARIANT_COLORS[variant]
                ax.plot(ends, [place, place], color=color, lw=2.5)
                ax.plot(accuracy, place, "x", color=PALETTE["ink"], ms=6)
                places.append(place)
                names.append(LABELS[variant])
            place += 1
        ax.set_yticks(places, names)
        for label in ax.get_yticklabels():
            if label.get_text() in figures:
                label.set_fontweight("bold")
        ax.tick_params(axis="y", colors=PALETTE["ink"], length=0)
        ax.set_ylim(place - 0.4, -0.6)
        ax.grid(axis="y", visible=False)
        ax.locator_params(axis="x", nbins=5)
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        ax.set_xlabel("test accuracy")
    return fig


def accuracy_by_variant(rows, published=None):
    """Test accuracy of every variant: seeds, mean, and a published figure.

    Args:
        rows: List of (variant, list of accuracies, one a seed).
        published: Dict of variant -> accuracy, or None.
    """
    published = published or {}
    with figure(width=5.9, height=0.55 * len(rows) + 1.1) as (fig, ax):
        for place, (variant, accuracies) in enumerate(rows):
            color = VARIANT_COLORS[variant]
            mean = np.mean(accuracies)
            ax.scatter(
                accuracies, [place] * len(accuracies), color=color, alpha=0.6, s=28
            )
            ax.plot([mean, mean], [place - 0.28, place + 0.28], color=color, lw=3)
            if variant in published:
                ax.scatter(
                    published[variant], place, marker="x", s=46, color=PALETTE["ink"]
                )
        ax.scatter([], [], color=PALETTE["muted"], alpha=0.6, label="one seed")
        ax.plot([], [], color=PALETTE["muted"], lw=3, label="mean over seeds")
        if published:
            ax.scatter(
                [], [], marker="x", color=PALETTE["ink"], label="slides, one run"
            )
        ax.set_yticks(range(len(rows)), [LABELS[row[0]] for row in rows])
        ax.tick_params(axis="y", colors=PALETTE["ink"])
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        ax.set_xlabel("test accuracy")
        fig.legend(loc="outside upper left", ncols=3)
    return fig


def learning_curves(curves, metric="accuracy"):
    """Training and validation curves, mean over seeds with their range.

    Args:
        curves: Dict of variant -> list of histories, one a seed; a history is a
            dict of metric -> one value an epoch.
        metric: `"accuracy"` or `"loss"`.
    """
    names = ("training", "validation")
    with figure(columns=2, width=3.0, height=3.9, sharey=True) as (fig, axes):
        for ax, name, key in zip(axes, names, (metric, f"val_{metric}"), strict=True):
            for variant, histories in curves.items():
                values = np.array([history[key] for history in histories])
                epochs = np.arange(1, values.shape[1] + 1)
                color = VARIANT_COLORS[variant]
                ax.plot(epochs, values.mean(0), color=color, label=LABELS[variant])
                ax.fill_between(
                    epochs, values.min(0), values.max(0), color=color, alpha=0.15, lw=0
                )
            ax.set(xlabel="epoch", title=f"{name} {metric}")
            ax.xaxis.get_major_locator().set_params(integer=True)
        handles, labels = axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=2)
    return fig


def generalization_gap(curves, metric="accuracy"):
    """What is better on training batches than on validation images, by epoch.

    Args:
        curves: As for `learning_curves`.
        metric: `"accuracy"`, for training minus validation, or `"loss"`, for
            validation minus training.
    """
    with figure(width=5.9, height=3.9) as (fig, ax):
        ax.axhline(0, color=PALETTE["muted"], lw=1)
        for variant, runs in curves.items():
            gaps = np.array([_gap(history, metric) for history in runs])
            epochs = np.arange(1, gaps.shape[1] + 1)
            color = VARIANT_COLORS[variant]
            ax.plot(epochs, gaps.mean(0), color=color, label=LABELS[variant])
            ax.fill_between(
                epochs, gaps.min(0), gaps.max(0), color=color, alpha=0.15, lw=0
            )
        ax.set(xlabel="epoch", ylabel=f"gap in {metric}")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if metric == "accuracy":
            ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        fig.legend(loc="outside lower center", ncols=2)
    return fig


def _gap(history, metric):
    training, validation = (np.array(history[key]) for key in (metric, f"val_{metric}"))
    return validation - training if metric == "loss" else training - validation


def differences_by_variant(rows, published=None):
    """Each variant's difference to plain training, with its interval.

    Args:
        rows: From `experiments.compare.differences`.
        published: Dict of variant -> accuracy of a single run, or `None`. Of these
            the differences are shown as well.
    """
    published = published or {}
    with figure(width=5.9, height=0.62 * len(rows) + 1.2) as (fig, ax):
        ax.axvline(0, color=PALETTE["muted"], lw=1.2)
        for place, row in enumerate(rows):
            variant = row["variant"]
            color = VARIANT_COLORS[variant]
            ax.plot([row["low"], row["high"]], [place, place], color=color, lw=6,
                    alpha=0.35, solid_capstyle="butt")  # fmt: skip
            ax.scatter(row["difference"], place, color=color, s=40, zorder=3)
            if variant in published:
                ax.scatter(
                    published[variant] - published["none"], place,
                    marker="x", s=46, color=PALETTE["ink"], zorder=4,
                )  # fmt: skip
        muted = PALETTE["muted"]
        ax.scatter([], [], color=muted, s=40, label="mean")
        ax.plot([], [], color=muted, lw=6, alpha=0.35, label="95 % interval")
        if published:
            ax.scatter([], [], marker="x", color=PALETTE["ink"], label="slides")
        ax.set_yticks(range(len(rows)), [LABELS[row["variant"]] for row in rows])
        ax.tick_params(axis="y", colors=PALETTE["ink"])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.grid(axis="y", visible=False)
        ax.xaxis.set_major_formatter(
            lambda value, _: f"{100 * value:+.0f}" if value else "0"
        )
        ax.set_xlabel("percentage points of test accuracy against plain")
        fig.legend(loc="outside upper left", ncols=3)
    return fig


def differences(settings):
    """Differences to plain training with their intervals, a panel a setting.

    Args:
        settings: Dict of title -> rows of `experiments.compare.differences`; two
            panels a row, of which the second has the variants of the first.
    """
    ticks = (-30, -3, 0, 3)
    rows = -(-len(settings) // 2)
    with figure(2, rows, width=3.0, height=1.9, sharex=True) as (fig, axes):
        panels = np.ravel(axes)
        for ax in panels[len(settings) :]:
            ax.set_visible(False)
        for number, (title, found) in enumerate(settings.items()):
            ax = panels[number]
            for place, row in enumerate(found):
                color = VARIANT_COLORS[row["variant"]]
                ends = [100 * row["low"], 100 * row["high"]]
                ax.plot(ends, [place, place], color=color, lw=2.5)
                ax.plot(100 * row["difference"], place, "o", color=color, ms=6)
            ax.axvline(0, color=PALETTE["ink"], lw=1)
            ax.set_title(title)
            names = [LABELS[row["variant"]] for row in found]
            ax.set_yticks(range(len(found)), names if number % 2 == 0 else [])
            ax.tick_params(axis="y", colors=PALETTE["ink"])
            ax.set_ylim(len(found) - 0.4, -0.6)
            ax.grid(axis="y", visible=False)
            # A variant far off must not squeeze the others together.
            ax.set_xscale("symlog", linthresh=3, linscale=1.5)
            ax.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks])
            ax.minorticks_off()
        fig.supxlabel("percentage points above plain", fontsize=12)
    return fig
