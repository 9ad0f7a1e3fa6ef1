"""How well the neighbors of a unit predict it."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dropblock_lib.plots.style import LINE_COLORS, figure, name_rows


def neighbor_correlation(correlations: Sequence[float]) -> Figure:
    """Correlation of two units of one channel against their distance.

    Args:
        correlations: Entry d is the correlation at a distance of d pixels.
    """
    with figure(width=5.6, height=3.2) as (fig, ax):
        ax.plot(correlations, marker="o", color=LINE_COLORS[0])
        ax.set(
            xlabel="distance in pixels of the feature map",
            ylabel="correlation",
            ylim=(min(0, min(correlations)) - 0.02, 1.02),
        )
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
            # An R² just below 0 is no better than guessing the mean: no bar.
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
        ax.set(xlabel="R² of the guess (1 = perfect, 0 = no better than the mean)")
        ax.set_xlim(0, 1.05)
        fig.legend(loc="outside upper left", ncols=2)
    return fig
