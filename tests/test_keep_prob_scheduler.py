"""Schedules, and the callback that applies them in compiled code."""

import copy
import math
import pickle
import warnings

import keras
import numpy as np
import oracle
import pytest
from backend import BACKEND
from keras import ops

import dropblock_lib as dbl
from dropblock_lib import DropBlock2D, KeepProbScheduler

pytestmark = pytest.mark.backends

SHAPE = (6, 6, 8)


class Wrapped(keras.layers.Layer):
    """A layer with sublayers in plain attributes and containers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = DropBlock2D(2, name="in_attribute")
        self.more = [DropBlock2D(2, name="in_list")]
        self.named = {"third": DropBlock2D(2, name="in_dict")}

    def call(self, x, training=False):
        for layer in (self.first, *self.more, *self.named.values()):
            x = layer(x, training=training)
        return x


class Recorder(keras.callbacks.Callback):
    """Records keep_prob of a layer, and the fraction each batch dropped."""

    def __init__(self):
        super().__init__()
        self.keep_probs, self.totals = [], []

    def on_train_batch_end(self, batch, logs=None):
        [layer] = dbl.find_drop_block_layers(self.model)
        self.keep_probs.append(layer.keep_prob)
        self.totals.append((batch + 1) * float(logs["dropped"]))

    @property
    def dropped(self):
        """The fraction of each batch; the logs have the mean of the batches so far."""
        before = [0, *self.totals[:-1]]
        return np.array(
            [
                total - (previous if total >= previous else 0)
                for previous, total in zip(before, self.totals, strict=True)
            ]
        )


def dropped(y_true, y_pred):
    return ops.mean(ops.cast(ops.equal(y_pred, 0), "float32"))


def compiled_model(*layers, **arguments):
    """A model that learns nothing and reports the fraction of units it drops."""
    layers = layers or (DropBlock2D(2, gamma="exact", seed=1),)
    model = keras.Sequential([keras.Input(SHAPE), *layers])
    # A weight, because Keras warns about models without any.
    model.add(keras.layers.Dense(SHAPE[-1], kernel_initializer="identity"))
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=[dropped], **arguments)
    return model


def ones(samples):
    return np.ones((samples, *SHAPE), "float32")


def batches(steps, samples=4):
    """A generator, whose length Keras does not know."""
    for _ in range(steps):
        yield ones(samples), ones(samples)


def indices(model, data, unit, *, first_epoch=0, epochs, **arguments):
    """The indices with which `fit` calls a schedule."""
    asked = []

    def schedule(index):
        asked.append(index)
        return 1 / (1 + index)

    callback = KeepProbScheduler(schedule, unit)
    model.fit(
        *data,
        initial_epoch=first_epoch,
        epochs=epochs,
        callbacks=[callback],
        verbose=0,
        **arguments,
    )
    return asked


# Schedules


def test_a_layer_may_drop_a_fraction_of_the_scheduled_rate(tmp_path):
    model = compiled_model(
        DropBlock2D(2, name="whole"), DropBlock2D(2, rate_scale=0.25, name="quarter")
    )
    x = ones(4)
    callback = KeepProbScheduler(lambda index: (1.0, 0.6)[index])
    fit = model.fit(x, x, epochs=2, callbacks=[callback], verbose=0)
    assert fit.history["keep_prob"] == [1.0, 0.6]
    assert model.get_layer("whole").keep_prob == 0.6
    assert model.get_layer("quarter").keep_prob == pytest.approx(0.9)
    # The saved model keeps the fraction, even while no layer drops anything.
    model.fit(x, x, epochs=1, callbacks=[callback], verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(
        tmp_path / "model.keras", custom_objects={"dropped": dropped}
    )
    fit = loaded.fit(x, x, initial_epoch=1, epochs=2, callbacks=[callback], verbose=0)
    assert loaded.get_layer("quarter").keep_prob == pytest.approx(0.9)


def test_the_linear_schedule_is_a_straight_line_between_its_ends():
    schedule = dbl.linear_schedule(1.0, 0.9, steps=4)
    values = [schedule(index) for index in range(7)]
    assert values == pytest.approx([1, 0.975, 0.95, 0.925, 0.9, 0.9, 0.9], rel=1e-15)
    assert (values[0], values[4], values[6]) == (1.0, 0.9, 0.9)
    assert schedule(-1) == 1.0


def test_the_linear_schedule_may_rise_and_takes_one_step():
    assert dbl.linear_schedule(0.3, 1, steps=2)(1) == pytest.approx(0.65)
    schedule = dbl.linear_schedule(1.0, 0.7, steps=1)
    assert [schedule(0), schedule(1)] == [1.0, 0.7]


def test_the_decrement_schedule_is_the_rule_of_the_slides_down_to_a_floor():
    schedule = dbl.decrement_schedule(1.0, 0.07, floor=0.3)
    keep_prob = 1.0
    for epoch in range(30):
        assert schedule(epoch) == pytest.approx(max(keep_prob, 0.3), rel=1e-12)
        keep_prob -= 0.07
    # Without the floor, the rule leaves [0, 1].
    assert keep_prob < 0
    assert schedule(30) == schedule(10**6) == 0.3


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        *[({"start": bad}, "start") for bad in (0, 1.5, math.nan, "1", True)],
        *[({"stop": bad}, "stop") for bad in (0, -0.1, math.inf, None)],
        *[({"steps": bad}, "steps") for bad in (0, -1, 2.5, "3", True)],
    ],
)
def test_the_linear_schedule_rejects_bad_arguments(changed, name):
    with pytest.raises(ValueError, match=f"received for argument `{name}`") as error:
        dbl.linear_schedule(**{"start": 1.0, "stop": 0.9, "steps": 3, **changed})
    assert str(error.value).endswith(f"Received: {name}={changed[name]!r}")


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"start": 0}, "start"),
        *[({"decrement": bad}, "decrement") for bad in (-0.1, math.nan, math.inf, "1")],
        *[({"floor": bad}, "floor") for bad in (0, 1.5, 0.95)],
    ],
)
def test_the_decrement_schedule_rejects_bad_arguments(changed, name):
    with pytest.raises(ValueError, match=f"received for argument `{name}`") as error:
        dbl.decrement_schedule(
            **{"start": 0.9, "decrement": 0.07, "floor": 0.3, **changed}
        )
    assert str(error.value).endswith(f"Received: {name}={changed[name]!r}")


@pytest.mark.parametrize("bad", [0.9, None, "linear"])
def test_the_scheduler_requires_a_function(bad):
    with pytest.raises(ValueError, match="received for argument `schedule`"):
        KeepProbScheduler(bad)


@pytest.mark.parametrize("bad", ["batch", None, 1])
def test_the_scheduler_knows_two_units(bad):
    with pytest.raises(ValueError, match="`unit`\\. Expected 'epoch' or 'step'"):
        KeepProbScheduler(dbl.linear_schedule(1, 0.9, 3), bad)


@pytest.mark.parametrize(
    "schedule", [dbl.linear_schedule(1, 0.8, 4), dbl.decrement_schedule(1, 0.1, 0.3)]
)
def test_schedules_can_be_pickled(schedule):
    scheduler = KeepProbScheduler(schedule, "step")
    for again in (pickle.loads(pickle.dumps(scheduler)), copy.deepcopy(scheduler)):
        values = [again.schedule(index) for index in range(9)]
        assert values == [schedule(index) for index in range(9)]
        assert again.unit == "step"


# A custom training loop


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_it_works_in_a_loop_without_fit(unit, listed, begins, ends):
    model = compiled_model()
    hooks = KeepProbScheduler(lambda index: 1 - index / 10, unit)
    if listed:
        hooks = keras.callbacks.CallbackList([hooks], model=model)
    else:
        hooks.set_model(model)
    if begins:
        hooks.on_train_begin()
    seen = []
    for epoch in range(2):
        hooks.on_epoch_begin(epoch)
        for batch in range(2):
            hooks.on_train_batch_begin(batch)
            seen.append(model.layers[0].keep_prob)
            if ends:
                hooks.on_train_batch_end(batch)
        logs = {}
        hooks.on_epoch_end(epoch, logs)
        # A list gives its callbacks a copy of the logs.
        assert listed or logs["keep_prob"] == seen[-1]
    assert seen == ([1, 1, 0.9, 0.9] if unit == "epoch" else [1, 0.9, 0.8, 0.7])


@pytest.mark.skipif(BACKEND != "jax", reason="other backends have no such loop")
def test_a_loop_on_jax_drops_as_scheduled():
    import jax

    model = keras.Sequential(
        [keras.Input((14, 14, 16)), DropBlock2D(3, 1.0, gamma="exact", seed=0)]
    )
    step = jax.jit(lambda state, x: model.stateless_call([], state, x, training=True))
    variables = model.non_trainable_variables
    state = [variable.value for variable in variables]
    scheduler = KeepProbScheduler(dbl.linear_schedule(1.0, 0.7, steps=3))
    scheduler.set_model(model)
    dropped = []
    for epoch in range(4):
        # As in the docstring of the scheduler.
        for variable, value in zip(variables, state, strict=True):
            variable.assign(value)
        scheduler.on_epoch_begin(epoch)
        state = [variable.value for variable in variables]
        y, state = step(state, np.ones((64, 14, 14, 16), "float32"))
        dropped.append(float(np.mean(np.asarray(y) == 0)))
    # Five standard errors of 1,024 maps, of which a block hides at most 9/196.
    assert dropped == pytest.approx([0, 0.1, 0.2, 0.3], abs=0.02)
    assert dropped[0] == 0


def test_without_an_optimizer_the_count_of_steps_is_asked_for():
    model = keras.Sequential([keras.Input(SHAPE), DropBlock2D(2)])
    scheduler = KeepProbScheduler(lambda index: 1 - index / 10, "step")
    scheduler.set_model(model)
    with pytest.warns(UserWarning, match=r"no optimizer.*`set_params\("):
        scheduler.on_epoch_begin(3)
    scheduler.set_params({"steps": 2})
    scheduler.on_epoch_begin(3)
    scheduler.on_train_batch_begin(0)
    assert model.layers[0].keep_prob == pytest.approx(0.4)


def test_a_scheduler_without_a_model_says_so():
    with pytest.raises(ValueError, match="set_model"):
        KeepProbScheduler(lambda index: 1.0).on_epoch_begin(0)


# Finding layers


def test_it_finds_every_layer_once_however_deep():
    """Fails when Keras changes `_flatten_layers`, which is private."""
    shared = DropBlock2D(2, name="shared")
    functional_input = keras.Input(SHAPE)
    functional = keras.Model(
        functional_input,
        shared(DropBlock2D(2, name="in_functional")(functional_input)),
    )
    sequential = keras.Sequential([keras.Input(SHAPE), DropBlock2D(2, name="in_seq")])
    inner = keras.Input(SHAPE)
    nested = keras.Model(inner, sequential(functional(inner)))

    inputs = keras.Input(SHAPE)
    x = shared(shared(Wrapped()(nested(inputs))))
    x = keras.layers.Reshape((1, *SHAPE))(x)
    x = keras.layers.TimeDistributed(DropBlock2D(2, name="in_time"))(x)
    x = keras.layers.Dropout(0.5)(x)
    model = keras.Model(inputs, x)

    found = dbl.find_drop_block_layers(model)
    names = ["in_attribute", "in_dict", "in_functional", "in_list", "in_seq"]
    assert sorted(layer.name for layer in found) == [*names, "in_time", "shared"]

    model.compile("sgd", "mse")
    callback = KeepProbScheduler(lambda epoch: 0.6)
    model.fit(ones(2), np.ones((2, 1, *SHAPE)), callbacks=[callback], verbose=0)
    assert [layer.keep_prob for layer in found] == [0.6] * 7


def test_it_finds_the_layers_of_a_subclassed_model():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.wrapped = Wrapped()

        def call(self, x, training=False):
            return self.wrapped(x, training=training)

    model = Model()
    model.compile("sgd", "mse")
    callback = KeepProbScheduler(lambda epoch: 0.6)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="KeepProbScheduler")
        model.fit(ones(2), ones(2), callbacks=[callback], verbose=0)
    found = dbl.find_drop_block_layers(model)
    assert [layer.keep_prob for layer in found] == [0.6] * 3


def test_it_warns_if_the_model_has_no_layer_to_schedule():
    model = compiled_model(keras.layers.Dropout(0.5))
    callback = KeepProbScheduler(lambda epoch: 0.6)
    with pytest.warns(UserWarning, match="found no DropBlock layer in model 'seq"):
        history = model.fit(ones(2), ones(2), callbacks=[callback], verbose=0).history
    assert "keep_prob" not in history


# Dropped fractions


@pytest.mark.parametrize("jit_compile", ["auto", False])
def test_each_epoch_of_a_compiled_fit_drops_what_the_schedule_says(jit_compile):
    model = compiled_model(jit_compile=jit_compile)
    schedule = dbl.linear_schedule(1.0, 0.4, steps=3)
    history = model.fit(
        ones(64),
        ones(64),
        batch_size=32,
        epochs=5,
        callbacks=[KeepProbScheduler(schedule)],
        verbose=0,
    ).history
    expected = [1.0, 0.8, 0.6, 0.4, 0.4]
    assert history["keep_prob"] == pytest.approx(expected, rel=1e-12)
    assert_dropped(history["dropped"], expected, masks=64 * SHAPE[-1])


def test_each_step_of_a_compiled_fit_drops_what_the_schedule_says():
    model, recorder = compiled_model(), Recorder()
    schedule = dbl.linear_schedule(1.0, 0.3, steps=7)
    history = model.fit(
        ones(128),
        ones(128),
        batch_size=32,
        epochs=2,
        callbacks=[KeepProbScheduler(schedule, unit="step"), recorder],
        verbose=0,
    ).history
    expected = [1 - step / 10 for step in range(8)]
    assert recorder.keep_probs == pytest.approx(expected, rel=1e-12)
    assert_dropped(recorder.dropped, expected, masks=32 * SHAPE[-1])
    # The logs have the last value of the epoch.
    assert history["keep_prob"] == pytest.approx([0.7, 0.3])


def test_a_step_takes_effect_without_another_callback_that_reads_the_model():
    model = compiled_model()
    schedule = dbl.linear_schedule(1.0, 0.4, steps=3)
    history = model.fit(
        ones(128),
        ones(128),
        batch_size=32,
        callbacks=[KeepProbScheduler(schedule, unit="step")],
        verbose=0,
    ).history
    error = epoch_error([1.0, 0.8, 0.6, 0.4], masks=32 * SHAPE[-1])
    assert abs(history["dropped"][0] - 0.3) < 5 * error


def assert_dropped(measured, keep_probs, masks):
    for rate, keep_prob in zip(measured, keep_probs, strict=True):
        gamma = dbl.exact_gamma(keep_prob, 2, SHAPE[:2])
        error = oracle.standard_error(gamma, 2, SHAPE[:2], masks)
        assert abs(rate - (1 - keep_prob)) <= 5 * error + 1e-6


def epoch_error(keep_probs, masks):
    """Standard error of the mean over batches of different keep_prob."""
    variances = [
        oracle.drop_rate_variance(dbl.exact_gamma(p, 2, SHAPE[:2]), 2, SHAPE[:2])
        for p in keep_probs
    ]
    return math.sqrt(sum(variances) / masks) / len(keep_probs)


# The index, including after a resume


def test_the_index_continues_with_the_epochs():
    model, data = compiled_model(), (ones(8), ones(8))
    assert indices(model, data, "epoch", epochs=3) == [0, 1, 2]
    assert indices(model, data, "epoch", first_epoch=3, epochs=5) == [3, 4]


@pytest.mark.parametrize("resumed_by", ["same model", "new model"])
def test_the_index_continues_with_the_steps_of_arrays(resumed_by):
    model, data = compiled_model(), (ones(10), ones(10))
    # Three steps per epoch, the last one smaller.
    assert indices(model, data, "step", epochs=2, batch_size=4) == list(range(6))
    if resumed_by == "new model":
        model = compiled_model()
    resumed = indices(model, data, "step", first_epoch=2, epochs=4, batch_size=4)
    assert resumed == list(range(6, 12))


def test_the_index_continues_with_the_steps_of_a_generator():
    model = compiled_model()
    stream = {"epochs": 2, "steps_per_epoch": 3}
    assert indices(model, (batches(99),), "step", **stream) == list(range(6))
    stream["epochs"] = 4
    resumed = indices(model, (batches(99),), "step", first_epoch=2, **stream)
    assert resumed == list(range(6, 12))


def test_the_index_continues_with_the_steps_of_a_stream_of_unknown_length():
    def trained_with(steps, **epochs):
        """keep_prob of each step with data; Keras asks for one more step."""
        recorder = Recorder()
        schedule = KeepProbScheduler(lambda step: 1 / (1 + step), unit="step")
        callbacks = [schedule, recorder]
        model.fit(batches(steps), callbacks=callbacks, verbose=0, **epochs)
        return [round(1 / keep_prob - 1) for keep_prob in recorder.keep_probs]

    model = compiled_model()
    with warnings.catch_warnings():
        # Keras warns that the generator ran out of data, which is intended here.
        warnings.filterwarnings("ignore", message="Your input ran out of data")
        assert trained_with(5, epochs=1) == [0, 1, 2, 3, 4]
        # At the end of the data, TensorFlow's optimizer may have counted the step
        # that found none.
        counted = int(model.optimizer.iterations)
        assert counted in ([5, 6] if BACKEND == "tensorflow" else [5])
        with pytest.warns(UserWarning, match=f"keep_prob at step {counted}.*steps_per"):
            resumed = trained_with(3, initial_epoch=1, epochs=2)
    assert resumed == [counted, counted + 1, counted + 2]


def test_a_resume_of_unknown_length_counts_accumulated_steps():
    model = compiled_model()
    optimizer = keras.optimizers.SGD(0.0, gradient_accumulation_steps=2)
    model.compile(optimizer, "mse")
    for _ in range(4):
        model.train_on_batch(ones(2), ones(2))
    callback = KeepProbScheduler(lambda index: 1 / (1 + index), "step")
    callback.set_model(model)
    with pytest.warns(UserWarning, match="keep_prob at step 4"):
        callback.on_epoch_begin(1)


@pytest.mark.skipif(
    BACKEND == "torch",
    reason="Keras rejects steps_per_execution above 1 on torch",
)
def test_with_several_steps_per_execution_it_changes_once_per_execution():
    model, recorder = compiled_model(steps_per_execution=5), Recorder()
    data = (ones(12), ones(12))
    assert indices(model, data, "step", epochs=2, batch_size=1) == [
        *(0, 5, 10),
        *(12, 17, 22),
    ]
    schedule = dbl.linear_schedule(1.0, 0.2, steps=8)
    callbacks = [KeepProbScheduler(schedule, unit="step"), recorder]
    model.fit(ones(100), ones(100), batch_size=10, callbacks=callbacks, verbose=0)
    assert recorder.keep_probs == pytest.approx([1.0, 0.5])
    assert_dropped(recorder.dropped / 5, [1.0, 0.5], masks=50 * SHAPE[-1])


@pytest.mark.parametrize(
    ("unit", "bad"), [("epoch", -0.05), ("epoch", math.nan), ("step", 1.07)]
)
def test_a_scheduled_value_that_is_not_a_probability_is_rejected(unit, bad):
    model = compiled_model()
    callback = KeepProbScheduler(lambda index: bad if index == 1 else 0.8, unit)
    with pytest.raises(ValueError) as error:
        model.fit(
            ones(4), ones(4), batch_size=2, epochs=2, callbacks=[callback], verbose=0
        )
    assert str(error.value) == (
        f"Invalid value received from argument `schedule` at {unit} 1. "
        f"Expected a float in (0, 1]. Received: schedule(1)={bad!r}"
    )
    # The layer is unchanged.
    assert model.layers[0].keep_prob == 0.8
