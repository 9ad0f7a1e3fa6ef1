"""Results that others published."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.style import COLORS, figure, name_rows


def published_gains(
    accuracies: Mapping[str, float], gains: Mapping[str, float]
) -> Figure:
    """Accuracies of several methods; in a second panel, one method's gains.

    Args:
        accuracies: Dict of method -> accuracy in percent. The first method is the
            baseline, and the last one is highlighted.
        gains: Dict of study -> gain of the last method, in points.
    """
    (_, plain), *_ = accuracies.items()
    *_, highlighted = accuracies
    rows = len(accuracies), len(gains)
    height = 0.36 * sum(rows) + 1.9
    with figure(
        rows=2, width=5.9, height=height / 2, height_ratios=[n + 1 for n in rows]
    ) as (fig, (above, below)):
        labels = {
            name: f"{value:.2f}"
            + (f" (+{value - plain:.2f})" if value != plain else "")
            for name, value in accuracies.items()
        }
        colors = [
            COLORS["red"] if name == highlighted else PALETTE["muted"]
            for name in accuracies
        ]
        _stems(above, accuracies, plain, labels, colors)
        above.set_title("ImageNet, ResNet-50 (%)")
        labels = {name: f"{gain:+.3g}" for name, gain in gains.items()}
        _stems(below, gains, 0, labels, [COLORS["red"]] * len(gains))
        below.set_title(f"gain of {highlighted} (points)")
    return fig


def _stems(ax: Axes, values, start, labels, colors):
    """Lines from a baseline to each value, which is written at their end."""
    ax.axvline(start, color=PALETTE["ink"], lw=1)
    for row, (name, value) in enumerate(values.items()):
        ax.plot([start, value], [row, row], color=colors[row], lw=2.5)
        ax.plot(value, row, "o", color=colors[row], ms=7)
        # In points, so that a label keeps its distance on any scale.
        ax.annotate(labels[name], (value, row), (9, 0), textcoords="offset points",
                    va="center", color=PALETTE["ink"])  # fmt: skip
    name_rows(ax, list(values))
    span = max(values.values()) - start
    ax.set_xlim(start - 0.04 * span, start + 1.75 * span)
    ax.locator_params(axis="x", nbins=5)
