"""Every figure of the book, one function each. All return a Matplotlib figure."""

import contextlib

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Patch, PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.ticker import PercentFormatter

from dropblock_lib.masks import (
    cover_counts,
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
