"""Results against the dose, and effects of a regularizer with their intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from dropblock_lib.experiments.reports.effects import NO_RUN
from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.style import figure, name_rows, panels, variant_color


def against_dose(
    results: Mapping[str, Mapping[str, Mapping[str, Any]]],
    xlabel: str = "share of units dropped",
    percent: Sequence[str] = (),
) -> Figure:
    """Results against the fraction of dropped units, a line per method.

    Args:
        results: Dict of panel title -> dict of line label -> dict with `variant` (its
            color), `x` (doses, fractions), `y` and, for a band, `low` and `high`. A
            panel without lines says that no run is complete.
        xlabel: Label of the horizontal axes.
        percent: Titles of the panels whose values are fractions, shown in percent.
    """
    columns = min(2, len(results))
    width = 5.9 / columns
    with panels(len(results), columns, width, 3.9, sharex=True) as (fig, axes):
        labels = {}
        for ax, (title, lines) in zip(axes, results.items(), strict=True):
            for number, (label, line) in enumerate(lines.items()):
                color = variant_color(line["variant"])
                marker = "os^D"[number % 4]
                [labels[label]] = ax.plot(
                    line["x"], line["y"], color=color, marker=marker, ms=5
                )
                if "low" in line:
                    ends = line["low"], line["high"]
                    ax.fill_between(line["x"], *ends, color=color, alpha=0.15, lw=0)
            ax.set_title(title)
            ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            if title in percent:
                ax.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.6g}%")
            if not lines:
                _say(ax, NO_RUN)
                ax.set(xlim=(0, 0.4), yticks=[])
        fig.supxlabel(xlabel, fontsize=12)
        if labels:
            columns = min(2, len(labels))
            fig.legend(labels.values(), labels, loc="outside upper left", ncols=columns)
    return fig


def effects(
    groups: Mapping[str, Sequence[Mapping[str, Any]]],
    xlabel: str = "percentage points above plain",
    factor: float = 100,
) -> Figure:
    """Differences with their intervals on a linear axis, a panel per group.

    Args:
        groups: Dict of panel title -> rows: dicts with `label`, `difference`, `low`,
            `high` and, for its color, `variant`. A row without `low` is a single run
            and has an open dot. A row without `difference` shows its `verdict` or, if
            it has none, that no run is complete.
        xlabel: Label of the horizontal axis, which all panels share.
        factor: What the values are multiplied by.
    """
    rows = sum(map(len, groups.values()))
    ratios = [len(found) + 0.9 for found in groups.values()]
    with figure(
        rows=len(groups),
        width=5.9,
        height=(0.34 * rows + 0.45 * len(groups) + 0.9) / len(groups),
        sharex=True,
        squeeze=False,
        height_ratios=ratios,
    ) as (fig, axes):
        for ax, (title, found) in zip(axes.flat, groups.items(), strict=True):
            ax.axvline(0, color=PALETTE["ink"], lw=1)
            for place, row in enumerate(found):
                if row["difference"] is None:
                    _say(ax, row.get("verdict") or NO_RUN, place)
                    continue
                color = variant_color(row.get("variant", "none"))
                dot = {"color": color, "ms": 6, "mfc": PALETTE["paper"]}
                if row["low"] is not None:
                    ends = [factor * row["low"], factor * row["high"]]
                    ax.plot(ends, [place, place], color=color, lw=5, alpha=0.4,
                            solid_capstyle="butt")  # fmt: skip
                    del dot["mfc"]
                ax.plot(factor * row["difference"], place, "o", **dot)
            ax.set_title(title)
            name_rows(ax, [row["label"] for row in found])
        if all(row["difference"] is None for found in groups.values() for row in found):
            ax.set_xlim(-3, 3)
        axes.flat[-1].set_xlabel(xlabel)
    return fig


def _say(ax, text, place=None):
    """Writes a note in the middle of the axes, or at the right end of a row."""
    x, y, align = (0.5, 0.5, "center") if place is None else (0.98, place, "right")
    where = ax.transAxes if place is None else ax.get_yaxis_transform()
    ax.text(
        x, y, text, transform=where, ha=align, va="center",
        color=PALETTE["muted"], style="italic",
    )  # fmt: skip
