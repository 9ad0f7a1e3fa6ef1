"""Grids of recipes from a file."""

import dataclasses
import itertools
import tomllib
from pathlib import Path

from dropblock_lib.experiments.recipes.recipe import Recipe

_FIELDS = [
    field
    for field in dataclasses.fields(Recipe)
    if field.init and field.name != "profile"
]
# The grids of the book.
SHIPPED = Path(__file__).parent


def grid_path(name) -> Path:
    """The file of a grid: one of the book's by its name, or a path.

    Args:
        name: "slides", say, or the path of a TOML file.

    Returns:
        A `Path`.
    """
    shipped = SHIPPED / f"{name}.toml"
    return shipped if shipped.is_file() and not Path(name).exists() else Path(name)


def read_grid(path) -> list[Recipe]:
    """The recipes of a grid file.

    The file is TOML. Each table of it is a profile, named by its heading, and holds
    fields of `Recipe`. A list stands for all of its values: the recipes are all
    their combinations, each seed complete before the next begins. Keys above the
    first table hold for all tables that do not say otherwise. Fields that are left
    out are as `Recipe` has them; "none" is no number: all images. Several tables may
    share a heading, in double brackets: `[[slides]]`. Runs that differ in anything
    but network, variant, data set and seed go by the same name within a profile, so
    they need profiles of their own.

    Args:
        path: Path of the file, or the name of a grid of the book, such as "slides".

    Returns:
        A list of `Recipe`, in the order of the file.

    Raises:
        ValueError: If the file is not such a grid; the message names the file, the
            table and the field.
        OSError: If the file cannot be read.

    Example:

    A file with four recipes:

    ```toml
    network = "custom_net"
    dataset = "cifar10"

    [mine]
    variant = ["none", "dropblock-7-0.9"]
    epochs = 20

    [mine_without_augmentation]
    variant = ["none", "dropblock-7-0.9"]
    epochs = 40
    augmentation = "none"
    ```
    """
    path = grid_path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a grid: it is not TOML ({error}).") from None
    common = {}
    tables = []
    for key, value in content.items():
        if isinstance(value, dict):
            tables.append((key, value))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            tables += [(key, table) for table in value]
        else:
            common[key] = value
    if not tables:
        raise ValueError(f"{path} is not a grid: it has no table, such as [mine].")
    recipes = []
    for profile, fields in tables:
        place = f"{path}, table [{profile}]"
        recipes += _combinations(place, profile, common | fields)
    _refuse_equal_names(path, recipes)
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
    return recipes


def _refuse_equal_names(path, recipes):
    seen = {}
    for recipe in recipes:
        other = seen.setdefault(recipe.name, recipe)
        if other is not recipe:
            raise ValueError(
                f"{path}, table [{recipe.profile}]: two runs have the same name, "
                f"{recipe.name}, and would claim the same record. Give each a profile "
                "of its own."
            )


def _values(name, value, place):
    values = value if isinstance(value, list) else [value]
    if not values:
        raise ValueError(f"{place}: `{name}` is an empty list.")
    # TOML has no null.
    may_be_none = name in ("train_size", "test_size", "validation_subset")
    return [None if may_be_none and each == "none" else each for each in values]
