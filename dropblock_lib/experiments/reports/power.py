"""Critical values of the t test and Dunnett's test, and power of a blocked design.

The design is that of `statistics.blocked`: every arm is run with every seed.
"""

import bisect
import functools
import math

import numpy as np

from dropblock_lib.arguments import check_float, check_integer, invalid


def detection_power(
    difference: float,
    residual_sd: float,
    arms: int,
    seeds: int,
    confidence: float = 0.95,
    simultaneous: bool = True,
) -> float:
    """Probability that `blocked` detects a difference, in the right direction.

    Args:
        difference: True difference from the baseline.
        residual_sd: Residual standard deviation, for example of an earlier `blocked`.
        arms: Number of arms, with the baseline.
        seeds: Number of complete blocks.
        confidence: Float in (0, 1).
        simultaneous: Whether the verdict is Dunnett's or from the pointwise interval.

    Returns:
        Float in [0, 1], from the noncentral t distribution.

    Raises:
        ValueError: If an argument is invalid.
    """
    check_float("difference", difference, "(-inf, inf)")
    freedom, error, critical = _design(
        residual_sd, arms, seeds, confidence, simultaneous
    )
    return _power(t_ratio(abs(difference), error), critical, freedom)


def smallest_detectable(
    residual_sd: float,
    arms: int,
    seeds: int,
    power: float = 0.8,
    confidence: float = 0.95,
    simultaneous: bool = True,
) -> float:
    """The smallest true difference that `blocked` detects with a given probability.

    Args:
        residual_sd, arms, seeds, confidence, simultaneous: As for `detection_power`.
        power: Float in (0, 1): the probability.

    Returns:
        Float, in the unit of `residual_sd`.

    Raises:
        ValueError: If an argument is invalid.
    """
    from scipy.special import nctdtrinc

    power = check_float("power", power, "(0, 1)")
    freedom, error, critical = _design(
        residual_sd, arms, seeds, confidence, simultaneous
    )
    if _power(0.0, critical, freedom) >= power:
        return 0.0
    return error * float(nctdtrinc(freedom, 1 - power, critical))


def seeds_needed(
    difference: float,
    residual_sd: float,
    arms: int,
    power: float = 0.8,
    confidence: float = 0.95,
    simultaneous: bool = True,
    most: int = 1_000,
) -> int:
    """The fewest seeds with which `blocked` detects a true difference.

    Args:
        difference: True difference from the baseline; not zero.
        residual_sd, arms, confidence, simultaneous: As for `detection_power`.
        power: Float in (0, 1): the probability of detecting it.
        most: The largest number of seeds to consider.

    Returns:
        Integer of at least 2.

    Raises:
        ValueError: If an argument is invalid, or `most` seeds are not enough.
    """
    power = check_float("power", power, "(0, 1)")
    if not (math.isfinite(difference) and difference):
        raise invalid("difference", "a finite number other than 0", difference)
    check_integer("most", most, 2)

    def enough(seeds):
        settings = (residual_sd, arms, seeds, confidence, simultaneous)
        return detection_power(difference, *settings) >= power

    if not enough(most):
        raise invalid("difference", f"one that {most} seeds can detect", difference)
    # Power rises with the number of seeds.
    return bisect.bisect_left(range(most), True, lo=2, key=enough)


def t_ratio(difference, error):
    """The t statistic: 0 or infinite without any variance."""
    if not difference:
        return 0.0
    return difference / error if error else math.copysign(math.inf, difference)


def t_critical_value(confidence, freedom):
    """The value that |t| stays below with probability `confidence`."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + confidence) / 2))


def t_p_value(statistic, freedom):
    """The two-sided p-value of a t statistic."""
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(statistic)))


@functools.lru_cache
def dunnett_critical_value(loadings, freedom, confidence):
    """The value that the largest |t| exceeds with probability 1 - `confidence`.

    The correlation of two comparisons is the product of their loadings. A loading is
    sqrt(1 / 2) if all arms, the baseline included, have the same number of seeds.
    """
    from scipy.optimize import brentq

    alone = t_critical_value(confidence, freedom)
    if len(loadings) == 1:
        return alone
    # Bonferroni's value is always too large, and that of one comparison too small.
    most = t_critical_value(1 - (1 - confidence) / len(loadings), freedom)
    return brentq(
        lambda limit: dunnett_p_value(limit, loadings, freedom) - (1 - confidence),
        alone,
        most,
        xtol=1e-10,
    )


def dunnett_p_value(statistic, loadings, freedom):
    """P(max |T_i| > |statistic|) for a multivariate t with correlations l_i * l_j.

    T_i = (l_i * z + sqrt(1 - l_i²) * e_i) / s, with one normal z for all, a normal e_i
    for each, and s from the residual variance. Given z and s they are independent.
    Both integrals are sums over even steps, with an error below 1e-9. SciPy's
    `multivariate_t.cdf` is random, and its `dunnett` is for unpaired samples.

    Reference:
        [Dunnett, 1955](https://doi.org/10.1080/01621459.1955.10501294).
    """
    from scipy.special import ndtr

    if not statistic or math.isinf(statistic):
        return 0.0 if statistic else 1.0
    scales, scale_weights = _scales(freedom)
    # If the baseline has few seeds, the integrand is steep and the steps are finer.
    steepest = max(1, *(loading / math.sqrt(1 - loading**2) for loading in loadings))
    z = np.linspace(-8.5, 8.5, 2 * math.ceil(34 * steepest) + 1)
    z_weights = np.exp(-(z**2) / 2)
    z_weights /= z_weights.sum()
    reach = abs(statistic) * scales[:, None]
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
    low, high = gammaincinv(half, 1e-16) / half, gammainccinv(half, 1e-16) / half
    logarithms = np.linspace(math.log(low), math.log(high), 241)  # of the square
    # The density of the logarithm, up to a constant.
    exponents = half * (logarithms - np.exp(logarithms))
    weights = np.exp(exponents - exponents.max())
    return np.exp(logarithms / 2), weights / weights.sum()


def _power(shift, critical, freedom):
    """P(T > critical) of a noncentral t, whose mean is shifted by `shift`."""
    from scipy.special import nctdtr

    return 1.0 if math.isinf(shift) else float(1 - nctdtr(freedom, shift, critical))


def _design(residual_sd, arms, seeds, confidence, simultaneous):
    """Degrees of freedom, standard error and critical value of a blocked design."""
    confidence = check_float("confidence", confidence, "(0, 1)")
    check_float("residual_sd", residual_sd, "[0, inf)")
    check_integer("arms", arms, 2)
    check_integer("seeds", seeds, 2)
    freedom = (arms - 1) * (seeds - 1)
    loadings = (math.sqrt(0.5),) * (arms - 1 if simultaneous else 1)
    critical = dunnett_critical_value(loadings, freedom, confidence)
    return freedom, residual_sd * math.sqrt(2 / seeds), critical
