"""Comparing variants over seeds."""

import dataclasses
import math
import warnings

import pytest
from records import make_record

from dropblock_lib.experiments.reports.compare import (
    by_variant,
    differences,
    histories,
    select,
)


def record(variant, seed, accuracy, **fields):
    return make_record(seed, variant, test_accuracy=accuracy, **fields)


PLAIN = [record("none", seed, a) for seed, a in enumerate((0.50, 0.52, 0.51))]


def test_values_are_ordered_by_seed_and_variants_as_in_the_library():
    records = [record("dropblock-3-0.9", 1, 0.2), record("dropblock-3-0.9", 0, 0.1)]
    assert list(by_variant(records + PLAIN).items()) == [
        ("none", [0.50, 0.52, 0.51]),
        ("dropblock-3-0.9", [0.1, 0.2]),
    ]


def test_records_of_two_settings_are_rejected():
    with pytest.raises(ValueError, match=r"`records`.*one setting"):
        by_variant([*PLAIN, record("dropout-0.25", 0, 0.5, epochs=3)])


def test_backends_are_never_pooled():
    with pytest.raises(ValueError, match=r"`records`.*one backend"):
        by_variant([*PLAIN, record("none", 3, 0.5, backend="torch")])


def test_seeds_that_agree_are_compared_without_a_warning():
    same = [record("spatial-0.7", seed, 0.1135) for seed in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [row] = differences(PLAIN + same)
    # Only plain training has a spread, 0.01, so there are two degrees of freedom, for
    # which 95% are within 4.303 standard errors.
    reach = 4.303 * 0.01 / math.sqrt(3)
    assert row["low"] == pytest.approx(0.1135 - 0.51 - reach, abs=1e-5)
    assert row["high"] == pytest.approx(0.1135 - 0.51 + reach, abs=1e-5)


def test_select_returns_records_with_all_the_values():
    records = [*PLAIN, record("dropout-0.25", 1, 0.5)]
    assert select(records, variant="none", seed=1) == [PLAIN[1]]
    assert select(records, epochs=2) == records
    with pytest.raises(ValueError, match=r"`fields`.*'variant': 'spatial-0.3'"):
        select(records, variant="spatial-0.3")


def test_histories_are_ordered_like_the_values():
    def with_history(variant, seed, loss):
        return dataclasses.replace(record(variant, seed, 0.5), history={"loss": [loss]})

    records = [
        with_history("dropout-0.25", 0, 3.0),
        with_history("none", 1, 2.0),
        with_history("none", 0, 1.0),
    ]
    assert list(histories(records).items()) == [
        ("none", [{"loss": [1.0]}, {"loss": [2.0]}]),
        ("dropout-0.25", [{"loss": [3.0]}]),
    ]


def test_welch_interval_agrees_with_its_formula():
    accuracies = (0.60, 0.64, 0.62)
    records = [record("dropout-0.25", s, a) for s, a in enumerate(accuracies)]
    (row,) = differences(records + PLAIN)
    # Sample variances 0.0004 and 0.0001; Welch and Satterthwaite's degrees of
    # freedom (a + b)^2 / (a^2 / 2 + b^2 / 2) with a, b the variances over 3.
    a, b = 0.0004 / 3, 0.0001 / 3
    freedom = (a + b) ** 2 / (a**2 / 2 + b**2 / 2)
    assert math.isclose(freedom, 50 / 17)
    quantile = 3.2199  # of Student's t at 0.975, by numerical integration below
    assert math.isclose(student_t_cdf(quantile, freedom), 0.975, abs_tol=2e-4)
    assert math.isclose(row["difference"], 0.11)
    half = quantile * math.sqrt(a + b)
    assert math.isclose(row["high"] - row["low"], 2 * half, rel_tol=5e-3)
    assert row["verdict"] == "higher"


def student_t_cdf(t, freedom, steps=20_000):
    """Integrates the density by the midpoint rule."""
    constant = math.gamma((freedom + 1) / 2) / (
        math.sqrt(freedom * math.pi) * math.gamma(freedom / 2)
    )
    width = t / steps
    area = sum(
        (1 + ((i + 0.5) * width) ** 2 / freedom) ** (-(freedom + 1) / 2)
        for i in range(steps)
    )
    return 0.5 + constant * area * width


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ((0.51, 0.50, 0.52), "not told apart"),
        ((0.30, 0.31, 0.32), "lower"),
    ],
)
def test_verdict(accuracies, verdict):
    records = [record("spatial-0.7", s, a) for s, a in enumerate(accuracies)]
    assert differences(records + PLAIN)[0]["verdict"] == verdict


def test_another_metric_is_compared_by_its_own_values():
    records = [
        record(variant, s, 0.5 + 0.01 * s)
        for variant in ("dropout-0.25", "none")
        for s in range(3)
    ]
    for one in records:
        worse = one.recipe.variant == "none"
        one.final["test_loss"] = 2 * worse + 0.1 * one.recipe.seed
    (row,) = differences(records, metric="test_loss")
    assert math.isclose(row["difference"], -2) and row["verdict"] == "lower"
    (row,) = differences(records)
    assert row["verdict"] == "not told apart"


def test_one_seed_has_no_spread_and_is_rejected():
    with pytest.raises(ValueError, match="two seeds"):
        differences([*PLAIN, record("dropout-0.25", 0, 0.6)])


def test_unknown_baseline_is_named():
    with pytest.raises(ValueError, match=r"`baseline`.*Received: baseline='plain'"):
        differences(PLAIN, baseline="plain")
