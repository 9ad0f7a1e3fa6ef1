"""Benchmarks: speed of layers, rates of other implementations, and skipping."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import PercentFormatter

from dropblock_lib.arguments import invalid
from dropblock_lib.experiments.reports.speed import (
    BACKEND_LABELS,
    format_sides,
    label_ranks,
    select,
)
from dropblock_lib.palette import PALETTE
from dropblock_lib.plots.style import (
    COLORS,
    DROPPED,
    KEPT,
    add_rectangle,
    figure,
    name_rows,
    panels,
)

# Contestants differ in mark, and most of them in color.
MARKS = {
    "DropBlock2D": (COLORS["purple"], "o"),
    "DropBlock2D, exact": (COLORS["red"], "s"),
    "DropBlock2D, shared": (COLORS["red"], "P"),
    "SpatialDropout2D": (COLORS["yellow"], "D"),
    "x * c": (PALETTE["muted"], "|"),
    "torch dropout": (COLORS["blue"], "v"),
    "KerasCV": (COLORS["blue"], "X"),
    "timm": (COLORS["green"], "^"),
    "timm, shared": (COLORS["green"], "<"),
    "torchvision": (COLORS["cyan"], "h"),
}
# A rate is far from the nominal one if they differ by more than this fraction of it.
_FAR = 0.5
# The opacity of the units that a doubling step adds.
_ADDED = 0.4
# A transparent fill, because "none" becomes black in an SVG.
RING = {
    "color": PALETTE["dropped"],
    "markeredgecolor": PALETTE["dropped"],
    "markerfacecolor": to_rgba(PALETTE["dropped"], 0),
    "mew": 1.8,
}


def doubling(seeds: np.ndarray, block_size: int) -> Figure:
    """How the seeds of one axis become blocks in a few steps, a strip per step.

    Each strip drops what the strip above drops, and a shifted copy of that. The units
    that the copy adds are paler.

    Args:
        seeds: Booleans of shape (n,): True at a seed.
        block_size: Side of a block in units.
    """
    strip = np.append(np.asarray(seeds, bool), np.zeros(block_size - 1, bool))
    strips, window = [("the seeds", strip, strip)], 1
    while window < block_size:
        shift = min(window, block_size - window)
        window += shift
        grown = strip.copy()
        grown[shift:] |= strip[:-shift]
        strips.append((f"shifted by {shift}: blocks of {window}", strip, grown))
        strip = grown
    with figure(width=5.9, height=0.62 * len(strips) + 0.2) as (fig, ax):
        for row, (title, before, after) in enumerate(strips):
            top = 2.1 * row
            for place, dropped in enumerate(after):
                color, opacity = DROPPED if dropped else KEPT
                if dropped and not before[place]:
                    opacity = _ADDED
                add_rectangle(ax, (place, top), 0.9, 1, color=color, alpha=opacity)
            ax.text(0, top - 0.12, title, va="bottom")
        for place in np.flatnonzero(seeds):
            outline = {"fill": False, "edgecolor": PALETTE["seed"], "lw": 2.2}
            add_rectangle(ax, (place + 0.14, 0.16), 0.62, 0.68, **outline)
        ax.set(xlim=(-0.1, len(strip)), ylim=(2.1 * len(strips) - 0.9, -1))
        ax.axis("off")
    return fig


def skipping(bits: np.ndarray) -> Figure:
    """A row of Bernoulli bits, with the gap from each 1 to the next.

    Args:
        bits: Booleans of shape (n,).
    """
    with figure(width=5.9, height=1.4) as (fig, ax):
        for place, bit in enumerate(bits):
            color, opacity = DROPPED if bit else KEPT
            add_rectangle(ax, (place, 0), 0.86, 1, color=color, alpha=opacity)
        before = -1
        for place in np.flatnonzero(bits):
            gap = place - before
            arc = FancyArrowPatch(
                (before + 0.43, 1.1), (place + 0.43, 1.1),
                connectionstyle=f"arc3,rad={-0.5 / gap**0.5:.2f}",
                arrowstyle="-|>", mutation_scale=10, color=PALETTE["ink"], lw=1.2,
            )  # fmt: skip
            ax.add_patch(arc)
            ax.text((before + place + 0.86) / 2, 2.3, str(gap), ha="center",
                    va="bottom", color=PALETTE["ink"])  # fmt: skip
            before = place
        ax.set_xlim(-1.2, len(bits))
        ax.set_ylim(-0.1, 3.2)
        ax.axis("off")
    return fig


def layer_speed(
    documents: Mapping[str, Any],
    block_size: int = 7,
    keep_prob: float = 0.9,
    contestants: Sequence[str] = ("DropBlock2D", "SpatialDropout2D", "x * c"),
) -> Figure:
    """Run time of layers as a multiple of Keras' Dropout, a panel per backend.

    Args:
        documents: Dict of backend -> "layer_speed", from `load_benchmarks`.
        block_size: Block size of the rows to show.
        keep_prob: keep_prob of the rows to show.
        contestants: Names of layers, which include their versions for other ranks;
            a backend may lack some of them.

    Raises:
        ValueError: If no document has such a row.
    """
    chosen = {
        backend: select(document, block_size=block_size, keep_prob=keep_prob)
        for backend, document in documents.items()
    }
    inputs = _unique(tuple(r["shape"]) for rows in chosen.values() for r in rows)
    if not inputs:
        raise _no_row(documents, block_size=block_size, keep_prob=keep_prob)
    height = 0.27 * len(inputs) * len(chosen) + 0.45 * len(chosen) + 1.1
    with panels(len(chosen), 1, 5.9, height / len(chosen), sharex=True) as (fig, axes):
        for ax, (backend, rows) in zip(axes, chosen.items(), strict=True):
            ax.axvline(1, color=PALETTE["ink"], lw=1.2)
            for row in rows:
                if _in_2d(row["contestant"]) in contestants and "ratio" in row:
                    place = inputs.index(tuple(row["shape"]))
                    _dot(ax, row, place)
            ax.set_title(BACKEND_LABELS[backend])
            name_rows(ax, [format_sides(shape) for shape in inputs])
            ax.set_xlim(left=0)
        axes[-1].set_xlabel("times as long as Keras' Dropout")
        names = (row["contestant"] for rows in chosen.values() for row in rows)
        labels = label_ranks(names)
        labels = {_in_2d(name): label for name, label in labels.items()}
        _show_marks(fig, contestants, columns=3, labels=labels)
    return fig


def peer_rates(
    documents: Mapping[str, Any],
    block_size: int = 7,
    nominal: float = 0.1,
    contestants: Sequence[str] = (
        "DropBlock2D",
        "DropBlock2D, exact",
        "KerasCV",
        "timm",
        "torchvision",
    ),
) -> Figure:
    """Measured rates of DropBlock implementations against the nominal one.

    A ring marks layers that gave NaN or infinity in some calls on a single map. Layers
    that raised an error are in a separate column. A mark far from the nominal rate is
    labeled with the name of its layer.

    Args:
        documents: Dict of backend -> "peer_rates", from `load_benchmarks`. A layer
            is shown on the first backend on which it works.
        block_size: Block size of the rows to show.
        nominal: Nominal rate of the rows to show.
        contestants: Names of layers; those without a row are left out.

    Raises:
        ValueError: If no document has such a row.
    """
    found = {}
    for document in documents.values():
        for row in select(document, block_size=block_size, nominal=nominal):
            key = tuple(row["size"]), row["contestant"]
            if row["contestant"] not in contestants:
                continue
            if key not in found or "error" in found[key]:
                found[key] = row
    if not found:
        wanted = {"block_size": block_size, "nominal": nominal}
        raise _no_row(documents, **wanted, contestants=contestants)
    sizes = _unique(size for size, _ in found)
    names = [n for n in contestants if any(n == name for _, name in found)]
    highest = max(row.get("dropped", 0) for row in found.values())
    beyond = 1.12 * max(highest, nominal)
    with figure(width=5.9, height=0.7 * len(sizes) + 1.6) as (fig, ax):
        ax.axvline(nominal, color=PALETTE["ink"], lw=1.2)
        for (size, name), row in found.items():
            color, mark = MARKS[name]
            # Side by side, because marks of equal rates would hide each other.
            shift = 0.8 * (names.index(name) + 0.5) / len(names) - 0.4
            place = sizes.index(size) + shift
            failed = "error" in row
            rate = beyond if failed else row["dropped"]
            ax.plot(rate, place, mark, color=color, ms=7)
            if not failed and abs(rate - nominal) > _FAR * nominal:
                text = f"{name}, {100 * rate:.{1 if rate < 0.1 else 0}f}%"
                # The text must not cross the line at the nominal rate.
                _write_beside(ax, max(rate, nominal), place, text, 0.75 * beyond)
            if row.get("not_finite"):
                ax.plot(rate, place, "o", ms=12, **RING)
        for edge in np.arange(len(sizes) - 1) + 0.5:
            ax.axhline(edge, color=PALETTE["muted"], lw=0.5)
        name_rows(ax, [format_sides(size) for size in sizes])
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.set_xlim(0, 1.06 * beyond)
        if any("error" in row for row in found.values()):
            ticks = [tick for tick in ax.get_xticks() if 0 <= tick < 0.95 * beyond]
            shown = [f"{100 * tick:.0f}%" for tick in ticks]
            ax.set_xticks([*ticks, beyond], [*shown, "error"])
        ax.set_xlabel(f"dropped, of {100 * nominal:g}% nominal")
        several = any(row.get("not_finite") for row in found.values())
        _show_marks(fig, names, columns=2, ring=several)
    return fig


def _no_row(documents, **wanted):
    """The error about documents without a row to show."""
    values = ", ".join(f"{key}={value!r}" for key, value in wanted.items())
    backends = f"{len(documents)} without one: {', '.join(documents)}"
    received = backends if documents else "no documents"
    return invalid("documents", f"at least one row with {values}", received=received)


def _dot(ax, row, place):
    color, mark = MARKS[_in_2d(row["contestant"])]
    spread = [row["ratio_low"], row["ratio_high"]]
    ax.plot(spread, [place, place], color=color, lw=2, alpha=0.5)
    ax.plot(row["ratio"], place, mark, color=color, ms=8, mew=2)


def _in_2d(name):
    """The name of the layer for 2D maps, as in `MARKS`."""
    return re.sub(r"[13]D\b", "2D", name)


def _show_marks(fig, names, columns, labels=None, ring=False):
    ax = fig.axes[0]
    for name in names:
        color, mark = MARKS[name]
        label = (labels or {}).get(name, name)
        ax.plot([], [], mark, color=color, ms=7, mew=2, label=label)
    if ring:
        ax.plot([], [], "o", ms=11, label="NaN in some calls", **RING)
    handles, labels = ax.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=columns)


def _unique(values):
    return list(dict.fromkeys(values))


def _write_beside(ax, rate, place, text, turn):
    """Writes to the right of a mark, or to its left beyond the rate `turn`."""
    right = rate < turn
    # The offset keeps clear of the mark, of a ring around it, and of the next layer's
    # mark, which may follow below.
    ax.annotate(
        text, (rate, place), (9 if right else -9, 4), textcoords="offset points",
        fontsize=10, va="center", ha="left" if right else "right",
    )  # fmt: skip
