"""Masks on feature maps and images, and the fraction they drop."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MultipleLocator, PercentFormatter

from dropblock_lib.experiments.guessing import keep_masks
from dropblock_lib.masks import (
    cover_counts,
    drop_block,
    expected_drop_rate,
    gamma,
    seed_shape,
)
from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.style import (
    DROPPED,
    KEPT,
    LINE_COLORS,
    add_rectangle,
    figure,
    panels,
)

# === Feature maps, cell by cell ===


def draw_cells(ax, shades, values=None):
    """Draws a feature map cell by cell, as shapes in colors that have dark twins.

    `shades` has a color and its opacity for each cell, and `values` the number that is
    written into it.
    """
    height, width = len(shades), len(shades[0])
    for row, column in np.ndindex(height, width):
        color, alpha = shades[row][column]
        add_rectangle(ax, (column, row), 1, 1, facecolor=color, alpha=alpha, lw=0)
        if values is not None:
            text, center = f"{values[row, column]:g}", (column + 0.5, row + 0.5)
            ax.text(*center, text, ha="center", va="center")
    for line in range(height + 1):
        ax.plot([0, width], [line, line], color=PALETTE["paper"], lw=1)
    for line in range(width + 1):
        ax.plot([line, line], [0, height], color=PALETTE["paper"], lw=1)
    ax.set(xlim=(-0.05, width + 0.05), ylim=(height + 0.05, -0.05), aspect="equal")
    ax.axis("off")


def draw_map(ax, shape, keep_mask=None, seeds=None, valid=None, values=None, title=""):
    """Draws which units of a feature map are kept and dropped.

    Args:
        ax: Matplotlib axes.
        shape: (height, width) of the map.
        keep_mask: Array (height, width): 0 where dropped.
        seeds: Boolean array (height, width): True at the place of a seed.
        valid: (top, left, height, width) of the valid seed region.
        values: Array (height, width) whose numbers are written into the cells.
        title: String.
    """
    rows: Any = np.ones(shape) if keep_mask is None else np.asarray(keep_mask)
    shades = [[KEPT if kept else DROPPED for kept in row] for row in rows]
    draw_cells(ax, shades, values)
    if seeds is not None:
        outline = {"fill": False, "edgecolor": PALETTE["seed"], "lw": 2.4, "zorder": 3}
        for row, column in np.argwhere(seeds) + 0.17:
            add_rectangle(ax, (column, row), 0.66, 0.66, **outline)
    if valid is not None:
        top, left, height, width = valid
        outline = {"fill": False, "edgecolor": PALETTE["valid"], "lw": 3, "zorder": 2}
        add_rectangle(ax, (left, top), width, height, **outline)
    ax.set_title(title)


def legend_of_cells(fig, *names):
    """Draws a legend of "kept", "dropped", "seed" or "valid" below the figure."""
    (kept, kept_alpha), (dropped, dropped_alpha) = KEPT, DROPPED
    outline = {"facecolor": "none", "linewidth": 2}
    seed, valid = PALETTE["seed"], PALETTE["valid"]
    entries = {
        "kept": Patch(facecolor=kept, alpha=kept_alpha, label="kept"),
        "dropped": Patch(facecolor=dropped, alpha=dropped_alpha, label="dropped"),
        "seed": Patch(edgecolor=seed, label="seed", **outline),
        "valid": Patch(edgecolor=valid, label="valid seed region", **outline),
    }
    handles = [entries[name] for name in names]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(names))


def valid_region(
    block_size: int, feat_size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the valid seed region within the map.

    Args:
        block_size: Side of a block in units.
        feat_size: (height, width) of the map in units.
    """
    top, left = (min(block_size, side) // 2 for side in feat_size)
    height, width = seed_shape(block_size, feat_size)
    return top, left, height, width


def seeds_on_map(
    seeds: np.ndarray, block_size: int, feat_size: tuple[int, int]
) -> np.ndarray:
    """Places the valid seed region's seeds (zeros) on a map: True at each seed."""
    top, left, height, width = valid_region(block_size, feat_size)
    on_map = np.zeros(feat_size, bool)
    on_map[top : top + height, left : left + width] = np.asarray(seeds) == 0
    return on_map


def valid_seed_region(block_size: int, feat_size: int) -> Figure:
    """The valid seed region, and the block of a seed in its corner."""
    shape = (feat_size, feat_size)
    region = valid_region(block_size, shape)
    corner = np.zeros(shape, bool)
    corner[region[0], region[1]] = True
    keep_mask = np.ones(shape)
    keep_mask[:block_size, :block_size] = 0
    with figure(columns=2, width=3.0, height=3.3) as (fig, (left, right)):
        draw_map(left, shape, valid=region, title="Where a seed may be")
        draw_map(
            right, shape, keep_mask, corner, region, title="The block of a corner seed"
        )
        legend_of_cells(fig, "kept", "dropped", "seed", "valid")
    return fig


def covering_places(block_size: int, feat_size: int) -> Figure:
    """For each unit of the map, the number of seed places that would drop it."""
    counts = cover_counts(block_size, feat_size)
    color, most = DROPPED
    shades = [[(color, most * n / counts.max()) for n in row] for row in counts]
    with figure(width=4.4, height=4.2) as (fig, ax):
        draw_cells(ax, shades, counts)
    return fig


def example_step(
    shape: tuple[int, int], titles: Sequence[str], maps: Sequence[dict[str, Any]]
) -> Figure:
    """Maps of one shape, two in a row; each is a dict of `draw_map`'s arguments."""
    with panels(len(maps), 2, width=3.0, height=3.3) as (fig, axes):
        for ax, title, arguments in zip(axes, titles, maps, strict=True):
            draw_map(ax, shape, title=title, **arguments)
        if any("valid" in arguments for arguments in maps):
            legend_of_cells(fig, "kept", "dropped", "seed", "valid")
    return fig


# === Images and feature maps under masks ===


def draw_image(ax, image, title, cmap="gray"):
    """Draws an image, or a feature map, with one unit of length per pixel."""
    height, width = image.shape[:2]
    # The file has one pixel per pixel of the image, and the browser enlarges it.
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


def draw_dropped(ax, keep_mask, size):
    """Covers the dropped units of a mask that is stretched to (width, height)."""
    if keep_mask.all():
        return
    path = dropped_path(keep_mask)
    path.vertices = path.vertices * (np.array(size) / keep_mask.shape[::-1])
    ax.add_patch(PathPatch(path, color=PALETTE["dropped"], lw=0))


def four_masks(image: np.ndarray, keep_masks: Mapping[str, np.ndarray]) -> Figure:
    """One image under several keep masks, two per row.

    Args:
        image: Array (height, width) or (height, width, 3), in [0, 1].
        keep_masks: Dict of title -> array (height, width), 0 where dropped.
    """
    with panels(len(keep_masks), 2, width=3.0, height=3.3) as (fig, axes):
        fig.set_layout_engine("constrained", h_pad=0.1)
        for ax, (title, keep_mask) in zip(axes, keep_masks.items(), strict=True):
            draw_image(ax, image, title)
            draw_dropped(ax, keep_mask, keep_mask.shape[::-1])
    return fig


def channels_under_masks(
    feature_map: np.ndarray, keep_masks: Mapping[str, np.ndarray]
) -> Figure:
    """Four channels, two by two, under several keep masks.

    Args:
        feature_map: Array (height, width, 4).
        keep_masks: Dict of title -> array (height, width, 4), 0 where dropped.
    """
    low, high = feature_map.min((0, 1)), feature_map.max((0, 1))
    image = _two_by_two((feature_map - low) / (high - low), np.nan)
    return four_masks(
        image, {title: _two_by_two(mask, 1) for title, mask in keep_masks.items()}
    )


def _two_by_two(channels, edge):
    """Four channels as one array, with a line of `edge` between them."""
    sides = ((0, 1), (0, 1), (0, 0))
    padded = np.pad(channels, sides, constant_values=edge)
    a, b, c, d = np.moveaxis(padded, -1, 0)
    return np.block([[a, b], [c, d]])


def three_ways(
    image: np.ndarray, keep_prob: float = 0.75, block_size: int = 9, seed: int = 1
) -> Figure:
    """One image without dropping, and under Dropout, DropBlock and SpatialDropout.

    Args:
        image: Array (height, width, 3), in [0, 1]. Its pixels represent units.
        keep_prob: Float in (0, 1]. Expected fraction of pixels that Dropout and
            DropBlock keep; SpatialDropout is shown dropping all of them.
        block_size: Side of a block in units.
        seed: Random seed, an integer.
    """
    rng = np.random.default_rng(seed)
    side = image.shape[:2]

    def mask(method):
        return keep_masks(method, (1, *side, 1), keep_prob, rng, block_size)[0, ..., 0]

    return four_masks(
        image,
        {
            "the whole picture": np.ones(side, "int8"),
            "Dropout: single pixels": mask("dropout"),
            "DropBlock: blocks": mask("dropblock"),
            "SpatialDropout: all or nothing": np.zeros(side, "int8"),
        },
    )


def image_and_feature_map(image: np.ndarray, feature_map: np.ndarray) -> Figure:
    """An image beside one channel of a feature map computed from it."""
    with figure(columns=2, width=3.0, height=3.2) as (fig, (left, right)):
        size, map_size = image.shape[:2], feature_map.shape
        draw_image(left, image, f"image, {size[0]} x {size[1]}")
        draw_image(
            right, feature_map, f"one channel, {map_size[0]} x {map_size[1]}", "cividis"
        )
    return fig


def masks_by_group(
    sides_by_stem: Mapping[str, Sequence[int]],
    block_size: int,
    keep_prob: float,
    channels: int = 16,
    seed: int = 180,
) -> Figure:
    """What DropBlock drops in a few channels of each group of a network.

    Args:
        sides_by_stem: Dict of row title -> sides of the groups' maps in units.
        block_size: Side of a block in units.
        keep_prob: Float in (0, 1].
        channels: Number of channels to show, a square number.
        seed: Random seed, an integer.
    """
    rng = np.random.default_rng(seed)
    rows, columns = len(sides_by_stem), max(map(len, sides_by_stem.values()))
    with figure(columns, rows, width=1.48, height=1.85, squeeze=False) as (fig, axes):
        for line, (stem, sides) in zip(axes, sides_by_stem.items(), strict=True):
            for ax in line[len(sides) :]:
                ax.axis("off")
            for ax, side in zip(line, sides, strict=False):
                ones = np.ones((1, side, side, channels))
                masks = drop_block(ones, block_size, keep_prob, rng)[0] > 0
                _draw_channels(ax, masks, f"{side} x {side}")
            line[0].set_title(f"{stem}\n{sides[0]} x {sides[0]}")
        legend_of_cells(fig, "kept", "dropped")
    return fig


def masks_of_channels(keep_masks: Mapping[str, np.ndarray]) -> Figure:
    """The masks of several channels of one sample, two panels per row.

    Args:
        keep_masks: Dict of title -> booleans (height, width, channels), False where
            dropped. Maps are square, and the number of channels is a square number.
    """
    with panels(len(keep_masks), 2, width=2.9, height=3.2) as (fig, axes):
        for ax, (title, masks) in zip(axes, keep_masks.items(), strict=True):
            _draw_channels(ax, masks, title)
        legend_of_cells(fig, "kept", "dropped")
    return fig


def _draw_channels(ax, masks, title):
    """Draws the masks (side, side, channels) of channels in a square of squares."""
    channels = masks.shape[-1]
    per_row = round(channels**0.5)
    # The gap between channels does not depend on the side of the map.
    for channel in range(channels):
        row, column = divmod(channel, per_row)
        _draw_mask(ax, masks[..., channel], 1.12 * column, 1.12 * row)
    end = 1.12 * per_row - 0.12
    ax.set(xlim=(-0.05, end + 0.05), ylim=(end + 0.05, -0.05))
    ax.set(aspect="equal", title=title)
    ax.axis("off")


def _draw_mask(ax, keep_mask, left, top):
    """Draws a keep mask into a square of side 1."""
    add_rectangle(ax, (left, top), 1, 1, facecolor=KEPT[0], alpha=KEPT[1], lw=0)
    if keep_mask.all():
        return
    path = dropped_path(keep_mask)
    path.vertices = np.asarray(path.vertices) / len(keep_mask) + (left, top)
    for color, alpha in ((PALETTE["paper"], 1), DROPPED):
        ax.add_patch(PathPatch(path, facecolor=color, alpha=alpha, lw=0))


# === Gamma and the dropped fraction ===


def shortfall(block_size: int, feat_sizes: Sequence[int]) -> Figure:
    """How much less than nominal the paper's gamma drops, a line per size of map."""
    nominal = np.linspace(0, 0.6, 61)
    with figure(width=5.6, height=3.6) as (fig, ax):
        for side, color in zip(feat_sizes, LINE_COLORS, strict=False):
            gammas = [gamma(1 - rate, block_size, side) for rate in nominal]
            rates = [expected_drop_rate(each, block_size, side) for each in gammas]
            missing = nominal - rates
            ax.plot(nominal, missing, color=color)
            end, place = (nominal[-1], missing[-1]), (5, 0)
            label = {"textcoords": "offset points", "va": "center"}
            ax.annotate(f"{side} x {side}", end, place, **label)
        ax.set(xlabel="nominal: 1 - keep_prob", xlim=(0, 0.69))
        ax.set(ylabel="nominal minus expected, in points", xticks=nominal[::10])
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
        ax.yaxis.set_major_locator(MultipleLocator(0.05))
    return fig
