"""Experiments: recipes are run, each run leaves a record, and records make tables."""

from dropblock_lib.experiments import guessing
from dropblock_lib.experiments.engines.on_ray import run_on_ray
from dropblock_lib.experiments.engines.side_by_side import run_side_by_side
from dropblock_lib.experiments.recipes import slides
from dropblock_lib.experiments.recipes.grids import read_grid
from dropblock_lib.experiments.recipes.profiles import (
    PROFILES,
    make_recipe,
    make_recipes,
)
from dropblock_lib.experiments.recipes.recipe import Recipe
from dropblock_lib.experiments.records.benchmark import load_benchmarks
from dropblock_lib.experiments.records.record import (
    Record,
    RecordError,
    load_records,
)
from dropblock_lib.experiments.reports import (
    compare,
    detectors,
    features,
    pages,
    power,
    speed,
    statistics,
    verdicts,
)
from dropblock_lib.experiments.reports.effects import (
    count_verdicts,
    dose_table,
    effects_answer,
    effects_table,
)
from dropblock_lib.experiments.reports.grid_records import GridRecords, recorded
from dropblock_lib.experiments.reports.tables import (
    describe_setting,
    format_table,
    mean_and_std,
    summarize,
)
from dropblock_lib.experiments.running.devices import prepare
from dropblock_lib.experiments.running.progress import open_progress
from dropblock_lib.experiments.running.run import (
    RunsFailed,
    run,
    run_all,
    run_or_load,
)
from dropblock_lib.experiments.tasks.probes import decode_predictions
from dropblock_lib.experiments.tasks.split import split

__all__ = [
    "PROFILES",
    "GridRecords",
    "Recipe",
    "Record",
    "RecordError",
    "RunsFailed",
    "compare",
    "count_verdicts",
    "decode_predictions",
    "describe_setting",
    "detectors",
    "dose_table",
    "effects_answer",
    "effects_table",
    "features",
    "format_table",
    "guessing",
    "load_benchmarks",
    "load_records",
    "make_recipe",
    "make_recipes",
    "mean_and_std",
    "open_progress",
    "pages",
    "power",
    "prepare",
    "read_grid",
    "recorded",
    "run",
    "run_all",
    "run_on_ray",
    "run_or_load",
    "run_side_by_side",
    "slides",
    "speed",
    "split",
    "statistics",
    "summarize",
    "verdicts",
]
