"""Figures of the chapters on detection, in the style of `plots.py`."""

import numpy as np
from matplotlib.patches import Patch, PathPatch, Rectangle
from matplotlib.ticker import PercentFormatter

from dropblock_lib.palette import PALETTE
from dropblock_lib.plots import COLORS, LINE_COLORS, draw_image, dropped_path, figure

# A color and a kind of line: either tells them apart.
OBJECT = {"color": COLORS["green"], "ls": "-"}
FOUND = {"color": COLORS["red"], "ls": (0, (4, 1.5))}
IGNORED = {"color": COLORS["yellow"], "ls": (0, (1.5, 1.5))}
# A photograph of 200 pixels in 96 colors takes some 20 KB in a figure.
SHOWN_SIDE, SHOWN_COLORS = 200, 96


def draw_photo(ax, image, title="", side=SHOWN_SIDE):
    """Draws an image with fewer pixels and colors, in its own coordinates.

    Args:
        ax: Matplotlib axes.
        image: `uint8` `(height, width, 3)`.
        title: String.
        side: How many pixels the longer side has at most in the figure.
    """
    from PIL import Image

    height, width = image.shape[:2]
    small = Image.fromarray(np.asarray(image, "uint8"))
    small.thumbnail((side, side), Image.Resampling.BOX)
    small = small.quantize(SHOWN_COLORS, dither=Image.Dither.NONE).convert("RGB")
    # Of the size that was there, for boxes are in its pixels.
    ax.imshow(small, interpolation="none", extent=(0, width, height, 0))
    ax.set_title(title)
    ax.axis("off")


def draw_boxes(ax, boxes, kind, names=(), lw=1.8):
    """Draws boxes as outlines that can be seen on any ground.

    Args:
        ax: Matplotlib axes, in pixels.
        boxes: `(n, 4)`: left, top, right and bottom.
        kind: `OBJECT`, `FOUND` or `IGNORED`.
        names: A text for each box, or nothing.
        lw: Width of the lines in points.
    """
    for number, (left, top, right, bottom) in enumerate(boxes):
        for style in ({"color": PALETTE["paper"], "lw": lw + 1.4}, kind | {"lw": lw}):
            color = style.pop("color")
            ax.add_patch(
                Rectangle(
                    (left, top), right - left, bottom - top,
                    fill=False, edgecolor=color, **style,
                )
            )  # fmt: skip
        if len(names):
            ax.annotate(
                names[number], (left, top), (1, -1), textcoords="offset points",
                va="top", color=PALETTE["ink"], fontsize=10,
                bbox={"facecolor": PALETTE["paper"], "lw": 0, "alpha": 0.85, "pad": 1},
            )  # fmt: skip


