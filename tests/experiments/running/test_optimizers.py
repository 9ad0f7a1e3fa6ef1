"""Optimizers and learning rates of recipes, against formulas in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops
from tiny import tiny_recipe, use_tiny_net

from dropblock_lib.experiments.running.optimizers import (
    KernelDecaySGD,
    OneCycle,
    make_optimizer,
)

pytestmark = pytest.mark.backends


def rates(schedule, steps):
    return np.array([float(ops.convert_to_numpy(schedule(i))) for i in range(steps)])


def test_one_cycle_rises_and_falls_in_straight_lines():
    found = rates(OneCycle(0.4, steps=100, warmup=0.2), 101)
    expected = [0.4 * min((i + 1) / 20, (100 - i) / 80, 1) for i in range(101)]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    assert found.argmax() in (19, 20) and found[100] == 0 < found[99]


def test_one_cycle_without_warm_up_begins_at_the_peak():
    found = rates(OneCycle(0.4, steps=10, warmup=0.0), 10)
    np.testing.assert_allclose(found, 0.4 * np.arange(10, 0, -1) / 10, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"steps": 0}, "steps"), ({"warmup": 1}, "warmup"), ({"warmup": -0.1}, "warmup"),
     ({"peak": 0}, "peak"), ({"peak": "0.1"}, "peak")],
)  # fmt: skip
def test_one_cycle_names_the_bad_argument(arguments, name):
    with pytest.raises(ValueError, match=f"argument `{name}`"):
        OneCycle(**{"peak": 0.1, "steps": 5, **arguments})


@pytest.mark.parametrize("l2", [-1e-4, np.nan, None])
def test_a_bad_weight_decay_is_rejected(l2):
    with pytest.raises(ValueError, match="argument `l2`"):
        KernelDecaySGD(0.1, l2)


def test_only_kernels_decay_and_as_with_an_l2_penalty():
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(3, 2)), rng.normal(size=2)]
    variables = [keras.Variable(value.astype("float32")) for value in values]
    optimizer = KernelDecaySGD(0.1, l2=0.05, momentum=0.9, nesterov=True)
    velocity = [np.zeros_like(value) for value in values]
    for _ in range(4):
        gradients = [rng.normal(size=value.shape) for value in values]
        optimizer.apply(
            [ops.convert_to_tensor(g, "float32") for g in gradients], variables
        )
        for i, gradient in enumerate(gradients):
            if values[i].ndim > 1:
                gradient = gradient + 0.05 * values[i]
            velocity[i] = 0.9 * velocity[i] - 0.1 * gradient
            values[i] = values[i] + 0.9 * velocity[i] - 0.1 * gradient
    for variable, value in zip(variables, values, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(variable), value, rtol=1e-5, atol=1e-6
        )


def test_both_survive_saving():
    optimizer = KernelDecaySGD(OneCycle(0.2, 50, 0.3), l2=0.01, momentum=0.9)
    config = keras.saving.serialize_keras_object(optimizer)
    loaded = keras.saving.deserialize_keras_object(config)
    assert type(loaded) is KernelDecaySGD and loaded.l2 == 0.01
    schedule = loaded._learning_rate
    assert (schedule.peak, schedule.steps, schedule.warmup) == (0.2, 50, 0.3)


def test_a_detector_warms_up_and_clips(monkeypatch):
    use_tiny_net(monkeypatch)
    recipe = tiny_recipe(
        optimizer="adamw",
        learning_rate=0.3,
        learning_rate_schedule="warmup-cosine",
        warmup=0.25,
        weight_decay=1e-4,
    )
    optimizer = make_optimizer(recipe, 4)
    assert isinstance(optimizer, keras.optimizers.AdamW)
    assert (optimizer.global_clipnorm, optimizer.weight_decay) == (10, 1e-4)
    found = rates(optimizer._learning_rate, 13)
    rising = [0.1 + 0.2 * step / 3 for step in range(3)]
    falling = [0.15 * (1 + np.cos(np.pi * step / 9)) for step in range(10)]
    np.testing.assert_allclose(found, [*rising, *falling], rtol=1e-4, atol=1e-6)


def test_a_recipe_gets_its_optimizer(monkeypatch):
    use_tiny_net(monkeypatch)
    sgd = {"optimizer": "sgd", "learning_rate": 0.3}
    plain = make_optimizer(tiny_recipe(**sgd, learning_rate_schedule="constant"), 4)
    assert isinstance(plain, keras.optimizers.SGD)
    assert not isinstance(plain, KernelDecaySGD)
    assert (plain.momentum, plain.nesterov) == (0.9, True)
    recipe = tiny_recipe(
        **sgd, learning_rate_schedule="one-cycle", weight_decay=1e-3, warmup=0.5
    )
    decayed = make_optimizer(recipe, 4)
    assert decayed.l2 == 1e-3
    schedule = decayed._learning_rate
    assert (schedule.peak, schedule.steps, schedule.warmup) == (0.3, 12, 0.5)
