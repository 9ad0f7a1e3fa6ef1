"""The statistics of variants and seeds, against independent computations."""

import math
import warnings

import numpy as np
import pytest
from arms import as_arms, random_arms, rows_of

from dropblock_lib.experiments.reports.statistics import (
    blocked,
    contrasts,
    holm,
    image_bootstrap,
    mcnemar,
    three_verdicts,
    uneven_arms,
    unpaired,
    welch,
)
from dropblock_lib.experiments.reports.verdicts import format_verdicts

DROP_BLOCKS = ("dropblock-3-0.9", "dropblock-7-0.9")


def least_squares(arms):
    """Statsmodels' fit of arm + seed, with "none" as the reference arm."""
    formulas = pytest.importorskip(
        "statsmodels.formula.api", reason="needs the extra dev"
    )
    long = [
        (arm, str(seed), value)
        for arm, values in arms.items()
        for seed, value in values.items()
    ]
    data = dict(
        zip(("arm", "seed", "value"), map(list, zip(*long, strict=True)), strict=True)
    )
    return formulas.ols("value ~ C(arm, Treatment('none')) + C(seed)", data).fit()


# The blocked analysis


@pytest.mark.parametrize(("arms", "seeds"), [(2, 2), (3, 5), (5, 3), (13, 5)])
def test_blocked_analysis_agrees_with_least_squares(arms, seeds):
    values = random_arms(arms, seeds, rng_seed=arms)
    fit, result = least_squares(values), blocked(values)
    assert result["degrees_of_freedom"] == fit.df_resid == (arms - 1) * (seeds - 1)
    assert result["residual_sd"] == pytest.approx(math.sqrt(fit.mse_resid))
    assert len(result["rows"]) == arms - 1
    intervals = fit.conf_int(alpha=0.05)
    for row in result["rows"]:
        term = f"C(arm, Treatment('none'))[T.{row['arm']}]"
        assert row["difference"] == pytest.approx(fit.params[term])
        assert row["standard_error"] == pytest.approx(fit.bse[term])
        assert row["pointwise"] == pytest.approx(tuple(intervals.loc[term]))


def test_seed_effect_agrees_with_the_analysis_of_variance():
    anova = pytest.importorskip("statsmodels.stats.anova", reason="needs the extra dev")
    values = random_arms(4, 3)
    table = anova.anova_lm(least_squares(values))
    expected = table.loc["C(seed)", "PR(>F)"]
    assert blocked(values)["seed_p"] == pytest.approx(expected)


def test_two_arms_give_the_paired_t_test():
    from scipy.stats import ttest_rel

    values = random_arms(2, 6)
    test = ttest_rel([*values["a1"].values()], [*values["none"].values()])
    (row,) = blocked(values)["rows"]
    assert row["p"] == pytest.approx(test.pvalue)
    assert row["pointwise"] == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert row["simultaneous"] == pytest.approx(row["pointwise"])


def test_incomplete_seeds_are_left_out_and_reported():
    values = random_arms(3, 4)
    complete = {arm: {s: found[s] for s in (0, 2)} for arm, found in values.items()}
    del values["a1"][1], values["a2"][1], values["a2"][3]
    result = blocked(values)
    assert result["seeds"] == [0, 2]
    assert result["left_out"] == {1: ["a1", "a2"], 3: ["a2"]}
    assert result["rows"] == blocked(complete)["rows"]


@pytest.mark.parametrize("analysis", [blocked, unpaired, welch, three_verdicts])
def test_any_arm_can_be_the_baseline(analysis):
    values = random_arms(2, 3)
    (there,), (back,) = (
        [row for row in analysis(values, baseline)["rows"]][-1:]
        for baseline in ("none", "a1")
    )
    assert (there["arm"], back["arm"]) == ("a1", "none")
    assert back["difference"] == pytest.approx(-there["difference"])
    assert back["simultaneous"] == pytest.approx(
        tuple(-end for end in reversed(there["simultaneous"]))
    )


