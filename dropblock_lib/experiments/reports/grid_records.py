"""The records of a grid: which of its runs are done, and what they took."""

import collections
import dataclasses
import fnmatch
import shlex
from collections.abc import Iterable

from dropblock_lib.experiments.recipes.grids import as_list, read_grid
from dropblock_lib.experiments.recipes.recipe import Recipe
from dropblock_lib.experiments.records.record import Record, load_records


@dataclasses.dataclass(frozen=True)
class GridRecords:
    """Runs of a grid, and the records of those that are done.

    Attributes:
        recipes: All runs, in the order of the grid.
        records: Those that are recorded, in the same order, on one backend and the
            same data.
        command: The command that makes them.
    """

    recipes: tuple[Recipe, ...]
    records: tuple[Record, ...]
    command: str

    @property
    def status(self) -> str:
        """How many runs are recorded, in Markdown."""
        return f"**{len(self.records)} of {len(self.recipes)} runs recorded.**"

    @property
    def account(self) -> str:
        """How many runs are recorded, what they took, and how to repeat them."""
        command = f"`{self.command}`"
        if not self.records:
            return f"{self.status} To make them: {command}."
        hours = sum(record.seconds for record in self.records) / 3600
        machines = sorted(
            {
                f"{record.hardware['cpu']} with {record.hardware['cores']} cores"
                if not record.hardware["gpus"]
                else record.hardware["gpus"][0]
                for record in self.records
            }
        )
        return (
            f"{self.status} They took {hours:.1f} hours on {', '.join(machines)} "
            f"({self.records[0].backend}). To repeat them: {command}."
        )


def recorded(
    grid: str,
    profile: str | list[str] = "*",
    records: Iterable[Record] | None = None,
) -> GridRecords:
    """The records of a grid, or of some of its profiles.

    If there are records of several backends or data sets, those of the most frequent
    are taken: results of different backends are never compared.

    Args:
        grid: Path of a grid, or the name of a grid of the book, such as "dose".
        profile: Pattern of its profiles, or a list of patterns.
        records: Records to choose from. By default those of `load_records()`.

    Returns:
        A `GridRecords`.

    Raises:
        ValueError: As `read_grid`.

    Example:

    >>> recorded("dose", "dose").status
    """
    patterns = as_list(profile)
    recipes = {
        recipe.hash: recipe
        for recipe in read_grid(grid)
        if any(fnmatch.fnmatchcase(recipe.profile, pattern) for pattern in patterns)
    }
    groups = collections.defaultdict(dict)
    for record in load_records() if records is None else records:
        if record.recipe.hash in recipes:
            group = groups[record.is_stand_in, record.backend, record.data.sha256]
            group[record.recipe.hash] = record
    # Real data before stand-ins.
    found = max(
        groups.items(), key=lambda each: (not each[0][0], len(each[1])), default=(0, {})
    )[1]
    chosen = "" if patterns == ["*"] else f" --profile {shlex.join(patterns)}"
    return GridRecords(
        recipes=tuple(recipes.values()),
        records=tuple(found[key] for key in recipes if key in found),
        command=f"python -m dropblock_lib.experiments run --grid {grid}{chosen}",
    )
