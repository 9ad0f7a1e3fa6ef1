"""Verdicts on the variants in records, and their tables on pages."""

import functools
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from statistics import fmean
from typing import Any

from dropblock_lib.arguments import invalid
from dropblock_lib.experiments.records.record import Record
from dropblock_lib.experiments.reports.columns import markdown, signed
from dropblock_lib.experiments.reports.statistics import Arms, blocked
from dropblock_lib.variants import variant_order, variant_title

DID_NOT_LEARN = "did not learn"


def arms_of(
    records: Iterable[Record],
    metric: str = "test_accuracy",
    label: Callable[[Record], str] | None = None,
) -> dict[str, dict[int, float]]:
    """Arranges records by arm and seed.

    Args:
        records: From `load_records`: of one backend and on the same data.
        metric: A key of `Record.final`, or keys joined by dots for a nested value,
            such as "recalibrated.test_accuracy".
        label: Function from a record to the name of its arm, for arms that differ in
            fields other than the variant. By default the name is the variant's, and
            the recipes must differ in variant and seed only.

    Returns:
        Dict of arm name -> dict of seed -> value; NaN for a loss that was not finite.
        Arms are in the order of `dropblock_lib.VARIANTS`, those of one variant in the
        order of the records; seeds ascend.

    Raises:
        ValueError: If there is no record, backends or data are mixed, an arm has two
            recipes or two records of a seed, or a record has no such metric.

    Example:

    >>> records = select(load_records(), profile="slides", network="custom_net")
    >>> arms_of(records)["none"]
    """
    records = list(records)
    *groups, key = metric.split(".")

    def holder(record):
        """The part of `final` that has the value, or an empty dict."""
        found = record.final
        for group in groups:
            found = found.get(group) or {}
        return found

    without = [record.name for record in records if key not in holder(record)]
    if without:
        raise invalid("metric", f"one that every record has, unlike {without}", metric)

    def value(record):
        found = holder(record)[key]
        return math.nan if found is None else float(found)

    return arrange(records, value, label)


def arrange(
    records: Iterable[Record],
    value: Callable[[Record], Any],
    label: Callable[[Record], str] | None = None,
) -> dict[str, dict[int, Any]]:
    """Arranges any values of records by arm and seed, as `arms_of` does.

    Args:
        records, label: As for `arms_of`.
        value: Function from a record to its value.

    Raises:
        ValueError: As for `arms_of`, except for the metric.
    """
    records = list(records)
    if not records:
        raise invalid("records", "at least one record", records)
    for what, values in (
        ("of one backend", {record.backend for record in records}),
        ("on the same data", {record.data.sha256 for record in records}),
    ):
        if len(values) > 1:
            expected = f"records {what}; select one of them"
            raise invalid("records", expected, sorted(values))
    if label is None and len({record.setting for record in records}) > 1:
        expected = (
            "recipes of one setting, which differ in variant and seed only, or a "
            "`label` that names the arms"
        )
        raise invalid("records", expected, [record.name for record in records])

    arms, recipes = {}, {}
    for record in sorted(
        records, key=lambda r: (variant_order(r.recipe.variant), r.recipe.seed)
    ):
        recipe = record.recipe
        arm = label(record) if label else recipe.variant
        found = arms.setdefault(arm, {})
        if recipe.seed in found:
            expected = "one record for an arm and a seed"
            raise invalid("records", expected, (arm, recipe.seed))
        all_but_seed = (record.setting, recipe.variant, recipe.regularizer)
        if recipes.setdefault(arm, all_but_seed) != all_but_seed:
            raise invalid("records", "one recipe for an arm, except for the seed", arm)
        found[recipe.seed] = value(record)
    return arms


