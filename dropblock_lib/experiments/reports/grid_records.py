"""The records of a grid: which of its runs are done, and their results."""

import collections
import dataclasses
import fnmatch
import shlex
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from dropblock_lib.experiments.recipes.grids import as_list, read_grid
from dropblock_lib.experiments.recipes.recipe import Recipe
from dropblock_lib.experiments.records.record import Record, load_records
from dropblock_lib.experiments.reports.columns import Column, format_rows
from dropblock_lib.experiments.reports.statistics import blocked, contrasts
from dropblock_lib.experiments.reports.verdicts import arms_of
from dropblock_lib.variants import get_variant

_BLOCKS: dict[object, str] = {1: "units (Dropout)", 32: "whole maps (SpatialDropout)"}


@dataclasses.dataclass(frozen=True)
class GridRecords:
    """Runs of a grid, and the records of those that are done.

    An *arm* is a variant in a profile, named "PROFILE VARIANT".

    Attributes:
        recipes: All runs, in the order of the grid.
        records: Those that are recorded, in the same order, on one backend and the
            same data.
        command: The command that trains the runs.
    """

    recipes: tuple[Recipe, ...]
    records: tuple[Record, ...]
    command: str

    @property
    def seeds(self) -> list[int]:
        """The random seeds with which every arm is recorded."""
        arms = set(map(_arm, self.recipes))
        by_seed = collections.defaultdict(set)
        for record in self.records:
            by_seed[record.recipe.seed].add(_arm(record.recipe))
        return sorted(seed for seed, found in by_seed.items() if found == arms)

    @property
    def status(self) -> str:
        """How many runs are recorded, in Markdown."""
        return f"**{len(self.records)} of {len(self.recipes)} runs recorded.**"

    @property
    def account(self) -> str:
        """How many runs are recorded, how long they took, and how to repeat them."""
        command = f"`{self.command}`"
        if not self.records:
            return f"{self.status} To make them: {command}."
        hours = sum(record.seconds for record in self.records) / 3600
        machines = {
            record.hardware["gpus"][0]
            if record.hardware["gpus"]
            else f"{record.hardware['cpu']} ({record.hardware['cores']} cores)"
            for record in self.records
        }
        return (
            f"{self.status} They took {hours:.1f} hours on "
            f"{', '.join(sorted(machines))}, with {self.records[0].backend}. To repeat "
            f"them: {command}."
        )

    def arms(self, metric: str = "test_accuracy") -> dict[str, dict[int, float]]:
        """A metric of the complete seeds: dict of arm -> dict of seed -> value."""
        seeds = self.seeds
        records = [record for record in self.records if record.recipe.seed in seeds]
        return arms_of(records, metric, lambda record: _arm(record.recipe))

    def effects(
        self,
        named: Mapping[str, Mapping[str, float]],
        metric: str = "test_accuracy",
    ) -> list[dict]:
        """Contrasts of the arms, for `effects_table` and `plots.effects`.

        Args:
            named: As for `statistics.contrasts`.
            metric: A key of `Record.final`.

        Returns:
            List of dicts with `label`, `difference`, `low`, `high` (the simultaneous
            interval) and `verdict` (Holm's). All but the label are `None` until two
            seeds are complete.
        """
        keys = ("difference", "low", "high", "verdict")
        if len(self.seeds) < 2:
            return [{"label": name, **dict.fromkeys(keys)} for name in named]
        rows = contrasts(self.arms(metric), named)["rows"]
        return [
            {
                "label": row["contrast"],
                "difference": row["estimate"],
                "low": row["simultaneous"][0],
                "high": row["simultaneous"][1],
                "verdict": row["verdict"],
            }
            for row in rows
        ]

    def dose_lines(self, metric: str = "test_accuracy") -> dict[str, dict]:
        """Means against the dose, a line per block size, for `plots.against_dose`.

        The runs are those of plain training and of DropBlock with `gamma="exact"`. All
        lines begin with plain training at dose 0. With two seeds or more, they have a
        band: the pointwise 95% interval of the difference from plain training, from
        `statistics.blocked`.

        Returns:
            Dict of block size, in words -> line; empty until a seed is complete.
        """
        if not self.seeds:
            return {}
        variants = {_arm(recipe): recipe.variant for recipe in self.recipes}
        plain = next(arm for arm, variant in variants.items() if variant == "none")
        arms = self.arms(metric)
        middle = fmean(arms[plain].values())
        reach = {}
        if len(self.seeds) > 1:
            for row in blocked(arms, plain)["rows"]:
                reach[row["arm"]] = row["pointwise"][1] - row["difference"]
        lines = {}
        for arm, variant in variants.items():
            if arm == plain:
                continue
            numbers = get_variant(variant)
            block, keep_prob = numbers.block_size, numbers.keep_prob
            assert keep_prob is not None
            name = _BLOCKS.get(block, f"blocks of {block}")
            start = {"x": [0.0], "y": [middle], "low": [middle], "high": [middle]}
            line = lines.setdefault(name, {"variant": variant, **start})
            mean = fmean(arms[arm].values())
            half = reach.get(arm, 0.0)
            line["x"].append(round(1 - keep_prob, 6))
            line["y"].append(mean)
            line["low"].append(mean - half)
            line["high"].append(mean + half)
        return lines


