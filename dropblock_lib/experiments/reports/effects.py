"""Effects of a grid's arms as tables and sentences, in every state of its records."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from dropblock_lib.experiments.reports.columns import (
    Column,
    format_rows,
    markdown,
    signed,
)
from dropblock_lib.experiments.reports.grid_records import (
    NOT_LEARNED,
    GridRecords,
    block_title,
    dose_of,
)
from dropblock_lib.experiments.reports.verdicts import join_groups
from dropblock_lib.variants import get_variant, variant_title

NO_RUN, ONE_RUN = "no complete run yet", "one run, no verdict"
_NO_RESULT = "**No result yet.** No run of all arms is complete.\n"
# Verdicts, as headings of a list.
_HEADINGS = {
    "higher": "higher",
    "lower": "lower",
    "not told apart": "not told apart from zero",
    NOT_LEARNED: "no comparison, because an arm did not learn",
    ONE_RUN: "no verdict from one run",
    NO_RUN: "no complete run yet",
}


def effects_table(rows: Sequence[dict], factor: float = 100, digits: int = 2) -> str:
    """Rows of `GridRecords.effects` as a table in Markdown.

    Args:
        rows: From `GridRecords.effects`.
        factor: What values are multiplied by: 100 for percentage points of an
            accuracy, 1 for a loss.
        digits: Number of decimal places.

    Returns:
        A string that ends in a newline. Below the table it names the contrasts whose
        interval and verdict differ, and the arms that vary more than the others.
        Without a complete run it is a sentence.
    """
    if not any(row["runs"] for row in rows):
        return _NO_RESULT

    def interval(row):
        ends = (signed(row[end], factor, digits) for end in ("low", "high"))
        return "" if row["low"] is None else " to ".join(ends)

    columns = [
        Column("contrast", lambda row: row["label"]),
        Column("estimate", lambda r: signed(r["difference"], factor, digits), True),
        Column("simultaneous interval", interval, True),
        Column("verdict", _verdict),
        Column("runs", lambda row: row["runs"], True),
    ]
    text = format_rows(rows, columns, "markdown")
    differs = [
        row["label"]
        for row in rows
        if row["verdict"] in ("higher", "lower") and row["low"] <= 0 <= row["high"]
    ]
    if differs:
        text += (
            "\nBy Holm's method, which gives the verdicts, zero is ruled out for "
            f"{', '.join(differs)}. The wider simultaneous interval still includes "
            "zero.\n"
        )
    uneven = dict.fromkeys(_arm_title(arm) for row in rows for arm in row["uneven"])
    if uneven:
        text += (
            f"\nArms that may vary more than the others: {'; '.join(uneven)}. An "
            "interval with such an arm uses a variance of the arm's own.\n"
        )
    return text


def effects_answer(rows: Sequence[dict], factor: float = 100, digits: int = 2) -> str:
    """What rows of `GridRecords.effects` show, in one paragraph of Markdown.

    Args:
        rows, factor, digits: As for `effects_table`.

    Returns:
        A string that ends in a newline. If there is no complete run, or only one, it
        says so.
    """
    runs = sorted({row["runs"] for row in rows})
    if not runs or runs[-1] == 0:
        return _NO_RESULT
    if runs[-1] == 1:
        return (
            "**No verdict yet.** One run of each arm gives the numbers, and does not "
            "show how much of a difference is luck. That takes at least two.\n"
        )
    groups = {}
    for row in rows:
        estimate = signed(row["difference"], factor, digits)
        text = f"{row['label']} ({estimate})" if estimate else row["label"]
        groups.setdefault(_HEADINGS[_verdict(row)], []).append(text)
    several = [str(count) for count in runs if count > 1]
    text = f"**Over {' to '.join(several[:: len(several) - 1 or 1])} runs**, "
    return f"{text}{join_groups(groups, _HEADINGS.values())}.\n"


def dose_table(found: GridRecords) -> str:
    """Test accuracy and test loss of each block size and dose, in Markdown.

    Args:
        found: The records of plain training and of DropBlock with `gamma="exact"`.

    Returns:
        A string that ends in a newline: a table of means over the complete runs, or
        over all runs if none is complete.
    """
    values: dict[str, list] = {}
    for record in found.compared:
        pair = (record.final["test_accuracy"], record.final["test_loss"])
        values.setdefault(record.recipe.variant, []).append(pair)
    variants = list(dict.fromkeys(recipe.variant for recipe in found.recipes))
    doses = sorted({dose_of(variant) for variant in variants})
    cells: dict[str, dict[float, str]] = {}
    for variant in variants:
        title = "plain" if variant == "none" else block_title(variant)
        cells.setdefault(title, {})[dose_of(variant)] = _pair(values.get(variant, []))
    heading = ["test accuracy (loss)", *(f"dose {dose:.0%}" for dose in doses)]
    rows = [[title, *(row.get(d, "") for d in doses)] for title, row in cells.items()]
    return markdown(heading, rows)


def count_verdicts(rows: Sequence[Mapping]) -> dict[str, int]:
    """How many rows of `GridRecords.effects` have each verdict.

    Returns:
        Dict with "higher", "lower", "not told apart" and "no verdict".
    """
    found = [row["verdict"] for row in rows]
    counts = {key: found.count(key) for key in ("higher", "lower", "not told apart")}
    return counts | {"no verdict": len(found) - sum(counts.values())}


def _arm_title(arm):
    """An arm in the words of a page, such as "blocks of 7 at 20%"."""
    profile, variant = arm.split()
    title = variant_title(variant)
    if get_variant(variant).gamma == "exact":
        title = f"{block_title(variant)} at {dose_of(variant):.0%}"
    return title if profile == "dose" else f"{title} ({profile})"


def _verdict(row):
    return row["verdict"] or (ONE_RUN if row["runs"] else NO_RUN)


def _pair(values):
    if not values:
        return ""
    accuracies, losses = zip(*values, strict=True)
    loss = "none" if None in losses else f"{fmean(losses):.2f}"
    return f"{100 * fmean(accuracies):.1f} ({loss})"