@pytest.mark.parametrize("analysis", [blocked, unpaired, welch, three_verdicts])
def test_arms_without_any_spread_are_compared_without_a_warning(analysis):
    values = as_arms(np.array([0.1, 0.1, 0.3])[:, None] + [0.0, 0.0, 0.0])
    if analysis is blocked:  # what is left without seed effects
        values = as_arms(np.array([0.1, 0.1, 0.3])[:, None] + [0.0, 0.1, 0.7])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = rows_of(analysis(values))
    assert rows["a1"]["verdict"] == "not told apart" and rows["a1"]["p"] == 1
    assert rows["a2"]["verdict"] == "higher" and rows["a2"]["p"] == 0
    assert rows["a2"]["simultaneous"] == pytest.approx((0.2, 0.2))


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ({"none": {0: 1.0, 1: 2.0}}, r"`arms`.*at least two arms"),
        ({"none": {0: 1.0, 1: 2.0}, "a": {1: 2.0, 2: 2.0}}, r"`arms`.*two seeds"),
        ({"none": {0: 1.0, 1: math.nan}, "a": {0: 2.0, 1: 2.0}}, r"`arms`.*finite"),
        ({"plain": {0: 1.0, 1: 2.0}, "a": {0: 2.0, 1: 1.0}}, r"`baseline`.*'none'"),
    ],
)
def test_arms_that_cannot_be_compared_are_rejected(arms, message):
    with pytest.raises(ValueError, match=message):
        blocked(arms)
    with pytest.raises(ValueError, match=message.replace("two seeds", "two")):
        three_verdicts(arms)


def test_confidence_must_be_a_probability():
    with pytest.raises(ValueError, match=r"`confidence`.*\(0, 1\).*95"):
        blocked(random_arms(2, 2), confidence=95)


# Dunnett's intervals


@pytest.mark.parametrize("sizes", [(3, 3, 3, 3), (9, 4, 3, 7)])
def test_unpaired_analysis_agrees_with_scipys_dunnett(sizes):
    from scipy.stats import dunnett

    rng = np.random.default_rng(1)
    samples = [rng.normal(0.02 * arm, 0.02, n) for arm, n in enumerate(sizes)]
    arms = as_arms(samples)
    # SciPy's integral and its root are random; the tolerances are their errors.
    test = dunnett(*samples[1:], control=samples[0], rng=np.random.default_rng(0))
    interval = test.confidence_interval(0.95)
    for i, row in enumerate(unpaired(arms)["rows"]):
        assert row["p"] == pytest.approx(test.pvalue[i], abs=2e-4)
        half = (interval.high[i] - interval.low[i]) / 2
        assert row["difference"] == pytest.approx(interval.low[i] + half)
        ours = (row["simultaneous"][1] - row["simultaneous"][0]) / 2
        assert ours == pytest.approx(half, rel=5e-3)


