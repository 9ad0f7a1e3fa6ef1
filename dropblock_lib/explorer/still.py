"""The explorer as a still picture, for pages where no script runs."""

import html

import numpy as np

from dropblock_lib.explorer.texts import TEXTS
from dropblock_lib.palette import PALETTE

CELL = 10
# The largest side of a map with numbers in its cells.
NUMBERED = 10
LEVELS = 20


def still(explorer):
    """The last step of one channel as SVG, with a caption, in HTML."""
    return (
        f'<figure class="mask-explorer-still">{svg(explorer)}'
        f"<figcaption>{html.escape(caption(explorer))}</figcaption></figure>"
    )


def caption(explorer):
    numbers = explorer.readouts
    kh, kw = explorer.block
    return TEXTS["still"].format(
        method=TEXTS["method"][explorer.method],
        height=explorer.height,
        width=explorer.width,
        kh=kh,
        kw=kw,
        keep_prob=f"{explorer.keep_prob:g}",
        gamma=f"{numbers['gamma']:.4g}",
        nominal=f"{100 * numbers['nominal']:.1f}%",
        expected=f"{100 * numbers['expected']:.1f}%",
        realized=f"{100 * numbers['realized']:.1f}%",
        scale=f"{numbers['scale']:.4g}",
    )


def shades(values, white):
    """Opacity of kept units: stronger for larger values."""
    return np.clip(0.1 + 0.45 * values / white, 0.1, 1)


def svg(explorer):
    channel = min(explorer.channel, explorer.channels - 1)
    values = explorer.result[..., channel]
    keep_mask = explorer.keep_mask[..., channel]
    white = np.abs(explorer.values).max() or 1
    levels = np.rint(shades(values, white) * LEVELS).astype(int)
    height, width = keep_mask.shape

    parts = []
    for level in np.unique(levels[keep_mask == 1]):
        cells = np.argwhere((keep_mask == 1) & (levels == level))
        parts.append(squares(cells, "kept", f' fill-opacity="{level / LEVELS:g}"'))
    parts.append(squares(np.argwhere(keep_mask == 0), "dropped"))
    if explorer.marks:
        rows, columns = explorer._valid()
        parts.append(
            f'<rect class="valid" x="{CELL * columns.start}" y="{CELL * rows.start}" '
            f'width="{CELL * (columns.stop - columns.start)}" '
            f'height="{CELL * (rows.stop - rows.start)}" fill="none" '
            f'stroke="{PALETTE["valid"]}" stroke-width="2"/>'
        )
        for row, column in np.argwhere(explorer.seeds[..., channel]):
            parts.append(
                f'<rect class="seed" x="{CELL * column + 2}" y="{CELL * row + 2}" '
                f'width="{CELL - 4}" height="{CELL - 4}" fill="none" '
                f'stroke="{PALETTE["seed"]}" stroke-width="1.6"/>'
            )
    if max(height, width) <= NUMBERED:
        for (row, column), value in np.ndenumerate(values):
            parts.append(
                f'<text x="{CELL * (column + 0.5):g}" y="{CELL * (row + 0.65):g}" '
                f'font-size="4" text-anchor="middle">{value:.3g}</text>'
            )
    label = html.escape(caption(explorer))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" '
        f'viewBox="-1 -1 {CELL * width + 2} {CELL * height + 2}">{"".join(parts)}</svg>'
    )


def squares(cells, name, more=""):
    """One path for all cells of a kind: a square each, with gaps between them."""
    side = CELL - 0.6
    path = "".join(
        f"M{CELL * column} {CELL * row}h{side}v{side}h-{side}z" for row, column in cells
    )
    return f'<path class="{name}" fill="{PALETTE[name]}"{more} d="{path}"/>'
