"""The explorer as a still picture, for pages where no script runs."""

import html

import numpy as np

from dropblock_lib.explorer.texts import TEXTS
from dropblock_lib.palette import PALETTE

CELL = 10
# The largest side of a map with numbers in its cells.
NUMBERED = 10
LEVELS = 20
# The colors of a kept unit with the smallest and the largest value, as in explorer.css.
DIM, BRIGHT = "#03141F", "#4A9BCC"
HEADROOM = 0.9


def still(explorer):
    """One channel under the chosen method, or under all, as SVG in HTML."""
    methods = [*TEXTS["method"]] if explorer.compare else [explorer.method]
    return "".join(
        f'<figure class="mask-explorer-still">{svg(explorer, method)}'
        f"<figcaption>{html.escape(caption(explorer, method))}</figcaption></figure>"
        for method in methods
    )


def caption(explorer, method):
    result = explorer._result(method)
    numbers = result.readouts
    kh, kw = result.block
    kept = numbers["realized"] < 1
    return TEXTS["still" if method == "dropblock" else "still_dropout"].format(
        method=TEXTS["method"][method],
        height=explorer.height,
        width=explorer.width,
        kh=kh,
        kw=kw,
        keep_prob=f"{explorer.keep_prob:g}",
        gamma=f"{numbers['gamma']:.4g}",
        nominal=f"{100 * numbers['nominal']:.1f}%",
        expected=f"{100 * numbers['expected']:.1f}%",
        realized=f"{100 * numbers['realized']:.1f}%",
        scale=f"{numbers['scale']:.4g}" if kept else "\u2013",
    )


def tint(level):
    """The color of a kept unit, from 0 for the smallest value to 1."""
    dim, bright = (
        np.array([int(end[i : i + 2], 16) for i in (1, 3, 5)]) for end in (DIM, BRIGHT)
    )
    mixed = np.rint(dim + level * (bright - dim)).astype(int)
    return "#" + "".join(f"{part:02X}" for part in mixed)


def over(color):
    """Black or white, whichever has more contrast on `color`, as in explorer.js."""
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    light = 0.21 * red**2.2 + 0.72 * green**2.2 + 0.07 * blue**2.2
    return "#000000" if light > 0.179 else "#FFFFFF"


def svg(explorer, method):
    result = explorer._result(method)
    channel = min(explorer.channel, explorer.channels - 1)
    keep_mask = result.keep_mask[channel if len(result.keep_mask) > 1 else 0]
    if explorer.step == "map":
        keep_mask = np.ones_like(keep_mask)
    values = explorer.values
    white, low = values.max(), min(values.min(), 0)
    values = np.where(keep_mask, values[..., channel], 0)
    if explorer.step == "scale":
        values = values * result.readouts["scale"]
    # From 0 to 1, with headroom for scaled units.
    brightness = np.clip(HEADROOM * (values - low) / ((white - low) or 1), 0, 1)
    levels = np.rint(brightness * LEVELS).astype(int)
    height, width = keep_mask.shape

    parts = []
    for level in np.unique(levels[keep_mask == 1]):
        cells = np.argwhere((keep_mask == 1) & (levels == level))
        share = level / LEVELS
        more = f' style="--level:{100 * share:g}%"'
        parts.append(squares(cells, "kept", tint(share), more))
    parts.append(squares(np.argwhere(keep_mask == 0), "dropped", PALETTE["dropped"]))
    if explorer.marks and method == "dropblock" and explorer.step != "map":
        rows, columns = result.valid
        parts.append(
            f'<rect class="valid" x="{CELL * columns.start}" y="{CELL * rows.start}" '
            f'width="{CELL * (columns.stop - columns.start)}" '
            f'height="{CELL * (rows.stop - rows.start)}" fill="none" '
            f'stroke="{PALETTE["valid"]}" stroke-width="2"/>'
        )
        seeds = result.seeds[channel if len(result.seeds) > 1 else 0]
        for row, column in np.argwhere(seeds):
            parts.append(
                f'<rect class="seed" x="{CELL * column + 2}" y="{CELL * row + 2}" '
                f'width="{CELL - 4}" height="{CELL - 4}" fill="none" '
                f'stroke="{PALETTE["seed"]}" stroke-width="1.6"/>'
            )
    if max(height, width) <= NUMBERED:
        for (row, column), value in np.ndenumerate(values):
            kept = keep_mask[row, column]
            cell = tint(levels[row, column] / LEVELS) if kept else PALETTE["dropped"]
            parts.append(
                f'<text x="{CELL * (column + 0.5):g}" y="{CELL * (row + 0.65):g}" '
                f'font-size="4" text-anchor="middle" fill="{over(cell)}">'
                f"{float(f'{value:.3g}'):g}</text>"
            )
    label = html.escape(caption(explorer, method))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" '
        f'viewBox="-1 -1 {CELL * width + 2} {CELL * height + 2}">{"".join(parts)}</svg>'
    )


def squares(cells, name, color, more=""):
    """One path for all cells of a kind: a square each, with gaps between them."""
    side = CELL - 0.6
    path = "".join(
        f"M{CELL * column} {CELL * row}h{side}v{side}h-{side}z" for row, column in cells
    )
    return f'<path class="{name}" fill="{color}"{more} d="{path}"/>'
