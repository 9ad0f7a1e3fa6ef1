"""Gamma, and the dropped fraction it leads to."""

import numpy as np
from matplotlib.ticker import PercentFormatter

from dropblock_lib.masks import exact_gamma, expected_drop_rate, gamma
from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.style import LINE_COLORS, figure


def realized_rate(block_size, feat_sizes):
    """Nominal against expected dropped fraction under the paper's gamma."""
    nominal = np.linspace(0.001, 0.6, 80)
    with figure(width=5.6, height=3.8) as (fig, ax):
        ax.plot(nominal, nominal, color=PALETTE["muted"], ls="--", label="exact gamma")
        for feat_size, color in zip(feat_sizes, LINE_COLORS, strict=False):
            rates = [
                expected_drop_rate(
                    gamma(1 - rate, block_size, feat_size), block_size, feat_size
                )
                for rate in nominal
            ]
            ax.plot(nominal, rates, color=color, label=f"{feat_size} x {feat_size} map")
        ax.set(xlabel="nominal: 1 - keep_prob", ylabel="expected dropped fraction")
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.legend()
    return fig


def two_gammas(block_size, feat_size):
    """The paper's gamma and the exact one against keep_prob."""
    keep_probs = np.linspace(0.4, 1, 80)
    with figure(width=5.6, height=3.4) as (fig, ax):
        for rule, label, color in (
            (gamma, "paper, equation 1", LINE_COLORS[0]),
            (exact_gamma, "exact", LINE_COLORS[1]),
        ):
            values = [
                rule(keep_prob, block_size, feat_size) for keep_prob in keep_probs
            ]
            ax.plot(keep_probs, values, label=label, color=color)
        ax.set(xlabel="keep_prob", ylabel="gamma")
        ax.legend()
    return fig
