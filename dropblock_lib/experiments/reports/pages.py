"""The text of a page on a comparison, some runs of which may still be missing."""

from collections.abc import Collection, Iterable

from dropblock_lib.experiments.recipes import slides
from dropblock_lib.experiments.records.record import Record
from dropblock_lib.experiments.reports.columns import markdown
from dropblock_lib.experiments.reports.verdicts import (
    arms_of,
    did_not_learn,
    format_verdicts,
    verdict_table,
)
from dropblock_lib.variants import variant_title

NOT_RUN = "**Not run yet.** The results appear here once their runs are recorded.\n"


def find(records: Iterable[Record], **fields) -> list[Record]:
    """The records whose recipes have the given values; often none.

    Records of different backends or data are never compared. If there are several, the
    most frequent are returned, and a stand-in's only if there are no others.

    Args:
        records: From `load_records`.
        **fields: Fields of `Recipe`, such as `network="resnet50"`.

    Returns:
        A list of records. `compare.select` raises an error if it is empty.
    """
    groups = {}
    for record in records:
        if all(getattr(record.recipe, key, None) == fields[key] for key in fields):
            key = (record.is_stand_in, record.backend, record.data.sha256)
            groups.setdefault(key, []).append(record)
    best = max(groups, key=lambda key: (not key[0], len(groups[key])), default=None)
    return groups.get(best, [])


def complete_seeds(records: Collection[Record]) -> list[int]:
    """Random seeds with which every variant was run.

    Variants that did not learn (see `verdicts.did_not_learn`) do not count: they are
    run once.

    Args:
        records: Records that differ in nothing but variant and seed.

    Returns:
        A sorted list; empty without records.
    """
    if not records:
        return []
    trained = arms_of(records, "train_accuracy")
    idle = did_not_learn(trained) if "none" in trained else []
    seeds = [set(runs) for variant, runs in trained.items() if variant not in idle]
    return sorted(set.intersection(*seeds))


def format_runs(records: Collection[Record]) -> str:
    """The test accuracy of every run as a Markdown table, a row per variant.

    The last columns have the mean over the complete seeds, if there are several, the
    training accuracy (a mean over the variant's runs, measured without dropping), and
    the slides' accuracy, if they report it.

    Args:
        records: Records that differ in nothing but variant and seed.

    Returns:
        A string that ends in a newline; without records, a sentence that says so.
    """
    if not records:
        return NOT_RUN
    tested, trained = arms_of(records), arms_of(records, "train_accuracy")
    seeds = sorted({seed for runs in tested.values() for seed in runs})
    complete = complete_seeds(records)
    recipe = next(iter(records)).recipe
    stand_in = next(iter(records)).is_stand_in
    published = (
        {} if stand_in else slides.ACCURACY.get((recipe.network, recipe.dataset), {})
    )

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
        row += [percent(runs[seed] for seed in complete)] * means
        row.append(percent(trained[variant].values()))
        if published:
            row.append(percent([published[variant]] if variant in published else []))
        rows.append(row)
    return markdown(heading, rows, [":--", *[":-:"] * (len(heading) - 1)])


def format_answer(records: Collection[Record]) -> str:
    """What the complete seeds say about every variant, in Markdown.

    Args:
        records: Records that differ in nothing but variant and seed.

    Returns:
        A string that ends in a newline. With two complete seeds or more it has the
        table of `format_verdicts` and a sentence. With fewer it says that there is no
        verdict; without records it is empty.
    """
    if not records:
        return ""
    seeds = complete_seeds(records)
    if len(seeds) < 2:
        count = f"Only run {seeds[0]} has" if seeds else "No run has"
        return (
            f"**No verdict yet.** {count} every variant. One run of each does not show "
            "how much of a difference is luck; that takes at least two.\n"
        )
    table = verdict_table(records)
    groups = {}
    for row in table["rows"]:
        groups.setdefault(row["verdict"], []).append(variant_title(row["arm"]))
    found = [
        f"{verdict}: {', '.join(groups[verdict])}"
        for verdict in ("higher", "lower", "not told apart", "did not learn")
        if verdict in groups
    ]
    answer = f"**Against plain training** over {len(seeds)} runs: {'; '.join(found)}."
    return f"{format_verdicts(table)}\n{answer}\n"


def format_results(records: Collection[Record]) -> str:
    """`format_runs` and `format_answer`, one below the other."""
    return f"{format_runs(records)}\n{format_answer(records)}"
