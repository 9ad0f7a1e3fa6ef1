"""Is a variant better than plain training, or is that only the seeds?"""

from dropblock_lib.arguments import invalid
from dropblock_lib.variants import LABELS, VARIANTS


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
    settings = {_setting(record) for record in records}
    if len(settings) != 1:
        raise invalid(
            "records",
            "records of one setting, which differ in variant and seed only",
            [record["name"] for record in records],
        )
    ordered = sorted(records, key=lambda record: record["recipe"]["seed"])
    values = {
        variant: [
            record["final"][metric]
            for record in ordered
            if record["recipe"]["variant"] == variant
        ]
        for variant in VARIANTS
    }
    return {variant: found for variant, found in values.items() if found}


def differences(records, baseline="none", confidence=0.95):
    """Every variant against a baseline, with an interval for the difference.

    The interval is Welch's, which does not take the two spreads to be equal. Each
    is a statement on its own: of several 95 % intervals one may well miss.

    Args:
        records: Records that differ in nothing but variant and seed, with at least
            two seeds a variant.
        baseline: The variant to compare with.
        confidence: Float in (0, 1).

    Returns:
        List of dicts with `variant`, `difference` (of mean test accuracies),
        `low`, `high` and `verdict`: "higher", "lower" or "not told apart".

    Raises:
        ValueError: If the baseline is not among the records, or a variant has a
            single seed.
    """
    from scipy.stats import ttest_ind

    values = by_variant(records)
    if baseline not in values:
        raise invalid("baseline", f"one of {list(values)}", baseline)
    single = [variant for variant, found in values.items() if len(found) < 2]
    if single:
        raise invalid("records", "two seeds or more for every variant", single)

    rows = []
    for variant, accuracies in values.items():
        if variant == baseline:
            continue
        test = ttest_ind(accuracies, values[baseline], equal_var=False)
        low, high = (float(end) for end in test.confidence_interval(confidence))
        verdict = "higher" if low > 0 else "lower" if high < 0 else "not told apart"
        rows.append(
            {
                "variant": variant,
                "difference": _mean(accuracies) - _mean(values[baseline]),
                "low": low,
                "high": high,
                "verdict": verdict,
            }
        )
    return rows


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
        cells = (LABELS[row["variant"]], difference, f"{low} to {high}", row["verdict"])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _setting(record):
    recipe = {
        field: value
        for field, value in record["recipe"].items()
        if field not in ("variant", "seed")
    }
    return (*sorted(recipe.items()), record["data"]["sha256"])


def _mean(values):
    return sum(values) / len(values)
