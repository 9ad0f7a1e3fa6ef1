"""Losses of variants, in training and in validation."""

import numpy as np

from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.style import figure, variant_color, variant_dashes
from dropblock_lib.variants import variant_title


def losses_by_variant(settings):
    """From training to validation loss, a line for each variant, a panel a setting.

    Args:
        settings: Dict of title -> dict of variant -> list of (training loss,
            validation loss), one pair a run. All panels have the variants of the
            first, and scales on which lines of one length are equally long.
    """
    variants = list(next(iter(settings.values())))
    columns = len(settings)
    losses = {
        title: np.concatenate([np.ravel(found[variant]) for variant in variants])
        for title, found in settings.items()
    }
    reach = 0.56 * max(map(np.ptp, losses.values()))
    with figure(columns, width=5.9 / columns, height=0.42 * len(variants) + 1.2,
                sharey=True, squeeze=False) as (fig, axes):  # fmt: skip
        for ax, (title, found) in zip(axes.flat, settings.items(), strict=True):
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
            ax.grid(axis="y", visible=False)
            ax.locator_params(axis="x", nbins=4)
            ax.tick_params(axis="y", length=0)
        first = axes.flat[0]
        first.set_yticks(range(len(variants)), [variant_title(v) for v in variants])
        first.set_ylim(len(variants) - 0.4, -0.6)
        first.tick_params(axis="y", colors=PALETTE["ink"])
        muted = variant_color("none")
        first.plot([], [], "|", color=muted, ms=10, mew=2.2, label="training")
        first.plot([], [], "o", color=muted, ms=6, label="validation")
        fig.legend(loc="outside upper left", ncols=2)
    return fig
