"""Loss, accuracy and calibration of a classifier, from its logits."""

import numpy as np

BINS = 15
LARGEST_TEMPERATURE = 100.0


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The fraction of images whose label has the largest logit."""
    return float(np.mean(np.argmax(logits, axis=-1) == labels))


def negative_log_likelihood(
    logits: np.ndarray, labels: np.ndarray, temperature: float | None = 1.0
) -> float | None:
    """The mean negative log-likelihood of the labels, without label smoothing.

    Args:
        logits: Array (images, classes).
        labels: Integer array (images,).
        temperature: The divisor of the logits, or `None`.

    Returns:
        A float, or `None` if a logit is not finite or `temperature` is `None`.
    """
    logits = np.asarray(logits, "float64")
    if temperature is None or not np.isfinite(logits).all():
        return None
    log_probabilities = _log_softmax(logits / temperature)
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float | None:
    """The temperature at which the labels are most likely.

    The mean negative log-likelihood is convex in the inverse temperature. Bisection
    finds the root of its derivative, the mean of the expected logit minus the label's.

    Args:
        logits: Array (images, classes).
        labels: Integer array (images,).

    Returns:
        A float in [0.01, 100], or `None` if a logit is not finite. A network that
        makes no error gets the lower end.

    Reference:
        [Guo et al., 2017](https://arxiv.org/abs/1706.04599), section 4.2.
    """
    logits = np.asarray(logits, "float64")
    if not np.isfinite(logits).all():
        return None
    if not np.ptp(logits, axis=-1).any():
        return 1.0  # all temperatures fit equally well
    ahead = logits - logits[np.arange(len(labels)), labels][:, None]
    highest = np.log(LARGEST_TEMPERATURE)
    lowest = -highest
    for _ in range(45):  # to 3e-13
        middle = (lowest + highest) / 2
        probabilities = np.exp(_log_softmax(logits / np.exp(middle)))
        slope = (probabilities * ahead).sum(axis=-1).mean()
        # Positive: the expected logit is too large, so the temperature is too low.
        lowest, highest = (middle, highest) if slope > 0 else (lowest, middle)
    return float(np.exp(middle))


def calibration(
    logits: np.ndarray,
    labels: np.ndarray,
    val_logits: np.ndarray,
    val_labels: np.ndarray,
) -> dict:
    """Measures how well a classifier's confidence predicts how often it is right.

    The confidence is the largest probability. Bins have equal width and include their
    upper edge.

    Args:
        logits: Array (images, classes), of the test set.
        labels: Integer array (images,), of the test set.
        val_logits: Logits of the images that the temperature is fitted on.
        val_labels: Labels of these images.

    Returns:
        A dictionary: "count", "confidence" (mean) and "accuracy", lists with one
        number for each of 15 bins; "ece", the expected calibration error; "brier", the
        Brier score summed over classes; "confidence_right" and "confidence_wrong", the
        mean confidence where the network is right and wrong; "temperature", fitted on
        the validation images; "nll" and "nll_calibrated", the mean negative
        log-likelihood before and after the test logits are divided by it. The mean of
        an empty set is `None`. If a test logit is not finite, everything but
        "temperature" is `None`; if a validation logit is not, "temperature" and
        "nll_calibrated" are.

    Reference:
        [Guo et al., 2017](https://arxiv.org/abs/1706.04599).
    """
    logits = np.asarray(logits, "float64")
    temperature = fit_temperature(val_logits, val_labels)
    after = {
        "temperature": temperature,
        "nll": negative_log_likelihood(logits, labels),
        "nll_calibrated": negative_log_likelihood(logits, labels, temperature),
    }
    if not np.isfinite(logits).all():
        lists = ("count", "confidence", "accuracy")
        numbers = ("ece", "brier", "confidence_right", "confidence_wrong")
        return {key: [None] * BINS for key in lists} | dict.fromkeys(numbers) | after
    probabilities = np.exp(_log_softmax(logits))
    confidence = probabilities.max(axis=-1)
    right = np.argmax(logits, axis=-1) == labels
    edges = np.arange(1, BINS) / BINS
    bins = np.searchsorted(edges, confidence, side="left")
    members = [bins == index for index in range(BINS)]
    wrong_by = [abs((confidence - right)[member].sum()) for member in members]
    errors = probabilities - (
        np.arange(logits.shape[-1]) == np.asarray(labels)[:, None]
    )
    return {
        "count": [int(member.sum()) for member in members],
        "confidence": [_mean(confidence[member]) for member in members],
        "accuracy": [_mean(right[member]) for member in members],
        "ece": float(sum(wrong_by) / len(right)),
        "brier": float((errors**2).sum(axis=-1).mean()),
        "confidence_right": _mean(confidence[right]),
        "confidence_wrong": _mean(confidence[~right]),
    } | after


def _log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _mean(values):
    return float(values.mean()) if len(values) else None