def did_not_learn(train_accuracy: Arms, baseline: str = "none") -> list[str]:
    """Names the arms that hardly learned their own training images.

    Their mean training accuracy, measured at inference, is below a third of the
    baseline's. Such an arm says nothing about regularization.

    Args:
        train_accuracy: Dict of arm name -> dict of seed -> training accuracy.
        baseline: The arm to compare with.

    Returns:
        List of arm names, in the order of `train_accuracy`.

    Raises:
        ValueError: If the baseline is not among the arms, an arm has no seed, or the
            baseline's values are not finite.

    Example:

    >>> did_not_learn({"none": {0: 0.99}, "dropout": {0: 0.95}, "spatial": {0: 0.1}})
    ['spatial']
    """
    if baseline not in train_accuracy:
        expected = f"one of the arms in `train_accuracy`, {list(train_accuracy)}"
        raise invalid("baseline", expected, baseline)
    without = [arm for arm, values in train_accuracy.items() if not values]
    if without:
        raise invalid("train_accuracy", "at least one seed for every arm", without)
    means = {arm: fmean(values.values()) for arm, values in train_accuracy.items()}
    if not math.isfinite(means[baseline]):
        expected = "finite numbers for the baseline"
        raise invalid("train_accuracy", expected, means[baseline])
    # A comparison with NaN is false: a run that diverged did not learn either.
    return [arm for arm, mean in means.items() if not mean >= means[baseline] / 3]


def verdicts(
    arms: Arms,
    train_accuracy: Arms,
    baseline: str = "none",
    confidence: float = 0.95,
    apart: Collection[str] | None = (),
) -> dict:
    """Compares the arms that learned by `blocked`, and lists those that did not.

    Args:
        arms: Dict of arm name -> dict of seed -> value.
        train_accuracy: The training accuracies of the same arms.
        baseline: The arm to compare with.
        confidence: Float in (0, 1).
        apart: As for `blocked`; arms that did not learn are ignored.

    Returns:
        The dict of `blocked` on the arms that learned, with `did_not_learn` (list of
        arm names) and `rows` in the order of `arms`. The row of an arm that did not
        learn has the verdict "did not learn", its mean difference from the baseline
        over the seeds that both have (`None` if there is none or a value is not
        finite), and `None` in place of every other number. If only the baseline
        learned, the numbers of the analysis are `None`, too.

    Raises:
        ValueError: As for `blocked` and `did_not_learn`, or if an arm has no training
            accuracies.

    Example:

    >>> tested = {"none": {0: 0.60, 1: 0.61}, "a": {0: 0.62, 1: 0.63}, "b": {0: 0.1}}
    >>> trained = {"none": {0: 0.9, 1: 0.9}, "a": {0: 0.8, 1: 0.8}, "b": {0: 0.1}}
    >>> [row["verdict"] for row in verdicts(tested, trained)["rows"]]
    ['higher', 'did not learn']
    """
    missing = [arm for arm in arms if arm not in train_accuracy]
    if missing:
        received = f"train_accuracy without {missing}"
        raise invalid("train_accuracy", "values for every arm", received=received)
    not_learned = did_not_learn({arm: train_accuracy[arm] for arm in arms}, baseline)
    learned = {arm: values for arm, values in arms.items() if arm not in not_learned}
    if not_learned and len(learned) == 1:
        numbers = ("residual_sd", "degrees_of_freedom", "seed_p")
        result = {
            "baseline": baseline,
            "confidence": confidence,
            "seeds": sorted(arms[baseline]),
            "left_out": {},
            "uneven": [],
            "rows": [],
            **dict.fromkeys(numbers),
        }
    else:
        if apart is not None:
            apart = [arm for arm in apart if arm not in not_learned]
        result = blocked(learned, baseline, confidence, apart)
    rows = {row["arm"]: row for row in result["rows"]}
    for arm in not_learned:
        rows[arm] = {
            "arm": arm,
            "difference": _mean_difference(arms[arm], arms[baseline]),
            **dict.fromkeys(("standard_error", "degrees_of_freedom", "critical_value")),
            **dict.fromkeys(("pointwise", "simultaneous", "p")),
            "verdict": DID_NOT_LEARN,
            "pointwise_verdict": DID_NOT_LEARN,
        }
    ordered = [rows[arm] for arm in arms if arm != baseline]
    return {**result, "did_not_learn": not_learned, "rows": ordered}


