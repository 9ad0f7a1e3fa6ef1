"""Accuracies of variants, and the differences between them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.style import figure, name_rows, variant_color
from dropblock_lib.variants import variant_title


def sampling_error(figures: Mapping[str, Mapping[str, float]], images: int) -> Figure:
    """Published accuracies with the sampling error of a finite test set.

    Args:
        figures: Dict of title -> dict of variant -> accuracy of one run.
        images: Number of test images.
    """
    rows = sum(len(five) + 1 for five in figures.values())
    with figure(width=5.9, height=0.32 * rows + 0.7) as (fig, ax):
        place, places, names = 0, [], []
        for title, five in figures.items():
            places.append(place)
            names.append(title)
            for variant, accuracy in five.items():
                place += 1
                error = 1.96 * (accuracy * (1 - accuracy) / images) ** 0.5
                ends = [accuracy - error, accuracy + error]
                color = variant_color(variant)
                ax.plot(ends, [place, place], color=color, lw=2.5)
                ax.plot(accuracy, place, "x", color=PALETTE["ink"], ms=6)
                places.append(place)
                names.append(variant_title(variant))
            place += 1
        name_rows(ax, names, places)
        ax.tick_params(axis="y", length=0)
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
    """Accuracy of every variant: each seed, the mean, and a published number.

    Args:
        rows: List of (variant, list of accuracies, one per seed).
        published: Dict of variant -> accuracy, or `None`.
        measure: Label of the axis, such as `"average precision"`.
    """
    published = published or {}
    with figure(width=5.9, height=0.55 * len(rows) + 1.1) as (fig, ax):
        for place, (variant, accuracies) in enumerate(rows):
            color = variant_color(variant)
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
        name_rows(ax, [variant_title(variant) for variant, _ in rows])
        ax.invert_yaxis()
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
    rows = -(-len(settings) // columns)
    most = max(map(len, settings.values()))
    with figure(
        columns, rows, width=5.9 / columns, height=0.37 * most + 0.75, sharex=True
    ) as (fig, axes):
        panels = np.ravel(axes)
        for ax in panels[len(settings) :]:
            ax.set_visible(False)
        for number, (title, found) in enumerate(settings.items()):
            ax = panels[number]
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
            names = [variant_title(row["variant"]) for row in found]
            name_rows(ax, names)
            if number % columns:
                ax.set_yticklabels([])
            ax.set_ylim(len(found) - 0.4, -0.6)
            # The scale keeps one variant far off from squeezing the others together.
            ax.set_xscale("symlog", linthresh=3, linscale=1.5)
            ax.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks])
            ax.minorticks_off()
            # The last panel of each column has labels.
            ax.tick_params(labelbottom=number + columns >= len(settings))
        fig.supxlabel("percentage points above plain", fontsize=12)
        muted = PALETTE["muted"]
        ax = panels[0]
        ax.plot([], [], "o", color=muted, ms=6, label="mean")
        ax.plot([], [], color=muted, lw=5, alpha=0.4, label="95 % interval")
        if published:
            ax.plot([], [], "x", color=PALETTE["ink"], ms=6, label="slides, one run")
        fig.legend(loc="outside upper left", ncols=3)
    return fig