@pytest.mark.parametrize(
    ("arms", "freedom", "published"),
    # Dunnett's table for two-sided comparisons at 5 %, which has two decimals.
    [(3, 6, 2.86), (4, 6, 3.10), (5, 8, 3.02), (5, 20, 2.65), (5, 60, 2.51)],
)
def test_critical_values_are_those_of_dunnetts_table(arms, freedom, published):
    values = random_arms(arms, freedom // (arms - 1) + 1)
    result = blocked(values)
    assert result["degrees_of_freedom"] == freedom
    assert result["rows"][0]["critical_value"] == pytest.approx(published, abs=0.0051)


@pytest.mark.parametrize(("arms", "seeds"), [(3, 2), (5, 3), (13, 5)])
def test_critical_values_have_the_stated_probability(arms, seeds):
    from scipy.stats import multivariate_t

    result = blocked(random_arms(arms, seeds), confidence=0.9)
    critical = result["rows"][0]["critical_value"]
    correlations = 0.5 + 0.5 * np.eye(arms - 1)
    joint = multivariate_t(shape=correlations, df=(arms - 1) * (seeds - 1), seed=0)
    limits = np.full(arms - 1, critical)
    inside = joint.cdf(limits, lower_limit=-limits, maxpts=200_000)
    assert inside == pytest.approx(0.9, abs=5e-4)  # a random integral's own error


def test_simultaneous_intervals_have_the_stated_coverage():
    rng = np.random.default_rng(5)
    trials, arms, seeds = 400, 5, 3
    critical = blocked(random_arms(arms, seeds))["rows"][0]["critical_value"]
    truth = np.array([0.0, 0.3, -0.2, 0.0, 1.0])
    covered = alone = 0
    for _ in range(trials):
        values = (
            truth[:, None] + rng.normal(0, 3, seeds) + rng.normal(0, 1, (arms, seeds))
        )
        result = blocked(as_arms(values))
        if not result["uneven"]:  # of the design, not the data
            assert {row["critical_value"] for row in result["rows"]} == {critical}
        inside = {"simultaneous": 0, "pointwise": 0}
        for row, difference in zip(result["rows"], truth[1:], strict=True):
            for kind in inside:
                low, high = row[kind]
                inside[kind] += low < difference < high
        covered += inside["simultaneous"] == arms - 1
        alone += inside["pointwise"] == arms - 1
    # Four standard errors of a binomial count.
    error = math.sqrt(0.95 * 0.05 / trials)
    assert abs(covered / trials - 0.95) < 4 * error
    assert alone / trials < 0.95 - 4 * error  # pointwise intervals cover too rarely


# The analyses without blocks


def test_welch_agrees_with_scipy():
    from scipy.stats import ttest_ind

    arms = random_arms(4, 5, rng_seed=3)
    del arms["a2"][0], arms["none"][4]
    for row in welch(arms, confidence=0.9)["rows"]:
        samples = [[*arms[arm].values()] for arm in (row["arm"], "none")]
        test = ttest_ind(*samples, equal_var=False)
        assert row["pointwise"] == pytest.approx(tuple(test.confidence_interval(0.9)))
        assert row["degrees_of_freedom"] == pytest.approx(test.df)
        assert row["p"] == pytest.approx(min(1, 3 * test.pvalue))
        bonferroni = test.confidence_interval(1 - 0.1 / 3)
        assert row["simultaneous"] == pytest.approx(tuple(bonferroni))


def test_three_analyses_of_the_same_numbers_differ_only_in_their_errors():
    # Seeds differ by ten points, and all of them agree on a difference of one point.
    seeds = np.array([0.5, 0.6, 0.7])
    noise = np.array([[0.0, 0.0, 0.0], [0.001, -0.001, 0.0], [0.0, 0.001, -0.001]])
    arms = as_arms(seeds + noise + np.array([[0.0], [0.01], [-0.01]]))
    arms["none"][9] = 0.9
    result = three_verdicts(arms)
    assert result["left_out"] == {9: ["a1", "a2"]}
    assert [
        (row["arm"], row["analysis"], row["verdict"]) for row in result["rows"]
    ] == [
        ("a1", "Welch", "not told apart"),
        ("a1", "unpaired", "not told apart"),
        ("a1", "blocked", "higher"),
        ("a2", "Welch", "not told apart"),
        ("a2", "unpaired", "not told apart"),
        ("a2", "blocked", "lower"),
    ]
    for row in result["rows"]:
        expected = 0.01 if row["arm"] == "a1" else -0.01
        assert row["difference"] == pytest.approx(expected)
    freedom = [row["degrees_of_freedom"] for row in result["rows"][:3]]
    assert freedom == [pytest.approx(4, abs=0.01), 6, 4]


# Uneven arms


def test_an_arm_is_uneven_if_the_residual_shrinks_without_it():
    from scipy.stats import f

    def residual_squares(arms):
        """Fits arm + seed with dummy variables; returns the sum of squares."""
        runs = [(a, seed) for a, values in arms.items() for seed in values]
        dummies = [[a == arm for a, _ in runs] for arm in arms]
        dummies += [[seed == s for _, s in runs] for seed in range(4)]
        values = np.array([arms[a][seed] for a, seed in runs])
        design = np.array(dummies, float).T
        fit = design @ np.linalg.lstsq(design, values)[0]
        return ((values - fit) ** 2).sum()

    arms = random_arms(5, 4, rng_seed=2)
    both, p_values = residual_squares(arms), {}
    for arm in arms:
        others = {name: values for name, values in arms.items() if name != arm}
        without = residual_squares(others)
        p_values[arm] = f.sf((both - without) / 3 / (without / 9), 3, 9)
    assert uneven_arms(arms) == pytest.approx(holm(p_values))


def test_an_arm_with_a_larger_variance_is_named():
    arms = random_arms(4, 4)
    assert blocked(arms)["uneven"] == []
    arms["a2"] = {0: 0.1, 1: 0.9, 2: 0.9, 3: 0.1}
    assert blocked(arms)["uneven"] == ["a2"]
    table = {**blocked(arms), "did_not_learn": []}
    assert "a2 may vary more than the others" in format_verdicts(table)
    assert contrasts(arms, {"a1 against a3": {"a1": 1, "a3": -1}})["uneven"] == ["a2"]


@pytest.mark.parametrize("named", [["a2"], []], ids=["named", "found"])
def test_the_other_comparisons_do_not_depend_on_an_uneven_arm(named):
    arms = random_arms(5, 3)
    others = {arm: values for arm, values in arms.items() if arm != "a2"}
    arms["a2"] = {0: 0.1, 1: 0.9, 2: 0.4}
    with_it, without = blocked(arms, apart=named), blocked(others)
    assert (with_it["uneven"], without["uneven"]) == (["a2"], [])
    for key in ("residual_sd", "degrees_of_freedom", "seed_p"):
        assert with_it[key] == without[key]
    rows = rows_of(with_it)
    for row in without["rows"]:
        for key in ("difference", "standard_error", "degrees_of_freedom", "pointwise"):
            assert rows[row["arm"]][key] == row[key]
        # There is one more comparison.
        assert rows[row["arm"]]["critical_value"] > row["critical_value"]
    weights = {"a1": 1, "a3": -0.5, "a4": -0.5}
    (one,), (other,) = (
        contrasts(table, {"named": weights})["rows"] for table in (arms, others)
    )
    assert one == pytest.approx(other)


def test_an_uneven_arm_among_constant_ones_has_the_paired_t_test():
    from scipy.stats import ttest_rel

    seeds = {0: 0.3, 1: 0.5, 2: 0.8, 3: 0.6}
    arms = {f"a{i}": {s: v + i / 10 for s, v in seeds.items()} for i in range(3)}
    arms = {"none": arms.pop("a0"), **arms, "b": {0: 0.9, 1: 0.4, 2: 0.6, 3: 0.9}}
    test = ttest_rel([*arms["b"].values()], [*arms["none"].values()])
    row = rows_of(blocked(arms, apart=["b"]))["b"]
    assert row["degrees_of_freedom"] == pytest.approx(test.df) == 3
    assert row["pointwise"] == pytest.approx(tuple(test.confidence_interval(0.95)))
    # It shares almost nothing with the other comparisons, which are certain.
    assert test.pvalue < row["p"] <= 3 * test.pvalue


@pytest.mark.parametrize("spread", [3, 10])
def test_intervals_with_an_uneven_arm_have_the_stated_coverage(spread):
    rng = np.random.default_rng(spread)
    trials, scales = 2_000, np.array([[1], [1], [spread], [1], [1]])
    truth = np.array([[0.0], [0.3], [-0.2], [0.0], [1.0]])
    named = {
        "uneven": {"a2": 1, "none": -1},  # -0.2
        "mixed": {"a1": 1, "a2": 0.5, "a4": -1.5},  # 0.3 - 0.1 - 1.5
        "even": {"a4": 1, "none": -1},  # 1
    }
    covered = dict.fromkeys(named, 0)
    for _ in range(trials):
        values = truth + rng.normal(0, 3, 3) + scales * rng.normal(0, 1, (5, 3))
        rows = rows_of(contrasts(as_arms(values), named, apart=["a2"]), "contrast")
        for name, value in (("uneven", -0.2), ("mixed", -1.3), ("even", 1.0)):
            low, high = rows[name]["pointwise"]
            covered[name] += low < value < high
    # Four standard errors of a binomial count. With two degrees of freedom,
    # Satterthwaite's approximation covers a little too rarely.
    error = math.sqrt(0.95 * 0.05 / trials)
    assert abs(covered["even"] / trials - 0.95) < 4 * error
    for name in ("uneven", "mixed"):
        assert abs(covered[name] / trials - 0.95) < 4 * error + 0.01


@pytest.mark.parametrize(
    ("apart", "message"),
    [(["a9"], r"`apart`.*among \['none'.*\['a9'\]"), (["a1", "a2"], "all but two")],
)
def test_arms_that_cannot_be_set_apart_are_rejected(apart, message):
    with pytest.raises(ValueError, match=message):
        blocked(random_arms(3, 3), apart=apart)
    with pytest.raises(ValueError, match=message):
        contrasts(random_arms(3, 3), {"a": {"a1": 1, "a2": -1}}, apart=apart)


def test_one_variance_for_all_arms_is_least_squares():
    arms = random_arms(5, 3)
    arms["a2"] = {0: 0.1, 1: 0.9, 2: 0.4}
    result = blocked(arms, apart=None)
    assert result["uneven"] == [] != blocked(arms)["uneven"]
    assert result["residual_sd"] == pytest.approx(
        math.sqrt(least_squares(arms).mse_resid)
    )
    [row] = contrasts(arms, {"one": {"a1": 1, "none": -1}}, apart=None)["rows"]
    assert row["standard_error"] == result["rows"][0]["standard_error"]


def test_of_two_arms_none_is_uneven():
    arms = random_arms(2, 4)
    assert blocked(arms, apart=["a1"]) == blocked(arms)


# Contrasts


@pytest.mark.parametrize("rng_seed", range(3))
def test_holm_agrees_with_statsmodels(rng_seed):
    multitest = pytest.importorskip(
        "statsmodels.stats.multitest", reason="needs the extra dev"
    )
    p_values = np.random.default_rng(rng_seed).random(7) ** 3
    expected = multitest.multipletests(p_values, method="holm")[1]
    ours = holm(dict(enumerate(p_values)))
    assert list(ours) == list(range(7))
    assert [*ours.values()] == pytest.approx(expected)


def test_holm_rejects_values_that_are_not_p_values():
    with pytest.raises(ValueError, match=r"`p_values`.*1.5"):
        holm({"a": 0.1, "b": 1.5})


def test_contrasts_agree_with_least_squares():
    arms = random_arms(4, 4)
    named = {
        "a1 against plain": {"a1": 1, "none": -1},
        "blocks against the rest": {"a1": -0.5, "none": -0.5, "a2": 0.5, "a3": 0.5},
        "a2 against a3": {"a2": 2, "a3": -2},
    }
    fit, result = least_squares(arms), contrasts(arms, named)
    p_values = {}
    for row in result["rows"]:
        weights = named[row["contrast"]]
        vector = [
            weights.get(name.partition("[T.")[2][:-1], 0) if "arm" in name else 0
            for name in fit.params.index
        ]
        test = fit.t_test(vector)
        assert row["estimate"] == pytest.approx(test.effect[0])
        assert row["standard_error"] == pytest.approx(test.sd[0, 0])
        assert row["pointwise"] == pytest.approx(tuple(test.conf_int(0.05)[0]))
        jointly = tuple(test.conf_int(0.05 / 3)[0])
        assert row["simultaneous"] == pytest.approx(jointly)
        assert row["unadjusted_p"] == pytest.approx(float(test.pvalue))
        p_values[row["contrast"]] = float(test.pvalue)
    adjusted = holm(p_values)
    assert {row["contrast"]: row["p"] for row in result["rows"]} == pytest.approx(
        adjusted
    )
    for row in result["rows"]:
        told_apart = row["verdict"] != "not told apart"
        assert told_apart == (adjusted[row["contrast"]] < 0.05)
    assert len({row["verdict"] for row in result["rows"]}) > 1


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({}, "at least one contrast"),
        ({"x": {"a1": 1, "none": -0.9}}, "sum to zero"),
        ({"x": {"a1": 0, "none": 0}}, "not all of them zero"),
        ({"x": {"a1": 1, "a7": -1}}, r"contrasts of the arms.*a7"),
    ],
)
def test_weights_that_are_not_a_contrast_are_rejected(named, message):
    with pytest.raises(ValueError, match=f"`named`.*{message}"):
        contrasts(random_arms(2, 2), named)


