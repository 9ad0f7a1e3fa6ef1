"""Grids of recipes in TOML files."""

import dataclasses
import itertools
import tomllib
from pathlib import Path
from typing import Any

from dropblock_lib.experiments.recipes.recipe import MAY_BE_NONE, Recipe

_FIELDS = [
    field
    for field in dataclasses.fields(Recipe)
    if field.init and field.name != "profile"
]
# The folder of the book's grids.
SHIPPED = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a grid file: its profile is its heading.

    `fields` maps fields of `Recipe` to a value or a list of values.
    """

    path: Path
    profile: str
    fields: dict[str, Any]

    def values(self, field: str) -> list:
        """All values of a field; "none" is `None` where a number is expected."""
        values = as_list(self.fields[field])
        if not values:
            raise self.error(f"`{field}` is an empty list.")
        # TOML has no null.
        may_be_none = field in MAY_BE_NONE
        return [None if may_be_none and each == "none" else each for each in values]

    def recipes(self, **fields) -> list[Recipe]:
        """All combinations of the table's values, some of them replaced by `fields`."""
        table = dataclasses.replace(self, fields=self.fields | fields)
        known = [field.name for field in _FIELDS]
        unknown = [name for name in table.fields if name not in known]
        if unknown:
            raise self.error(
                f"expected the fields {', '.join(known)}. "
                f"Received: {', '.join(unknown)}"
            )
        required = [f.name for f in _FIELDS if f.default is dataclasses.MISSING]
        missing = [name for name in required if name not in table.fields]
        if missing:
            are = "is" if len(missing) == 1 else "are"
            raise self.error(f"{', '.join(missing)} {are} missing.")
        # The variant changes fastest and the seed comes next: each seed is complete
        # before the next one begins.
        speed = {"seed": 1, "variant": 2}
        names = sorted(table.fields, key=lambda name: speed.get(name, 0))
        combinations = itertools.product(*map(table.values, names))
        try:
            return [
                Recipe(**dict(zip(names, values, strict=True)), profile=self.profile)
                for values in combinations
            ]
        except ValueError as error:
            if fields:  # they may be at fault instead of the file
                raise
            raise self.error(error) from None

    def error(self, what) -> ValueError:
        """An error that names the file and the table."""
        return ValueError(f"{self.path}, table [{self.profile}]: {what}")


def as_list(value) -> list:
    """Returns a TOML value as a list; a single value becomes a list of one."""
    return value if isinstance(value, list) else [value]


def read_toml(name: Path | str, kind: str) -> tuple[Path, dict[str, Any]]:
    """The path of a grid or a queue, and its content.

    Args:
        name: Path of a TOML file, or the name of one of the book's, such as "slides".
        kind: What the file should be, for the error message: "grid" or "queue".

    Raises:
        FileNotFoundError: If there is no such file; the message lists the book's.
        ValueError: If the file is not TOML.
    """
    shipped = SHIPPED / f"{name}.toml"
    is_shipped = shipped.is_file() and not Path(name).is_file()
    path = shipped if is_shipped else Path(name)
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(
            each.stem
            for each in sorted(SHIPPED.glob("*.toml"))
            if ("[[step]]" in each.read_text(encoding="utf-8")) == (kind == "queue")
        )
        raise FileNotFoundError(
            f"There is no {kind} {str(name)!r}. Expected the path of a TOML file, or "
            f"one of {known}."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"{path} is not a {kind}: it is not TOML ({error})."
        raise ValueError(message) from None


def read_grid(path: Path | str) -> list[Recipe]:
    """The recipes of a grid file.

    The file is TOML. Each table is a profile, named by its heading, and has fields of
    `Recipe`. A list stands for all of its values: the recipes are all combinations,
    each seed complete before the next begins. Keys above the first table are the
    defaults of all tables. Fields that are left out have the defaults of `Recipe`;
    "none" as a number of images means all. Several tables may share a heading, in
    double brackets: `[[slides]]`. Runs that differ in anything but network, variant,
    data set and seed need different profiles, because they would have the same name.

    Args:
        path: Path of the file, or the name of a grid of the book, such as "slides".

    Returns:
        A list of `Recipe`, in the order of the file.

    Raises:
        ValueError: If the file is not a valid grid; the message names the file, the
            table and the field.
        OSError: If the file cannot be read.

    Example:

    A file with two recipes:

    ```toml
    network = "custom_net"
    dataset = "cifar10"

    [mine]
    variant = ["none", "dropblock-7-0.9"]
    epochs = 20
    ```
    """
    recipes = {}
    for table in read_tables(path):
        for recipe in table.recipes():
            if recipe.name in recipes:
                raise table.error(
                    f"two runs have the same name, {recipe.name}, and would claim the "
                    "same record. Give each its own profile."
                )
            recipes[recipe.name] = recipe
    return list(recipes.values())


def read_tables(path: Path | str) -> list[Table]:
    """The tables of a grid file, each with the defaults above the first one."""
    path, content = read_toml(path, "grid")
    common, tables = {}, []
    for key, value in content.items():
        if isinstance(value, dict):
            tables.append((key, value))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            tables += [(key, table) for table in value]
        else:
            common[key] = value
    if not tables:
        raise ValueError(f"{path} is not a grid: it has no table, such as [mine].")
    return [Table(path, profile, common | fields) for profile, fields in tables]
