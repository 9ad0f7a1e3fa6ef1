"""Tables of records: mean and spread over the seeds, one row per variant."""

import statistics
from functools import partial
from operator import itemgetter

from dropblock_lib.arguments import invalid
from dropblock_lib.experiments.recipes.recipe import TASKS, find_task
from dropblock_lib.experiments.records.record import Record
from dropblock_lib.experiments.reports.columns import Column, format_rows
from dropblock_lib.models import LABELS
from dropblock_lib.variants import variant_order, variant_title


def summarize(records: list[Record]) -> list[dict]:
    """One row for each recipe and data source, over all its seeds.

    Records share a row if their recipes differ in nothing but the seed and they used
    the same data and backend.

    Args:
        records: From `load_records`.

    Returns:
        A list of rows (dictionaries), sorted by network, data, profile and
        variant. A row has `network`, `dataset`, `source`, `profile`, `variant`,
        `backend`, `n`, `seeds` and `slides_accuracy` (`None` if the slides do not
        report it, or a stand-in was used). For each of test_accuracy, val_accuracy
        (last epoch), train_accuracy (at inference, last weights), gap (train
        minus test accuracy) and seconds it has the `_mean` and the `_std`: the
        sample standard deviation, `None` for a single seed. Rows of detectors have
        AP, AP50, AP75, train_loss, val_loss and seconds instead, and the slides'
        `slides_loss` and `slides_val_loss`.

    Raises:
        ValueError: If two records have the same recipe, seed and data.
    """
    groups = {}
    for record in records:
        key = (record.setting, record.recipe.variant)
        group = groups.setdefault(key, {})
        other = group.setdefault(record.recipe.seed, record)
        if other is not record:
            expected = "one record for each recipe and seed"
            raise invalid("records", expected, [other.name, record.name])
    return sorted((_row(group) for group in groups.values()), key=_position)


def format_table(rows: list[dict], format: str = "text") -> str:
    """Rows of `summarize` as text for people, or as CSV or JSON for programs.

    "markdown" is the short table of the book's pages, in percent; it names the
    networks if there are several. Text and Markdown have one table per kind of run.

    Args:
        rows: From `summarize`.
        format: "text", "markdown", "csv" or "json".

    Returns:
        A string that ends in a newline.
    """
    if format not in ("text", "markdown"):
        return format_rows(rows, (), format)
    kinds = {}
    for row in rows:
        kinds.setdefault(find_task(row["network"], row["dataset"]), []).append(row)
    columns_of = _columns if format == "text" else _short_columns
    tables = [
        format_rows(kinds[task], columns_of(task, kinds[task]), format)
        for task in TASKS
        if task in kinds
    ]
    return "\n".join(tables) or "No records.\n"


def describe_setting(records: list[Record]) -> str:
    """Says in one sentence how records of one setting were made.

    Args:
        records: Records that differ in nothing but variant and seed.

    Returns:
        A string in Markdown.
    """
    data, recipe = records[0].data, records[0].recipe
    seeds = sorted({record.recipe.seed for record in records})
    return (
        f"**{data.source}**: {recipe.task.describe_images(recipe, data)}; "
        f"{recipe.epochs} epochs in batches of {recipe.batch_size}; "
        f"augmentation: {recipe.augmentation}; {_describe_optimizer(recipe)}; "
        f"{_describe_schedule(recipe)}; "
        f"random seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}."
    )


def _describe_optimizer(recipe):
    name = {
        "adam": "Adam",
        "adamw": "AdamW with clipped gradients",
        "sgd": "SGD with Nesterov momentum",
    }[recipe.optimizer]
    rate = f"a learning rate of {recipe.learning_rate:g}"
    text = f"{name} with {rate} ({recipe.learning_rate_schedule})"
    for field in ("weight_decay", "label_smoothing"):
        if getattr(recipe, field):
            text += f", {field.replace('_', ' ')} {getattr(recipe, field):g}"
    return text