# Two networks on the same images


@pytest.mark.parametrize("counts", [(30, 12), (3, 3), (0, 5), (0, 0), (61, 60)])
def test_mcnemar_agrees_with_exact_tests(counts):
    from scipy.stats import binom, binomtest

    only_a, only_b = counts
    right_a = np.repeat([True, False, True, False], [only_a, only_b, 500, 90])
    right_b = np.repeat([False, True, True, False], [only_a, only_b, 500, 90])
    order = np.random.default_rng(0).permutation(right_a.size)
    result = mcnemar(right_a[order], right_b[order])
    assert (result["only_a"], result["only_b"]) == counts
    p = binomtest(only_a, sum(counts)).pvalue if sum(counts) else 1
    assert result["p"] == pytest.approx(p)
    # The mid-p leaves out half of the probability of the observation in each tail.
    seen = binom.pmf(only_a, sum(counts), 0.5)
    expected = 1 if only_a == only_b else p - seen
    assert result["mid_p"] == pytest.approx(expected)
    verdict = "not told apart" if p >= 0.05 else "higher"
    assert result["verdict"] == verdict
    # The standard deviation of the images' differences.
    differences = right_a.astype(int) - right_b.astype(int)
    assert result["difference"] == pytest.approx(differences.mean())
    error = differences.std() / math.sqrt(differences.size)
    assert result["standard_error"] == pytest.approx(error)
    low, high = result["interval"]
    assert low < result["difference"] < high


