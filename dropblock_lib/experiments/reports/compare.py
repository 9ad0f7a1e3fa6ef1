"""Is a variant better than plain training, or is that only the seeds?"""

import itertools
import warnings

from dropblock_lib.arguments import invalid
from dropblock_lib.experiments.reports.tables import setting_of
from dropblock_lib.variants import variant_order, variant_title


def select(records, **fields):
    """Those records whose recipe has the given values.

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
        if all(record["recipe"].get(key) == value for key, value in fields.items())
    ]
    if not found:
        raise invalid("fields", "values that some record has", fields)
    return found


def histories(records):
    """The history of every run, for `plots.learning_curves`.

    Args:
        records: Records that differ in nothing but variant and seed.

    Returns:
        Dict of variant -> list of histories by rising seed, in the order of
        `dropblock_lib.VARIANTS`.

    Raises:
        ValueError: If the records differ in more than variant and seed.
    """
    return _of_each_variant(records, lambda record: record["history"])


def by_variant(records, metric="test_accuracy"):
    """One value a seed, for every variant.

    Args:
        records: Records that differ in nothing but variant and seed.
        metric: A key of a record's `"final"`.

    Returns:
        Dict of variant -> list of floats by rising seed, in the order of
        `dropblock_lib.VARIANTS`.

    Raises:
        ValueError: If the records differ in more than variant and seed.
    """
    return _of_each_variant(records, lambda record: record["final"][metric])


def differences(records, baseline="none", confidence=0.95, metric="test_accuracy"):
    """Every variant against a baseline, with an interval for the difference.

    The interval is Welch's, which does not take the two spreads to be equal. Each
    is a statement on its own: of several 95 % intervals one may well miss.

    Args:
        records: Records that differ in nothing but variant and seed, with at least
            two seeds a variant.
        baseline: The variant to compare with.
        confidence: Float in (0, 1).
        metric: A key of a record's `"final"`.

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


def ranking(records, published, confidence=0.95):
    """Does a published ranking of the variants hold over the seeds?

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


def format_differences(rows):
    """Rows of `differences` as a Markdown table, in percentage points.

    Args:
        rows: From `differences`.

    Returns:
        A string that ends in a newline.
    """
    lines = [
        "| against plain | difference | interval | verdict |",
        "| :-- | :-: | :-: | :-- |",
    ]
    for row in rows:
        difference, low, high = (
            f"{100 * row[end]:+.2f}" for end in ("difference", "low", "high")
        )
        cells = (
            variant_title(row["variant"]),
            difference,
            f"{low} to {high}",
            row["verdict"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _of_each_variant(records, value):
    """Dict of variant -> values by rising seed, of records of one setting."""
    settings = {setting_of(record) for record in records}
    if len(settings) != 1:
        raise invalid(
            "records",
            "records of one setting and backend, which differ in variant and seed only",
            [record["name"] for record in records],
        )
    ordered = sorted(records, key=lambda record: record["recipe"]["seed"])
    values = {}
    for record in ordered:
        values.setdefault(record["recipe"]["variant"], []).append(value(record))
    return {variant: values[variant] for variant in sorted(values, key=variant_order)}


def _check_seeds(values):
    single = [variant for variant, found in values.items() if len(found) < 2]
    if single:
        raise invalid("records", "two seeds or more for every variant", single)


def _difference(ours, theirs, confidence):
    """Difference of two means, with Welch's interval."""
    from scipy.stats import ttest_ind

    with warnings.catch_warnings():
        # Seeds may agree to the last image: networks that always guess the same.
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
