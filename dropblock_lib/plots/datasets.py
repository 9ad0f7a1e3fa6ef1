"""Data sets: images, pixel values, and the parts that a run uses."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from dropblock_lib.data import Dataset
from dropblock_lib.palette import GRID, PALETTE
from dropblock_lib.plots.style import (
    DROPPED,
    KEPT,
    LINE_COLORS,
    figure,
    name_rows,
    panels,
)


def pictures(
    stacks: Mapping[str, Sequence[np.ndarray]],
    columns: int = 5,
    dataset: Dataset | None = None,
) -> Figure:
    """Stacks of small images, each with a title.

    Args:
        stacks: Dict of title -> list of arrays (height, width, channels), 0 to 255.
        columns: Number of stacks per row.
        dataset: The `Dataset` the images are from. If it is a stand-in, a banner says
            so.
    """
    deepest = max(map(len, stacks.values()))
    size = 5.9 / columns
    height = deepest * size + 0.32
    with panels(len(stacks), columns, width=size, height=height) as (fig, axes):
        for ax, (title, images) in zip(axes, stacks.items(), strict=True):
            side = images[0].shape[0]
            for number, image in enumerate(images):
                image = np.asarray(image, "uint8")
                top = 1.06 * side * number
                # Matplotlib would rescale the values of an image with one channel.
                image = image.repeat(3, -1) if image.shape[-1] == 1 else image
                extent = (0, image.shape[1], top + side, top)
                ax.imshow(image, interpolation="none", extent=extent)
            ax.set(xlim=(0, side), ylim=(1.06 * side * len(images), 0), title=title)
            ax.axis("off")
        if dataset is not None and dataset.is_stand_in:
            banner = f"Stand-in: {dataset.source} instead of {dataset.requested}"
            style = {"color": PALETTE["ink"], "fontsize": 12, "fontweight": "bold"}
            fig.suptitle(banner, **style)
    return fig


def pixel_values(shares: Mapping[str, Sequence[float]]) -> Figure:
    """Histograms of pixel values.

    Args:
        shares: Dict of label -> the share of pixels in each of several equally wide
            ranges.
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


def split_parts(parts: Mapping[str, Mapping[str, int]]) -> Figure:
    """The parts of a data set that a run uses, to scale.

    Args:
        parts: Dict of file -> dict of use -> number of images.
    """
    uses = list(dict.fromkeys(use for part in parts.values() for use in part))
    colors = [KEPT[0], PALETTE["valid"], GRID[0], DROPPED[0]]
    with figure(width=5.9, height=0.7 * len(parts) + 1.1) as (fig, ax):
        rows, left = range(len(parts)), np.zeros(len(parts))
        for use, color in zip(uses, colors, strict=False):
            width = np.array([part.get(use, 0) for part in parts.values()])
            ax.barh(rows, width, left=left, height=0.5, color=color, label=use)
            left += width
        name_rows(ax, list(parts))
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        ax.xaxis.get_major_locator().set_params(nbins=5)
        ax.set_xlabel("images")
        fig.legend(loc="outside upper left", ncols=len(uses))
    return fig
