"""Records in, one row a variant out: mean and spread over the seeds."""

import json
import statistics

from dropblock_lib import models
from dropblock_lib.arguments import invalid
from dropblock_lib.experiments import slides
from dropblock_lib.experiments.columns import FORMATS, aligned, comma_separated
from dropblock_lib.experiments.recipe import Recipe
from dropblock_lib.experiments.record import is_stand_in
from dropblock_lib.variants import LABELS, VARIANTS

METRICS = ("test_accuracy", "val_accuracy", "train_accuracy", "gap", "seconds")


def summarize(records: list[dict]) -> list[dict]:
    """One row for each recipe and data source, over all its seeds.

    Records are put together only if their recipes differ in nothing but the
    seed and if they used the same data.

    Args:
        records: From `load_records`.

    Returns:
        A list of rows (dictionaries), sorted by network, data, profile and
        variant. A row has `network`, `dataset`, `source`, `profile`, `variant`,
        `n`, `seeds` and `slides_accuracy` (`None` if the slides have no such
        figure, or a stand-in was used). For each of test_accuracy, val_accuracy
        (last epoch), train_accuracy (at inference, last weights), gap (train
        minus test accuracy) and seconds it has the `_mean` and the `_std`: the
        sample standard deviation, `None` for a single seed.

    Raises:
        ValueError: If two records have the same recipe, seed and data.
    """
    groups = {}
    for record in records:
        recipe = dict(record["recipe"])
        seed = recipe.pop("seed")
        key = (*recipe.items(), record["data"]["source"], record["data"]["sha256"])
        group = groups.setdefault(key, {})
        if seed in group:
            raise ValueError(
                "Invalid value received for argument `records`. Expected one "
                f"record a recipe and seed. Received: {group[seed]['name']!r} "
                f"and {record['name']!r}"
            )
        group[seed] = record
    return sorted((_row(group) for group in groups.values()), key=_position)


def format_table(rows: list[dict], format: str = "text") -> str:
    """Rows of `summarize` as text for people, or as CSV or JSON for programs.

    "markdown" is the short table of the book's pages, in percent; it names the
    networks if there are several.

    Args:
        rows: From `summarize`.
        format: "text", "markdown", "csv" or "json".

    Returns:
        A string that ends in a newline.
    """
    if format == "json":
        return json.dumps(rows, indent=2) + "\n"
    if format == "csv":
        return _csv(rows)
    if format == "markdown":
        return _markdown(rows)
    if format == "text":
        return _text(rows)
    raise invalid("format", f"one of {', '.join(FORMATS)}", format)


def describe_setting(records: list[dict]) -> str:
    """One sentence that says how records of one setting were made.

    Args:
        records: Records that differ in nothing but variant and seed.

    Returns:
        A string in Markdown.
    """
    data, recipe = records[0]["data"], Recipe.from_dict(records[0]["recipe"])
    seeds = sorted({record["recipe"]["seed"] for record in records})
    return (
        f"**{data['source']}**: {data['train']:,} training, "
        f"{data['validation']:,} validation and {data['test']:,} test images; "
        f"{recipe.epochs} epochs in batches of {recipe.batch_size}; "
        f"augmentation: {recipe.augmentation}; "
        f"{recipe.optimizer.capitalize()} with a learning rate of "
        f"{recipe.learning_rate:g} ({recipe.learning_rate_schedule}); keep_prob "
        f"from 1 to its target ({recipe.keep_prob_schedule}); "
        f"seeds {', '.join(map(str, seeds))}."
    )


def mean_and_std(mean: float, std: float | None, digits: int = 4) -> str:
    """ "0.8123 ± 0.0021", or the mean alone where one seed has no spread."""
    spread = "" if std is None else f" ± {std:.{digits}f}"
    return f"{mean:.{digits}f}{spread}"


def _row(group: dict[int, dict]) -> dict:
    seeds = sorted(group)
    any_record = group[seeds[0]]
    recipe = Recipe.from_dict(any_record["recipe"])
    row = {
        "network": recipe.network,
        "dataset": recipe.dataset,
        "source": any_record["data"]["source"],
        "profile": recipe.profile,
        "variant": recipe.variant,
        "n": len(seeds),
        "seeds": seeds,
    }
    for metric in METRICS:
        values = [_metric(group[seed], metric) for seed in seeds]
        row[f"{metric}_mean"] = statistics.fmean(values)
        row[f"{metric}_std"] = statistics.stdev(values) if len(values) > 1 else None
    # A figure on CIFAR-10 says nothing beside one on drawn shapes.
    row["slides_accuracy"] = (
        None
        if is_stand_in(recipe.dataset, row["source"])
        else slides.accuracy(recipe.network, recipe.dataset, recipe.variant)
    )
    return row


def _metric(record: dict, metric: str) -> float:
    if metric == "seconds":
        return record["seconds"]
    final = record["final"]
    if metric == "gap":
        return final["train_accuracy"] - final["test_accuracy"]
    return final[metric]


def _position(row: dict):
    variant = list(VARIANTS).index(row["variant"])
    return (*(row[key] for key in ("network", "dataset", "source", "profile")), variant)


def _csv(rows: list[dict]) -> str:
    return comma_separated(
        [{**row, "seeds": " ".join(map(str, row["seeds"]))} for row in rows]
    )


def _markdown(rows: list[dict]) -> str:
    if not rows:
        return "No records.\n"
    lines = [
        "| data | variant | test accuracy | gap | seeds | slides |",
        "| :-- | :-- | :-: | :-: | :-: | :-: |",
    ]
    several = len({row["network"] for row in rows}) > 1
    if several:
        lines = ["| network " + lines[0], "| :-- " + lines[1]]
    for row in rows:
        test, gap = (
            mean_and_std(
                100 * row[f"{metric}_mean"],
                None if row["n"] == 1 else 100 * row[f"{metric}_std"],
                2,
            )
            for metric in ("test_accuracy", "gap")
        )
        figure = row["slides_accuracy"]
        published = "" if figure is None else f"{100 * figure:.2f}"
        cells = (row["source"], LABELS[row["variant"]], test, gap, row["n"], published)
        if several:
            cells = (models.LABELS.get(row["network"], row["network"]), *cells)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def _text(rows: list[dict]) -> str:
    if not rows:
        return "No records.\n"
    heading = ["network", "data", "profile", "variant", "n", "test accuracy"]
    heading += ["val accuracy", "train accuracy", "gap", "seconds", "slides"]
    lines = []
    for row in rows:
        cells = [row["network"], row["source"], row["profile"], row["variant"]]
        cells.append(str(row["n"]))
        for metric in METRICS:
            digits = 0 if metric == "seconds" else 4
            mean, std = row[f"{metric}_mean"], row[f"{metric}_std"]
            cells.append(mean_and_std(mean, std, digits))
        figure = row["slides_accuracy"]
        cells.append("" if figure is None else f"{figure:.4f}")
        lines.append(cells)
    return aligned(heading, lines)
