"""Curves over the epochs: schedules, accuracies and losses."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.style import (
    LINE_COLORS,
    count_epochs,
    figure,
    name_rows,
    panels,
    variant_color,
    variant_dashes,
)
from dropblock_lib.variants import variant_title

# A history maps each metric to one value per epoch.
Histories = Mapping[str, Sequence[Mapping[str, Sequence[float]]]]


def schedules(
    curves: Mapping[str, Sequence[float]], ylabel: str = "keep_prob"
) -> Figure:
    """Values over the epochs.

    Args:
        curves: Dict of label -> one value per epoch.
        ylabel: What the values are.
    """
    with figure(width=5.8, height=3.4) as (fig, ax):
        for number, (label, values) in enumerate(curves.items()):
            style = {"marker": "os^D"[number % 4], "color": LINE_COLORS[number]}
            ax.plot(values, ms=4, label=label, **style)
        ax.set_ylabel(ylabel)
        count_epochs(ax)
        ax.legend()
    return fig


def validation_curves(
    curves: Histories,
    metric: str = "accuracy",
    lowest: float | None = None,
    published: Mapping[str, float] | None = None,
) -> Figure:
    """Validation curves with a label at each line, mean and range over runs.

    Args:
        curves: Dict of variant -> list of histories, one per seed; a history is a
            dict of metric -> one value per epoch. If there are none, the figure says
            so.
        metric: `"accuracy"` or `"loss"`.
        lowest: Lower end of the axis, or `None`. A variant whose mean ends below it is
            named in the title instead of drawn.
        published: Dict of label -> a single value, drawn as a dotted line.
    """
    runs = {
        variant: known_values([history[f"val_{metric}"] for history in histories])
        for variant, histories in curves.items()
    }
    diverged = [variant for variant, (epochs, _) in runs.items() if not len(epochs)]
    runs = {variant: found for variant, found in runs.items() if len(found[0])}
    below = {
        variant: values[:, -1].mean()
        for variant, (_, values) in runs.items()
        if lowest is not None and values[:, -1].mean() < lowest
    }
    with figure(width=6.0, height=4.0) as (fig, ax):
        labels = []
        for variant, (epochs, values) in runs.items():
            if variant in below:
                continue
            _draw_runs(ax, epochs, values, variant)
            ax.plot(epochs, values.mean(0), "o", color=variant_color(variant), ms=4)
            end = (epochs[-1], values[:, -1].mean())
            labels.append([*end, variant_title(variant), variant_color(variant)])
        last = max((epoch for epoch, *_ in labels), default=1)
        for label, value in (published or {}).items():
            ax.axhline(value, color=PALETTE["ink"], lw=1.2, ls=":")
            labels.append([last, value, label, PALETTE["ink"]])
        ax.set_ylabel(f"validation {metric}")
        count_epochs(ax)
        if metric == "accuracy":
            ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        if lowest is not None:
            ax.set_ylim(bottom=lowest)
        notes = [
            f"{variant_title(variant)} is not drawn: it ends at "
            + (f"{100 * end:.0f}%" if metric == "accuracy" else f"{end:.2f}")
            for variant, end in below.items()
        ]
        notes += [
            f"{variant_title(name)} is not drawn: a run diverged" for name in diverged
        ]
        if not curves:
            notes = ["No run is recorded yet"]
        if not labels:
            ax.set(xlim=(0, 1), xticks=[])
            ax.margins(y=1)
        ax.set_title("\n".join(notes), fontsize=11)
        _label_ends(ax, labels)
    return fig


def _label_ends(ax, labels):
    """Writes labels right of the ends of lines, far enough apart to be read."""
    low, high = ax.get_ylim()
    apart = 0.07 * (high - low)
    places: list[float] = []
    labels = sorted(labels, key=lambda label: label[1])
    for _, value, *_ in labels:
        places.append(max(value, places[-1] + apart if places else low))
    # Moves the labels back down: near their lines on average, and below the upper end.
    moved = [place - label[1] for place, label in zip(places, labels, strict=True)]
    down = max(max(moved, default=0) / 2, places[-1] - high if places else 0)
    for (epoch, value, text, color), place in zip(labels, places, strict=True):
        at = max(low, place - down)
        line = {"arrowstyle": "-", "color": color, "lw": 0.8, "shrinkA": 0}
        line["relpos"] = (0, 0.5)
        ax.annotate(
            text, (epoch, value), (1.03, at), textcoords=("axes fraction", "data"),
            color=PALETTE["ink"], va="center", arrowprops=line,
        )  # fmt: skip


def losses_by_variant(
    settings: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
) -> Figure:
    """From training to validation loss: a line per run, a panel per setting.

    Args:
        settings: Dict of title -> dict of variant -> list of (training loss,
            validation loss), one pair per run. All panels show the variants of the
            first, and span equally wide ranges of the loss.
    """
    variants = list(next(iter(settings.values())))
    losses = {
        title: np.concatenate([np.ravel(found[variant]) for variant in variants])
        for title, found in settings.items()
    }
    reach = 0.56 * max(map(np.ptp, losses.values()))
    columns, height = len(settings), 0.42 * len(variants) + 1.2
    with panels(columns, columns, 5.9 / columns, height, sharey=True) as (fig, axes):
        for ax, (title, found) in zip(axes, settings.items(), strict=True):
            for place, variant in enumerate(variants):
                color = variant_color(variant)
                runs = found[variant]
                apart = 0.3 * (np.arange(len(runs)) - (len(runs) - 1) / 2) / len(runs)
                for run, height in zip(runs, place + apart, strict=True):
                    ax.plot(run, [height] * 2, color=color, lw=2.2,
                            ls=variant_dashes(variant))  # fmt: skip
                    ax.plot(run[0], height, "|", color=color, ms=10, mew=2.2)
                    ax.plot(run[1], height, "o", color=color, ms=6)
            middle = (losses[title].min() + losses[title].max()) / 2
            ax.set(title=title, xlabel="loss", xlim=(middle - reach, middle + reach))
            ax.locator_params(axis="x", nbins=4)
            name_rows(ax, [variant_title(variant) for variant in variants])
        first = axes[0]
        muted = PALETTE["muted"]
        first.plot([], [], "|", color=muted, ms=10, mew=2.2, label="training")
        first.plot([], [], "o", color=muted, ms=6, label="validation")
        fig.legend(loc="outside upper left", ncols=2)
    return fig


def _draw_runs(ax, epochs, values, variant):
    """Draws the mean of several runs of a variant, and their range."""
    color = variant_color(variant)
    ax.plot(
        epochs, values.mean(0), color=color, label=variant_title(variant),
        ls=variant_dashes(variant),
    )  # fmt: skip
    ax.fill_between(epochs, values.min(0), values.max(0), color=color, alpha=0.15, lw=0)


def known_values(runs):
    """The epochs for which every run has a value, counted from 1, and the values.

    Some epochs are not validated, and a run that diverged has no loss.
    """
    values = np.array(runs, "float64")
    known = np.isfinite(values).all(axis=0)
    return 1 + np.flatnonzero(known), values[:, known]
