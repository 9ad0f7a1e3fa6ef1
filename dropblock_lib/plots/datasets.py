"""Images of data sets."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dropblock_lib.data import Dataset
from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.style import panels


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
