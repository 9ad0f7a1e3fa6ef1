"""What changes over the epochs: schedules, accuracies, losses, gaps."""

import numpy as np
from matplotlib.ticker import PercentFormatter

from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.style import (
    LINE_COLORS,
    figure,
    variant_color,
    variant_dashes,
)
from dropblock_lib.variants import variant_title


def schedules(curves, ylabel="keep_prob"):
    """Values over the epochs.

    Args:
        curves: Dict of label -> one value an epoch.
    """
    with figure(width=5.8, height=3.4) as (fig, ax):
        for number, (label, values) in enumerate(curves.items()):
            ax.plot(
                values,
                marker="os^D"[number % 4],
                ms=4,
                color=LINE_COLORS[number],
                label=label,
            )
        ax.set(xlabel="epoch", ylabel=ylabel)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()
    return fig


def learning_curves(curves, metric="accuracy", first_epoch=1):
    """Training and validation curves, mean over seeds with their range.

    Args:
        curves: Dict of variant -> list of histories, one a seed; a history is a
            dict of metric -> one value an epoch.
        metric: `"accuracy"` or `"loss"`.
        first_epoch: The epoch to begin with, where the first ones would leave no room
            for the others.
    """
    names = ("training", "validation")
    with figure(columns=2, width=3.0, height=3.9, sharey=True) as (fig, axes):
        for ax, name, key in zip(axes, names, (metric, f"val_{metric}"), strict=True):
            for variant, histories in curves.items():
                epochs, values = _known([history[key] for history in histories])
                values = values[:, epochs >= first_epoch]
                epochs = epochs[epochs >= first_epoch]
                color = variant_color(variant)
                ax.plot(epochs, values.mean(0), color=color,
                        label=variant_title(variant),
                        ls=variant_dashes(variant))  # fmt: skip
                ax.fill_between(
                    epochs, values.min(0), values.max(0), color=color, alpha=0.15, lw=0
                )
            ax.set(xlabel="epoch", title=f"{name} {metric}")
            ax.xaxis.get_major_locator().set_params(integer=True)
        handles, labels = axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=2)
    return fig


def generalization_gap(curves, metric="accuracy"):
    """What is better on training batches than on validation images, by epoch.

    Args:
        curves: As for `learning_curves`.
        metric: `"accuracy"`, for training minus validation, or `"loss"`, for
            validation minus training.
    """
    with figure(width=5.9, height=3.9) as (fig, ax):
        ax.axhline(0, color=PALETTE["muted"], lw=1)
        for variant, runs in curves.items():
            epochs, gaps = _known([_gap(history, metric) for history in runs])
            color = variant_color(variant)
            ax.plot(epochs, gaps.mean(0), color=color, label=variant_title(variant),
                    ls=variant_dashes(variant))  # fmt: skip
            ax.fill_between(
                epochs, gaps.min(0), gaps.max(0), color=color, alpha=0.15, lw=0
            )
        ax.set(xlabel="epoch", ylabel=f"gap in {metric}")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if metric == "accuracy":
            ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        fig.legend(loc="outside lower center", ncols=2)
    return fig


def _gap(history, metric):
    training, validation = (
        np.array(history[key], "float64") for key in (metric, f"val_{metric}")
    )
    return validation - training if metric == "loss" else training - validation


def _known(runs):
    """The epochs of which every run has a value, counted from 1, and the values.

    Not every epoch is validated, and a run that diverged has no loss.
    """
    values = np.array(runs, "float64")
    known = np.isfinite(values).all(axis=0)
    return 1 + np.flatnonzero(known), values[:, known]
