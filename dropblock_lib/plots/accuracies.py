"""Accuracies of variants."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.style import figure, name_rows, variant_color
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
