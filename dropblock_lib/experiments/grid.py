"""Grids of recipes from a file."""

import dataclasses
import itertools
import tomllib
from pathlib import Path

from dropblock_lib.experiments.recipe import Recipe

_FIELDS = [field for field in dataclasses.fields(Recipe) if field.name != "profile"]


def read_grid(path) -> list[Recipe]:
    """The recipes of a grid file.

    The file is TOML. Each table of it is a profile, named by its heading, and holds
    fields of `Recipe`. A list stands for all of its values: the recipes are all
    their combinations, each seed complete before the next begins. Fields that a
    table leaves out are as `Recipe` has them; "none" is no number: all images. Runs
    that differ in anything but network, variant, data set and seed go by the same
    name within a profile, so they need a table each.

    Args:
        path: Path of the file.

    Returns:
        A list of `Recipe`, in the order of the file.

    Raises:
        ValueError: If the file is not such a grid; the message names the file, the
            table and the field.
        OSError: If the file cannot be read.

    Example:

    A file with two recipes:

    ```toml
    [mine]
    network = "custom_net"
    dataset = "cifar10"
    variant = ["none", "dropblock-7-0.9"]
    epochs = 20
    ```
    """
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a grid: it is not TOML ({error}).") from None
    if not tables:
        raise ValueError(f"{path} is not a grid: it has no table, such as [mine].")
    recipes = []
    for profile, fields in tables.items():
        if not isinstance(fields, dict):
            raise ValueError(
                f"{path} is not a grid: `{profile}` stands before the first table."
            )
        recipes += _combinations(f"{path}, table [{profile}]", profile, fields)
    return recipes


def _combinations(place, profile, fields):
    known = [field.name for field in _FIELDS]
    unknown = [name for name in fields if name not in known]
    if unknown:
        raise ValueError(
            f"{place}: expected the fields {', '.join(known)}. "
            f"Received: {', '.join(unknown)}"
        )
    required = [f.name for f in _FIELDS if f.default is dataclasses.MISSING]
    missing = [name for name in required if name not in fields]
    if missing:
        raise ValueError(f"{place}: {', '.join(missing)} is missing.")
    # The variant changes fastest and the seed comes next, as in the book's grids.
    speed = {"seed": 1, "variant": 2}
    slow_to_fast = sorted(fields, key=lambda name: speed.get(name, 0))
    choices = [
        [(name, value) for value in _values(name, fields[name], place)]
        for name in slow_to_fast
    ]
    try:
        recipes = [
            Recipe(**dict(chosen), profile=profile)
            for chosen in itertools.product(*choices)
        ]
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    names = [recipe.name for recipe in recipes]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"{place}: {names.count(name)} runs have the same name, {name}, and "
                "would claim the same record. Give each a table of its own."
            )
    return recipes


def _values(name, value, place):
    values = value if isinstance(value, list) else [value]
    if not values:
        raise ValueError(f"{place}: `{name}` is an empty list.")
    # TOML has no null.
    may_be_none = name in ("train_size", "test_size")
    return [None if may_be_none and each == "none" else each for each in values]
