"""Accuracies of variants, and how far apart they are."""

import numpy as np
from matplotlib.ticker import PercentFormatter

from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.style import figure, variant_color
from dropblock_lib.variants import variant_title


def sampling_error(figures, images):
    """Published accuracies with the error of counting on a finite test set.

    Args:
        figures: Dict of title -> dict of variant -> accuracy, one run each.
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
        ax.set_yticks(places, names)
        for label in ax.get_yticklabels():
            if label.get_text() in figures:
                label.set_fontweight("bold")
        ax.tick_params(axis="y", colors=PALETTE["ink"], length=0)
        ax.set_ylim(place - 0.4, -0.6)
        ax.grid(axis="y", visible=False)
        ax.locator_params(axis="x", nbins=5)
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        ax.set_xlabel("test accuracy")
    return fig


def accuracy_by_variant(rows, published=None, measure="test accuracy"):
    """Accuracy of every variant: seeds, mean, and a published figure.

    Args:
        rows: List of (variant, list of accuracies, one a seed).
        published: Dict of variant -> accuracy, or None.
        measure: What the accuracies are, such as `"average precision"`.
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
        ax.set_yticks(range(len(rows)), [variant_title(row[0]) for row in rows])
        ax.tick_params(axis="y", colors=PALETTE["ink"])
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        ax.set_xlabel(measure)
        fig.legend(loc="outside upper left", ncols=3)
    return fig


def differences(settings, published=None):
    """Differences to plain training with their intervals, a panel a setting.

    Args:
        settings: Dict of title -> rows of `experiments.compare.differences`. Two
            panels a row, of which the second has the variants of the first.
        published: Dict of title -> dict of variant -> accuracy of a single run, or
            `None`. Of these the differences are shown as well.
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
            ax.set_yticks(range(len(found)), names if number % columns == 0 else [])
            ax.tick_params(axis="y", colors=PALETTE["ink"])
            ax.set_ylim(len(found) - 0.4, -0.6)
            ax.grid(axis="y", visible=False)
            # A variant far off must not squeeze the others together.
            ax.set_xscale("symlog", linthresh=3, linscale=1.5)
            ax.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks])
            ax.minorticks_off()
            # Also above a place that stays empty.
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