def test_the_interval_for_paired_accuracies_covers():
    rng = np.random.default_rng(8)
    trials, images = 1_500, 400
    # Right in both, only the first, only the second, neither.
    shares = np.array([0.9, 0.05, 0.02, 0.03])
    covered = 0
    for counts in rng.multinomial(images, shares, size=trials):
        right_a = np.repeat([True, True, False, False], counts)
        right_b = np.repeat([True, False, True, False], counts)
        low, high = mcnemar(right_a, right_b)["interval"]
        covered += low < 0.03 < high
    # Four errors of a binomial count, and 1 point because counts are discrete.
    reach = 4 * math.sqrt(0.95 * 0.05 / trials) + 0.01
    assert abs(covered / trials - 0.95) < reach


@pytest.mark.parametrize(
    ("right_b", "message"),
    [
        ([0, 1, 1], r"boolean.*int"),
        ([True, False], r"as many images.*\(3, 2\)"),
        ([[True, False, True]], r"\(1, 3\)"),
    ],
)
def test_mcnemar_requires_one_answer_per_image(right_b, message):
    with pytest.raises(ValueError, match=f"`right_b`.*{message}"):
        mcnemar([True, False, True], right_b)


def images_right(arms=5, seeds=3, images=10_000):
    """Runs that are all right on easy images, and each on some other images."""
    rng = np.random.default_rng(4)
    easy = rng.random(images) < 0.6
    return {
        f"a{arm}" if arm else "none": {
            seed: easy | (rng.random(images) < 0.3 + 0.01 * arm)
            for seed in range(seeds)
        }
        for arm in range(arms)
    }