def recorded(
    grid: str,
    profile: str | list[str] = "*",
    records: Iterable[Record] | None = None,
    variants: Sequence[str] | None = None,
) -> GridRecords:
    """The records of a grid, or of some of its profiles.

    If there are records of several backends or data sets, the most frequent are used:
    results of different backends are never compared.

    Args:
        grid: Path of a grid, or the name of a grid of the book, such as "dose".
        profile: Pattern of its profiles, or a list of patterns.
        records: Records to choose from. By default those of `load_records()`.
        variants: Names of the variants. By default all of them.

    Returns:
        A `GridRecords`.

    Raises:
        ValueError: As for `read_grid`.

    Example:

    >>> recorded("dose", "dose").status
    """
    patterns = as_list(profile)
    recipes = {
        recipe.hash: recipe
        for recipe in read_grid(grid)
        if any(fnmatch.fnmatchcase(recipe.profile, pattern) for pattern in patterns)
        and (variants is None or recipe.variant in variants)
    }
    groups = collections.defaultdict(dict)
    for record in load_records() if records is None else records:
        if record.recipe.hash in recipes:
            group = groups[record.is_stand_in, record.backend, record.data.sha256]
            group[record.recipe.hash] = record
    found = {}
    if groups:
        # Real data before stand-ins.
        best = max(groups, key=lambda key: (not key[0], len(groups[key])))
        found = groups[best]
    command = ["python", "-m", "dropblock_lib.experiments", "run", "--grid", grid]
    if patterns != ["*"]:
        command += ["--profile", *patterns]
    if variants is not None:
        command += ["--variant", *variants]
    return GridRecords(
        recipes=tuple(recipes.values()),
        records=tuple(found[key] for key in recipes if key in found),
        command=shlex.join(command),
    )


def effects_table(rows: Sequence[dict], factor: float = 100, digits: int = 2) -> str:
    """Rows of `GridRecords.effects` as a table in Markdown.

    Args:
        rows: From `GridRecords.effects`.
        factor: What values are multiplied by: 100 for percentage points of an
            accuracy, 1 for a loss.
        digits: Number of decimal places.
    """

    def signed(value):
        return f"{factor * value:+.{digits}f}"

    def interval(row):
        return f"{signed(row['low'])} to {signed(row['high'])}"

    def known(cell):
        return lambda row: "" if row["difference"] is None else cell(row)

    columns = [
        Column("contrast", lambda row: row["label"]),
        Column("estimate", known(lambda row: signed(row["difference"])), True),
        Column("interval", known(interval), True),
        Column("verdict", lambda row: row["verdict"] or "not recorded yet"),
    ]
    return format_rows(rows, columns, "markdown")


def _arm(recipe):
    return f"{recipe.profile} {recipe.variant}"
