"""Comparisons of variants over seeds: is a difference more than noise?"""

from collections.abc import Iterable

from dropblock_lib.arguments import invalid
from dropblock_lib.experiments.records.record import Record
from dropblock_lib.experiments.reports.statistics import welch
from dropblock_lib.experiments.reports.verdicts import arms_of, arrange


def select(records: Iterable[Record], **fields) -> list[Record]:
    """The records whose recipes have the given values.

    Args:
        records: From `load_records`.
        **fields: Fields of `Recipe`, such as `network="resnet50"`.

    Returns:
        A list of records.

    Raises:
        ValueError: If no record has them.

    Example:

    >>> select(load_records(), network="custom_net", dataset="cifar10")
    """
    found = [
        record
        for record in records
        if all(getattr(record.recipe, key, None) == fields[key] for key in fields)
    ]
    if not found:
        raise invalid("fields", "values that some record has", fields)
    return found


def histories(records: Iterable[Record]) -> dict[str, list[dict]]:
    """The history of every run, for `plots.validation_curves`.

    Args:
        records: Records that differ in nothing but variant and seed.

    Returns:
        Dict of variant -> list of histories by ascending seed, in the order of
        `dropblock_lib.VARIANTS`.

    Raises:
        ValueError: If the records differ in more than variant and seed.
    """
    return _as_lists(arrange(records, lambda record: record.history))


def by_variant(
    records: Iterable[Record], metric: str = "test_accuracy"
) -> dict[str, list]:
    """One value per seed, for every variant.

    Args:
        records: As for `histories`.
        metric: As for `verdicts.arms_of`.

    Returns:
        Dict of variant -> list of floats by ascending seed, in the order of
        `dropblock_lib.VARIANTS`.

    Raises:
        ValueError: As for `histories`, or if a record has no such metric.
    """
    return _as_lists(arms_of(records, metric))


def differences(
    records: Iterable[Record],
    baseline: str = "none",
    confidence: float = 0.95,
    metric: str = "test_accuracy",
) -> list[dict]:
    """Compares every variant with a baseline, with an interval for the difference.

    The interval is Welch's, which does not assume equal spreads. The confidence is
    that of each interval: among several 95% intervals, one may well miss the true
    difference.

    Args:
        records: Records that differ in nothing but variant and seed, with at least
            two seeds per variant.
        baseline: The variant to compare with.
        confidence: Float in (0, 1).
        metric: A key of `Record.final`.

    Returns:
        List of dicts with `variant`, `difference` (of the means of `metric`),
        `low`, `high` and `verdict`: "higher", "lower" or "not told apart".

    Raises:
        ValueError: If the baseline is not among the records, or a variant has a
            single seed.
    """
    rows = welch(arms_of(records, metric), baseline, confidence)["rows"]
    return [{"variant": row["arm"], **_difference(row)} for row in rows]


def _as_lists(arms):
    return {arm: list(values.values()) for arm, values in arms.items()}


def _difference(row):
    """The entries of a row of `welch` that a comparison of two variants has."""
    low, high = row["pointwise"]
    return {
        "difference": row["difference"],
        "low": low,
        "high": high,
        "verdict": row["pointwise_verdict"],
    }