def test_bootstrap_agrees_with_the_error_of_a_mean():
    right, repeats = images_right(), 2_000
    result = image_bootstrap(right, repeats=repeats)
    assert (result["images"], result["seeds"]) == (10_000, [0, 1, 2])
    plain = np.mean([*right["none"].values()], axis=0)
    # A standard deviation of normal draws has a relative error of 1 / sqrt(2 n), and
    # an end of the interval one of sqrt(.025 * .975 / n) / .058 deviations.
    relative = 4 / math.sqrt(2 * repeats)
    end = 4 * math.sqrt(0.025 * 0.975 / repeats) / 0.05845
    for arm, row in rows_of(result).items():
        differences = np.mean([*right[arm].values()], axis=0) - plain
        error = differences.std() / math.sqrt(differences.size)
        assert row["difference"] == pytest.approx(differences.mean())
        assert row["standard_error"] == pytest.approx(error, rel=relative)
        low, high = row["interval"]
        middle = differences.mean()
        assert low == pytest.approx(middle - 1.96 * error, abs=end * error)
        assert high == pytest.approx(middle + 1.96 * error, abs=end * error)
    assert rows_of(result)["a4"]["verdict"] == "higher"


def test_bootstrap_is_the_same_for_the_same_rng_seed():
    right = images_right(arms=3, seeds=1, images=300)
    first, again = (image_bootstrap(right, repeats=250) for _ in range(2))
    assert first == again
    assert first["rows"] != image_bootstrap(right, rng_seed=1, repeats=250)["rows"]


