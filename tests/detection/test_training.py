"""A detector's optimizer, and the warning if it learns nothing."""

import logging

import keras
import numpy as np
import pytest
from backend import array
from tiny_detector import tiny_detector

from dropblock_lib import load_dataset
from dropblock_lib.detection import (
    PRIOR_LOGIT,
    DetectionBatches,
    FocalLoss,
    count_assigned,
    detection_optimizer,
    training,
    uninformed_loss,
)

pytestmark = pytest.mark.backends

SIZE = 64
SCENES = load_dataset("scenes")


@pytest.fixture
def model():
    made = tiny_detector(classes=len(SCENES.classes))
    made.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    return made


def rates(optimizer, steps):
    schedule = optimizer._learning_rate
    return np.array([float(array(schedule(step))) for step in steps])


def test_the_learning_rate_rises_and_falls():
    found = rates(detection_optimizer(1e-3, steps=200), [0, 5, 10, 105, 199])
    assert found[0] == pytest.approx(1e-4, rel=1e-3)
    assert found[1] == pytest.approx(5.5e-4, rel=1e-3)
    # The peak after the warm-up, half of the way down, the end.
    expected = [1e-3, 5e-4, 0]
    assert found[2:] == pytest.approx(expected, abs=1e-6)


def test_without_a_number_of_steps_it_rises_and_stays_constant():
    found = rates(detection_optimizer(1e-3), [0, 50, 100, 10_000])
    assert found[0] < 2e-5 and found[1] == pytest.approx(5.05e-4, rel=1e-2)
    assert found[2:] == pytest.approx([1e-3, 1e-3], rel=1e-4)


def test_gradients_are_clipped_and_weights_decay(model):
    model.compile()
    optimizer = model.optimizer
    assert optimizer.global_clipnorm == 10 and optimizer.weight_decay == 1e-4
    assert isinstance(optimizer, keras.optimizers.AdamW)


@pytest.mark.parametrize("arguments", [{"learning_rate": 0}, {"steps": 0}])
def test_a_bad_argument_is_named(arguments):
    with pytest.raises(ValueError, match=f"argument `{next(iter(arguments))}`"):
        detection_optimizer(**arguments)


def test_the_uninformed_loss_is_the_lowest_of_constant_scores(model):
    split, loss = SCENES.validation.take(6), FocalLoss()
    batches = DetectionBatches(split, SIZE, 6)
    counts, anchors = count_assigned(model, split)

    def of_logits(logits):
        """The loss per positive anchor if all anchors have these logits."""
        logits = np.broadcast_to(np.float32(logits), (len(counts) + 1, len(counts)))
        truth = np.eye(len(counts) + 1, len(counts), dtype="float32")
        rows = array(loss.call(keras.ops.array(truth), keras.ops.array(logits)))
        weights = np.append(counts, anchors - counts.sum())
        return (weights * rows.astype("float64")).sum() / counts.sum()

    found = uninformed_loss(model, batches)
    # Probabilities equal to the class frequencies are not optimal for a focal loss.
    frequency = np.maximum(counts, 0.1) / anchors
    by_frequency = np.log(frequency / (1 - frequency))
    assert found < of_logits(by_frequency)
    rng = np.random.default_rng(0)
    for spread in (0.1, 0.5, 2):
        shifted = by_frequency + rng.normal(0.5, spread, len(counts))
        assert found < of_logits(shifted)
    grid = np.linspace(-8, 0, 81)
    best = [min(grid, key=lambda z, c=c: one_class(loss, counts[c], anchors, z))
            for c in range(len(counts))]  # fmt: skip
    assert found == pytest.approx(of_logits(np.array(best)), rel=0.01)


def one_class(loss, count, anchors, logit):
    p = 1 / (1 + np.exp(-logit))
    present = -loss.alpha * (1 - p) ** loss.gamma * np.log(p)
    absent = -(1 - loss.alpha) * p**loss.gamma * np.log(1 - p)
    return count * present + (anchors - count) * absent


FOUR = DetectionBatches(SCENES.train.take(4), SIZE, 2)


def warnings_of(model, caplog, monkeypatch, losses, first_steps=0):
    """The warnings of `fit` if its epochs have these class losses."""
    monkeypatch.setattr(training, "FIRST_STEPS", first_steps)
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: logs.update(cls_logits_loss=losses[epoch])
    )
    with caplog.at_level(logging.WARNING, "dropblock_lib"):
        model.fit(
            FOUR, epochs=len(losses), shuffle=False, verbose=0, callbacks=[callback]
        )
    return [record.getMessage() for record in caplog.records]


def test_a_detector_that_learns_nothing_triggers_one_warning(
    model, caplog, monkeypatch
):
    first = uninformed_loss(model, FOUR, PRIOR_LOGIT)
    losses = [0.98 * first] * 3
    [message] = warnings_of(model, caplog, monkeypatch, losses)
    assert f"After epoch 1 the class loss is {losses[0]:.3f}" in message
    assert f"began near {first:.3f}" in message and "learning rate" in message


def test_a_plateau_of_constant_scores_triggers_a_warning(model, caplog, monkeypatch):
    lowest = uninformed_loss(model, FOUR)
    losses = [1.01 * lowest, lowest, 0.995 * lowest]
    [message] = warnings_of(model, caplog, monkeypatch, losses)
    assert "After epoch 2" in message or "After epoch 3" in message


def test_a_loss_that_is_not_a_number_triggers_a_warning(model, caplog, monkeypatch):
    assert len(warnings_of(model, caplog, monkeypatch, [float("nan")])) == 1


def test_a_detector_that_learns_triggers_no_warning(model, caplog, monkeypatch):
    first, lowest = (uninformed_loss(model, FOUR, z) for z in (PRIOR_LOGIT, None))
    slowly = [0.94 * first, 0.92 * first, 0.9 * lowest, 0.9 * lowest]
    assert warnings_of(model, caplog, monkeypatch, slowly) == []


def test_each_loss_has_its_own_yardsticks(model, caplog, monkeypatch):
    warnings_of(model, caplog, monkeypatch, [1.0])
    caplog.clear()
    # Without the exponent, the same batches have other yardsticks.
    focal = FocalLoss(gamma=0.0)
    model.compile(classification_loss=focal)
    first = uninformed_loss(model, FOUR, PRIOR_LOGIT, focal)
    model.warned = False
    [message] = warnings_of(model, caplog, monkeypatch, [first])
    assert f"It began near {first:.3f}" in message


def test_early_losses_trigger_no_warning(model, caplog, monkeypatch):
    assert warnings_of(model, caplog, monkeypatch, [99.0], first_steps=100) == []


def test_an_untrained_detector_has_the_loss_of_its_prior(model):
    measured = model.evaluate(FOUR, verbose=0, return_dict=True)["cls_logits_loss"]
    expected = uninformed_loss(model, FOUR, PRIOR_LOGIT)
    assert measured == pytest.approx(expected, rel=0.02)
    assert uninformed_loss(model, FOUR) < expected