def images_with_boxes(panels, columns=2, names=True):
    """Images with the boxes of their objects and with those that were found.

    Args:
        panels: Dict of title -> dict of `image` and, if there are any, `objects` and
            `found`: pairs of boxes `(n, 4)`, left, top, right and bottom in pixels of
            the image, and of a text for each.
        columns: Number of images to a row.
        names: Whether to write the texts.
    """
    rows = -(-len(panels) // columns)
    shape = [panel["image"].shape for panel in panels.values()]
    tallest = max(height / width for height, width, _ in shape)
    width = 6.0 / columns
    with figure(columns, rows, width=width, height=width * min(tallest, 1.1) + 0.45,
                squeeze=False) as (fig, axes):  # fmt: skip
        for ax in axes.flat[len(panels) :]:
            ax.axis("off")
        for ax, (title, panel) in zip(axes.flat, panels.items(), strict=False):
            draw_photo(ax, panel["image"], title, SHOWN_SIDE // rows**0.5)
            for name, kind in (("objects", OBJECT), ("found", FOUND)):
                boxes, texts = panel.get(name, ((), ()))
                draw_boxes(ax, boxes, kind, texts if names else ())
        present = [
            (kind, label)
            for name, kind, label in (
                ("objects", OBJECT, "object"),
                ("found", FOUND, "detection"),
            )
            if any(name in panel for panel in panels.values())
        ]
        _show_kinds(fig, present)
    return fig


def pyramid(image, maps):
    """An image and a map of each level of its pyramid, all drawn equally large.

    Args:
        image: `uint8` `(height, width, 3)`.
        maps: Dict of level -> array `(rows, columns)`.
    """
    columns = 3
    rows = -(-(len(maps) + 1) // columns)
    with figure(columns, rows, width=2.0, height=2.35, squeeze=False) as (fig, axes):
        for ax in axes.flat[len(maps) + 1 :]:
            ax.axis("off")
        draw_photo(axes[0, 0], image, f"{image.shape[0]} x {image.shape[1]}")
        for ax, (level, found) in zip(axes.flat[1:], maps.items(), strict=False):
            size = " x ".join(map(str, found.shape))
            draw_image(ax, found, f"{level}: {size}", "cividis")
    return fig


def anchors_of_positions(image, anchors, positions):
    """The anchors of a position on each of several levels, and all their positions.

    Args:
        image: `uint8` `(height, width, 3)`.
        anchors: Dict of level -> array `(rows, columns, k, 4)`, as from
            `dropblock_lib.detection.anchors.anchors_by_level`.
        positions: Dict of level -> (row, column); a panel for each.
    """
    height, width = image.shape[:2]
    margin = 0.18 * max(height, width)
    panels = len(positions)
    with figure(panels, width=6 / panels, height=6 / panels + 0.4,
                squeeze=False) as (fig, axes):  # fmt: skip
        for ax, (level, place) in zip(axes.flat, positions.items(), strict=True):
            found = anchors[level]
            draw_photo(ax, image, level, SHOWN_SIDE // 2)
            centers = (found[:, :, 0, :2] + found[:, :, 0, 2:]) / 2
            x, y = centers.reshape(-1, 2).T
            # On light and on dark images, so a dot on a dot.
            for color, size in ((PALETTE["paper"], 2.2), (PALETTE["ink"], 1.1)):
                ax.plot(x, y, "o", color=color, ms=size, mew=0, label="positions")
            draw_boxes(ax, found[place], FOUND | {"ls": "-"}, lw=1.2)
            ax.set(xlim=(-margin, width + margin), ylim=(height + margin, -margin))
    return fig


def overlaps(pairs):
    """What two boxes have in common, as a share of what they cover together.

    Args:
        pairs: List of (object, anchor), boxes of left, top, right and bottom; a panel
            for each.
    """
    color = FOUND["color"]
    with figure(len(pairs), width=6 / len(pairs), height=2.9, squeeze=False) as (
        fig,
        axes,
    ):
        for ax, (one, other) in zip(axes.flat, pairs, strict=True):
            one, other = np.asarray(one, float), np.asarray(other, float)
            meet = np.array([*np.maximum(one, other)[:2], *np.minimum(one, other)[2:]])
            both, *areas = (_area(box) for box in (meet, one, other))
            share = both / (sum(areas) - both)
            for box, kind in ((one, OBJECT), (other, FOUND)):
                _fill(ax, box, kind["color"], 0.16)
            if both:
                _fill(ax, meet, color, 0.5)
            draw_boxes(ax, [one], OBJECT)
            draw_boxes(ax, [other], FOUND)
            low = np.minimum(one, other)[:2] - 2
            high = np.maximum(one, other)[2:] + 2
            ax.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal")
            ax.set_title(f"IoU {share:.2f}")
            ax.axis("off")
        handles = [
            _outline(OBJECT, "object"),
            _outline(FOUND, "anchor"),
            Patch(facecolor=color, alpha=0.5, lw=0, label="in both"),
        ]
        fig.legend(handles=handles, loc="outside lower center", ncols=3)
    return fig


def assignment(image, boxes, assigned, chosen):
    """The anchors that are to find one object, and those that are left aside for it.

    Args:
        image: `uint8` `(height, width, 3)`.
        boxes: `(k, 4)`: the image's objects.
        assigned: From `dropblock_lib.detection.anchors.assign`.
        chosen: Index of the object.
    """
    own = assigned.objects == chosen
    panels = {"are to find it": assigned.positive, "ignored": assigned.ignored}
    height, width = image.shape[:2]
    with figure(2, width=3.0, height=3.0 * min(height / width, 1.2) + 0.8) as (
        fig,
        axes,
    ):
        for ax, (title, which) in zip(axes, panels.items(), strict=True):
            found = assigned.anchors[which & own]
            draw_photo(ax, image, f"{len(found)} {title}", SHOWN_SIDE)
            kind = FOUND if title != "ignored" else IGNORED
            draw_boxes(ax, found, kind | {"ls": "-"}, lw=1.1)
            draw_boxes(ax, boxes[chosen : chosen + 1], OBJECT, lw=2.6)
        _show_kinds(
            fig, [(OBJECT, "object"), (FOUND, "to find it"), (IGNORED, "ignored")]
        )
    return fig


def focal_loss(gammas):
    """The loss of one class against the probability of what is true.

    Args:
        gammas: Floats of at least 0, a curve for each; 0 is cross-entropy.
    """
    p = np.linspace(0.005, 1, 200)
    with figure(width=5.9, height=3.6) as (fig, ax):
        for gamma, color in zip(gammas, LINE_COLORS, strict=False):
            name = f"gamma {gamma:g}" + (" (cross-entropy)" if gamma == 0 else "")
            ax.plot(p, -((1 - p) ** gamma) * np.log(p), color=color, label=name)
        ax.axvspan(0.6, 1, color=PALETTE["kept"], alpha=0.1, lw=0)
        ax.text(0.8, 2.6, "easy", ha="center", color=PALETTE["muted"])
        ax.set(xlabel="probability of what is true", ylabel="loss")
        ax.set(xlim=(0, 1), ylim=(0, 4.5))
        ax.legend()
    return fig


def loss_shares(shares):
    """What share of the class loss comes from background and from objects.

    Args:
        shares: Dict of label -> (background, objects), sums of losses.
    """
    names = ("background anchors", "anchors with an object")
    colors = (PALETTE["muted"], OBJECT["color"])
    with figure(width=5.9, height=0.42 * len(shares) + 1.1) as (fig, ax):
        left = np.zeros(len(shares))
        parts = np.array(list(shares.values()), float)
        parts /= parts.sum(1, keepdims=True)
        for name, color, part in zip(names, colors, parts.T, strict=True):
            ax.barh(range(len(shares)), part, left=left, height=0.6, color=color,
                    label=name)  # fmt: skip
            left += part
        ax.set_yticks(range(len(shares)), list(shares))
        ax.tick_params(axis="y", colors=PALETTE["ink"], length=0)
        ax.set_ylim(len(shares) - 0.5, -0.5)
        ax.set_xlim(0, 1)
        ax.grid(axis="y", visible=False)
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.set_xlabel("share of the class loss")
        fig.legend(loc="outside upper left", ncols=2)
    return fig


def masks_over_image(image, keep_masks):
    """What one channel loses at several depths, laid over the image.

    Args:
        image: `uint8` `(height, width, 3)`.
        keep_masks: Dict of title -> array `(rows, columns)`, 0 where dropped.
    """
    height, width = image.shape[:2]
    rows = -(-len(keep_masks) // 2)
    with figure(2, rows, width=3.0, height=3.0 * min(height / width, 1.1) + 0.4,
                squeeze=False) as (fig, axes):  # fmt: skip
        for ax, (title, keep_mask) in zip(axes.flat, keep_masks.items(), strict=True):
            draw_photo(ax, image, title, SHOWN_SIDE // rows**0.5)
            if not keep_mask.all():
                path = dropped_path(keep_mask)
                path.vertices = path.vertices * (
                    width / keep_mask.shape[1],
                    height / keep_mask.shape[0],
                )
                ax.add_patch(PathPatch(path, color=PALETTE["dropped"], lw=0))
    return fig


def detector_losses(history):
    """Class loss and box loss over the epochs, in training and validation.

    Args:
        history: Dict of `class_loss`, `box_loss` and the same with `val_` in front ->
            one value an epoch.
    """
    parts = {"class_loss": "class loss", "box_loss": "box loss"}
    lines = (("", "training", "-"), ("val_", "validation", "--"))
    with figure(2, width=3.0, height=3.2) as (fig, axes):
        for ax, (key, title) in zip(axes, parts.items(), strict=True):
            for number, (prefix, label, style) in enumerate(lines):
                values = history[prefix + key]
                epochs = np.arange(1, len(values) + 1)
                color = LINE_COLORS[number]
                ax.plot(epochs, values, style, color=color, label=label)
            ax.set(xlabel="epoch", title=title)
            ax.set_ylim(bottom=0)
            ax.xaxis.get_major_locator().set_params(integer=True)
        handles, labels = axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=2)
    return fig


def precision_by_recall(curves, chosen=(0.5, 0.75)):
    """Precision at every recall, and the mean over it, at several IoU thresholds.

    Args:
        curves: Dict of IoU threshold -> array `(101,)`, the precision at a recall of
            0, .01, ..., 1.
        chosen: The thresholds whose curve has a name; the others are thin.
    """
    recall = np.linspace(0, 1, 101)
    with figure(width=5.9, height=3.6) as (fig, ax):
        named = iter(LINE_COLORS)
        for threshold, precision in curves.items():
            if threshold in chosen:
                label = f"IoU {threshold:.2f}: {np.mean(precision):.2f}"
                color = next(named)
                ax.plot(recall, precision, color=color, lw=2.4, label=label, zorder=3)
            else:
                ax.plot(recall, precision, color=PALETTE["muted"], lw=0.8, alpha=0.6)
        ax.plot([], [], color=PALETTE["muted"], lw=0.8, label="the others")
        ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.03))
        ax.legend(title="area below the curve", loc="upper right")
    return fig


def _area(box):
    return float(np.prod(np.clip(box[2:] - box[:2], 0, None)))


def _fill(ax, box, color, opacity):
    ax.add_patch(
        Rectangle(
            box[:2], *(box[2:] - box[:2]), facecolor=color, alpha=opacity, lw=0
        )
    )  # fmt: skip


def _outline(kind, label):
    return Patch(
        fill=False, edgecolor=kind["color"], ls=kind["ls"], lw=1.8, label=label
    )  # fmt: skip


def _show_kinds(fig, kinds):
    if kinds:
        handles = [_outline(kind, label) for kind, label in kinds]
        fig.legend(handles=handles, loc="outside lower center", ncols=len(kinds))
