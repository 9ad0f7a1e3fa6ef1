"""The power of a blocked design, against the noncentral t and simulated tables."""

import math

import numpy as np
import pytest
from arms import as_arms, random_arms, rows_of

from dropblock_lib.experiments.reports.power import (
    detection_power,
    seeds_needed,
    smallest_detectable,
)
from dropblock_lib.experiments.reports.statistics import blocked


@pytest.mark.parametrize("simultaneous", [True, False])
def test_power_agrees_with_the_noncentral_t(simultaneous):
    from scipy.stats import nct, t

    arms, seeds, sd, difference = 4, 5, 0.7, 1.1
    critical = t.ppf(0.975, 12)
    if simultaneous:
        critical = blocked(random_arms(arms, seeds))["rows"][0]["critical_value"]
    expected = nct.sf(critical, 12, difference / (sd * math.sqrt(2 / seeds)))
    settings = (sd, arms, seeds, 0.95, simultaneous)
    assert detection_power(difference, *settings) == pytest.approx(expected)
    assert detection_power(-difference, *settings) == pytest.approx(expected)


def test_the_smallest_detectable_difference_is_found_with_the_stated_power():
    arms, seeds, trials = 5, 3, 400
    difference = smallest_detectable(0.5, arms, seeds, power=0.8)
    rng = np.random.default_rng(6)
    found = 0
    for _ in range(trials):
        values = rng.normal(0, 0.5, (arms, seeds)) + rng.normal(0, 2, seeds)
        values[2] += difference
        found += rows_of(blocked(as_arms(values)))["a2"]["verdict"] == "higher"
    # Four standard errors of a binomial count.
    assert abs(found / trials - 0.8) < 4 * math.sqrt(0.8 * 0.2 / trials)


def test_pointwise_power_agrees_with_published_values():
    # In units of the standard deviation of a paired difference; the published figures
    # are rounded to two decimals.
    sizes = {3: 1.85, 5: 1.33, 8: 1.03, 10: 0.91, 20: 0.63}
    for seeds, size in sizes.items():
        ours = smallest_detectable(math.sqrt(0.5), 5, seeds, simultaneous=False)
        assert ours == pytest.approx(size, abs=0.0051)
        assert ours < smallest_detectable(math.sqrt(0.5), 5, seeds)


def test_the_number_of_seeds_needed_is_the_smallest():
    for difference in (0.3, 0.65, 1.0, 5.0, -1.0):
        seeds = seeds_needed(difference, 0.5, arms=5)
        assert detection_power(difference, 0.5, 5, seeds) >= 0.8
        if seeds > 2:
            assert detection_power(difference, 0.5, 5, seeds - 1) < 0.8
    assert seeds == seeds_needed(1.0, 0.5, arms=5) > 2


def test_without_noise_two_seeds_are_enough():
    assert smallest_detectable(0.0, 3, 2) == 0
    assert seeds_needed(0.01, 0.0, arms=3) == 2
    assert detection_power(0.0, 0.0, 3, 2) == pytest.approx(
        detection_power(0.0, 1.0, 3, 2)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"residual_sd": -1.0}, r"`residual_sd`.*-1"),
        ({"arms": 1}, "`arms`.*at least 2"),
        ({"seeds": 1}, "`seeds`.*at least 2"),
        ({"power": 1.0}, r"`power`.*\(0, 1\)"),
    ],
)
def test_an_impossible_design_is_rejected(arguments, message):
    with pytest.raises(ValueError, match=message):
        smallest_detectable(**{"residual_sd": 0.5, "arms": 3, "seeds": 3, **arguments})


def test_a_difference_that_needs_too_many_seeds_is_rejected():
    with pytest.raises(ValueError, match=r"`difference`.*10 seeds.*0.001"):
        seeds_needed(0.001, 0.5, arms=3, most=10)
