"""The calibration of a classifier, against SciPy and values computed by hand."""

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from dropblock_lib.experiments.tasks.calibration import (
    LARGEST_TEMPERATURE,
    calibration,
    fit_temperature,
    negative_log_likelihood,
)


def test_calibration_of_eight_predictions_by_hand():
    first = np.array([0.9, 0.9, 0.78, 0.62, 0.55, 0.3, 0.1, 0.22])
    labels = np.array([0, 1, 0, 0, 1, 1, 1, 0])
    logits = np.log(np.stack([first, 1 - first], axis=-1)) + 7
    found = calibration(logits, labels, logits, labels)
    # Bins of a fifteenth: 0.55 is in number 8, 0.62 in 9, 0.7 in 10, 0.78 in 11 and
    # 0.9 in 13.
    assert found["count"] == [0] * 8 + [1, 1, 1, 2, 0, 3, 0]
    confidence = [None] * 8 + [0.55, 0.62, 0.7, 0.78, None, 0.9, None]
    right = [None] * 8 + [0, 1, 1, 1 / 2, None, 2 / 3, None]
    for key, expected in (("confidence", confidence), ("accuracy", right)):
        for value, other in zip(found[key], expected, strict=True):
            assert value == (other if other is None else pytest.approx(other))
    gaps = 0.55 + 0.38 + 0.3 + 2 * 0.28 + 3 * (0.9 - 2 / 3)
    assert found["ece"] == pytest.approx(gaps / 8)
    of_label = np.array([0.9, 0.1, 0.78, 0.62, 0.45, 0.7, 0.9, 0.22])
    # With two classes, the errors of both are equally large.
    assert found["brier"] == pytest.approx(2 * np.mean((1 - of_label) ** 2))
    right_ones = (0.9 + 0.78 + 0.62 + 0.7 + 0.9) / 5
    assert found["confidence_right"] == pytest.approx(right_ones)
    assert found["confidence_wrong"] == pytest.approx((0.9 + 0.55 + 0.78) / 3)
    assert found["nll"] == pytest.approx(-np.log(of_label).mean())
    assert found["nll_calibrated"] <= found["nll"]


def test_calibration_without_a_wrong_prediction():
    logits = np.array([[2.0, 0.0], [0.0, 2.0]])
    found = calibration(logits, [0, 1], logits, [0, 1])
    assert found["confidence_wrong"] is None
    assert found["temperature"] == pytest.approx(1 / LARGEST_TEMPERATURE)


def test_equal_logits_give_a_temperature_of_1():
    assert fit_temperature(np.ones((4, 3)), np.array([0, 1, 2, 0])) == 1


def test_the_temperature_of_logits_three_times_too_large():
    rng = np.random.default_rng(0)
    count = 20_000
    calibrated = rng.normal(size=(count, 10)) * 2
    # The largest of logits plus Gumbel noise is drawn from their softmax.
    labels = np.argmax(calibrated + rng.gumbel(size=calibrated.shape), axis=-1)
    found = fit_temperature(3 * calibrated, labels)
    # The Fisher information of the inverse temperature is the variance of the logit.
    logits = 3 * calibrated
    p = np.exp(calibrated) / np.exp(calibrated).sum(axis=-1, keepdims=True)
    variance = (p * logits**2).sum(axis=-1) - (p * logits).sum(axis=-1) ** 2
    deviation = 1 / np.sqrt(count * variance.mean())
    assert abs(1 / found - 1 / 3) < 4 * deviation

    def loss(log_temperature):
        return negative_log_likelihood(logits, labels, np.exp(log_temperature))

    best = minimize_scalar(loss, bounds=(-4, 4), method="bounded")
    assert np.log(found) == pytest.approx(best.x, abs=1e-4)
    assert loss(np.log(found)) <= best.fun + 1e-12


def test_logits_that_are_not_finite_give_none():
    logits, labels = np.zeros((20, 3)), np.zeros(20, "int64")
    for value in (np.nan, np.inf, -np.inf):
        logits[3] = value
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = calibration(logits, labels, logits, labels)
        assert set(found.pop("count")) == {None}
        assert {key: set(found.pop(key)) for key in ("confidence", "accuracy")} == {
            "confidence": {None},
            "accuracy": {None},
        }
        assert set(found.values()) == {None}
