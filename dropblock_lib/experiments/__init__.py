"""Experiments: a recipe is run, a run leaves a record, records make a table."""

from dropblock_lib.experiments.benchmark import load_benchmarks
from dropblock_lib.experiments.jobs import run_side_by_side
from dropblock_lib.experiments.ray_engine import run_on_ray
from dropblock_lib.experiments.recipe import Recipe
from dropblock_lib.experiments.recipes import PROFILES, make_recipe, make_recipes
from dropblock_lib.experiments.record import RecordError, load_records, read_record
from dropblock_lib.experiments.run import RunsFailed, run, run_all, run_or_load
from dropblock_lib.experiments.table import (
    describe_setting,
    format_table,
    mean_and_std,
    summarize,
)

__all__ = [
    "PROFILES",
    "Recipe",
    "RecordError",
    "RunsFailed",
    "describe_setting",
    "format_table",
    "load_benchmarks",
    "load_records",
    "make_recipe",
    "make_recipes",
    "mean_and_std",
    "read_record",
    "run",
    "run_all",
    "run_on_ray",
    "run_or_load",
    "run_side_by_side",
    "summarize",
]
