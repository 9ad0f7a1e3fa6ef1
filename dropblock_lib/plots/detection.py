"""Detection: anchors, losses, detections and their precision."""

import numpy as np
from matplotlib.patches import Patch, PathPatch, Rectangle
from matplotlib.ticker import PercentFormatter

from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.images import draw_image, dropped_path
from dropblock_lib.plots.style import COLORS, LINE_COLORS, figure

# A color and a kind of line: either tells them apart.
OBJECT = {"color": COLORS["blue"], "ls": "-"}
FOUND = {"color": COLORS["red"], "ls": (0, (4, 1.5))}
IGNORED = {"color": COLORS["yellow"], "ls": (0, (1.5, 1.5))}
# Two photographs of 160 pixels in 64 colors take up to 150 KB in a figure.
SHOWN_SIDE, SHOWN_COLORS = 160, 64
# What a letter of a name takes of the width of an image, and a line of the height.
LETTER, LINE = 0.03, 0.08


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
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    small = small.quantize(SHOWN_COLORS, dither=Image.Dither.NONE).convert("RGB")
    # Of the size that was there, for boxes are in its pixels.
    ax.imshow(small, interpolation="none", extent=(0, width, height, 0))
    ax.set_title(title)
    ax.axis("off")


def draw_boxes(ax, boxes, kind, names=(), lw=1.8, halo=1.4):
    """Draws boxes as outlines that can be seen on any ground.

    Args:
        ax: Matplotlib axes, in pixels.
        boxes: `(n, 4)`: left, top, right and bottom.
        kind: `OBJECT`, `FOUND` or `IGNORED`.
        names: A text for each box, or nothing.
        lw: Width of the lines in points.
        halo: By how much the line below is wider, in the color of the paper.
    """
    around = {"color": PALETTE["paper"], "ls": "-", "lw": lw + halo}
    for left, top, right, bottom in boxes:
        for style in (around, kind | {"lw": lw})[0 if halo else 1 :]:
            ax.add_patch(
                Rectangle(
                    (left, top), right - left, bottom - top, fill=False,
                    edgecolor=style["color"], ls=style["ls"], lw=style["lw"],
                )
            )  # fmt: skip
    _draw_names(ax, boxes, names)


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
            draw_photo(ax, panel["image"], title, SHOWN_SIDE // (0.7 * rows + 0.3))
            for name, kind in (("objects", OBJECT), ("found", FOUND)):
                boxes, texts = panel.get(name, ((), ()))
                halo = 1.4 if len(boxes) <= 20 else 0
                draw_boxes(ax, boxes, kind, texts if names else (), halo=halo)
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
    """The anchors of one position on each of several levels.

    Args:
        image: `uint8` `(height, width, 3)`.
        anchors: Dict of level -> array `(rows, columns, k, 4)`, as from
            `dropblock_lib.detection.anchors.anchors_by_level`.
        positions: Dict of level -> (row, column); a panel for each.
    """
    height, width = image.shape[:2]
    found = {level: anchors[level][place] for level, place in positions.items()}
    shown = np.concatenate([*found.values(), [[0, 0, width, height]]])
    low, high = shown[:, :2].min(0) - 4, shown[:, 2:].max(0) + 4
    side = 6 / len(positions)
    ratio = (high - low)[1] / (high - low)[0]
    with figure(len(positions), width=side, height=side * ratio + 0.35,
                squeeze=False) as (fig, axes):  # fmt: skip
        for ax, (level, boxes) in zip(axes.flat, found.items(), strict=True):
            rows, columns = anchors[level].shape[:2]
            draw_photo(ax, image, f"{level}: {rows} x {columns}", SHOWN_SIDE // 2)
            draw_boxes(ax, boxes, FOUND | {"ls": "-"}, lw=1.2, halo=0.8)
            center = (boxes[0, :2] + boxes[0, 2:]) / 2
            ax.plot(*center, "o", color=PALETTE["paper"], ms=6, mew=0)
            ax.plot(*center, "o", color=FOUND["color"], ms=4, mew=0)
            ax.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]))
    return fig


