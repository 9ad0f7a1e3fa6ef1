"""The detectors of the book: which runs are planned and recorded, and their results."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev

import numpy as np

from dropblock_lib.data import COCO_NAMES
from dropblock_lib.experiments.recipes import slides
from dropblock_lib.experiments.recipes.recipe import Recipe
from dropblock_lib.experiments.records.record import Record, load_records
from dropblock_lib.experiments.reports import grid_records
from dropblock_lib.experiments.reports.columns import markdown
from dropblock_lib.experiments.reports.grid_records import GridRecords
from dropblock_lib.experiments.reports.statistics import blocked
from dropblock_lib.experiments.reports.tables import mean_and_std
from dropblock_lib.experiments.reports.verdicts import (
    arrange,
    format_sentence,
    format_verdicts,
)
from dropblock_lib.models import LABELS
from dropblock_lib.variants import variant_title

# Heading -> keys of `Record.final`, for photographs and for scenes.
_PHOTOGRAPHS = {
    "AP": ("supercategories", "AP"),
    "AP50": ("supercategories", "AP50"),
    "AP, large": ("supercategories", "AP_large"),
    "AP50, person": ("person", "AP50"),
}
_SCENES = {"AP": ("AP",), "AP50": ("AP50",), "AP75": ("AP75",)}
NOT_RUN = "*Not run yet: no run is recorded.*\n"


def recorded(profile: str, records: Iterable[Record] | None = None) -> GridRecords:
    """The runs of a profile of the grid `detect`, and the records of finished ones.

    Records of stand-ins are left out.

    Args:
        profile: `"detect"`, `"detect_scratch"`, `"detect_scenes"` or `"detect_full"`.
        records: The records to choose from; by default those of the book.
    """
    records = load_records() if records is None else records
    real = [record for record in records if not record.is_stand_in]
    return grid_records.recorded("detect", profile, real)


def format_plan(found: GridRecords) -> str:
    """Which planned runs are recorded, how long they took, and how to repeat them.

    Args:
        found: From `recorded`.

    Returns:
        A string in Markdown that ends in a newline.
    """
    done = {record.recipe.hash for record in found.records}
    seeds = sorted({recipe.seed for recipe in found.recipes})
    rows = {}
    for recipe in found.recipes:
        row = rows.setdefault(recipe.variant, dict.fromkeys(seeds, ""))
        row[recipe.seed] = "recorded" if recipe.hash in done else "not run yet"
    heading = ["variant", *(f"random seed {seed}" for seed in seeds)]
    lines = [[variant_title(variant), *row.values()] for variant, row in rows.items()]
    table = markdown(heading, lines)
    return f"{table}\n{found.account}\n"


def format_recipe(recipe: Recipe) -> str:
    """What all runs of a profile have in common, as a Markdown table."""
    weights = {"imagenet": "ImageNet", None: "random"}
    drop = {"linear": "falls linearly from 1 to its target"}
    rows = {
        "network": LABELS.get(recipe.network, recipe.network),
        "initial weights of the backbone": weights[recipe.weights],
        "data": recipe.dataset,
        "images": f"{recipe.train_size} to train on, {recipe.validation_size} to "
        f"validate, {recipe.image_size} pixels wide and high",
        "training": f"{recipe.epochs} epochs in batches of {recipe.batch_size}",
        "optimizer": f"{recipe.optimizer}, learning rate {recipe.learning_rate:g}, "
        f"weight decay {recipe.weight_decay:g}",
        "its schedule": f"{recipe.learning_rate_schedule}, "
        f"{100 * recipe.warmup:g}% of the steps to warm up",
        "augmentation": recipe.augmentation,
        "`keep_prob`": drop.get(recipe.keep_prob_schedule, recipe.keep_prob_schedule),
    }
    return markdown(["", ""], list(map(list, rows.items())), [":--", ":--"])


def format_results(records: Sequence[Record]) -> str:
    """Average precision and class loss of each variant, as Markdown.

    Precision is in percent. The last row, if the records have it, is the detector that
    reports the most common class with the mean box.

    Args:
        records: The records of `recorded`.
    """
    if not records:
        return NOT_RUN
    columns = _columns(records)
    by_arm = arrange(records, lambda record: record)
    rows = []
    for variant, runs in by_arm.items():
        cells = [
            _mean([_look_up(run.final, keys) for run in runs.values()], 100, 1)
            for keys in columns.values()
        ]
        losses = [run.history["val_class_loss"][-1] for run in runs.values()]
        theirs = slides.RETINANET_LOSSES.get(variant)
        extra = ["" if theirs is None else f"{theirs[1]:.2f}"]
        extra = extra if _is_of_slides(records) else []
        seeds = ", ".join(map(str, runs))
        cells += [_mean(losses, 1, 3), seeds, *extra]
        rows.append([variant_title(variant), *cells])
    final = records[0].final
    trivial = [_look_up(final.get("trivial", {}), keys) for keys in columns.values()]
    heading = ["variant", *columns, "class loss", "random seeds"]
    heading += ["slides' val_loss"] if _is_of_slides(records) else []
    if any(value is not None for value in trivial):
        row = ["*without looking*", *(_mean([value], 100, 1) for value in trivial)]
        rows.append(row + [""] * (len(heading) - len(row)))
    return markdown(heading, rows)


def format_verdict(found: GridRecords) -> str:
    """Compares every variant with plain training, with the random seed as the block.

    It compares AP50, of supercategories if the data has them. Until two random seeds
    have a run of every planned variant, there is no verdict, and the text says so.

    Args:
        found: From `recorded`.
    """
    table, lacking = _compare(found)
    return format_verdicts(table, digits=1) if table else lacking


def format_answer(found: GridRecords) -> str:
    """The verdicts of `format_verdict` in one sentence of Markdown.

    Args:
        found: From `recorded`.
    """
    table, lacking = _compare(found)
    return f"{format_sentence(table)}\n" if table else lacking


def yardsticks(records: Sequence[Record]) -> dict[str, float]:
    """The class losses of detectors that ignore the image, for `plots.class_losses`.

    Args:
        records: The records of `recorded`; all of the same data and anchors.
    """
    if not records or "uninformed_class_loss" not in records[0].final:
        return {}
    final = records[0].final
    return {
        "untrained": final["untrained_class_loss"],
        "knows nothing": final["uninformed_class_loss"],
    }


def on_photographs(
    records: Sequence[Record],
    photographs: Mapping[str, np.ndarray],
    variants: Sequence[str] = ("none", "dropblock-7-0.9"),
    least: float = 0.4,
) -> dict[str, dict]:
    """What COCO detectors found in photographs, for `plots.images_with_boxes`.

    Args:
        records: The records of `recorded`. The lowest random seed of each variant is
            shown.
        photographs: Dict of name, as in a record's `detections["photographs"]` ->
            `uint8` image.
        variants: The variants to show side by side.
        least: Detections with a lower score are not shown.

    Returns:
        Dict of title -> panel, for each photograph and variant. The title says so if
        the variant was not run yet.
    """
    panels = {}
    for name, image in photographs.items():
        for variant in variants:
            runs = [
                record
                for record in records
                if record.recipe.variant == variant
                and name in (record.detections or {}).get("photographs", {})
            ]
            title = f"{variant_title(variant)}, {name.removeprefix('stereo_')}"
            if not runs:
                panels[f"{title}\nnot run yet"] = {"image": image}
                continue
            first = min(runs, key=lambda record: record.recipe.seed)
            rows = [
                row
                for row in (first.detections or {})["photographs"][name]
                if row["score"] >= least
            ]
            corners = [row["bbox"] for row in rows]
            panels[title] = {
                "image": image,
                "found": (
                    [[x, y, x + width, y + height] for x, y, width, height in corners],
                    [f"{COCO_NAMES[r['category_id']]} {r['score']:.1f}" for r in rows],
                ),
            }
    return panels


def _compare(found):
    """The table of `blocked`, or `None` and the reason why there is none."""
    records = found.records
    if not records:
        return None, NOT_RUN
    keys = _columns(records)["AP50"]
    arms = arrange(records, lambda record: _look_up(record.final, keys))
    planned = {recipe.variant for recipe in found.recipes}
    if len(planned) < 2:
        return None, "No verdict: only one variant is planned.\n"
    complete = set.intersection(*(set(arms.get(variant, ())) for variant in planned))
    if len(complete) < 2:
        return None, (
            "No verdict: fewer than two random seeds have a run of every variant, so "
            "nothing is known about the spread of single runs.\n"
        )
    table = blocked(arms, apart=[name for name in slides.UNEVEN if name in arms])
    return {**table, "did_not_learn": []}, ""


def _columns(records):
    """The columns that every record has."""
    wanted = _PHOTOGRAPHS if "supercategories" in records[0].final else _SCENES
    return {
        heading: keys
        for heading, keys in wanted.items()
        if all(_has(record.final, keys) for record in records)
    }


def _is_of_slides(records):
    # The slides' detectors very probably began with pretrained weights.
    recipe = records[0].recipe
    return recipe.dataset == "coco2017-mini" and recipe.weights is not None


def _has(final, keys):
    for key in keys:
        if not isinstance(final, Mapping) or key not in final:
            return False
        final = final[key]
    return True


def _look_up(final, keys):
    """A nested entry, or `None` if it is missing or undefined."""
    if not _has(final, keys):
        return None
    for key in keys:
        final = final[key]
    return final


def _mean(values, factor, digits):
    """Mean and standard deviation, or an empty cell if a value is missing."""
    if None in values:
        return ""
    scaled = [factor * value for value in values]
    std = stdev(scaled) if len(scaled) > 1 else None
    return mean_and_std(fmean(scaled), std, digits)
