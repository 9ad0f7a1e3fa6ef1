"""Records in, one row a variant out: mean and spread over the seeds."""

import json
import statistics

from dropblock_lib import models
from dropblock_lib.arguments import invalid
from dropblock_lib.experiments.recipes import slides
from dropblock_lib.experiments.recipes.recipe import Recipe
from dropblock_lib.experiments.records.record import is_stand_in
from dropblock_lib.experiments.reports.columns import (
    FORMATS,
    aligned,
    comma_separated,
    markdown,
)
from dropblock_lib.variants import variant_order, variant_title

METRICS = ("test_accuracy", "val_accuracy", "train_accuracy", "gap", "seconds")
DETECTION_METRICS = ("AP", "AP50", "AP75", "train_loss", "val_loss", "seconds")


def summarize(records: list[dict]) -> list[dict]:
    """One row for each recipe and data source, over all its seeds.

    Records are put together only if their recipes differ in nothing but the seed
    and if they used the same data and the same backend.

    Args:
        records: From `load_records`.

    Returns:
        A list of rows (dictionaries), sorted by network, data, profile and
        variant. A row has `network`, `dataset`, `source`, `profile`, `variant`,
        `backend`, `n`, `seeds` and `slides_accuracy` (`None` if the slides have no such
        figure, or a stand-in was used). For each of test_accuracy, val_accuracy
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
        seed = record["recipe"]["seed"]
        key = (setting_of(record), record["recipe"]["variant"])
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
    images = (
        f"{data['train']:,} training and {data['validation']:,} validation images "
        f"of {recipe.image_size} x {recipe.image_size} pixels"
        if recipe.detects
        else f"{data['train']:,} training, {data['validation']:,} validation and "
        f"{data['test']:,} test images"
    )
    return (
        f"**{data['source']}**: {images}; "
        f"{recipe.epochs} epochs in batches of {recipe.batch_size}; "
        f"augmentation: {recipe.augmentation}; {_describe_optimizer(recipe)}; "
        f"{_describe_schedule(recipe)}; "
        f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}."
    )


def _describe_optimizer(recipe):
    name = {"adam": "Adam", "sgd": "SGD with Nesterov momentum"}[recipe.optimizer]
    extras = []
    if recipe.weight_decay:
        extras.append(f"weight decay {recipe.weight_decay:g}")
    if recipe.label_smoothing:
        extras.append(f"label smoothing {recipe.label_smoothing:g}")
    rate = f"a learning rate of {recipe.learning_rate:g}"
    return ", ".join([f"{name} with {rate} ({recipe.learning_rate_schedule})", *extras])


def _describe_schedule(recipe):
    if recipe.keep_prob_schedule == "constant":
        return "keep_prob fixed"
    unit = "step" if recipe.keep_prob_schedule == "linear" else "epoch"
    return f"keep_prob from 1 to its target (linear, by {unit})"


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
        "backend": any_record["backend"],
        "n": len(seeds),
        "seeds": seeds,
    }
    for metric in metrics_of(recipe.detects):
        values = [_metric(group[seed], metric) for seed in seeds]
        known = None not in values  # a loss that was not finite, an AP of no object
        several = known and len(values) > 1
        row[f"{metric}_mean"] = statistics.fmean(values) if known else None
        row[f"{metric}_std"] = statistics.stdev(values) if several else None
    # A figure on CIFAR-10 says nothing beside one on drawn shapes.
    compares = not is_stand_in(recipe.dataset, row["source"])
    return row | _slides(recipe, compares)


def setting_of(record: dict) -> str:
    """What records that are compared with one another have in common.

    Everything but the variant and the random seed: data and backend are part of it.
    """
    recipe = {
        field: value
        for field, value in record["recipe"].items()
        if field not in ("variant", "regularizer", "seed")
    }
    data = record["data"]
    common = [recipe, data["source"], data["sha256"], record["backend"]]
    return json.dumps(common, sort_keys=True)


def metrics_of(detects: bool) -> tuple[str, ...]:
    """What a row of a detector's records shows, or of a classifier's."""
    return DETECTION_METRICS if detects else METRICS


def _detects(row: dict) -> bool:
    return "AP_mean" in row


def _slides(recipe, compares):
    if recipe.detects:
        mini = compares and recipe.dataset == "coco2017-mini"
        published = slides.RETINANET_LOSSES.get(recipe.variant) if mini else None
        loss, val_loss = published or (None, None)
        return {"slides_loss": loss, "slides_val_loss": val_loss}
    accuracy = slides.accuracy(recipe.network, recipe.dataset, recipe.variant)
    return {"slides_accuracy": accuracy if compares else None}


def _metric(record: dict, metric: str) -> float | None:
    if metric == "seconds":
        return record["seconds"]
    final = record["final"]
    if metric == "gap":
        return final["train_accuracy"] - final["test_accuracy"]
    return final[metric]


def _position(row: dict):
    setting = ("network", "dataset", "source", "profile", "backend")
    return (*(row[key] for key in setting), variant_order(row["variant"]))


def _csv(rows: list[dict]) -> str:
    # One table, for programs: what a row does not have is empty.
    columns = dict.fromkeys(key for row in rows for key in row)
    return comma_separated(
        [
            {**dict.fromkeys(columns), **row, "seeds": " ".join(map(str, row["seeds"]))}
            for row in rows
        ]
    )


def _both(rows: list[dict], form) -> str:
    """A table of the classifiers and one of the detectors, where there are both."""
    kinds = [[], []]
    for row in rows:
        kinds[_detects(row)].append(row)
    return "\n".join(form(kind) for kind in kinds if kind)


def _markdown(rows: list[dict]) -> str:
    return _both(rows, _markdown_of_one_kind) or "No records.\n"


def _markdown_of_one_kind(rows: list[dict]) -> str:
    detects = _detects(rows[0])
    backends = len({row["backend"] for row in rows}) > 1
    heading = ["data", "variant", *["backend"] * backends]
    heading += (
        ["AP", "AP50", "loss", "val loss"] if detects else ["test accuracy", "gap"]
    )
    heading += ["seeds"]
    # Of stand-ins and drawn scenes the slides have no figures.
    compares = any(row["slides_loss" if detects else "slides_accuracy"] for row in rows)
    heading += ["slides"] * compares
    several = len({row["network"] for row in rows}) > 1
    lines = []
    for row in rows:
        cells = [row["source"], variant_title(row["variant"])]
        cells += [row["backend"]] * backends
        if detects:
            cells += [_percent(row, "AP", 2), _percent(row, "AP50", 2)]
            cells += [_cell(row, "train_loss", 2), _cell(row, "val_loss", 2)]
            published = row["slides_loss"]
            published = published and f"{published:.2f} / {row['slides_val_loss']:.2f}"
        else:
            cells += [_percent(row, "test_accuracy", 2), _percent(row, "gap", 2)]
            published = row["slides_accuracy"]
            published = published and f"{100 * published:.2f}"
        cells += [row["n"], *[published or ""] * compares]
        if several:
            cells.insert(0, models.LABELS.get(row["network"], row["network"]))
        lines.append(cells)
    if several:
        heading.insert(0, "network")
    words = heading.index("variant") + 1 + backends
    alignment = [":--"] * words + [":-:"] * (len(heading) - words)
    return markdown(heading, lines, alignment)


def _percent(row: dict, metric: str, digits: int) -> str:
    return _cell(row, metric, digits, factor=100)


def _cell(row: dict, metric: str, digits: int, factor: float = 1) -> str:
    mean, std = row[f"{metric}_mean"], row[f"{metric}_std"]
    if mean is None:
        return "none"
    return mean_and_std(factor * mean, None if std is None else factor * std, digits)


def _text(rows: list[dict]) -> str:
    return _both(rows, _text_of_one_kind) or "No records.\n"


def _text_of_one_kind(rows: list[dict]) -> str:
    metrics = metrics_of(_detects(rows[0]))
    published = [key for key in rows[0] if key.startswith("slides_")]
    heading = ["network", "data", "profile", "variant", "n", "backend"]
    heading += [metric.replace("_", " ") for metric in metrics]
    heading += [key.replace("_", " ").removesuffix(" accuracy") for key in published]
    lines = []
    for row in rows:
        cells = [row["network"], row["source"], row["profile"], row["variant"]]
        cells += [str(row["n"]), row["backend"]]
        for metric in metrics:
            cells.append(_cell(row, metric, 0 if metric == "seconds" else 4))
        for key in published:
            cells.append("" if row[key] is None else f"{row[key]:.4f}")
        lines.append(cells)
    return aligned(heading, lines)