def overlaps(pairs):
    """What two boxes have in common, as a share of what they cover together.

    Args:
        pairs: List of (object, anchor), boxes of left, top, right and bottom; a panel
            for each, all of the same place and scale.
    """
    boxes = np.array(pairs, float)
    low, high = boxes[..., :2].min((0, 1)) - 3, boxes[..., 2:].max((0, 1)) + 3
    side = 6 / len(pairs)
    height = min(side * (high - low)[1] / (high - low)[0], 2.4) + 0.75
    with figure(len(pairs), width=side, height=height, squeeze=False) as (fig, axes):
        for ax, (one, other) in zip(axes.flat, boxes, strict=True):
            meet = np.array([*np.maximum(one, other)[:2], *np.minimum(one, other)[2:]])
            both, *areas = (_area(box) for box in (meet, one, other))
            for box, kind in ((one, OBJECT), (other, FOUND)):
                _fill(ax, box, kind["color"], 0.16)
            if both:
                _fill(ax, meet, PALETTE["ink"], 0.4)
            draw_boxes(ax, [one], OBJECT)
            draw_boxes(ax, [other], FOUND)
            ax.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal")
            ax.set_title(f"IoU {both / (sum(areas) - both):.2f}")
            ax.axis("off")
        handles = [
            _outline(OBJECT, "object"),
            _outline(FOUND, "anchor"),
            Patch(facecolor=PALETTE["ink"], alpha=0.4, lw=0, label="in both"),
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
    panels = {
        "to find it": (assigned.positive, FOUND),
        "ignored": (assigned.ignored, IGNORED),
    }
    height, width = image.shape[:2]
    with figure(2, width=3.0, height=3.0 * min(height / width, 1.2) + 0.7) as (
        fig,
        axes,
    ):
        for ax, (title, (which, kind)) in zip(axes, panels.items(), strict=True):
            found = assigned.anchors[which & own]
            draw_photo(ax, image, f"{len(found)} {title}")
            draw_boxes(ax, found, kind | {"ls": "-"}, lw=1.2, halo=0)
            draw_boxes(ax, boxes[chosen : chosen + 1], OBJECT, lw=2.6)
        kinds = [(OBJECT, "object"), (FOUND, "to find it"), (IGNORED, "ignored")]
        _show_kinds(fig, [(kind | {"ls": "-"}, label) for kind, label in kinds])
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
        ax.text(0.8, 1.6, "easy", ha="center", color=PALETTE["muted"])
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
    colors = (COLORS["yellow"], OBJECT["color"])
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
            draw_photo(ax, image, title, SHOWN_SIDE // (0.7 * rows + 0.3))
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
            one value an epoch; of those with `val_` every n-th epoch will do, or none.
    """
    parts = {"class_loss": "class loss", "box_loss": "box loss"}
    lines = (("", "training", "-"), ("val_", "validation", "o--"))
    with figure(2, width=3.0, height=3.2) as (fig, axes):
        for ax, (key, title) in zip(axes, parts.items(), strict=True):
            for number, (prefix, label, style) in enumerate(lines):
                values = history.get(prefix + key)
                if values is None:
                    continue
                every = len(history[key]) // len(values)
                epochs = every * np.arange(1, len(values) + 1)
                color = LINE_COLORS[number]
                ax.plot(epochs, values, style, color=color, ms=4, label=label)
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
    with figure(width=5.9, height=3.8) as (fig, ax):
        named = iter(LINE_COLORS)
        for threshold, precision in curves.items():
            if threshold in chosen:
                label = f"IoU {threshold:.2f}: area {np.mean(precision):.2f}"
                color = next(named)
                ax.plot(recall, precision, color=color, lw=2.4, label=label, zorder=3)
            else:
                ax.plot(recall, precision, color=PALETTE["muted"], lw=0.8, alpha=0.6)
        ax.plot([], [], color=PALETTE["muted"], lw=0.8, label="the others")
        ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.03))
        fig.legend(loc="outside lower center", ncols=3)
    return fig


def _draw_names(ax, boxes, names):
    """Writes a name above or below each box, within the image and apart if possible."""
    width, height = (
        abs(np.diff(limits)[0]) for limits in (ax.get_xlim(), ax.get_ylim())
    )
    written = []
    for (left, top, right, bottom), name in zip(boxes, names, strict=False):
        at_right = left + right > width
        x = right if at_right else left
        length = LETTER * len(name) * width
        start = x - length if at_right else x
        # Outside the box, but within the image.
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
