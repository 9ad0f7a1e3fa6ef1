"""How well the neighbors of a unit predict it."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.masks import draw_map
from dropblock_lib.plots.style import LINE_COLORS, add_rectangle, figure, name_rows


def neighbor_correlation(correlations: Sequence[float]) -> Figure:
    """Correlation of two units of one channel against their distance.

    Args:
        correlations: Entry d is the correlation at a distance of d units.
    """
    with figure(width=5.6, height=3.2) as (fig, ax):
        ax.plot(correlations, marker="o", color=LINE_COLORS[0])
        ax.set(
            xlabel="distance in units of the feature map",
            ylabel="correlation",
            ylim=(min(0, min(correlations)) - 0.02, 1.02),
        )
    return fig


def evidence() -> Figure:
    """What a guesser of one dropped unit may see, in its channel and in two others."""
    side, unit = 9, (4, 4)
    corners = {"its own channel": (3, 3), "another channel": (0, 5), "a third": (5, 1)}
    middle = (unit[1] + 0.5, unit[0] + 0.5)
    with figure(columns=3, width=2.0, height=2.2) as (fig, axes):
        for ax, (title, (top, left)) in zip(axes, corners.items(), strict=True):
            keep_mask = np.ones((side, side))
            keep_mask[top : top + 3, left : left + 3] = 0
            draw_map(ax, (side, side), keep_mask, title=title)
            window = {"fill": False, "edgecolor": PALETTE["ink"], "lw": 1.4}
            if ax is not axes[0]:
                add_rectangle(ax, (unit[1] - 1, unit[0] - 1), 3, 3, zorder=3, **window)
                continue
            ax.text(*middle, "?", ha="center", va="center", weight="bold")
            for radius in (1.0, 2.5, 4.0):
                ax.add_patch(Circle(middle, radius, ls="--", zorder=3, **window))
    return fig


def guess_scores(scores: Mapping[str, Mapping[str, float]]) -> Figure:
    """How well dropped units can be guessed, a group of bars per method of dropping.

    Args:
        scores: Dict of label -> dict of guesser -> R².
    """
    labels = list(scores)
    guessers = list(next(iter(scores.values())))
    with figure(width=5.9, height=3.6) as (fig, ax):
        places = np.arange(len(labels))
        for number, guesser in enumerate(guessers):
            # An R² below 0 is no better than guessing the mean, and has no bar.
            values = [max(scores[label][guesser], 0.0) for label in labels]
            bars = ax.barh(
                places + 0.38 * number - 0.19,
                values,
                height=0.36,
                color=LINE_COLORS[number],
                label=guesser,
            )
            ax.bar_label(bars, fmt="%.2f", padding=3)
        name_rows(ax, labels)
        ax.set(xlabel="R² of the guess", xlim=(0, 1.05))
        fig.legend(loc="outside upper left", ncols=2)
    return fig