def test_bootstrap_leaves_out_seeds_that_an_arm_lacks():
    right = images_right(arms=2, seeds=2, images=100)
    del right["a1"][1]
    result = image_bootstrap(right)
    assert (result["seeds"], result["left_out"]) == ([0], {1: ["a1"]})
    del right["a1"][0]
    with pytest.raises(ValueError, match=r"`right`.*at least one seed"):
        image_bootstrap(right)


def test_bootstrap_rejects_images_of_two_test_sets():
    right = {"none": {0: [True, False]}, "a": {0: [True, False, True]}}
    with pytest.raises(ValueError, match=r"`right`.*one length.*\[2, 3\]"):
        image_bootstrap(right)


# Six settings of three runs per arm that a statistician analyzed independently: the
# numbers of correct answers to 10,000 test images, by random seed.

CORRECT = {
    ("custom_net", "cifar10"): {
        "none": (5502, 5642, 5397),
        "dropout-0.25": (5526, 5753, 5618),
        "dropblock-3-0.9": (5570, 5683, 5569),
        "dropblock-7-0.9": (5556, 5702, 5469),
        "spatial-0.7": (3441, 3498, 3437),
    },
    ("custom_net", "mnist"): {
        "none": (9619, 9649, 9687),
        "dropout-0.25": (9634, 9651, 9687),
        "dropblock-3-0.9": (9654, 9679, 9683),
        "dropblock-7-0.9": (9636, 9654, 9701),
    },
    ("resnet50", "cifar10"): {
        "none": (4133, 4118, 4125),
        "dropblock-3-0.9": (3624, 3748, 3786),
        "dropblock-7-0.9": (3637, 3775, 3817),
    },
    ("resnet50", "mnist"): {
        "none": (9106, 9089, 9124),
        "dropblock-3-0.9": (8988, 8784, 9008),
        "dropblock-7-0.9": (9113, 8948, 9050),
    },
    ("densenet121", "cifar10"): {
        "none": (5237, 5286, 5198),
        "dropblock-3-0.9": (5222, 5304, 5257),
        "dropblock-7-0.9": (5170, 5249, 5202),
    },
    ("densenet121", "mnist"): {
        "none": (9602, 9616, 9637),
        "dropblock-3-0.9": (9601, 9595, 9630),
        "dropblock-7-0.9": (9615, 9651, 9655),
    },
}


