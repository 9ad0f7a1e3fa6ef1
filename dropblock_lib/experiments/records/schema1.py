"""Converts records of the first layout to the current one."""

from typing import Any

from dropblock_lib.experiments.recipes.recipe import default_placement, hash_of
from dropblock_lib.variants import get_variant

# The values of fields that recipes of the first layout lack.
LATER_FIELDS = {
    "augmentation": "none",
    "image_size": None,
    "placement": None,
    "warmup": 0.2,
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
    "validation_every": 1,
    "validation_subset": None,
    "subset_seed": 0,
    "precision": "float32",
    "probes": False,
}


def upgrade(record: Any) -> Any:
    """Converts a record of the first layout to a dictionary of the current one.

    Any other content of a JSON file is returned as it is. Raises a `ValueError` if the
    recipe does not match its hash.
    """
    if not isinstance(record, dict) or record.get("schema") != 1:
        return record
    old = record["recipe"]
    if hash_of(old) != record["recipe_hash"]:
        raise ValueError("its recipe does not match its `recipe_hash`")
    recipe = LATER_FIELDS | old
    recipe["regularizer"] = get_variant(old["variant"]).numbers()
    recipe["placement"] = default_placement(old["network"])
    if old["keep_prob_schedule"] == "linear":
        recipe["keep_prob_schedule"] = "linear-epoch"
    return {**record, "schema": 2, "recipe": recipe, "recipe_hash": hash_of(recipe)}