def _describe_schedule(recipe):
    return {
        "constant": "keep_prob fixed",
        "linear": "keep_prob from 1 to its target (linear, by step)",
        "linear-epoch": "keep_prob from 1 to its target (linear, by epoch)",
    }[recipe.keep_prob_schedule]


def mean_and_std(mean: float, std: float | None, digits: int = 4) -> str:
    """ "0.8123 ± 0.0021", or the mean alone where one seed has no spread."""
    spread = "" if std is None else f" ± {std:.{digits}f}"
    return f"{mean:.{digits}f}{spread}"


def _row(group):
    """One row of `summarize`, from the records of each seed."""
    seeds = sorted(group)
    record = group[seeds[0]]
    recipe = record.recipe
    row = {
        "network": recipe.network,
        "dataset": recipe.dataset,
        "source": record.data.source,
        "profile": recipe.profile,
        "variant": recipe.variant,
        "backend": record.backend,
        "n": len(seeds),
        "seeds": seeds,
    }
    for metric in recipe.task.metrics.table:
        values = [_metric(group[seed], metric) for seed in seeds]
        known = None not in values  # None: not finite, or no objects
        several = known and len(values) > 1
        row[f"{metric}_mean"] = statistics.fmean(values) if known else None
        row[f"{metric}_std"] = statistics.stdev(values) if several else None
    # A result on CIFAR-10 cannot be compared with one on drawn shapes.
    return row | recipe.task.published(None if record.is_stand_in else recipe)


def _metric(record, metric):
    if metric == "seconds":
        return record.seconds
    if metric == "gap":
        return record.final["train_accuracy"] - record.final["test_accuracy"]
    return record.final[metric]


def _position(row: dict):
    setting = ("network", "dataset", "source", "profile", "backend")
    return (*(row[key] for key in setting), variant_order(row["variant"]))


def _columns(task, rows):
    """The columns of the full table of one kind of run."""
    columns = [
        Column("data" if key == "source" else key, itemgetter(key))
        for key in ("network", "source", "profile", "variant", "n", "backend")
    ]
    for metric in task.metrics.table:
        digits = 0 if metric == "seconds" else 4
        cell = partial(_cell, metric=metric, digits=digits)
        columns.append(Column(metric.replace("_", " "), cell))
    for key in task.published(None):
        heading = key.replace("_", " ").removesuffix(" accuracy")
        columns.append(Column(heading, partial(_published, keys=[key], digits=4)))
    return columns


def _short_columns(task, rows):
    """The columns of the book's table of one kind of run: fractions in percent."""
    columns = [
        Column("data", itemgetter("source")),
        Column("variant", lambda row: variant_title(row["variant"])),
    ]
    if len({row["network"] for row in rows}) > 1:
        label = Column("network", lambda r: LABELS.get(r["network"], r["network"]))
        columns.insert(0, label)
    if len({row["backend"] for row in rows}) > 1:
        columns.append(Column("backend", itemgetter("backend")))
    for heading, metric in task.metrics.short_table.items():
        cell = partial(_cell, metric=metric, digits=2, factor=_factor(metric))
        columns.append(Column(heading, cell, is_centered=True))
    columns.append(Column("seeds", itemgetter("n"), is_centered=True))
    keys = list(task.published(None))
    if any(row[keys[0]] for row in rows):
        cell = partial(_published, keys=keys, digits=2, factor=_factor(keys[0]))
        columns.append(Column("slides", cell, is_centered=True))
    return columns


def _factor(metric):
    return 1 if "loss" in metric else 100


def _cell(row, metric, digits, factor=1):
    mean, std = row[f"{metric}_mean"], row[f"{metric}_std"]
    if mean is None:
        return "none"
    return mean_and_std(factor * mean, None if std is None else factor * std, digits)


def _published(row, keys, digits, factor=1):
    values = [row[key] for key in keys]
    if None in values:
        return ""
    return " / ".join(f"{factor * value:.{digits}f}" for value in values)
