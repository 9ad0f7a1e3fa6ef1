"""The text of a page about a table of variants, some runs of which may be missing."""

from collections.abc import Iterable

from dropblock_lib.experiments.recipes import slides
from dropblock_lib.experiments.recipes.recipe import Recipe
from dropblock_lib.experiments.reports.columns import markdown
from dropblock_lib.experiments.reports.grid_records import GridRecords
from dropblock_lib.experiments.reports.verdicts import (
    arms_of,
    format_sentence,
    format_verdicts,
    verdict_table,
)
from dropblock_lib.variants import variant_title

NOT_RUN = "**Not run yet.** The results appear here once their runs are recorded.\n"


def format_runs(found: GridRecords) -> str:
    """The test accuracy of every run as a Markdown table, a row per variant.

    The last columns have the mean over the complete runs, if there are several, the
    training accuracy (a mean over the variant's runs, measured without dropping), and
    the slides' accuracy, if they report it.

    Args:
        found: Runs of a classifier that differ in nothing but variant and random seed.

    Returns:
        A string that ends in a newline; without records, a sentence that says so.
    """
    if not found.records:
        return NOT_RUN
    tested = arms_of(found.records)
    trained = arms_of(found.records, "train_accuracy")
    seeds = sorted({seed for runs in tested.values() for seed in runs})
    complete = found.seeds
    first = found.records[0]
    key = (first.recipe.network, first.recipe.dataset)
    published = {} if first.is_stand_in else slides.ACCURACY.get(key, {})

    def percent(values):
        values = [*values]
        return f"{100 * sum(values) / len(values):.2f}" if values else ""

    heading = ["variant", *(f"run {seed}" for seed in seeds)]
    means = len(complete) > 1
    heading += ["mean"] * means + ["training"] + ["slides"] * bool(published)
    rows = []
    for variant, runs in tested.items():
        row = [variant_title(variant)]
        row += [percent([runs[seed]] if seed in runs else []) for seed in seeds]
        row += [percent(runs[s] for s in complete if s in runs)] * means
        row.append(percent(trained[variant].values()))
        if published:
            row.append(percent([published[variant]] if variant in published else []))
        rows.append(row)
    return markdown(heading, rows)


def format_answer(found: GridRecords) -> str:
    """What the complete runs show about every variant, in Markdown.

    Args:
        found: As for `format_runs`.

    Returns:
        A string that ends in a newline. With two complete runs or more it has the
        table of `format_verdicts` and a sentence. With fewer it says that there is no
        verdict; without records it is empty.
    """
    if not found.records:
        return ""
    if not {"none"} < {recipe.variant for recipe in found.recipes}:
        return "**No verdict.** It takes plain training and another variant.\n"
    seeds = found.seeds
    if len(seeds) < 2:
        count = f"Only run {seeds[0]} has" if seeds else "No run has"
        return (
            f"**No verdict yet.** {count} every variant. One run of each does not show "
            "how much of a difference is luck; that takes at least two.\n"
        )
    table = verdict_table(found.compared, apart=uneven(found.recipes))
    return f"{format_verdicts(table)}\n{format_sentence(table)}\n"


def uneven(recipes: Iterable[Recipe]) -> list[str]:
    """The variants among `slides.UNEVEN`, for `apart` in `verdict_table`."""
    variants = {recipe.variant for recipe in recipes}
    return [name for name in slides.UNEVEN if name in variants]


def format_results(found: GridRecords) -> str:
    """`format_runs`, `format_answer` and the account of the runs."""
    parts = [format_runs(found), format_answer(found), f"{found.account}\n"]
    return "\n".join(part for part in parts if part)
