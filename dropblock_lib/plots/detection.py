"""Detection: the pyramid, anchors, overlaps and losses."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.boxes import (
    FOUND,
    IGNORED,
    OBJECT,
    SHOWN_SIDE,
    draw_boxes,
    draw_photo,
    legend_of_boxes,
    outline,
)
from dropblock_lib.plots.curves import known_values
from dropblock_lib.plots.masks import draw_image
from dropblock_lib.plots.style import (
    COLORS,
    LINE_COLORS,
    add_rectangle,
    figure,
    name_rows,
    panels,
    variant_color,
    variant_dashes,
)
from dropblock_lib.variants import get_variant, variant_title

if TYPE_CHECKING:  # the module needs KerasHub, which is optional
    from dropblock_lib.detection.anchors import Assignment


def pyramid(
    image: np.ndarray, maps: Mapping[str, np.ndarray], columns: int = 2
) -> Figure:
    """An image and a map of each level of its pyramid, all drawn equally large.

    Args:
        image: `uint8` `(height, width, 3)`.
        maps: Dict of level -> array `(rows, columns)`.
        columns: Number of panels per row.
    """
    width = 6 / columns
    with panels(1 + len(maps), columns, width, width + 0.35) as (fig, axes):
        draw_photo(axes[0], image, f"{image.shape[0]} x {image.shape[1]}")
        for ax, (level, found) in zip(axes[1:], maps.items(), strict=True):
            size = " x ".join(map(str, found.shape))
            draw_image(ax, found, f"{level}: {size}", "cividis")
    return fig


def anchors_of_positions(
    image: np.ndarray,
    anchors: Mapping[str, np.ndarray],
    positions: Mapping[str, tuple[int, int]],
) -> Figure:
    """The anchors of one position on each of several levels, one panel per level.

    Args:
        image: `uint8` `(height, width, 3)`.
        anchors: Dict of level -> array `(rows, columns, k, 4)`, as from
            `dropblock_lib.detection.anchors.anchors_by_level`.
        positions: Dict of level -> (row, column), one per panel.
    """
    height, width = image.shape[:2]
    found = {level: anchors[level][place] for level, place in positions.items()}
    side = 6 / len(positions)
    with panels(len(found), len(found), side, side + 0.35) as (fig, axes):
        for ax, (level, boxes) in zip(axes, found.items(), strict=True):
            rows, columns = anchors[level].shape[:2]
            draw_photo(ax, image, f"{level}: {rows} x {columns}", SHOWN_SIDE // 2)
            draw_boxes(ax, boxes, FOUND | {"ls": "-"}, lw=1.2, halo=0.8)
            center = (boxes[0, :2] + boxes[0, 2:]) / 2
            ax.plot(*center, "o", color=PALETTE["paper"], ms=6, mew=0)
            ax.plot(*center, "o", color=FOUND["color"], ms=4, mew=0)
            shown = np.concatenate([boxes, [[0, 0, width, height]]])
            low, high = shown[:, :2].min(0), shown[:, 2:].max(0)
            # A square, so that all panels have the same size.
            reach = (high - low).max() / 2 + 4
            x, y = (low + high) / 2
            ax.set(xlim=(x - reach, x + reach), ylim=(y + reach, y - reach))
    return fig


def overlaps(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """The intersection over union of pairs of boxes, one panel each, at one scale.

    Args:
        pairs: List of (object, anchor), boxes of left, top, right and bottom.
    """
    boxes = np.array(pairs, float)
    low, high = boxes[..., :2].min((0, 1)) - 3, boxes[..., 2:].max((0, 1)) + 3
    side = 6 / len(pairs)
    height = min(side * (high - low)[1] / (high - low)[0], 2.4) + 0.75
    with panels(len(pairs), len(pairs), side, height) as (fig, axes):
        for ax, (one, other) in zip(axes, boxes, strict=True):
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
        both = Patch(facecolor=PALETTE["ink"], alpha=0.4, lw=0, label="in both")
        entries = [outline(OBJECT, "object"), outline(FOUND, "anchor"), both]
        legend_of_boxes(fig, entries)
    return fig


def assignment(
    image: np.ndarray, boxes: np.ndarray, assigned: "Assignment", chosen: int
) -> Figure:
    """The anchors assigned to one object, and those ignored because of it.

    Args:
        image: `uint8` `(height, width, 3)`.
        boxes: `(k, 4)`: the image's objects.
        assigned: From `dropblock_lib.detection.anchors.assign`.
        chosen: Index of the object.
    """
    own = assigned.objects == chosen
    shown = {
        "to find it": (assigned.positive, FOUND),
        "ignored": (assigned.ignored, IGNORED),
    }
    tall = 3.0 * min(image.shape[0] / image.shape[1], 1.2) + 0.7
    with panels(2, 2, width=3.0, height=tall) as (fig, axes):
        for ax, (title, (which, kind)) in zip(axes, shown.items(), strict=True):
            found = assigned.anchors[which & own]
            draw_photo(ax, image, f"{len(found)} {title}")
            draw_boxes(ax, found, kind | {"ls": "-"}, lw=1.2, halo=0)
            draw_boxes(ax, boxes[chosen : chosen + 1], OBJECT, lw=2.6)
        kinds = [(OBJECT, "object"), (FOUND, "to find it"), (IGNORED, "ignored")]
        entries = [outline(kind | {"ls": "-"}, label) for kind, label in kinds]
        legend_of_boxes(fig, entries)
    return fig


def focal_loss(gammas: Sequence[float]) -> Figure:
    """The focal loss against the probability of the true class.

    Args:
        gammas: Floats >= 0, one per curve; 0 is cross-entropy.
    """
    p = np.linspace(0.005, 1, 200)
    with figure(width=5.9, height=3.0) as (fig, ax):
        for gamma, color in zip(gammas, LINE_COLORS, strict=False):
            name = f"gamma {gamma:g}" + (" (cross-entropy)" if gamma == 0 else "")
            ax.plot(p, -((1 - p) ** gamma) * np.log(p), color=color, label=name)
        ax.axvspan(0.6, 1, color=PALETTE["kept"], alpha=0.1, lw=0)
        ax.text(0.8, 1.6, "easy", ha="center", color=PALETTE["muted"])
        ax.set(xlabel="probability of the right answer", ylabel="loss")
        ax.set(xlim=(0, 1), ylim=(0, 4.5))
        ax.legend()
    return fig


def loss_shares(shares: Mapping[str, tuple[float, float]]) -> Figure:
    """The shares of the class loss that come from background and from objects.

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
        name_rows(ax, list(shares))
        ax.set_xlim(0, 1)
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.set_xlabel("share of the class loss")
        fig.legend(loc="outside upper left", ncols=2)
    return fig


