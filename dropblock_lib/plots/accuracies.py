"""Accuracies of variants, and the differences between them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.style import figure, name_rows, panels, variant_color
from dropblock_lib.variants import variant_title

SLIDES: dict[str, Any] = {"marker": "x", "color": PALETTE["ink"]}


def sampling_error(figures: Mapping[str, Mapping[str, float]], images: int) -> Figure:
    """Published accuracies with the sampling error of a finite test set.

    Args:
        figures: Dict of title -> dict of variant -> accuracy of one run.
        images: Number of test images.
    """
    rows = sum(len(five) + 1 for five in figures.values())
    with figure(width=5.9, height=0.32 * rows + 0.7) as (fig, ax):
        place, names = 0, {}
        for title, five in figures.items():
            names[place] = title
            for variant, accuracy in five.items():
                place += 1
                names[place] = variant_title(variant)
                error = 1.96 * (accuracy * (1 - accuracy) / images) ** 0.5
                ends = [accuracy - error, accuracy + error]
                color = variant_color(variant)
                ax.plot(ends, [place, place], color=color, lw=2.5)
                ax.plot(accuracy, place, "x", color=PALETTE["ink"], ms=6)
            place += 1
        name_rows(ax, list(names.values()), list(names))
        for label in ax.get_yticklabels():
            if label.get_text() in figures:
                label.set_fontweight("bold")
        ax.set_ylim(place - 0.4, -0.6)
        ax.locator_params(axis="x", nbins=5)
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        ax.set_xlabel("test accuracy")
    return fig


def accuracy_by_variant(
    rows: Sequence[tuple[str, Sequence[float]]],
    published: Mapping[str, float] | None = None,
    measure: str = "test accuracy",
) -> Figure:
    """Accuracy of every variant: each run, the mean, and a published number.

    Args:
        rows: List of (variant, list of accuracies, one per run).
        published: Dict of variant -> accuracy, or `None`.
        measure: Label of the axis, such as `"average precision"`.
    """
    published = published or {}
    with figure(width=5.9, height=0.55 * len(rows) + 1.1) as (fig, ax):
        for place, (variant, accuracies) in enumerate(rows):
            color = variant_color(variant)
            mean = np.mean(accuracies)
            places = [place] * len(accuracies)
            ax.scatter(accuracies, places, color=color, alpha=0.6, s=28)
            ax.plot([mean, mean], [place - 0.28, place + 0.28], color=color, lw=3)
            if variant in published:
                ax.scatter(published[variant], place, s=46, **SLIDES)
        ax.scatter([], [], color=PALETTE["muted"], alpha=0.6, label="one run")
        ax.plot([], [], color=PALETTE["muted"], lw=3, label="mean of runs")
        if published:
            ax.scatter([], [], label="slides, one run", **SLIDES)
        name_rows(ax, [variant_title(variant) for variant, _ in rows])
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        ax.set_xlabel(measure)
        fig.legend(loc="outside upper left", ncols=3)
    return fig


def differences(
    settings: Mapping[str, Sequence[Mapping[str, Any]]],
    published: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Differences from plain training with their intervals, a panel per setting.

    Args:
        settings: Dict of title -> rows of `experiments.compare.differences`. Two
            panels to a row; the second must have the variants of the first.
        published: Dict of title -> dict of variant -> accuracy of a single run,
            whose differences are shown as well, or `None`.
    """
    published = published or {}
    ticks = (-30, -3, 0, 3)
    columns = min(2, len(settings))
    count, width = len(settings), 5.9 / columns
    height = 0.37 * max(map(len, settings.values())) + 0.75
    with panels(count, columns, width, height, sharex=True) as (fig, axes):
        for number, (title, found) in enumerate(settings.items()):
            ax = axes[number]
            ax.axvline(0, color=PALETTE["ink"], lw=1)
            for place, row in enumerate(found):
                variant = row["variant"]
                color = variant_color(variant)
                ends = [100 * row["low"], 100 * row["high"]]
                ax.plot(ends, [place, place], color=color, lw=5, alpha=0.4,
                        solid_capstyle="butt")  # fmt: skip
                ax.plot(100 * row["difference"], place, "o", color=color, ms=6)
                singles = published.get(title, {})
                if variant in singles:
                    apart = 100 * (singles[variant] - singles["none"])
                    ax.plot(apart, place, "x", color=PALETTE["ink"], ms=6)
            ax.set_title(title)
            name_rows(ax, [variant_title(row["variant"]) for row in found])
            if number % columns:
                ax.set_yticklabels([])
            # On this scale, one variant far off does not squeeze the others together.
            ax.set_xscale("symlog", linthresh=3, linscale=1.5)
            ax.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks])
            ax.minorticks_off()
            # The last panel of each column has labels.
            ax.tick_params(labelbottom=number + columns >= count)
        fig.supxlabel("percentage points above plain", fontsize=12)
        muted = PALETTE["muted"]
        ax = axes[0]
        ax.plot([], [], "o", color=muted, ms=6, label="mean")
        ax.plot([], [], color=muted, lw=5, alpha=0.4, label="95 % interval")
        if published:
            ax.plot([], [], "x", color=PALETTE["ink"], ms=6, label="slides, one run")
        fig.legend(loc="outside upper left", ncols=3)
    return fig
