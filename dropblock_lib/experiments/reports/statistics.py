"""Which variants are told apart over the seeds, and how surely.

The runs of one seed share their first weights and the order of their images, so a
table of variants and seeds is a randomized block design with the seed as block.
`blocked` analyzes it as one. `welch` and `unpaired` ignore the blocks, for
comparison.

Everything takes `arms`: a dict of arm name -> dict of seed -> value. `arms_of` makes
one from records. SciPy is imported late: only the extra `experiments` has it.
"""

import functools
import math
import numbers
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dropblock_lib.arguments import check_seed, invalid, is_whole
from dropblock_lib.experiments.reports.columns import markdown
from dropblock_lib.experiments.reports.tables import setting_of
from dropblock_lib.variants import variant_order, variant_title

Arms = Mapping[str, Mapping[int, float]]

DID_NOT_LEARN = "did not learn"

# Differences and residuals below this share of the largest value are rounding errors.
_ROUNDING = 1e-12


def blocked(arms: Arms, baseline: str = "none", confidence: float = 0.95) -> dict:
    """Compares every arm with a baseline, with the seed as a block.

    The model is additive: value = arm + seed + residual, where the residuals of all
    arms have one variance. Only complete blocks, the seeds that all arms have, enter
    it. The simultaneous intervals are Dunnett's: with probability `confidence`, all of
    them contain their true differences. They, not the pointwise ones, give the
    verdicts.

    An arm whose results vary far more than the others' widens every interval. `uneven`
    names such arms; consider a table without them.

    Args:
        arms: Dict of arm name -> dict of seed -> value.
        baseline: The arm to compare with.
        confidence: Float in (0, 1).

    Returns:
        Dict with `baseline`, `confidence`, `seeds` (of the complete blocks),
        `left_out` (dict of every other seed -> list of the arms that lack it),
        `residual_sd`, `degrees_of_freedom`, `seed_p` (p-value of the F test for
        seeds; `None` without residual variance), `uneven` (arms with too much of the
        residual, by `uneven_arms`), `critical_value` (Dunnett's) and `rows`: for each
        arm but the baseline a dict with `arm`, `difference`, `standard_error`,
        `pointwise` and `simultaneous` (intervals as (low, high)), `p` (adjusted for
        the number of arms), `verdict` ("higher", "lower" or "not told apart", from
        `simultaneous`) and `pointwise_verdict`.

    Raises:
        ValueError: If the baseline is not among the arms, there are fewer than two
            arms or two complete blocks, or a value is not finite.

    Example:

    >>> plain, dropout = {0: 0.50, 1: 0.53, 2: 0.51}, {0: 0.60, 1: 0.62, 2: 0.60}
    >>> [row] = blocked({"none": plain, "dropout": dropout})["rows"]
    >>> round(row["difference"], 4), row["verdict"]
    (0.0933, 'higher')

    Reference:
        [Dunnett, 1955](https://doi.org/10.1080/01621459.1955.10501294); Montgomery,
        *Design and Analysis of Experiments*, "The randomized complete block design".
    """
    confidence = _check_probability("confidence", confidence)
    blocks = _Blocks.of(arms, baseline)
    count = len(blocks.names) - 1
    freedom, sd = blocks.degrees_of_freedom, blocks.residual_sd
    loadings = (math.sqrt(0.5),) * count
    critical = _dunnett_critical_value(loadings, freedom, confidence)
    error = sd * math.sqrt(2 / len(blocks.seeds))
    rows = []
    for arm in blocks.others:
        difference = blocks.estimate({arm: 1, baseline: -1})
        statistic = _statistic(difference, error)
        rows.append(
            _row(
                arm,
                difference,
                error,
                pointwise=_t_quantile(confidence, freedom),
                simultaneous=critical,
                p=_dunnett_p(statistic, loadings, freedom),
            )
        )
    return {
        "baseline": baseline,
        "confidence": confidence,
        "seeds": blocks.seeds,
        "left_out": blocks.left_out,
        "residual_sd": sd,
        "degrees_of_freedom": freedom,
        "seed_p": blocks.seed_p,
        "uneven": [arm for arm, p in blocks.uneven.items() if p < 1 - confidence],
        "critical_value": critical,
        "rows": rows,
    }


def uneven_arms(arms: Arms) -> dict[str, float]:
    """Tests whether the residual of `blocked` comes from one arm alone.

    The residual sum of squares with an arm is that without it plus a part with one
    degree of freedom less than there are seeds. For each arm an F test compares that
    part with the rest, one-sided. A small p-value says that the arm varies more over
    the seeds than the others do. With few seeds only gross cases are found.

    Args:
        arms: Dict of arm name -> dict of seed -> value.

    Returns:
        Dict of arm name -> p-value, adjusted by `holm`. Empty for fewer than four
        arms, of which one may stand apart only because two happen to agree.

    Raises:
        ValueError: As `blocked`.

    Example:

    >>> calm = [0.61, 0.62, 0.64], [0.60, 0.63, 0.65], [0.60, 0.62, 0.63]
    >>> wild = [0.2, 0.8, 0.5]
    >>> arms = {name: dict(enumerate(a)) for name, a in zip("abcd", [*calm, wild])}
    >>> [arm for arm, p in uneven_arms(arms).items() if p < 0.05]
    ['d']
    """
    return _Blocks.of(arms).uneven