def verdict_table(
    records: Collection[Record],
    baseline: str = "none",
    metric: str = "test_accuracy",
    label: Callable[[Record], str] | None = None,
    confidence: float = 0.95,
    learned_by: str | None = "train_accuracy",
    apart: Collection[str] | None = (),
) -> dict:
    """`verdicts` of records, for `format_verdicts`.

    Args:
        records, metric, label: As for `arms_of`.
        baseline, confidence: As for `verdicts`.
        learned_by: The key of `final` that shows whether an arm learned, or `None` to
            compare all arms.
        apart: As for `verdicts`.

    Returns:
        As for `verdicts`.

    Raises:
        ValueError: As for `arms_of` and `verdicts`.
    """
    arms = arms_of(records, metric, label)
    if learned_by is None:
        return {**blocked(arms, baseline, confidence, apart), "did_not_learn": []}
    trained = arms_of(records, learned_by, label)
    return verdicts(arms, trained, baseline, confidence, apart)


def format_verdicts(table: dict, factor: float = 100, digits: int = 2) -> str:
    """A table of `verdicts` as Markdown, with a line on how it was made.

    Args:
        table: From `verdict_table` or `verdicts`.
        factor: What values are multiplied by: 100 for percentage points of an
            accuracy, 1 for a loss.
        digits: Number of decimal places.

    Returns:
        A string that ends in a newline.
    """
    cell = functools.partial(signed, factor=factor, digits=digits)
    rows = [
        [
            variant_title(row["arm"]),
            cell(row["difference"]),
            " to ".join(map(cell, row["simultaneous"] or ())),
            row["verdict"],
        ]
        for row in table["rows"]
    ]
    baseline = f"against {variant_title(table['baseline'])}"
    heading = [baseline, "difference", "simultaneous interval", "verdict"]
    text = markdown(heading, rows, [":--", ":-:", ":-:", ":--"])

    seeds = table["seeds"]
    notes = [f"Random seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"]
    if table["residual_sd"] is not None:
        notes += [
            f"residual s.d. {factor * table['residual_sd']:.{digits}f} with "
            f"{table['degrees_of_freedom']} degrees of freedom",
            f"Dunnett's intervals of {100 * table['confidence']:g}%",
        ]
    notes += [
        f"{variant_title(arm)} may vary more than the others, so comparisons with it "
        "use a variance of its own"
        for arm in table["uneven"]
    ]
    for seed, arms in table["left_out"].items():
        lacking = ", ".join(map(variant_title, arms))
        notes.append(f"random seed {seed} is left out (no run of {lacking})")
    return f"{text}\n{'; '.join(notes)}.\n"


def format_sentence(table: dict) -> str:
    """A table of `verdicts` as one sentence of Markdown, without numbers.

    Args:
        table: From `verdict_table` or `verdicts`.
    """
    groups = {}
    for row in table["rows"]:
        groups.setdefault(row["verdict"], []).append(variant_title(row["arm"]))
    order = ("higher", "lower", "not told apart", DID_NOT_LEARN)
    return (
        f"**Against {_name(table['baseline'])}** over {len(table['seeds'])} runs: "
        f"{join_groups(groups, order)}."
    )


def join_groups(groups: Mapping[str, list[str]], order: Iterable[str]) -> str:
    """Lists with headings in one line: "higher: a, b; lower: c"."""
    found = (f"{key}: {', '.join(groups[key])}" for key in order if key in groups)
    return "; ".join(found)


def _name(baseline):
    return "plain training" if baseline == "none" else variant_title(baseline)


def _mean_difference(values, baseline):
    """Over the seeds that both have; `None` if there is none or it is not finite."""
    differences = [values[seed] - baseline[seed] for seed in values if seed in baseline]
    mean = fmean(differences) if differences else math.nan
    return mean if math.isfinite(mean) else None
