"""The records of a grid: which of its runs are done, and their results."""

import collections
import dataclasses
import fnmatch
import math
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import fmean

from dropblock_lib.arguments import check_choice, invalid
from dropblock_lib.experiments.recipes.grids import as_list, read_grid
from dropblock_lib.experiments.recipes.recipe import Recipe
from dropblock_lib.experiments.records.record import Record, comparable, load_records
from dropblock_lib.experiments.reports.statistics import blocked, contrasts
from dropblock_lib.experiments.reports.verdicts import arms_of, did_not_learn
from dropblock_lib.variants import get_variant

# The verdict on a contrast with an arm that did not learn.
NOT_LEARNED = "an arm did not learn"
_BLOCKS: dict[object, str] = {1: "units (Dropout)", 32: "whole maps (SpatialDropout)"}


@dataclasses.dataclass(frozen=True)
class GridRecords:
    """Runs of a grid, and the records of those that are done.

    An *arm* is a variant in a profile, named "PROFILE VARIANT". A random seed is
    *complete* if every arm is recorded with it, except for arms that did not learn,
    which need only one run.

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
    def did_not_learn(self) -> list[str]:
        """The arms that did not learn, see `verdicts.did_not_learn`.

        The baseline is plain training. If it has several arms, or none is recorded,
        the baseline is the one that learned most. Detectors are never among them,
        because they have no training accuracy.
        """
        measured = [r for r in self.records if "train_accuracy" in r.final]
        if not measured:
            return []
        trained = arms_of(measured, "train_accuracy", arm_of)
        plain = [arm for arm in trained if arm.endswith(" none")] or [*trained]
        best = max(plain, key=lambda arm: fmean(trained[arm].values()))
        return did_not_learn(trained, best)

    @property
    def seeds(self) -> list[int]:
        """The complete random seeds, in ascending order."""
        arms = {arm_of(recipe) for recipe in self.recipes} - {*self.did_not_learn}
        by_seed = collections.defaultdict(set)
        for record in self.records:
            by_seed[record.recipe.seed].add(arm_of(record.recipe))
        return sorted(seed for seed, found in by_seed.items() if found >= arms)

    @property
    def compared(self) -> list[Record]:
        """The records of complete seeds, and those of arms that did not learn.

        If no seed is complete, these are all records.
        """
        seeds, not_learned = self.seeds, self.did_not_learn
        return [
            record
            for record in self.records
            if not seeds
            or record.recipe.seed in seeds
            or arm_of(record.recipe) in not_learned
        ]

    @property
    def status(self) -> str:
        """How many runs are recorded, in Markdown."""
        return f"**{len(self.records)} of {len(self.recipes)} runs recorded.**"

    @property
    def account(self) -> str:
        """How many runs are recorded, how long they took, and how to repeat them."""
        command = f"`{self.command}`"
        if not self.records:
            return f"{self.status} To run them: {command}."
        seconds = sum(record.seconds for record in self.records)
        machines = {_machine(record.hardware) for record in self.records}
        count = len(self.records)
        they, them = ("It", "it") if count == 1 else ("They", "them")
        each = f" ({seconds / count / 60:.0f} minutes each)" if count > 1 else ""
        # With the folder of the records, it would skip the runs that have one.
        return (
            f"{self.status} {they} took {seconds / 3600:.1f} hours{each} on "
            f"{', '.join(sorted(machines))}, with {self.records[0].backend}. To repeat "
            f"{them} in a new folder: `{self.command} --results repeated`."
        )

    def arms(self, metric: str = "test_accuracy") -> dict[str, dict[int, float]]:
        """A metric, as for `arms_of`, of the complete seeds.

        Returns a dict of arm -> dict of seed -> value.

        Arms that did not learn, or that have a value that is not finite, are left out.
        """
        seeds, not_learned = self.seeds, self.did_not_learn
        records = [
            record
            for record in self.records
            if record.recipe.seed in seeds and arm_of(record.recipe) not in not_learned
        ]
        if not records:
            return {}
        arms = arms_of(records, metric, arm_of)
        return {a: v for a, v in arms.items() if all(map(math.isfinite, v.values()))}

    def effects(
        self,
        named: Mapping[str, Mapping[str, float]],
        metric: str = "test_accuracy",
        apart: Collection[str] | None = (),
    ) -> list[dict]:
        """Contrasts of the arms, for `effects_table` and `plots.effects`.

        Args:
            named, apart: As for `statistics.contrasts`.
            metric: As for `arms_of`.

        Returns:
            List of dicts with `label`, `difference`, `low`, `high` (the simultaneous
            interval), `verdict` (Holm's), `runs`, the number of complete seeds, and
            `uneven`, the arms that vary more than the others and have a variance of
            their own, see `statistics.contrasts`. With a single run, only the
            difference is set. For a contrast with an arm that did not learn or has a
            value that is not finite, only the verdict is set, to "an arm did not
            learn", and Holm's method does not count it.

        Raises:
            ValueError: If a contrast names an arm that is not planned, or as for
                `statistics.contrasts`.
        """
        planned = sorted({arm_of(recipe) for recipe in self.recipes})
        unknown = {arm for weights in named.values() for arm in weights} - {*planned}
        if unknown:
            raise invalid("named", f"arms among {planned}", sorted(unknown))
        runs = len(self.seeds)
        arms = self.arms(metric) if runs else {}
        known = {name: w for name, w in named.items() if {*w} <= {*arms}}
        rows, uneven = {}, []
        if runs > 1 and known:
            found = contrasts(arms, known, apart=apart)
            uneven = found["uneven"]
            for row in found["rows"]:
                low, high = row["simultaneous"]
                rows[row["contrast"]] = {
                    "difference": row["estimate"],
                    "low": low,
                    "high": high,
                    "verdict": row["verdict"],
                }
        elif runs:
            for name, weights in known.items():
                each = [w * fmean(arms[arm].values()) for arm, w in weights.items()]
                rows[name] = {"difference": math.fsum(each)}
        empty = dict.fromkeys(("difference", "low", "high", "verdict"))
        left_out = empty | {"verdict": NOT_LEARNED if runs else None}
        return [
            {"label": name, **empty, **rows.get(name, left_out), "runs": runs}
            | {"uneven": uneven}
            for name in named
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
        arms = self.arms(metric)
        variants = {arm_of(recipe): recipe.variant for recipe in self.recipes}
        plain = next((arm for arm, name in variants.items() if name == "none"), None)
        if plain not in arms:
            return {}
        half = {}
        if len(self.seeds) > 1 and len(arms) > 1:
            half = {
                row["arm"]: row["pointwise"][1] - row["difference"]
                for row in blocked(arms, plain)["rows"]
            }
        lines = {}
        for arm, variant in variants.items():
            if arm not in arms or arm == plain:
                continue
            line = lines.setdefault(
                block_title(variant), {"variant": variant, "x": [], "y": []}
            )
            for at, dose in ((plain, 0.0), (arm, dose_of(variant))):
                if dose in line["x"]:
                    continue
                mean = fmean(arms[at].values())
                line["x"].append(dose)
                line["y"].append(mean)
                if half:
                    reach = half.get(at, 0.0)
                    line.setdefault("low", []).append(mean - reach)
                    line.setdefault("high", []).append(mean + reach)
        return lines


def recorded(
    grid: str,
    profile: str | list[str] = "*",
    records: Iterable[Record] | None = None,
    variants: Sequence[str] | None = None,
    *,
    network: str | None = None,
    dataset: str | None = None,
) -> GridRecords:
    """The records of a grid, or of some of its runs.

    If there are records of several backends or data sets, the most frequent are used:
    results of different backends are never compared.

    Args:
        grid: Path of a grid, or the name of a grid of the book, such as "dose".
        profile: Pattern of its profiles, or a list of patterns.
        records: Records to choose from. By default those of `load_records()`.
        variants: Names of the variants. By default all of them.
        network, dataset: Name of a network and of a data set. By default all.

    Returns:
        A `GridRecords`.

    Raises:
        ValueError: As for `read_grid`, or if the grid has no such profile, variant,
            network or data set.

    Example:

    >>> recorded("slides", network="custom_net", dataset="mnist").status
    """
    patterns = as_list(profile)
    planned = read_grid(grid)
    profiles = sorted({recipe.profile for recipe in planned})
    for pattern in patterns:
        if not fnmatch.filter(profiles, pattern):
            expected = f"one of {', '.join(profiles)}, or a pattern of them"
            raise invalid("profile", expected, received=repr(pattern))
    if variants is not None:
        variants = as_list(variants) if isinstance(variants, str) else list(variants)
        known = sorted({recipe.variant for recipe in planned})
        for variant in variants:
            check_choice("variants", variant, known)
    for field, value in (("network", network), ("dataset", dataset)):
        if value is not None:
            check_choice(field, value, sorted({getattr(r, field) for r in planned}))
    recipes = {
        recipe.hash: recipe
        for recipe in planned
        if any(fnmatch.fnmatchcase(recipe.profile, pattern) for pattern in patterns)
        and (variants is None or recipe.variant in variants)
        and network in (None, recipe.network)
        and dataset in (None, recipe.dataset)
    }
    records = load_records() if records is None else records
    found = comparable(record for record in records if record.recipe.hash in recipes)
    by_hash = {record.recipe.hash: record for record in found}
    command = ["python", "-m", "dropblock_lib.experiments", "run", "--grid"]
    command.append(str(grid))
    chosen = {
        "--profile": () if patterns == ["*"] else patterns,
        "--network": [network] if network else (),
        "--dataset": [dataset] if dataset else (),
        "--variant": variants or (),
    }
    for option, values in chosen.items():
        command += [option, *values] if values else []
    return GridRecords(
        recipes=tuple(recipes.values()),
        records=tuple(by_hash[key] for key in recipes if key in by_hash),
        command=shlex.join(command),
    )


def _machine(hardware):
    cores = hardware["cores"]
    processor = f"{hardware['cpu']} ({cores} core{'s' * (cores != 1)})"
    return next(iter(hardware["gpus"]), processor)


def arm_of(run: Recipe | Record) -> str:
    """The name of a run's arm: "PROFILE VARIANT"."""
    recipe = run.recipe if isinstance(run, Record) else run
    return f"{recipe.profile} {recipe.variant}"


def block_title(variant: str) -> str:
    """The block size of a DropBlock, in words."""
    block = get_variant(variant).block_size
    return _BLOCKS.get(block, f"blocks of {block}")


def dose_of(variant: str) -> float:
    """The share of units that a variant drops, if its gamma is exact."""
    return round(1 - (get_variant(variant).keep_prob or 1.0), 6)