def unpaired(arms: Arms, baseline: str = "none", confidence: float = 0.95) -> dict:
    """Compares every arm with a baseline as if no two runs shared a seed.

    This is Dunnett's test as published: one-way, with the variance within arms pooled.
    Spread between seeds, which `blocked` removes, counts as noise here. Arms may have
    different numbers of seeds.

    Args:
        arms: Dict of arm name -> dict of seed -> value.
        baseline: The arm to compare with.
        confidence: Float in (0, 1).

    Returns:
        Dict with `baseline`, `confidence`, `residual_sd`, `degrees_of_freedom`,
        `critical_value` and `rows` as those of `blocked`.

    Raises:
        ValueError: If the baseline is not among the arms, there are fewer than two
            arms, an arm has a single seed, or a value is not finite.

    Reference:
        [Dunnett, 1955](https://doi.org/10.1080/01621459.1955.10501294).
    """
    confidence = _check_probability("confidence", confidence)
    samples = _samples(arms, baseline)
    freedom = sum(sample.size - 1 for sample in samples.values())
    squares = sum(_sum_of_squares(sample) for sample in samples.values())
    sd = math.sqrt(squares / freedom)
    control = samples.pop(baseline)
    # Two differences to the same baseline correlate as the product of two loadings.
    loadings = tuple(
        math.sqrt(sample.size / (sample.size + control.size))
        for sample in samples.values()
    )
    critical = _dunnett_critical_value(loadings, freedom, confidence)
    rows = []
    for arm, sample in samples.items():
        difference = _difference_of_means(sample, control)
        error = sd * math.sqrt(1 / sample.size + 1 / control.size)
        statistic = _statistic(difference, error)
        rows.append(
            _row(
                arm,
                difference,
                error,
                pointwise=_t_quantile(confidence, freedom),
                simultaneous=critical,
                p=_dunnett_p(statistic, loadings, freedom),
            )
        )
    return {
        "baseline": baseline,
        "confidence": confidence,
        "residual_sd": sd,
        "degrees_of_freedom": freedom,
        "critical_value": critical,
        "rows": rows,
    }


def welch(arms: Arms, baseline: str = "none", confidence: float = 0.95) -> dict:
    """Compares every arm with a baseline by Welch's t test.

    Each comparison has its own variances and degrees of freedom, so Dunnett's joint
    distribution does not apply. The simultaneous intervals and the adjusted p-values
    are Bonferroni's.

    Args:
        arms: Dict of arm name -> dict of seed -> value.
        baseline: The arm to compare with.
        confidence: Float in (0, 1).

    Returns:
        Dict with `baseline`, `confidence` and `rows` as those of `blocked`, each with
        its own `degrees_of_freedom`.

    Raises:
        ValueError: If the baseline is not among the arms, there are fewer than two
            arms, an arm has a single seed, or a value is not finite.

    Reference:
        [Welch, 1947](https://doi.org/10.1093/biomet/34.1-2.28).
    """
    confidence = _check_probability("confidence", confidence)
    samples = _samples(arms, baseline)
    control = samples.pop(baseline)
    count = len(samples)
    rows = []
    for arm, sample in samples.items():
        difference = _difference_of_means(sample, control)
        # The variance of each of the two means.
        ours, theirs = (
            _sum_of_squares(values) / (values.size - 1) / values.size
            for values in (sample, control)
        )
        error = math.sqrt(ours + theirs)
        freedom = float(sample.size + control.size - 2)
        if error:
            # As shares of the larger variance, so that no square underflows.
            scale = max(ours, theirs)
            a, b = ours / scale, theirs / scale
            freedom = (a + b) ** 2 / (
                a**2 / (sample.size - 1) + b**2 / (control.size - 1)
            )
        p = min(1.0, count * _t_p(_statistic(difference, error), freedom))
        row = _row(
            arm,
            difference,
            error,
            pointwise=_t_quantile(confidence, freedom),
            simultaneous=_t_quantile(1 - (1 - confidence) / count, freedom),
            p=p,
        )
        rows.append({**row, "degrees_of_freedom": freedom})
    return {"baseline": baseline, "confidence": confidence, "rows": rows}


