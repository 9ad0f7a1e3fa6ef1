"""The two losses of RetinaNet, against their formulas written in NumPy."""

import keras
import numpy as np
import pytest
from backend import array, gradient, tensor
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from dropblock_lib.detection.losses import BoxLoss, FocalLoss

pytestmark = pytest.mark.backends

logits = st.lists(st.floats(-12, 12, width=32), min_size=6, max_size=6)
truths = st.lists(st.integers(0, 1), min_size=6, max_size=6)


def focal(truth, logit, alpha, gamma):
    """Equations 4 and 5 of Lin et al. (2017), summed over the classes."""
    p = 1 / (1 + np.exp(-np.asarray(logit, "float64")))
    p_t = np.where(truth, p, 1 - p)
    alpha_t = np.where(truth, alpha, 1 - alpha)
    return np.sum(-alpha_t * (1 - p_t) ** gamma * np.log(p_t), axis=-1)


@given(
    logit=logits,
    truth=truths,
    alpha=st.floats(0.01, 0.99),
    gamma=st.floats(0, 5),
)
def test_focal_loss_is_that_of_the_paper(logit, truth, alpha, gamma):
    logit, truth = np.reshape(logit, (2, 3)), np.reshape(truth, (2, 3))
    ours = FocalLoss(alpha, gamma, reduction="none")(tensor(truth), tensor(logit))
    np.testing.assert_allclose(
        array(ours), focal(truth, logit, alpha, gamma), rtol=2e-4, atol=1e-6
    )


def test_easy_background_hardly_counts():
    # p_t = .9: (1 - .9)^2 = .01 of the cross-entropy, as the paper says below eq. 4.
    logit = np.full((1, 1), -np.log(9))
    background = np.zeros((1, 1))
    balanced = FocalLoss(0.5, 2.0)(tensor(background), tensor(logit))
    cross_entropy = FocalLoss(0.5, 0.0)(tensor(background), tensor(logit))
    assert float(balanced / cross_entropy) == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("logit", [-200.0, 200.0])
@pytest.mark.parametrize("truth", [0.0, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_a_confident_network_has_a_finite_loss_and_gradient(logit, truth, gamma):
    loss = FocalLoss(gamma=gamma)
    logit, truth = tensor([[logit]]), tensor([[truth]])
    assert np.isfinite(float(loss(truth, logit)))
    assert np.isfinite(gradient(lambda x: loss(truth, x), logit)).all()


def test_keras_focal_loss_takes_a_mean_over_the_classes_and_no_alpha():
    # The reason for our own FocalLoss. If this test fails, ours can be removed.
    classes = 80
    rng = np.random.default_rng(0)
    logit, truth = rng.normal(size=(5, classes)), rng.random((5, classes)) < 0.1
    stock = keras.losses.BinaryFocalCrossentropy(from_logits=True, reduction="sum")
    theirs = float(stock(tensor(truth), tensor(logit)))
    unbalanced = 2 * focal(truth, logit, 0.5, 2.0).sum()
    assert theirs == pytest.approx(unbalanced / classes, rel=1e-4)


def test_weights_are_per_anchor():
    logit, truth = np.zeros((1, 3, 2)), np.zeros((1, 3, 2))
    weights = tensor([[1.0, 0.0, 0.5]])
    loss = FocalLoss()(tensor(truth), tensor(logit), sample_weight=weights)
    assert float(loss) == pytest.approx(1.5 * focal(truth, logit, 0.25, 2)[0, 0])


@given(
    difference=st.floats(-3, 3, width=32),
    beta=st.floats(0.05, 2),
)
def test_box_loss_is_keras_huber_divided_by_beta(difference, beta):
    truth, guess = np.zeros((1, 4)), np.array([[difference, 0, 0, difference]])
    ours = BoxLoss(beta)(tensor(truth), tensor(guess))
    huber = keras.losses.Huber(delta=beta, reduction="sum")
    theirs = 4 * huber(tensor(truth), tensor(guess)) / beta
    assert float(ours) == pytest.approx(float(theirs), rel=1e-4, abs=1e-6)


def test_box_loss_has_no_gradient_where_the_box_is_right():
    exact = tensor(np.zeros((2, 4)))
    slope = gradient(lambda x: ops.sum(BoxLoss()(exact, x)), exact)
    assert (np.asarray(slope) == 0).all()


@pytest.mark.parametrize("loss", [FocalLoss(0.3, 1.5), BoxLoss(0.2)])
def test_they_survive_serialization(loss):
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert copy.get_config() == loss.get_config()


@pytest.mark.parametrize(
    "make, argument",
    [
        (lambda: FocalLoss(alpha=0), "alpha"),
        (lambda: FocalLoss(alpha=1.5), "alpha"),
        (lambda: FocalLoss(gamma=-1), "gamma"),
        (lambda: FocalLoss(gamma=float("nan")), "gamma"),
        (lambda: BoxLoss(beta=0), "beta"),
    ],
)
def test_a_bad_argument_is_named(make, argument):
    with pytest.raises(ValueError, match=f"argument `{argument}`"):
        make()