def class_losses(
    curves: Mapping[str, Sequence[Sequence[float | None]]],
    yardsticks: Mapping[str, float],
    xlabel: str = "epoch",
    notice: str = "",
) -> Figure:
    """Class losses during training, beside those of detectors that ignore the image.

    Args:
        curves: Dict of variant, or of any other label -> list of runs, each with one
            value per epoch or step, `None` where it was not measured. The figure shows
            the mean and the range of the runs.
        yardsticks: Dict of label -> class loss, drawn as a horizontal line. The axis
            ends at twice the highest, and begins at zero if a curve comes near it.
        xlabel: What the values are counted in, `"epoch"` or `"step"`.
        notice: A banner across the axes, such as "not run yet".
    """
    rows = -(-(len(curves) + len(yardsticks)) // 2)
    with figure(width=5.9, height=2.6 + 0.28 * rows) as (fig, ax):
        for number, (label, runs) in enumerate(curves.items()):
            at, values = known_values(runs)
            style = _style_of(label, number)
            ax.plot(at, values.mean(0), marker="o" if len(at) < 12 else "", ms=4,
                    **style)  # fmt: skip
            ax.fill_between(at, values.min(0), values.max(0), color=style["color"],
                            alpha=0.15, lw=0)  # fmt: skip
        for number, (label, loss) in enumerate(yardsticks.items()):
            ax.axhline(loss, color=PALETTE["ink"], lw=1.2, ls=("--", ":")[number % 2],
                       label=f"{label}: {loss:.2f}")  # fmt: skip
        ax.set(xlabel=xlabel, ylabel="class loss")
        # Otherwise the first steps of a diverging run would flatten the others.
        limit = 2 * max(yardsticks.values(), default=0) or None
        top = min(filter(None, (limit, ax.get_ylim()[1])))
        drawn = [line.get_ydata() for line in ax.lines if len(line.get_ydata())]
        lowest = min(map(np.nanmin, drawn), default=0)
        # Starting above zero leaves more room for curves that end close together.
        ax.set_ylim(0.9 * lowest if lowest > top / 3 else 0, top)
        if curves:
            ax.locator_params(axis="x", integer=True)
        else:
            ax.set(xticks=[], yticks=[])
        if notice:
            ax.text(0.5, 0.5, notice, transform=ax.transAxes, ha="center", va="center",
                    fontsize=14, color=PALETTE["ink"],
                    bbox={"facecolor": PALETTE["paper"], "edgecolor": PALETTE["muted"],
                          "pad": 8})  # fmt: skip
        if curves or yardsticks:
            fig.legend(loc="outside lower center", ncols=2)
    return fig


def _style_of(label, number):
    """The color, dashes and title of a variant, or of another label."""
    try:
        get_variant(label)
    except ValueError:
        return {"color": LINE_COLORS[number % len(LINE_COLORS)], "label": label}
    return {
        "color": variant_color(label),
        "ls": variant_dashes(label),
        "label": variant_title(label),
    }


def _area(box):
    return float(np.prod(np.clip(box[2:] - box[:2], 0, None)))


def _fill(ax, box, color, opacity):
    sides = box[2:] - box[:2]
    add_rectangle(ax, box[:2], *sides, facecolor=color, alpha=opacity, lw=0)
