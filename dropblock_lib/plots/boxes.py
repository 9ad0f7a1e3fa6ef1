"""Images with boxes, and with keep masks laid over them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.masks import draw_dropped
from dropblock_lib.plots.style import COLORS, add_rectangle, panels

# Kinds of boxes differ both in color and in line style.
OBJECT = {"color": COLORS["blue"], "ls": "-"}
FOUND = {"color": COLORS["red"], "ls": (0, (4, 1.5))}
IGNORED = {"color": COLORS["yellow"], "ls": (0, (1.5, 1.5))}
# Two photographs of 160 pixels in 64 colors take up to 150 KB in a figure.
SHOWN_SIDE, SHOWN_COLORS = 160, 64
# Width of a letter and height of a line, as fractions of the image's width and height.
LETTER, LINE = 0.03, 0.08


def draw_photo(ax, image, title="", side=SHOWN_SIDE):
    """Draws an image in its own coordinates, with fewer colors and pixels.

    The longer side has at most `side` pixels.
    """
    from PIL import Image

    height, width = image.shape[:2]
    small = Image.fromarray(np.asarray(image, "uint8"))
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    small = small.quantize(SHOWN_COLORS, dither=Image.Dither.NONE).convert("RGB")
    # The original size, because boxes are in its pixels.
    ax.imshow(small, interpolation="none", extent=(0, width, height, 0))
    ax.set_title(title)
    ax.axis("off")


def draw_boxes(ax, boxes, kind, names=(), lw=1.8, halo=1.4):
    """Draws boxes (left, top, right, bottom) as outlines that are always visible.

    `kind` is `OBJECT`, `FOUND` or `IGNORED`; `halo` is the extra width, in points, of a
    paper-colored line behind each line.
    """
    around = {"color": PALETTE["paper"], "ls": "-", "lw": lw + halo}
    for left, top, right, bottom in boxes:
        for style in (around, kind | {"lw": lw})[0 if halo else 1 :]:
            size = right - left, bottom - top
            add_rectangle(ax, (left, top), *size, fill=False, **style)
    _draw_names(ax, boxes, names)


def outline(kind, label):
    """A legend's entry for a kind of box."""
    return Patch(
        fill=False, edgecolor=kind["color"], ls=kind["ls"], lw=1.8, label=label
    )


def legend_of_boxes(fig, handles):
    """Draws a legend in one row below the figure."""
    if handles:
        fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def images_with_boxes(
    scenes: Mapping[str, Mapping[str, Any]],
    columns: int = 2,
    names: bool = True,
) -> Figure:
    """Images with the boxes of their objects and of detections.

    Args:
        scenes: Dict of title -> dict of `image` and optionally `objects` and
            `found`: pairs of boxes `(n, 4)`, left, top, right and bottom in pixels of
            the image, and a list with a text for each.
        columns: Number of images per row.
        names: Whether to write the texts.
    """
    found = scenes.values()
    ratio = max(panel["image"].shape[0] / panel["image"].shape[1] for panel in found)
    kinds = {"objects": (OBJECT, "object"), "found": (FOUND, "detection")}
    width = 6.0 / columns
    height = width * min(ratio, 1.1) + 0.45
    with panels(len(found), columns, width, height) as (fig, axes):
        for ax, (title, panel) in zip(axes, scenes.items(), strict=True):
            draw_photo(ax, panel["image"], title, _side(len(found), columns))
            for name, (kind, _) in kinds.items():
                boxes, texts = panel.get(name, ((), ()))
                halo = 1.4 if len(boxes) <= 20 else 0
                draw_boxes(ax, boxes, kind, texts if names else (), halo=halo)
        shown = [kinds[name] for name in kinds if any(name in panel for panel in found)]
        legend_of_boxes(fig, [outline(*each) for each in shown])
    return fig


def masks_over_image(
    image: np.ndarray, keep_masks: Mapping[str, np.ndarray], columns: int = 2
) -> Figure:
    """Keep masks of one channel at several depths, laid over the image.

    Args:
        image: `uint8` `(height, width, 3)`.
        keep_masks: Dict of title -> array `(rows, columns)`, 0 where dropped.
        columns: Number of panels per row.
    """
    height, width = image.shape[:2]
    wide = 6.0 / columns
    tall = wide * min(height / width, 1.1) + 0.4
    with panels(len(keep_masks), columns, wide, tall) as (fig, axes):
        for ax, (title, keep_mask) in zip(axes, keep_masks.items(), strict=True):
            draw_photo(ax, image, title, _side(len(keep_masks), columns))
            draw_dropped(ax, keep_mask, (width, height))
    return fig


def _side(count, columns):
    """Pixels of each photograph: fewer if there are several rows, or if it is small."""
    side = SHOWN_SIDE * min(1, 2 / columns)
    return int(side // (0.7 * -(-count // columns) + 0.3))


def _draw_names(ax, boxes, names):
    """Writes a name above or below each box, inside the image and apart if possible."""
    width, height = (
        abs(np.diff(limits)[0]) for limits in (ax.get_xlim(), ax.get_ylim())
    )
    written = []
    for (left, top, right, bottom), name in zip(boxes, names, strict=False):
        at_right = left + right > width
        x = right if at_right else left
        length = LETTER * len(name) * width
        start = x - length if at_right else x
        # A name goes outside its box, or inside if it would leave the image.
        places = [(top, 1 if top > 0.1 * height else -1)]
        places += [(bottom, -1 if bottom < 0.9 * height else 1)]
        free = [
            (y, side)
            for y, side in places
            if not any(
                start < end
                and begin < start + length
                and abs(y - side * LINE / 2 * height - middle) < LINE * height
                for begin, end, middle in written
            )
        ]
        y, side = (free or places)[0]
        written.append((start, start + length, y - side * LINE / 2 * height))
        ax.annotate(
            name, (x, y), (0, 2 * side),
            textcoords="offset points", color=PALETTE["ink"], fontsize=10,
            ha="right" if at_right else "left", va="bottom" if side > 0 else "top",
            bbox={"facecolor": PALETTE["paper"], "lw": 0, "alpha": 0.8, "pad": 1},
        )  # fmt: skip
