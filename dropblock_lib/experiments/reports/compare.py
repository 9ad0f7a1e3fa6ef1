"""Comparisons of variants over seeds: is a difference more than noise?"""

import itertools
import warnings
from collections.abc import Iterable

from dropblock_lib.arguments import invalid
from dropblock_lib.experiments.records.record import Record
from dropblock_lib.experiments.reports.columns import Column, format_rows
from dropblock_lib.variants import variant_order, variant_title


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

    >>> select(load_records(), network="custom_net", dataset="mnist", seed=0)
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
    """The history of every run, for `plots.learning_curves`.

    Args:
        records: Records that differ in nothing but variant and seed.

    Returns:
        Dict of variant -> list of histories by rising seed, in the order of
        `dropblock_lib.VARIANTS`.

    Raises:
        ValueError: If the records differ in more than variant and seed.
    """
    return _of_each_variant(records, lambda record: record.history)


def by_variant(
    records: Iterable[Record], metric: str = "test_accuracy"
) -> dict[str, list]:
    """One value per seed, for every variant.

    Args:
        records: Records that differ in nothing but variant and seed.
        metric: A key of `Record.final`.

    Returns:
        Dict of variant -> list of floats by rising seed, in the order of
        `dropblock_lib.VARIANTS`.

    Raises:
        ValueError: If the records differ in more than variant and seed.
    """
    return _of_each_variant(records, lambda record: record.final[metric])


def differences(
    records: Iterable[Record],
    baseline: str = "none",
    confidence: float = 0.95,
    metric: str = "test_accuracy",
) -> list[dict]:
    """Every variant against a baseline, with an interval for the difference.

    The interval is Welch's, which does not assume equal spreads. The confidence is
    that of each interval: of several 95 % intervals one may well miss.

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
    values = by_variant(records, metric)
    if baseline not in values:
        raise invalid("baseline", f"one of {list(values)}", baseline)
    _check_seeds(values)
    rows = []
    for variant, ours in values.items():
        if variant == baseline:
            continue
        row = _difference(ours, values[baseline], confidence)
        verdict = _verdict(row, higher="higher", lower="lower")
        rows.append({"variant": variant, **row, "verdict": verdict})
    return rows


def ranking(
    records: Iterable[Record], published: dict[str, float], confidence: float = 0.95
) -> list[dict]:
    """Whether a published ranking of the variants holds over the seeds.

    Args:
        records: As for `differences`.
        published: Dict of variant -> published accuracy.
        confidence: Float in (0, 1).

    Returns:
        List of dicts, one for every two variants that the published figures rank,
        widest published difference first: `better` and `worse` (variants, as
        published), `published` (their difference), `difference` (of our means),
        `low`, `high` and `verdict`: "holds", "is reversed" or "not told apart".

    Raises:
        ValueError: If a variant has a single seed, or none.
    """
    values = by_variant(records)
    missing = [variant for variant in published if variant not in values]
    if missing:
        raise invalid("records", "runs of every published variant", missing)
    _check_seeds(values)
    rows = []
    for better, worse in itertools.permutations(published, 2):
        if published[better] <= published[worse]:
            continue
        row = _difference(values[better], values[worse], confidence)
        rows.append(
            {
                "better": better,
                "worse": worse,
                "published": published[better] - published[worse],
                **row,
                "verdict": _verdict(row, higher="holds", lower="is reversed"),
            }
        )
    return sorted(rows, key=lambda row: -row["published"])


def format_differences(rows: list[dict]) -> str:
    """Rows of `differences` as a Markdown table, in percentage points.

    Args:
        rows: From `differences`.

    Returns:
        A string that ends in a newline.
    """
    columns = [
        Column("against plain", lambda row: variant_title(row["variant"])),
        Column("difference", lambda row: _percent(row["difference"]), True),
        Column(
            "interval",
            lambda row: f"{_percent(row['low'])} to {_percent(row['high'])}",
            True,
        ),
        Column("verdict", lambda row: row["verdict"]),
    ]
    return format_rows(rows, columns, "markdown")


def _percent(difference):
    return f"{100 * difference:+.2f}"


def _of_each_variant(records, value):
    """Variant -> values by rising seed, for records of one setting."""
    if len({record.setting for record in records}) != 1:
        raise invalid(
            "records",
            "records of one setting and backend, which differ in variant and seed only",
            [record.name for record in records],
        )
    ordered = sorted(records, key=lambda record: record.recipe.seed)
    values = {}
    for record in ordered:
        values.setdefault(record.recipe.variant, []).append(value(record))
    return {variant: values[variant] for variant in sorted(values, key=variant_order)}


def _check_seeds(values):
    single = [variant for variant, found in values.items() if len(found) < 2]
    if single:
        raise invalid("records", "two seeds or more for every variant", single)


def _difference(ours, theirs, confidence):
    """The difference of two means, with Welch's interval."""
    from scipy.stats import ttest_ind

    with warnings.catch_warnings():
        # SciPy warns of seeds without any spread: networks that make the same guesses.
        warnings.simplefilter("ignore", RuntimeWarning)
        test = ttest_ind(ours, theirs, equal_var=False)
    low, high = (float(end) for end in test.confidence_interval(confidence))
    return {"difference": _mean(ours) - _mean(theirs), "low": low, "high": high}


def _verdict(row, higher, lower):
    if row["low"] > 0:
        return higher
    return lower if row["high"] < 0 else "not told apart"


def _mean(values):
    return sum(values) / len(values)
