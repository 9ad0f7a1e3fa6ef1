"""Images and feature maps under keep masks."""

import numpy as np
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from dropblock_lib.masks import drop_block, exact_gamma, expand_seeds, seed_shape
from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.cells import DROPPED, KEPT, legend_of_cells
from dropblock_lib.plots.style import figure


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
