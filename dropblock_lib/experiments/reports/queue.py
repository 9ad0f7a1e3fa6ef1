"""The queue: the order of the runs, their progress, and the time left."""

import collections
import dataclasses
import fnmatch
import statistics
from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path

import keras

from dropblock_lib.experiments.recipes.grids import as_list, read_grid, read_toml
from dropblock_lib.experiments.recipes.recipe import Recipe
from dropblock_lib.experiments.records import environment
from dropblock_lib.experiments.records.record import read_all
from dropblock_lib.experiments.reports.columns import Column, format_rows
from dropblock_lib.experiments.reports.listing import list_runs
from dropblock_lib.experiments.running.progress import clock
from dropblock_lib.experiments.tasks.split import IMAGE_SIZE

DEFAULT = "queue"
# Fields of a recipe that choose among the runs of a grid.
FILTERS = ("network", "dataset", "variant", "profile", "seed")
# Seconds per training image of 32 x 32, as a multiple of CustomNet's, for networks
# without a record on this machine. Measured, except for "retinanet" and the networks
# with a CIFAR stem, which are estimated from the number of their operations.
RELATIVE_COST = {
    "custom_net": 1.0,
    "resnet9": 2.7,
    "resnet9_wide": 9.0,
    "resnet50": 2.6,
    "resnet50_cifar": 30.0,
    "densenet121": 3.9,
    "densenet121_cifar": 22.0,
    "retinanet": 6.0,
    "retinanet_light": 4.5,
    "retinanet_lite0": 0.5,
    "retinanet_lite0_scratch": 0.7,
}
# Seconds per image of CustomNet on two cores, for machines without any record.
SECONDS_PER_IMAGE = 0.002


@dataclasses.dataclass(frozen=True)
class Step:
    """Runs of a queue that belong together, in their order, and their purpose."""

    title: str
    recipes: tuple[Recipe, ...]


def read_queue(path: Path | str = DEFAULT) -> list[Step]:
    """The steps of a queue file.

    The file is TOML: a list of `[[step]]`, each with a `title`, a `grid` (one or
    several names or paths, as for `read_grid`) and keys that choose among its
    runs: network, dataset, variant, profile, seed, each a value, a pattern or a list
    of them. Runs of earlier steps are left out.

    Args:
        path: Path of the file, or the name of a queue of the book: "queue" or "gpu".

    Returns:
        A list of `Step`.

    Raises:
        ValueError: If the file is not a valid queue; the message names file and step.
        OSError: If a file cannot be read.
    """
    path, content = read_toml(path, "queue")
    tables = content.get("step")
    if set(content) != {"step"} or not isinstance(tables, list):
        raise ValueError(f"{path} is not a queue: expected a list of [[step]] alone.")
    steps, taken, hashes = [], set(), {}
    for number, table in enumerate(tables, 1):
        place = f"{path}, step {number}"
        recipes = _choose(place, table, path.parent)
        for recipe in recipes:
            if hashes.setdefault(recipe.name, recipe.hash) != recipe.hash:
                raise ValueError(
                    f"{place}: two runs have the same name, {recipe.name}. Give each "
                    "its own profile."
                )
        left = [recipe for recipe in recipes if recipe.hash not in taken]
        taken |= {recipe.hash for recipe in recipes}
        steps.append(Step(table["title"], tuple(left)))
    return steps


def recipes_of(steps: list[Step]) -> list[Recipe]:
    """All recipes of a queue, in its order."""
    return [recipe for step in steps for recipe in step.recipes]


def passes(recipe: Recipe, wanted: Mapping[str, list | None]) -> bool:
    """Whether every field matches a value or pattern; `None` matches anything."""
    return all(
        choices is None
        or any(
            fnmatch.fnmatchcase(str(getattr(recipe, field)), str(choice))
            for choice in choices
        )
        for field, choices in wanted.items()
    )


