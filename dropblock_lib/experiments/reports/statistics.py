"""Tests and intervals for tables of arms (variants) by random seeds.

Runs with the same seed share their initial weights and the order of their images, so a
table is a randomized block design with the seed as the block. `blocked` analyzes it as
one; `unpaired` and `welch` ignore the blocks.

Arms are a dict of arm name -> dict of seed -> value; `verdicts.arms_of` makes them from
records. SciPy is imported late because it is optional.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dropblock_lib.arguments import check_float, check_integer, check_seed, invalid
from dropblock_lib.experiments.reports.power import (
    dunnett_critical_value,
    dunnett_p_value,
    t_critical_value,
    t_p_value,
    t_ratio,
)

Arms = Mapping[str, Mapping[int, float]]

# Numbers below this share of the largest value are rounding errors.
_ROUNDING = 1e-12


def blocked(
    arms: Arms,
    baseline: str = "none",
    confidence: float = 0.95,
    apart: Collection[str] | None = (),
) -> dict:
    """Compares every arm with a baseline, with the seed as the block.

    The model is value = arm + seed + residual. The residuals of all arms have the same
    variance, except that an uneven arm has a variance of its own: its comparisons have
    Satterthwaite's degrees of freedom, and the others do not depend on it. Only
    complete blocks, the seeds that all arms have, are used.

    Args:
        arms: Dict of arm name -> dict of seed -> value.
        baseline: The arm to compare with.
        confidence: Float in (0, 1).
        apart: Arms known beforehand to be uneven. Further ones are found by
            `uneven_arms` at level 1 - `confidence`. With only two arms, neither is
            uneven. With `None`, all arms have the same variance.

    Returns:
        Dict with `baseline`, `confidence`, `seeds` (of the complete blocks),
        `left_out` (dict of every other seed -> list of the arms that lack it),
        `uneven` (list of the arms with a variance of their own); for all other arms
        `residual_sd`, `degrees_of_freedom` and `seed_p` (p-value of the F test for
        seeds; `None` without residual variance); and `rows`: for each arm but the
        baseline a dict with `arm`, `difference`, `standard_error`,
        `degrees_of_freedom`, `critical_value` (Dunnett's), `pointwise` and
        `simultaneous` (intervals as (low, high)), `p` (adjusted for the number of
        arms), `verdict` ("higher", "lower" or "not told apart", from `simultaneous`)
        and `pointwise_verdict`.

    Raises:
        ValueError: If the baseline is not among the arms, there are fewer than two
            arms or two complete blocks, a value is not finite, or `apart` names an
            unknown arm or leaves only one of several.

    Example:

    >>> plain, dropout = {0: 0.50, 1: 0.53, 2: 0.51}, {0: 0.60, 1: 0.62, 2: 0.60}
    >>> [row] = blocked({"none": plain, "dropout": dropout})["rows"]
    >>> round(row["difference"], 4), row["verdict"]
    (0.0933, 'higher')

    Reference:
        [Dunnett, 1955](https://doi.org/10.1080/01621459.1955.10501294); Montgomery,
        *Design and Analysis of Experiments*, "The randomized complete block design".
        [Satterthwaite, 1946](https://doi.org/10.2307/3002019).
    """
    confidence = check_float("confidence", confidence, "(0, 1)")
    blocks = _Blocks.of(arms, baseline).set_apart(apart, confidence)
    others = [arm for arm in blocks.names if arm != baseline]
    estimates = [blocks.contrast({arm: 1, baseline: -1}) for arm in others]
    # Two differences share the baseline's part of their variances.
    shared = blocks.variance_of_mean(baseline)
    parts = [shared / error**2 if error else 0.5 for _, error, _ in estimates]
    loadings = tuple(round(math.sqrt(min(part, 0.999)), 9) for part in parts)
    return {
        "baseline": baseline,
        "confidence": confidence,
        **blocks.summary,
        "seed_p": blocks.seed_p,
        "rows": _dunnett(
            dict(zip(others, estimates, strict=True)), loadings, confidence
        ),
    }


def uneven_arms(arms: Arms) -> dict[str, float]:
    """Tests whether one arm varies more over the seeds than the others.

    For each arm, a one-sided F test compares two parts of the residual sum of squares:
    the part that disappears if the arm is left out, and the rest. With few seeds, only
    gross cases are found.

    Args:
        arms: As for `blocked`.

    Returns:
        Dict of arm name -> p-value, adjusted by `holm`. Empty for fewer than four
        arms: with three, one may differ only because the other two happen to agree.
    """
    return _Blocks.of(arms).uneven_p_values


def unpaired(arms: Arms, baseline: str = "none", confidence: float = 0.95) -> dict:
    """Compares every arm with a baseline as if no two runs shared a seed.

    This is Dunnett's test as published: one-way, with a pooled variance. Arms may have
    different numbers of seeds.

    Args:
        arms, baseline, confidence: As for `blocked`.

    Returns:
        Dict with `baseline`, `confidence`, `residual_sd`, `degrees_of_freedom` and
        `rows` as from `blocked`.

    Raises:
        ValueError: If the baseline is not among the arms, there are fewer than two
            arms, an arm has a single seed, or a value is not finite.
    """
    confidence = check_float("confidence", confidence, "(0, 1)")
    samples = _samples(arms, baseline)
    freedom = sum(sample.size - 1 for sample in samples.values())
    squares = sum(_variance(sample) * (sample.size - 1) for sample in samples.values())
    sd = math.sqrt(squares / freedom)
    control = samples.pop(baseline)
    estimates, loadings = {}, []
    for arm, sample in samples.items():
        error = sd * math.sqrt(1 / sample.size + 1 / control.size)
        estimates[arm] = _difference_of_means(sample, control), error, freedom
        loadings.append(math.sqrt(sample.size / (sample.size + control.size)))
    return {
        "baseline": baseline,
        "confidence": confidence,
        "residual_sd": sd,
        "degrees_of_freedom": freedom,
        "rows": _dunnett(estimates, tuple(loadings), confidence),
    }


def welch(arms: Arms, baseline: str = "none", confidence: float = 0.95) -> dict:
    """Compares every arm with a baseline by Welch's t test.

    Each comparison has its own variances. Simultaneous intervals and adjusted p-values
    are Bonferroni's.

    Args:
        arms, baseline, confidence: As for `unpaired`.

    Returns:
        Dict with `baseline`, `confidence` and `rows` as from `blocked`.

    Raises:
        ValueError: As for `unpaired`.

    Reference:
        [Welch, 1947](https://doi.org/10.1093/biomet/34.1-2.28).
    """
    confidence = check_float("confidence", confidence, "(0, 1)")
    samples = _samples(arms, baseline)
    control = samples.pop(baseline)
    theirs = _variance(control) / control.size
    rows = []
    for arm, sample in samples.items():
        difference = _difference_of_means(sample, control)
        ours = _variance(sample) / sample.size
        error = math.sqrt(ours + theirs)
        freedom = float(sample.size + control.size - 2)
        if error:
            parts = ours**2 / (sample.size - 1) + theirs**2 / (control.size - 1)
            freedom = (ours + theirs) ** 2 / parts
        row = _row(
            arm,
            (difference, error, freedom),
            pointwise=t_critical_value(confidence, freedom),
            simultaneous=t_critical_value(1 - (1 - confidence) / len(samples), freedom),
            p=min(1.0, len(samples) * t_p_value(t_ratio(difference, error), freedom)),
        )
        rows.append(row)
    return {"baseline": baseline, "confidence": confidence, "rows": rows}


def three_verdicts(
    arms: Arms, baseline: str = "none", confidence: float = 0.95
) -> dict:
    """Analyzes the complete blocks by `welch`, `unpaired` and `blocked`.

    Args:
        arms, baseline, confidence: As for `blocked`.

    Returns:
        Dict with `seeds`, `left_out` and `rows`: three for each arm but the baseline,
        with `analysis` ("Welch", "unpaired" or "blocked") and the entries of the rows
        of `blocked`.

    Raises:
        ValueError: As for `blocked`.
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
    rows = [
        {**row, "analysis": name}
        for name, found in analyses.items()
        for row in found["rows"]
    ]
    order = list(arms)
    rows.sort(key=lambda row: order.index(row["arm"]))
    return {"seeds": by_seed["seeds"], "left_out": by_seed["left_out"], "rows": rows}


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusts p-values for their number by Holm's step-down method.

    Args:
        p_values: Dict of name -> p-value.

    Returns:
        Dict of name -> adjusted p-value, in the same order.

    Raises:
        ValueError: If a value is not in [0, 1].

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
    apart: Collection[str] | None = (),
) -> dict:
    """Estimates contrasts that were named before the runs, in the model of `blocked`.

    Args:
        arms: As for `blocked`. Arms in no contrast help to estimate the residual
            variance.
        named: Dict of contrast -> dict of arm name -> weight, such as
            `{"b and c against a": {"a": -1, "b": 0.5, "c": 0.5}}`. The weights of a
            contrast sum to zero.
        confidence, apart: As for `blocked`.

    Returns:
        Dict with `confidence`, `seeds`, `left_out`, `uneven`, `residual_sd` and
        `degrees_of_freedom` as from `blocked`, and `rows`: for each contrast a dict
        with `contrast`, `estimate`, `standard_error`, `degrees_of_freedom`,
        `pointwise` (the interval of this contrast alone), `simultaneous`
        (Bonferroni's, over all contrasts), `unadjusted_p`, `p` (adjusted by `holm`)
        and `verdict` ("higher" or "lower" than zero, or "not told apart", from `p`).

    Raises:
        ValueError: If there is no contrast, a contrast names an unknown arm or has
            weights that do not sum to zero, or as for `blocked`.
    """
    confidence = check_float("confidence", confidence, "(0, 1)")
    if not named:
        raise invalid("named", "at least one contrast", dict(named))
    blocks = _Blocks.of(arms).set_apart(apart, confidence)
    for weights in named.values():
        _check_contrast(weights, blocks.names)
    rows = []
    for name, weights in named.items():
        estimate, error, freedom = blocks.contrast(weights)
        alone = t_critical_value(confidence, freedom)
        jointly = t_critical_value(1 - (1 - confidence) / len(named), freedom)
        rows.append(
            {
                "contrast": name,
                "estimate": estimate,
                "standard_error": error,
                "degrees_of_freedom": freedom,
                "pointwise": _interval(estimate, error, alone),
                "simultaneous": _interval(estimate, error, jointly),
                "unadjusted_p": t_p_value(t_ratio(estimate, error), freedom),
            }
        )
    adjusted = holm({row["contrast"]: row["unadjusted_p"] for row in rows})
    for row in rows:
        row["p"] = adjusted[row["contrast"]]
        row["verdict"] = _verdict_from_p(row["estimate"], row["p"], confidence)
    return {"confidence": confidence, **blocks.summary, "rows": rows}


def mcnemar(
    right_a: Sequence[bool] | np.ndarray,
    right_b: Sequence[bool] | np.ndarray,
    confidence: float = 0.95,
) -> dict:
    """Compares the accuracies of two networks on the same images.

    If of n images the first network alone is right on b and the second alone on c, the
    difference is (b - c) / n and its standard error sqrt(b + c - (b - c)² / n) / n.
    The interval is Agresti and Min's: the same formulas after 1/2 is added to each of
    the four counts. It describes other test images, not other seeds.

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
        ValueError: If the arrays are not boolean or differ in length.

    Reference:
        [McNemar, 1947](https://doi.org/10.1007/BF02295996). Agresti, *Categorical
        Data Analysis*, section "Comparing dependent proportions" (standard error).
        [Agresti and Min, 2005](https://doi.org/10.1002/sim.1781) (interval).
        [Fagerland et al., 2013](https://doi.org/10.1186/1471-2288-13-91) (mid-p).
    """
    from scipy.stats import binom, norm

    confidence = check_float("confidence", confidence, "(0, 1)")
    right_a = _check_right("right_a", right_a)
    right_b = _check_right("right_b", right_b)
    if right_a.size != right_b.size:
        lengths = (right_a.size, right_b.size)
        raise invalid("right_b", "as many images as `right_a` has", lengths)
    images = right_a.size
    only_a = int(np.count_nonzero(right_a & ~right_b))
    only_b = int(np.count_nonzero(right_b & ~right_a))
    fewer = min(only_a, only_b)
    below, up_to = binom.cdf([fewer - 1, fewer], only_a + only_b, 0.5).tolist()
    difference, error = _paired_proportions(only_a, only_b, images)
    middle, reach = _paired_proportions(only_a + 0.5, only_b + 0.5, images + 2)
    p = min(1.0, 2 * up_to)
    return {
        "images": images,
        "only_a": only_a,
        "only_b": only_b,
        "difference": difference,
        "standard_error": error,
        "interval": _interval(middle, reach, float(norm.ppf((1 + confidence) / 2))),
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

    Each resample draws the same images for all arms and seeds. The intervals describe
    other test images, not other seeds.

    Args:
        right: Dict of arm name -> dict of seed -> boolean array, whether the network
            of that run is right, image by image. Only seeds that all arms have are
            used; one is enough.
        baseline: The arm to compare with.
        rng_seed: Integer that decides the resamples.
        repeats: Number of resamples.
        confidence: Float in (0, 1).

    Returns:
        Dict with `baseline`, `confidence`, `seeds`, `left_out`, `images`, `repeats`
        and `rows`: for each arm but the baseline a dict with `arm`, `difference` (of
        the mean accuracies), `standard_error`, `interval` (percentiles; pointwise)
        and `verdict`, from `interval`.

    Raises:
        ValueError: If the baseline is not among the arms, there are fewer than two
            arms or no seed that all of them have, or the arrays are not boolean or
            differ in length.

    Reference:
        [Efron, 1979](https://doi.org/10.1214/aos/1176344552).
    """
    confidence = check_float("confidence", confidence, "(0, 1)")
    check_seed(rng_seed)
    check_integer("repeats", repeats, 2)
    seeds, left_out = _complete("right", right, baseline, at_least=1)
    runs = {
        arm: [_check_right("right", found[seed]) for seed in seeds]
        for arm, found in right.items()
    }
    lengths = sorted({run.size for found in runs.values() for run in found})
    if len(lengths) > 1:
        raise invalid("right", "arrays of one length", lengths)
    images = lengths[0]
    means = {arm: np.mean(found, axis=0) for arm, found in runs.items()}
    control = means.pop(baseline)
    advantages = np.array([mean - control for mean in means.values()]).T
    rng = np.random.default_rng(rng_seed)
    # Ten times as fast as scipy.stats.bootstrap, which copies the resampled values.
    resampled = []
    for _ in range(repeats):
        counts = np.bincount(rng.integers(images, size=images), minlength=images)
        resampled.append(counts @ advantages / images)
    resampled = np.array(resampled)
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    rows = []
    for arm, advantage, draws in zip(means, advantages.T, resampled.T, strict=True):
        low, high = np.quantile(draws, ends).tolist()
        rows.append(
            {
                "arm": arm,
                "difference": float(advantage.mean()),
                "standard_error": float(draws.std(ddof=1)),
                "interval": (low, high),
                "verdict": _verdict((low, high)),
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


@dataclass(frozen=True)
class _Blocks:
    """The complete blocks: `values` has a row for each arm, a column for each seed.

    The arms in `apart` have variances of their own.
    """

    names: list[str]
    seeds: list[int]
    left_out: dict[int, list[str]]
    values: np.ndarray
    apart: tuple[str, ...] = ()

    @classmethod
    def of(cls, arms, baseline=None):
        seeds, left_out = _complete("arms", arms, baseline, at_least=2)
        values = [_finite(arm, [arms[arm][seed] for seed in seeds]) for arm in arms]
        return cls([*arms], seeds, left_out, np.array(values))

    def set_apart(self, named, confidence):
        """Returns the blocks with the named arms, and those found uneven, set apart."""
        if named is None:
            return self
        unknown = [arm for arm in named if arm not in self.names]
        if unknown:
            raise invalid("apart", f"arms among {self.names}", unknown)
        if len(self.names) == 2:
            return self  # Their difference has one variance, whichever arm causes it.
        if len(self.names) - len({*named}) < 2:
            raise invalid("apart", f"all but two of {self.names}, or fewer", named)
        known = replace(self, apart=tuple(named))
        p_values = known.uneven_p_values
        found = [arm for arm, p in p_values.items() if p < 1 - confidence]
        # At least two arms, those that vary least, share a variance.
        most = max(0, len(p_values) - 2)
        found = sorted(found, key=p_values.__getitem__)[:most]
        return replace(
            self, apart=tuple(a for a in self.names if a in named or a in found)
        )

    @property
    def even(self):
        """The arms that share a variance."""
        return [arm for arm in self.names if arm not in self.apart]

    @property
    def even_values(self):
        return self.values[[self.names.index(arm) for arm in self.even]]

    @property
    def summary(self):
        return {
            "seeds": self.seeds,
            "left_out": self.left_out,
            "uneven": [*self.apart],
            "residual_sd": self.residual_sd,
            "degrees_of_freedom": self.degrees_of_freedom,
        }

    @property
    def degrees_of_freedom(self):
        return (len(self.even) - 1) * (len(self.seeds) - 1)

    @property
    def squares(self):
        """Squared residuals, in the shape of `even_values`."""
        values = self.even_values
        by_arm = values.mean(axis=1, keepdims=True)
        by_seed = values.mean(axis=0, keepdims=True)
        return (values - by_arm - by_seed + values.mean()) ** 2

    @property
    def residual_sd(self):
        sd = math.sqrt(self.squares.sum() / self.degrees_of_freedom)
        return _without_rounding_error(sd, self.values)

    @property
    def uneven_p_values(self):
        from scipy.stats import f

        count = len(self.even)
        if count < 4:
            return {}
        if not self.residual_sd:
            return dict.fromkeys(self.even, 1.0)
        # The residuals of the other arms contain 1 / count of the part due to an arm.
        parts = self.squares.sum(axis=1) * count / (count - 1)
        rest = np.maximum(self.squares.sum() - parts, np.finfo(float).tiny)
        own = len(self.seeds) - 1
        p_values = f.sf(parts * (count - 2) / rest, own, own * (count - 2))
        return holm(dict(zip(self.even, p_values.tolist(), strict=True)))

    @property
    def seed_p(self):
        from scipy.stats import f

        if not self.residual_sd:
            return None
        variance = len(self.even) * self.even_values.mean(axis=0).var(ddof=1)
        ratio = variance / self.residual_sd**2
        return float(f.sf(ratio, len(self.seeds) - 1, self.degrees_of_freedom))

    def contrast(self, weights):
        """Estimate, standard error and degrees of freedom of a contrast of means.

        The contrast is a sum of two independent parts: the uneven arms' differences
        from the mean of the even arms, and a contrast of the even arms.
        """
        own = sum((weights.get(arm, 0) * self._values_of(arm) for arm in self.apart), 0)
        share = sum(weights.get(arm, 0) for arm in self.apart) / len(self.even)
        within = {arm: weights.get(arm, 0) + share for arm in self.even}
        by_seed = own + sum(weights.get(a, 0) * self._values_of(a) for a in self.even)
        squares = sum(weight**2 for weight in within.values())
        parts = [(self.residual_sd**2 * squares, self.degrees_of_freedom)]
        if any(weights.get(arm) for arm in self.apart):
            gaps = own - share * self.even_values.sum(axis=0)
            sd = _without_rounding_error(gaps.std(ddof=1), self.values)
            parts.append((sd**2, len(self.seeds) - 1))
        variance = sum(part for part, _ in parts)
        freedom = parts[0][1]
        if len(parts) > 1 and variance:
            freedom = variance**2 / sum(part**2 / free for part, free in parts)
        error = math.sqrt(variance / len(self.seeds))
        return _without_rounding_error(np.mean(by_seed), self.values), error, freedom

    def variance_of_mean(self, arm):
        """The variance of an arm's mean over the seeds, without the seeds' effects."""
        variance = self.residual_sd**2
        if arm in self.apart:
            gaps = self._values_of(arm) - self.even_values.mean(axis=0)
            variance = max(gaps.var(ddof=1) - variance / len(self.even), 0.0)
        return variance / len(self.seeds)

    def _values_of(self, arm):
        return self.values[self.names.index(arm)]


def _check_arms(name, arms, baseline=None):
    if baseline is not None and baseline not in arms:
        expected = f"one of the arms in `{name}`, {list(arms)}"
        raise invalid("baseline", expected, baseline)
    if len(arms) < 2:
        raise invalid(name, "at least two arms", list(arms))


def _complete(name, arms, baseline, at_least):
    """Seeds that all arms have, and for each other seed the arms that lack it."""
    _check_arms(name, arms, baseline)
    every = sorted({seed for values in arms.values() for seed in values})
    lacking = {seed: [arm for arm in arms if seed not in arms[arm]] for seed in every}
    seeds = [seed for seed in every if not lacking[seed]]
    if len(seeds) < at_least:
        number = {1: "one seed", 2: "two seeds"}[at_least]
        by_arm = {arm: sorted(values) for arm, values in arms.items()}
        raise invalid(name, f"at least {number} that every arm has", by_arm)
    return seeds, {seed: without for seed, without in lacking.items() if without}


def _samples(arms, baseline):
    """Values of every arm as an array, for the analyses without blocks."""
    _check_arms("arms", arms, baseline)
    single = [arm for arm, values in arms.items() if len(values) < 2]
    if single:
        raise invalid("arms", "at least two seeds for every arm", single)
    return {arm: _finite(arm, [*values.values()]) for arm, values in arms.items()}


def _finite(arm, values):
    values = np.array(values, float)
    if not np.isfinite(values).all():
        raise invalid("arms", "finite numbers", {arm: values.tolist()})
    return values


def _without_rounding_error(value, *of):
    """Rounds a value to zero if it is only a rounding error of the data in `of`."""
    largest = max(np.abs(values).max() for values in of)
    return 0.0 if abs(value) <= _ROUNDING * largest else float(value)


def _variance(sample):
    return _without_rounding_error(sample.std(ddof=1), sample) ** 2


def _difference_of_means(sample, control):
    return _without_rounding_error(sample.mean() - control.mean(), sample, control)


def _dunnett(estimates, loadings, confidence):
    """Rows from each arm's (difference, standard error, degrees of freedom)."""
    rows = []
    for arm, found in estimates.items():
        difference, error, freedom = found
        critical = dunnett_critical_value(loadings, freedom, confidence)
        alone = t_critical_value(confidence, freedom)
        p = dunnett_p_value(t_ratio(difference, error), loadings, freedom)
        rows.append(_row(arm, found, alone, critical, p))
    return rows


def _row(arm, found, pointwise, simultaneous, p):
    """A row of `blocked`; `pointwise` and `simultaneous` are critical values."""
    difference, error, freedom = found
    alone = _interval(difference, error, pointwise)
    jointly = _interval(difference, error, simultaneous)
    return {
        "arm": arm,
        "difference": difference,
        "standard_error": error,
        "degrees_of_freedom": freedom,
        "critical_value": simultaneous,
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


def _paired_proportions(only_a, only_b, images):
    """Difference of two paired proportions and its standard error."""
    difference = (only_a - only_b) / images
    squares = only_a + only_b - (only_a - only_b) ** 2 / images
    return difference, math.sqrt(squares) / images


def _check_contrast(weights, names):
    unknown = [arm for arm in weights if arm not in names]
    if unknown:
        raise invalid("named", f"contrasts of the arms {names}", unknown)
    values = [*weights.values()]
    largest = max(map(abs, values), default=0)
    if not (0 < largest < math.inf and abs(math.fsum(values)) <= 1e-9 * largest):
        expected = "weights that sum to zero, not all of them zero"
        raise invalid("named", expected, weights)


def _check_right(name, right):
    right = np.asarray(right)
    if right.dtype != bool or right.ndim != 1 or not right.size:
        expected = "boolean arrays with one value for each image"
        raise invalid(name, expected, (right.dtype.name, right.shape))
    return right
