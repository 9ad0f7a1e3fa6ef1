"""Kinds of runs: their networks, data, metrics and table columns."""

from dropblock_lib.experiments.recipes.recipe import TASKS
from dropblock_lib.experiments.tasks.classification import Classification
from dropblock_lib.experiments.tasks.detection import Detection

TASKS[:] = [Classification, Detection]

__all__ = ["Classification", "Detection"]