def status(steps: list[Step], results_dir: Path | str) -> tuple[list[dict], list[str]]:
    """The progress of each step, and the hours left on this machine.

    Args:
        steps: From `read_queue`.
        results_dir: Folder with `records/` and `.partial/`.

    Returns:
        A pair. First a list of rows (dictionaries) with `step`, `runs`, `done`,
        `unfinished`, `to_do` and `hours` (left, a float). Then messages, each of
        which names a file that cannot be read.
    """
    results_dir = Path(results_dir)
    recipes = recipes_of(steps)
    records, errors = read_all(results_dir / "records")
    listed, messages = list_runs(recipes, results_dir, (records, errors))
    states = {row["recipe_hash"]: (row["state"], row["epoch"]) for row in listed}
    per_image = _seconds_per_image(records)
    rows = []
    for step in steps:
        row = {"step": step.title, "runs": len(step.recipes)}
        row |= {"done": 0, "unfinished": 0, "to_do": 0, "hours": 0.0}
        for recipe in step.recipes:
            state, epoch = states[recipe.hash]
            row[state if state in row else "to_do"] += 1
            if state != "done":
                left = 1 - epoch / recipe.epochs
                seconds = per_image[recipe.network] * _images(recipe)
                row["hours"] += left * seconds / 3600
        rows.append(row)
    return rows, messages


def format_status(rows: list[dict], format: str = "text") -> str:
    """Rows of `status` as "text" for a terminal, with their total, or as "json"."""
    if format == "text":
        numbers = ("runs", "done", "unfinished", "to_do", "hours")
        total = {key: sum(row[key] for row in rows) for key in numbers}
        rows = [*rows, {"step": "all", **total}]
    return format_rows(rows, _COLUMNS, format)


_COLUMNS = (
    *(
        Column(key.replace("_", " "), itemgetter(key))
        for key in ("step", "runs", "done", "unfinished", "to_do")
    ),
    Column("time left", lambda row: clock(3600 * row["hours"])),
)


def _seconds_per_image(records):
    """Network -> seconds per training image of 32 x 32, estimated for this machine."""
    here, backend = environment.hardware(), keras.backend.backend()
    times = collections.defaultdict(list)
    for record in sorted(records, key=lambda record: record.date, reverse=True):
        recipe = record.recipe
        is_here = all(record.hardware.get(key) == here[key] for key in here)
        is_here = is_here and record.hardware.get("devices", 1) == 1
        # Runs that changed keep_prob once per epoch were compiled in each epoch, which
        # took several times as long. Only the ten newest count: older code was slower.
        if (
            is_here
            and record.backend == backend
            and recipe.keep_prob_schedule != "linear-epoch"
            and len(times[recipe.network]) < 10
        ):
            images = record.data.train * recipe.epochs * _relative_area(recipe)
            times[recipe.network].append(record.seconds / images)
    measured = {name: statistics.median(each) for name, each in times.items() if each}
    costs = [
        seconds / RELATIVE_COST[name]
        for name, seconds in measured.items()
        if name in RELATIVE_COST
    ]
    unit = statistics.median(costs) if costs else SECONDS_PER_IMAGE
    estimated = {name: unit * cost for name, cost in RELATIVE_COST.items()}
    return collections.defaultdict(lambda: unit, estimated | measured)


def _images(recipe):
    """Training images of all epochs, as a number of images of 32 x 32."""
    images = recipe.task.images_per_epoch(recipe)
    return images * recipe.epochs * _relative_area(recipe)


def _relative_area(recipe):
    return ((recipe.image_size or IMAGE_SIZE) / IMAGE_SIZE) ** 2


def _choose(place, table, folder):
    if not isinstance(table, dict):
        raise ValueError(f"{place}: expected a table.")
    unknown = set(table) - {"title", "grid", *FILTERS}
    if unknown:
        raise ValueError(
            f"{place}: expected the keys title, grid, {', '.join(FILTERS)}. "
            f"Received: {', '.join(sorted(unknown))}"
        )
    for key in ("title", "grid"):
        if key not in table:
            raise ValueError(f"{place}: `{key}` is missing.")
    wanted = {key: as_list(table[key]) for key in FILTERS if key in table}
    known, grids = [], as_list(table["grid"])
    if not grids or not all(isinstance(grid, str) for grid in grids):
        raise ValueError(
            f"{place}: expected names of grids. Received: grid={table['grid']!r}"
        )
    for grid in grids:
        beside = folder / f"{grid}.toml"
        known += read_grid(beside if beside.is_file() else grid)
    for key, choices in wanted.items():
        for choice in choices:
            if not any(passes(recipe, {key: [choice]}) for recipe in known):
                raise ValueError(
                    f"{place}: no run of the grid {table['grid']} has {key} {choice!r}."
                )
    recipes = [recipe for recipe in known if passes(recipe, wanted)]
    if not recipes:
        raise ValueError(f"{place}: no run of the grid {table['grid']} matches.")
    return recipes