def three_verdicts(
    arms: Arms, baseline: str = "none", confidence: float = 0.95
) -> dict:
    """Analyzes the same numbers by `welch`, `unpaired` and `blocked`.

    All three see the complete blocks only.

    Args:
        arms: Dict of arm name -> dict of seed -> value.
        baseline: The arm to compare with.
        confidence: Float in (0, 1).

    Returns:
        Dict with `seeds`, `left_out` and `rows`: three for each arm but the baseline,
        with `analysis` ("Welch", "unpaired" or "blocked"), `degrees_of_freedom` and
        the entries of the rows of `blocked`.

    Raises:
        ValueError: As `blocked`.
    """
    by_seed = blocked(arms, baseline, confidence)
    complete = {
        arm: {seed: values[seed] for seed in by_seed["seeds"]}
        for arm, values in arms.items()
    }
    analyses = {
        "Welch": welch(complete, baseline, confidence),
        "unpaired": unpaired(complete, baseline, confidence),
        "blocked": by_seed,
    }
    rows = []
    for position in range(len(by_seed["rows"])):
        for name, analysis in analyses.items():
            row = analysis["rows"][position]
            freedom = row.get("degrees_of_freedom", analysis.get("degrees_of_freedom"))
            rows.append({**row, "analysis": name, "degrees_of_freedom": freedom})
    return {"seeds": by_seed["seeds"], "left_out": by_seed["left_out"], "rows": rows}


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusts p-values for their number by Holm's step-down method.

    Args:
        p_values: Dict of name -> p-value.

    Returns:
        Dict of name -> adjusted p-value, in the same order.

    Raises:
        ValueError: If a value is not in [0, 1].

    Example:

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}

    Reference:
        [Holm, 1979](https://www.jstor.org/stable/4615733).
    """
    if not all(0 <= p <= 1 for p in p_values.values()):
        raise invalid("p_values", "numbers in [0, 1]", dict(p_values))
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def contrasts(
    arms: Arms,
    named: Mapping[str, Mapping[str, float]],
    confidence: float = 0.95,
) -> dict:
    """Estimates contrasts that were named before the runs.

    The model is that of `blocked`, over the complete blocks of all `arms`, including
    arms of no contrast: they help to estimate the residual.

    Args:
        arms: Dict of arm name -> dict of seed -> value.
        named: Dict of contrast -> dict of arm name -> weight. The weights of a
            contrast sum to zero.
        confidence: Float in (0, 1).

    Returns:
        Dict with `confidence`, `seeds`, `left_out`, `residual_sd`,
        `degrees_of_freedom` and `rows`: for each contrast a dict with `contrast`,
        `estimate`, `standard_error`, `pointwise` (the interval of this contrast
        alone), `simultaneous` (Bonferroni's, over all that are named),
        `unadjusted_p`, `p` (adjusted by `holm`) and `verdict` ("higher" or "lower"
        than zero, or "not told apart", from `p`: it may tell apart what Bonferroni's
        wider interval does not).

    Raises:
        ValueError: If there is no contrast, one names an arm that is not there or has
            weights that do not sum to zero, or the arms are not as `blocked` needs
            them.

    Example:

    >>> arms = {"a": {0: 1.0, 1: 2.0}, "b": {0: 3.1, 1: 3.9}, "c": {0: 4.0, 1: 5.2}}
    >>> named = {"b and c against a": {"a": -1, "b": 0.5, "c": 0.5}}
    >>> [row] = contrasts(arms, named)["rows"]
    >>> round(row["estimate"], 4)
    2.55
    """
    confidence = _check_probability("confidence", confidence)
    if not named:
        raise invalid("named", "at least one contrast", dict(named))
    blocks = _Blocks.of(arms)
    for weights in named.values():
        _check_contrast(weights, blocks.names)
    freedom, sd = blocks.degrees_of_freedom, blocks.residual_sd
    rows = []
    for name, weights in named.items():
        estimate = blocks.estimate(weights)
        squares = sum(weight**2 for weight in weights.values())
        error = sd * math.sqrt(squares / len(blocks.seeds))
        alone = _t_quantile(confidence, freedom)
        jointly = _t_quantile(1 - (1 - confidence) / len(named), freedom)
        rows.append(
            {
                "contrast": name,
                "estimate": estimate,
                "standard_error": error,
                "pointwise": _interval(estimate, error, alone),
                "simultaneous": _interval(estimate, error, jointly),
                "unadjusted_p": _t_p(_statistic(estimate, error), freedom),
            }
        )
    adjusted = holm({row["contrast"]: row["unadjusted_p"] for row in rows})
    for row in rows:
        row["p"] = adjusted[row["contrast"]]
        row["verdict"] = _verdict_from_p(row["estimate"], row["p"], confidence)
    return {
        "confidence": confidence,
        "seeds": blocks.seeds,
        "left_out": blocks.left_out,
        "residual_sd": sd,
        "degrees_of_freedom": freedom,
        "rows": rows,
    }


def mcnemar(
    right_a: Sequence[bool] | np.ndarray,
    right_b: Sequence[bool] | np.ndarray,
    confidence: float = 0.95,
) -> dict:
    """Compares the accuracies of two networks on the same images.

    Only images on which exactly one network is right tell the two apart. With b
    images that only the first classifies correctly and c that only the second does,
    of n, the difference is (b - c) / n and its standard error is
    sqrt(b + c - (b - c)² / n) / n. If b and c are close this is sqrt(b + c) / n. The
    interval is Agresti and Min's: the same formulas after 1/2 is added to b, to c and
    to the two counts of agreement, so that it does not shrink to a point without
    disagreements. It describes other test images, not other seeds.

    Args:
        right_a: Boolean array: whether the first network is right, image by image.
        right_b: The same for the second network.
        confidence: Float in (0, 1).

    Returns:
        Dict with `images`, `only_a` (b), `only_b` (c), `difference` (accuracy of the
        first minus that of the second), `standard_error`, `interval`, `p` (exact,
        binomial), `mid_p` (less conservative) and `verdict` ("higher", "lower" or
        "not told apart", from `p`).

    Raises:
        ValueError: If the two are not boolean and of one length.

    Example:

    >>> right_a = [True] * 90 + [False] * 10
    >>> right_b = [True] * 80 + [False] * 20
    >>> result = mcnemar(right_a, right_b)
    >>> result["only_a"], result["only_b"], round(result["p"], 4)
    (10, 0, 0.002)

    Reference:
        [McNemar, 1947](https://doi.org/10.1007/BF02295996). Agresti, *Categorical
        Data Analysis*, section "Comparing dependent proportions" (standard error).
        [Agresti and Min, 2005](https://doi.org/10.1002/sim.1781) (interval).
        [Fagerland et al., 2013](https://doi.org/10.1186/1471-2288-13-91) (mid-p).
    """
    from scipy.special import bdtr, ndtri

    confidence = _check_probability("confidence", confidence)
    right_a = _check_right("right_a", right_a)
    right_b = _check_right("right_b", right_b)
    if right_a.size != right_b.size:
        lengths = (right_a.size, right_b.size)
        raise invalid("right_b", "as many images as `right_a` has", lengths)
    images = right_a.size
    only_a = int(np.count_nonzero(right_a & ~right_b))
    only_b = int(np.count_nonzero(right_b & ~right_a))
    disagreements, fewer = only_a + only_b, min(only_a, only_b)
    up_to = float(bdtr(fewer, disagreements, 0.5))
    below = float(bdtr(fewer - 1, disagreements, 0.5)) if fewer else 0.0
    difference, error = _paired_proportions(only_a, only_b, images)
    middle, reach = _paired_proportions(only_a + 0.5, only_b + 0.5, images + 2)
    p = min(1.0, 2 * up_to)
    return {
        "images": images,
        "only_a": only_a,
        "only_b": only_b,
        "difference": difference,
        "standard_error": error,
        "interval": _interval(middle, reach, float(ndtri((1 + confidence) / 2))),
        "p": p,
        "mid_p": up_to + below,
        "verdict": _verdict_from_p(difference, p, confidence),
    }


def image_bootstrap(
    right: Mapping[str, Mapping[int, Sequence[bool] | np.ndarray]],
    baseline: str = "none",
    rng_seed: int = 0,
    repeats: int = 2_000,
    confidence: float = 0.95,
) -> dict:
    """Compares mean accuracies by resampling the test images.

    All arms and seeds see the same images, so each resample draws images, with
    replacement, for all of them at once. The trained networks stay as they are: the
    intervals describe other test images, not other seeds, which is what `blocked`
    is for.

    Args:
        right: Dict of arm name -> dict of seed -> boolean array, whether the network
            of that run is right, image by image. Only seeds that all arms have are
            used; one is enough.
        baseline: The arm to compare with.
        rng_seed: Integer. Sets the resamples.
        repeats: Number of resamples.
        confidence: Float in (0, 1).

    Returns:
        Dict with `baseline`, `confidence`, `seeds`, `left_out`, `images`, `repeats`
        and `rows`: for each arm but the baseline a dict with `arm`, `difference` (of
        the mean accuracies), `standard_error`, `interval` (percentiles; pointwise)
        and `verdict`, from `interval`.

    Raises:
        ValueError: If the baseline is not among the arms, there are fewer than two
            arms or no seed that all of them have, or the arrays are not boolean and
            of one length.

    Example:

    >>> right = {"none": {0: [True, False] * 50}, "dropout": {0: [True] * 100}}
    >>> [row] = image_bootstrap(right)["rows"]
    >>> row["difference"], row["verdict"]
    (0.5, 'higher')

    Reference:
        [Efron, 1979](https://doi.org/10.1214/aos/1176344552).
    """
    confidence = _check_probability("confidence", confidence)
    rng_seed = check_seed(rng_seed)
    if not is_whole(repeats, at_least=2):
        raise invalid("repeats", "an integer of at least 2", repeats)
    names, seeds, left_out = _complete("right", right, baseline, at_least=1)
    runs = {
        arm: [_check_right("right", right[arm][seed]) for seed in seeds]
        for arm in names
    }
    lengths = sorted({run.size for found in runs.values() for run in found})
    if len(lengths) > 1:
        raise invalid("right", "arrays of one length", lengths)
    images = lengths[0]
    means = np.array([np.mean(runs[arm], axis=0) for arm in names])
    others = [arm for arm in names if arm != baseline]
    advantages = (means - means[names.index(baseline)]).T  # (images, arms)
    advantages = np.delete(advantages, names.index(baseline), axis=1)

    rng = np.random.default_rng(rng_seed)
    resampled = []
    # Counting uniform draws makes multinomial counts, faster than `rng.multinomial`;
    # a hundred resamples at a time keep the memory small.
    for start in range(0, repeats, 100):
        size = min(100, repeats - start)
        draws = rng.integers(images, size=(size, images))
        draws += images * np.arange(size)[:, None]
        counts = np.bincount(draws.ravel(), minlength=size * images)
        resampled.append(counts.reshape(size, images) @ advantages / images)
    resampled = np.concatenate(resampled)

    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    rows = []
    for position, arm in enumerate(others):
        low, high = np.quantile(resampled[:, position], ends)
        interval = (float(low), float(high))
        rows.append(
            {
                "arm": arm,
                "difference": float(advantages[:, position].mean()),
                "standard_error": float(resampled[:, position].std(ddof=1)),
                "interval": interval,
                "verdict": _verdict(interval),
            }
        )
    return {
        "baseline": baseline,
        "confidence": confidence,
        "seeds": seeds,
        "left_out": left_out,
        "images": images,
        "repeats": repeats,
        "rows": rows,
    }


def did_not_learn(train_accuracy: Arms, baseline: str = "none") -> list[str]:
    """Names the arms that hardly learned their own training images.

    Their mean training accuracy, without noise, is below a third of the baseline's.
    Such an arm says how fast a network gets going, nothing about regularization.

    Args:
        train_accuracy: Dict of arm name -> dict of seed -> accuracy on the training
            images, measured at inference.
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
    _check_baseline("train_accuracy", train_accuracy, baseline)
    without = [arm for arm, values in train_accuracy.items() if not values]
    if without:
        raise invalid("train_accuracy", "at least one seed for every arm", without)
    means = {
        arm: math.fsum(values.values()) / len(values)
        for arm, values in train_accuracy.items()
    }
    if not math.isfinite(means[baseline]):
        raise invalid(
            "train_accuracy", "finite numbers for the baseline", means[baseline]
        )
    # A comparison with NaN is false: training that diverged is not learning either.
    return [arm for arm, mean in means.items() if not mean >= means[baseline] / 3]


def verdicts(
    arms: Arms,
    train_accuracy: Arms,
    baseline: str = "none",
    confidence: float = 0.95,
) -> dict:
    """Compares the arms that learned, and lists those that did not.

    `blocked` is applied to the arms that `did_not_learn` does not name: the others
    enter neither its residual nor the number of its comparisons, and the seeds that
    they lack leave no block incomplete.

    Args:
        arms: Dict of arm name -> dict of seed -> value.
        train_accuracy: The training accuracies of the same arms.
        baseline: The arm to compare with.
        confidence: Float in (0, 1).

    Returns:
        The dict of `blocked`, with `did_not_learn` (list of arm names) and `rows` in
        the order of `arms`. The row of an arm that did not learn has the verdict "did
        not learn", its mean difference to the baseline over the seeds that both have
        (`None` if there is no such seed or a value is not finite), and `None` in
        place of every other figure. Without any arm that learned beside the
        baseline, the figures of the analysis are `None` too.

    Raises:
        ValueError: As `blocked` and `did_not_learn`, or if an arm has no training
            accuracies.

    Example:

    >>> tested = {"none": {0: 0.60, 1: 0.61}, "a": {0: 0.62, 1: 0.63}, "b": {0: 0.1}}
    >>> trained = {"none": {0: 0.9, 1: 0.9}, "a": {0: 0.8, 1: 0.8}, "b": {0: 0.1}}
    >>> [row["verdict"] for row in verdicts(tested, trained)["rows"]]
    ['higher', 'did not learn']
    """
    confidence = _check_probability("confidence", confidence)
    _check_baseline("arms", arms, baseline)
    missing = [arm for arm in arms if arm not in train_accuracy]
    if missing:
        raise invalid("train_accuracy", "values for every arm", missing)
    idle = did_not_learn({arm: train_accuracy[arm] for arm in arms}, baseline)
    learned = {arm: values for arm, values in arms.items() if arm not in idle}
    if idle and len(learned) == 1:
        result = {
            "baseline": baseline,
            "confidence": confidence,
            "seeds": sorted(arms[baseline]),
            "left_out": {},
            "residual_sd": None,
            "degrees_of_freedom": None,
            "seed_p": None,
            "uneven": [],
            "critical_value": None,
            "rows": [],
        }
    else:
        result = blocked(learned, baseline, confidence)
    rows = {row["arm"]: row for row in result["rows"]}
    for arm in idle:
        shared = [seed for seed in arms[arm] if seed in arms[baseline]]
        differences = [arms[arm][seed] - arms[baseline][seed] for seed in shared]
        mean = math.fsum(differences) / len(shared) if shared else math.nan
        rows[arm] = {
            "arm": arm,
            "difference": mean if math.isfinite(mean) else None,
            "standard_error": None,
            "pointwise": None,
            "simultaneous": None,
            "p": None,
            "verdict": DID_NOT_LEARN,
            "pointwise_verdict": DID_NOT_LEARN,
        }
    ordered = [rows[arm] for arm in arms if arm != baseline]
    return {**result, "did_not_learn": idle, "rows": ordered}


def detection_power(
    difference: float,
    residual_sd: float,
    arms: int,
    seeds: int,
    confidence: float = 0.95,
    simultaneous: bool = True,
) -> float:
    """Probability that `blocked` tells an arm apart, in the right direction.

    This is exact under the model: t has a noncentral t distribution. It is the power
    for one arm with the given true difference, whatever the other arms do.

    Args:
        difference: True difference to the baseline.
        residual_sd: Residual standard deviation, as from an earlier `blocked`.
        arms: Number of arms, with the baseline.
        seeds: Number of complete blocks.
        confidence: Float in (0, 1).
        simultaneous: Whether the verdict is Dunnett's or from the pointwise interval.

    Returns:
        Float in [0, 1].

    Raises:
        ValueError: If an argument is not of the form above.
    """
    if not math.isfinite(difference):
        raise invalid("difference", "a finite number", difference)
    design = _design(residual_sd, arms, seeds, confidence, simultaneous)
    freedom, error, critical = design
    shift = _statistic(abs(difference), error)
    return _power(shift, critical, freedom)


def smallest_detectable(
    residual_sd: float,
    arms: int,
    seeds: int,
    power: float = 0.8,
    confidence: float = 0.95,
    simultaneous: bool = True,
) -> float:
    """The true difference that `blocked` tells apart with a given probability.

    Args:
        residual_sd: Residual standard deviation, as from an earlier `blocked`.
        arms: Number of arms, with the baseline.
        seeds: Number of complete blocks.
        power: Float in (0, 1): the probability.
        confidence: Float in (0, 1).
        simultaneous: Whether the verdict is Dunnett's or from the pointwise interval.

    Returns:
        Float, in the unit of `residual_sd`.

    Raises:
        ValueError: If an argument is not of the form above.

    Example:

    >>> round(smallest_detectable(0.5, arms=5, seeds=3), 2)
    1.62
    """
    from scipy.optimize import brentq

    power = _check_probability("power", power)
    design = _design(residual_sd, arms, seeds, confidence, simultaneous)
    freedom, error, critical = design
    low, high = 0.0, critical
    if _power(low, critical, freedom) >= power:
        return 0.0
    while _power(high, critical, freedom) < power:
        high *= 2
    shift = brentq(lambda shift: _power(shift, critical, freedom) - power, low, high)
    return shift * error


def seeds_needed(
    difference: float,
    residual_sd: float,
    arms: int,
    power: float = 0.8,
    confidence: float = 0.95,
    simultaneous: bool = True,
    most: int = 1_000,
) -> int:
    """The fewest seeds with which `blocked` tells a true difference apart.

    Args:
        difference: True difference to the baseline; not zero.
        residual_sd: Residual standard deviation, as from an earlier `blocked`.
        arms: Number of arms, with the baseline.
        power: Float in (0, 1): with what probability.
        confidence: Float in (0, 1).
        simultaneous: Whether the verdict is Dunnett's or from the pointwise interval.
        most: The largest number of seeds to consider.

    Returns:
        Integer of at least 2.

    Raises:
        ValueError: If an argument is not of the form above, or `most` seeds are not
            enough.

    Example:

    >>> seeds_needed(1.0, residual_sd=0.5, arms=5)
    7
    """
    power = _check_probability("power", power)
    if not (math.isfinite(difference) and difference):
        raise invalid("difference", "a finite number other than 0", difference)
    if not is_whole(most, at_least=2):
        raise invalid("most", "an integer of at least 2", most)

    def enough(seeds):
        settings = (residual_sd, arms, seeds, confidence, simultaneous)
        return detection_power(difference, *settings) >= power

    if not enough(most):
        raise invalid("difference", f"one that {most} seeds tell apart", difference)
    # Power rises with the number of seeds.
    low, high = 2, most
    while low < high:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle + 1
    return high


def arms_of(
    records: Collection[dict],
    metric: str = "test_accuracy",
    label: Callable[[dict], str] | None = None,
) -> dict[str, dict[int, float]]:
    """Arranges records by arm and seed.

    Args:
        records: From `load_records`: of one backend and on the same data.
        metric: A key of a record's `"final"`.
        label: Function from a record to the name of its arm, for arms that differ in
            other fields than the variant. By default the name is the variant's, and
            the recipes must differ in variant and seed only.

    Returns:
        Dict of arm name -> dict of seed -> value; NaN for a loss that was not finite.
        Arms are in the order of `dropblock_lib.VARIANTS`, those of one variant in the
        order of the records; seeds rise.

    Raises:
        ValueError: If there is no record, backends or data are mixed, an arm has two
            recipes or two records of a seed, or a record has no such metric.

    Example:

    >>> records = select(load_records(), network="custom_net", dataset="mnist")
    >>> arms_of(records)["none"]
    """
    records = list(records)
    if not records:
        raise invalid("records", "at least one record", records)
    backends = sorted({record["backend"] for record in records})
    if len(backends) > 1:
        raise invalid("records", "records of one backend; select one of them", backends)
    data = sorted({record["data"]["sha256"] for record in records})
    if len(data) > 1:
        raise invalid("records", "records on the same data; select one of them", data)
    without = [record["name"] for record in records if metric not in record["final"]]
    if without:
        raise invalid("metric", f"one that every record has, unlike {without}", metric)
    if label is None and len(set(map(setting_of, records))) > 1:
        raise invalid(
            "records",
            "recipes that differ in variant and seed only, or a `label` that names "
            "the arms",
            [record["name"] for record in records],
        )

    def position(record):
        recipe = record["recipe"]
        return variant_order(recipe["variant"]), recipe["seed"]

    arms, settings = {}, {}
    for record in sorted(records, key=position):
        arm = label(record) if label else record["recipe"]["variant"]
        seed, value = record["recipe"]["seed"], record["final"][metric]
        found = arms.setdefault(arm, {})
        if seed in found:
            raise invalid("records", "one record for an arm and a seed", (arm, seed))
        if settings.setdefault(arm, _setting(record)) != _setting(record):
            raise invalid("records", "one recipe for an arm, but for the seed", arm)
        found[seed] = math.nan if value is None else float(value)
    return arms


def verdict_table(
    records: Collection[dict],
    baseline: str = "none",
    metric: str = "test_accuracy",
    label: Callable[[dict], str] | None = None,
    confidence: float = 0.95,
    learned_by: str | None = "train_accuracy",
) -> dict:
    """`verdicts` of records, for `format_verdicts`.

    Args:
        records: As for `arms_of`.
        baseline: The arm to compare with.
        metric: A key of a record's `"final"`.
        label: As for `arms_of`.
        confidence: Float in (0, 1).
        learned_by: The key of `"final"` that tells whether an arm learned, or `None`
            to compare all arms, as for detectors.

    Returns:
        As `verdicts`.

    Raises:
        ValueError: As `arms_of` and `verdicts`.
    """
    arms = arms_of(records, metric, label)
    if learned_by is None:
        return {**blocked(arms, baseline, confidence), "did_not_learn": []}
    return verdicts(arms, arms_of(records, learned_by, label), baseline, confidence)


def format_verdicts(table: dict, factor: float = 100, digits: int = 2) -> str:
    """A table of `verdicts` as Markdown, with a line on how it was made.

    Args:
        table: From `verdict_table` or `verdicts`.
        factor: What figures are multiplied by: 100 for percentage points of an
            accuracy, 1 for a loss.
        digits: Number of decimal places.

    Returns:
        A string that ends in a newline.
    """
    name = variant_title(table["baseline"])
    lines = []
    for row in table["rows"]:
        difference, interval = row["difference"], row["simultaneous"]
        low, high = interval or (None, None)
        ends = [_signed(end, factor, digits) for end in (low, high)]
        lines.append(
            [
                variant_title(row["arm"]),
                _signed(difference, factor, digits),
                " to ".join(ends) if interval else "",
                row["verdict"],
            ]
        )
    heading = [f"against {name}", "difference", "simultaneous interval", "verdict"]
    alignment = [":--", ":-:", ":-:", ":--"]
    return f"{markdown(heading, lines, alignment)}\n{_note(table, factor, digits)}\n"


@dataclass(frozen=True)
class _Blocks:
    """Complete blocks: `values` has a row for each arm and a column for each seed."""

    names: list[str]
    seeds: list[int]
    left_out: dict[int, list[str]]
    values: np.ndarray
    baseline: str | None = None

    @classmethod
    def of(cls, arms: Arms, baseline: str | None = None) -> "_Blocks":
        names, seeds, left_out = _complete("arms", arms, baseline, at_least=2)
        values = np.array([[arms[arm][seed] for seed in seeds] for arm in names], float)
        if not np.isfinite(values).all():
            raise invalid("arms", "finite numbers", {arm: arms[arm] for arm in names})
        return cls(names, seeds, left_out, values, baseline)

    @property
    def others(self) -> list[str]:
        return [name for name in self.names if name != self.baseline]

    @property
    def degrees_of_freedom(self) -> int:
        return (len(self.names) - 1) * (len(self.seeds) - 1)

    @property
    def residuals(self) -> np.ndarray:
        by_arm = self.values.mean(axis=1, keepdims=True)
        by_seed = self.values.mean(axis=0, keepdims=True)
        return self.values - by_arm - by_seed + self.values.mean()

    @property
    def residual_sd(self) -> float:
        sd = math.sqrt((self.residuals**2).sum() / self.degrees_of_freedom)
        return 0.0 if self._is_rounding(sd) else sd

    @property
    def uneven(self) -> dict[str, float]:
        """For each arm the p-value of `uneven_arms`."""
        from scipy.special import fdtrc

        count = len(self.names)
        if count < 4:
            return {}
        if not self.residual_sd:
            return dict.fromkeys(self.names, 1.0)
        # The residuals of the other arms hold 1 / count of the part due to an arm.
        parts = (self.residuals**2).sum(axis=1) * count / (count - 1)
        rest = np.maximum((self.residuals**2).sum() - parts, np.finfo(float).tiny)
        own = len(self.seeds) - 1
        p_values = fdtrc(own, own * (count - 2), parts * (count - 2) / rest)
        return holm(dict(zip(self.names, map(float, p_values), strict=True)))

    @property
    def seed_p(self) -> float | None:
        from scipy.special import fdtrc

        sd, between = self.residual_sd, len(self.seeds) - 1
        if not sd:
            return None
        variance = len(self.names) * self.values.mean(axis=0).var(ddof=1)
        return float(fdtrc(between, self.degrees_of_freedom, variance / sd**2))

    def estimate(self, weights: Mapping[str, float]) -> float:
        """A contrast of the arms' means."""
        by_seed = sum(
            weight * self.values[self.names.index(arm)]
            for arm, weight in weights.items()
        )
        mean = float(np.mean(by_seed))
        return 0.0 if self._is_rounding(mean) else mean

    def _is_rounding(self, value: float) -> bool:
        return abs(value) <= _ROUNDING * np.abs(self.values).max()


def _complete(name, arms, baseline, at_least):
    """Names of the arms, seeds that all of them have, and what the others lack."""
    names = list(arms)
    if baseline is not None:
        _check_baseline(name, arms, baseline)
    if len(names) < 2:
        raise invalid(name, "at least two arms", names)
    every = sorted({seed for values in arms.values() for seed in values})
    lacking = {seed: [arm for arm in names if seed not in arms[arm]] for seed in every}
    seeds = [seed for seed in every if not lacking[seed]]
    if len(seeds) < at_least:
        number = {1: "one seed", 2: "two seeds"}[at_least]
        by_arm = {arm: sorted(arms[arm]) for arm in names}
        raise invalid(name, f"at least {number} that every arm has", by_arm)
    return names, seeds, {seed: arms for seed, arms in lacking.items() if arms}


def _samples(arms, baseline):
    """Values of every arm as an array, for the analyses without blocks."""
    _check_baseline("arms", arms, baseline)
    if len(arms) < 2:
        raise invalid("arms", "at least two arms", list(arms))
    single = [arm for arm, values in arms.items() if len(values) < 2]
    if single:
        raise invalid("arms", "at least two seeds for every arm", single)
    samples = {arm: np.array([*found.values()], float) for arm, found in arms.items()}
    for arm, sample in samples.items():
        if not np.isfinite(sample).all():
            raise invalid("arms", "finite numbers", {arm: arms[arm]})
    return samples


def _sum_of_squares(sample):
    """About the mean; zero if it is only rounding."""
    deviations = sample - sample.mean()
    if np.abs(deviations).max() <= _ROUNDING * np.abs(sample).max():
        return 0.0
    return float((deviations**2).sum())


def _difference_of_means(sample, control):
    difference = float(sample.mean() - control.mean())
    largest = max(np.abs(sample).max(), np.abs(control).max())
    return 0.0 if abs(difference) <= _ROUNDING * largest else difference


def _row(arm, difference, error, pointwise, simultaneous, p):
    """A row from its two critical values."""
    alone = _interval(difference, error, pointwise)
    jointly = _interval(difference, error, simultaneous)
    return {
        "arm": arm,
        "difference": difference,
        "standard_error": error,
        "pointwise": alone,
        "simultaneous": jointly,
        "p": p,
        "verdict": _verdict(jointly),
        "pointwise_verdict": _verdict(alone),
    }


def _interval(middle, error, critical):
    return middle - critical * error, middle + critical * error


def _verdict(interval):
    low, high = interval
    if low > 0:
        return "higher"
    return "lower" if high < 0 else "not told apart"


def _verdict_from_p(estimate, p, confidence):
    if p >= 1 - confidence:
        return "not told apart"
    return "higher" if estimate > 0 else "lower"


def _statistic(difference, error):
    """Difference over standard error, also without any variance."""
    if not difference:
        return 0.0
    return difference / error if error else math.copysign(math.inf, difference)


def _t_quantile(confidence, freedom):
    """Within this many standard errors t falls with the given probability."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + confidence) / 2))


def _t_p(statistic, freedom):
    """Two-sided p-value."""
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(statistic)))


def _dunnett_p(statistic, loadings, freedom):
    """Probability that the largest of several |t| reaches this one by chance."""
    if not statistic or math.isinf(statistic):
        return 0.0 if statistic else 1.0
    return _exceedance(abs(statistic), loadings, freedom)


@functools.lru_cache
def _dunnett_critical_value(loadings, freedom, confidence):
    """What the largest of several |t| exceeds with probability 1 - `confidence`."""
    from scipy.optimize import brentq

    alone = _t_quantile(confidence, freedom)
    if len(loadings) == 1:
        return alone
    # Bonferroni's value is always too large, and that of one comparison too small.
    most = _t_quantile(1 - (1 - confidence) / len(loadings), freedom)
    return brentq(
        lambda limit: _exceedance(limit, loadings, freedom) - (1 - confidence),
        alone,
        most,
        xtol=1e-10,
    )


def _exceedance(limit, loadings, freedom):
    """P(max |T_i| > limit) for a multivariate t with correlations l_i * l_j.

    T_i = (l_i * z + sqrt(1 - l_i²) * e_i) / s, with one normal z for all, a normal e_i
    for each, and s from the residual variance. Given z and s they are independent.
    Both integrals are sums over even steps, which converge fast for functions as
    smooth as these: the error is below 1e-9.

    Reference:
        [Dunnett, 1955](https://doi.org/10.1080/01621459.1955.10501294).
    """
    from scipy.special import ndtr

    scales, scale_weights = _scales(freedom)
    # The steps are finer if the baseline has few seeds, where the integrand is steep.
    steepest = max(1, *(loading / math.sqrt(1 - loading**2) for loading in loadings))
    z = np.linspace(-8.5, 8.5, 2 * math.ceil(34 * steepest) + 1)
    z_weights = np.exp(-(z**2) / 2)
    z_weights /= z_weights.sum()
    reach = limit * scales[:, None]
    inside = np.ones((scales.size, z.size))
    for loading, count in zip(*np.unique(loadings, return_counts=True), strict=True):
        width = math.sqrt(1 - loading**2)
        center = loading * z
        within = ndtr((reach - center) / width) - ndtr((-reach - center) / width)
        inside *= within**count
    return float(np.clip(scale_weights @ (1 - inside) @ z_weights, 0, 1))


def _scales(freedom):
    """Values of sqrt(chi-squared / freedom) in even logarithmic steps, and weights."""
    from scipy.special import gammainccinv, gammaincinv

    half = freedom / 2
    ends = [gammaincinv(half, 1e-16) / half, gammainccinv(half, 1e-16) / half]
    logarithms = np.linspace(*np.log(ends), 241)  # of the square
    # The density of the logarithm, up to a constant.
    exponents = half * (logarithms - np.exp(logarithms))
    weights = np.exp(exponents - exponents.max())
    return np.exp(logarithms / 2), weights / weights.sum()


def _power(shift, critical, freedom):
    """P(T > critical) of a noncentral t, whose mean is shifted by `shift`."""
    from scipy.special import ndtr

    scales, weights = _scales(freedom)
    return float(weights @ ndtr(shift - critical * scales))


def _design(residual_sd, arms, seeds, confidence, simultaneous):
    """Degrees of freedom, standard error and critical value of a blocked design."""
    confidence = _check_probability("confidence", confidence)
    if not (math.isfinite(residual_sd) and residual_sd >= 0):
        raise invalid("residual_sd", "a finite float >= 0", residual_sd)
    for name, value in (("arms", arms), ("seeds", seeds)):
        if not is_whole(value, at_least=2):
            raise invalid(name, "an integer of at least 2", value)
    freedom = (arms - 1) * (seeds - 1)
    comparisons = arms - 1 if simultaneous else 1
    loadings = (math.sqrt(0.5),) * comparisons
    critical = _dunnett_critical_value(loadings, freedom, confidence)
    return freedom, residual_sd * math.sqrt(2 / seeds), critical


def _paired_proportions(only_a, only_b, images):
    """Difference of two paired proportions and its standard error."""
    difference = (only_a - only_b) / images
    squares = only_a + only_b - (only_a - only_b) ** 2 / images
    return difference, math.sqrt(squares) / images


def _setting(record):
    """What must agree in the recipes of an arm: all but the random seed."""
    return tuple(
        sorted(
            (field, repr(value))
            for field, value in record["recipe"].items()
            if field != "seed"
        )
    )


def _check_probability(name, value):
    if not (isinstance(value, numbers.Real) and 0 < value < 1):
        raise invalid(name, "a float in (0, 1)", value)
    return float(value)


def _check_baseline(name, arms, baseline):
    if baseline not in arms:
        raise invalid(
            "baseline", f"one of the arms in `{name}`, {list(arms)}", baseline
        )


def _check_contrast(weights, names):
    unknown = [arm for arm in weights if arm not in names]
    if unknown:
        raise invalid("named", f"contrasts of the arms {names}", unknown)
    values = [*weights.values()]
    largest = max(map(abs, values), default=0)
    if not (0 < largest < math.inf and abs(math.fsum(values)) <= 1e-9 * largest):
        raise invalid(
            "named", "weights that sum to zero, not all of them zero", weights
        )


def _check_right(name, right):
    right = np.asarray(right)
    if right.dtype != bool or right.ndim != 1 or not right.size:
        expected = "boolean arrays with one value for each image"
        raise invalid(name, expected, (right.dtype.name, right.shape))
    return right


def _signed(value, factor, digits):
    if value is None:
        return ""
    return f"{round(factor * value, digits) + 0.0:+.{digits}f}"  # never -0.00


def _note(table, factor, digits):
    """How a table was made, and what it leaves out."""
    seeds = table["seeds"]
    parts = [f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"]
    if table["residual_sd"] is not None:
        parts.append(
            f"residual s.d. {factor * table['residual_sd']:.{digits}f} with "
            f"{table['degrees_of_freedom']} degrees of freedom"
        )
        parts.append(f"Dunnett's intervals of {100 * table['confidence']:g} %")
    parts += [
        f"{variant_title(arm)} varies more over the seeds than the others, which "
        "widens every interval"
        for arm in table["uneven"]
    ]
    for seed, arms in table["left_out"].items():
        lacking = ", ".join(variant_title(arm) for arm in arms)
        parts.append(f"seed {seed} is left out (no run of {lacking})")
    note = "; ".join(parts)
    return f"{note[0].upper()}{note[1:]}."