def accuracies(network, dataset, *variants):
    runs = CORRECT[network, dataset]
    return {
        variant: {seed: right / 10_000 for seed, right in enumerate(runs[variant])}
        for variant in ("none", *variants)
    }


WITH_DROPOUT = ("dropout-0.25", *DROP_BLOCKS)
REVIEWED = [
    (
        "custom_net",
        "cifar10",
        WITH_DROPOUT,
        [(0.19, 2.19), (-0.06, 1.94), (-0.38, 1.62)],
    ),
    (
        "custom_net",
        "mnist",
        WITH_DROPOUT,
        [(-0.16, 0.27), (-0.01, 0.42), (-0.10, 0.34)],
    ),
    ("resnet50", "cifar10", DROP_BLOCKS, [(-5.31, -2.81), (-5.07, -2.57)]),
    ("resnet50", "mnist", DROP_BLOCKS, [(-3.14, -0.45), (-2.04, 0.65)]),
    ("densenet121", "cifar10", DROP_BLOCKS, [(-0.27, 0.68), (-0.81, 0.14)]),
    ("densenet121", "mnist", DROP_BLOCKS, [(-0.34, 0.15), (-0.03, 0.47)]),
]


@pytest.mark.parametrize(("network", "dataset", "variants", "intervals"), REVIEWED)
def test_blocked_intervals_agree_with_the_review(network, dataset, variants, intervals):
    result = blocked(accuracies(network, dataset, *variants))
    for row, expected in zip(result["rows"], intervals, strict=True):
        points = [100 * end for end in row["pointwise"]]
        assert points == pytest.approx(expected, abs=0.0051)
        low, high = (100 * end for end in row["simultaneous"])
        assert low < expected[0] and high > expected[1]


def test_seed_effects_agree_with_the_review():
    reviewed = [0.004, 0.001, 0.14, 0.10, 0.03, 0.04]
    for (network, dataset, variants, _), expected in zip(
        REVIEWED, reviewed, strict=True
    ):
        p = blocked(accuracies(network, dataset, *variants))["seed_p"]
        digits = 3 if expected < 0.01 else 2
        assert round(p, digits) == expected


def test_residuals_agree_with_the_review():
    # In percentage points: the six settings in the same order.
    reviewed = [0.50, 0.11, 0.55, 0.59, 0.21, 0.11]
    for (network, dataset, variants, _), expected in zip(
        REVIEWED, reviewed, strict=True
    ):
        sd = blocked(accuracies(network, dataset, *variants))["residual_sd"]
        assert round(100 * sd, 2) == expected


def test_welch_intervals_agree_with_the_review():
    arms = accuracies("custom_net", "cifar10", *WITH_DROPOUT, "spatial-0.7")
    reviewed = {
        "dropout-0.25": (-1.51, 3.88),
        "dropblock-3-0.9": (-1.60, 3.47),
        "dropblock-7-0.9": (-2.11, 3.35),
        "spatial-0.7": (-23.3, -17.8),
    }
    rows = rows_of(welch(arms))
    for arm, expected in reviewed.items():
        points = [100 * end for end in rows[arm]["pointwise"]]
        assert points == pytest.approx(expected, abs=0.051 if "sp" in arm else 0.0051)
