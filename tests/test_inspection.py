"""The report of what a model drops finds planted faults and nothing else."""

import dataclasses
import re

import keras
import numpy as np
import pytest
from backend import BACKEND
from keras import layers

import dropblock_lib as dbl
from dropblock_lib import DropBlock2D

pytestmark = pytest.mark.backends

SHAPE = (12, 12, 8)
X = np.random.default_rng(0).normal(size=(16, *SHAPE)).astype("float32")


def sequential(*parts, shape=SHAPE):
    return keras.Sequential([keras.Input(shape), *parts], name="net")


def block(name="drop", size=3, keep_prob=0.9, **arguments):
    return DropBlock2D(size, keep_prob, name=name, seed=1, **arguments)


class Calling(keras.Model):
    """A subclassed model that passes arguments of the test's choice to its layer."""

    def __init__(self, layer, **arguments):
        super().__init__(name="calling")
        self.inner = layer
        self.arguments = arguments

    def call(self, x, training=False):
        return self.inner(x, **self.arguments)


def inspect_called(layer, **arguments):
    model = Calling(layer, **arguments)
    model(X)
    return dbl.inspect(model, X)


class Holding(layers.Layer):
    """A layer with layers in an attribute and in a list."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.first = block("first")
        self.more = [layers.Dropout(0.5, name="second", seed=2)]

    def call(self, x):
        return self.more[0](self.first(x))


def warned(report, *texts):
    """Asserts one warning for each text, in this order."""
    assert len(report.warnings) == len(texts), report.warnings
    for warning, text in zip(report.warnings, texts, strict=True):
        assert text in warning


# Reports


def test_a_block_is_described_by_its_map():
    model = sequential(block(size=7, keep_prob=0.9), shape=(14, 14, 8))
    [row] = dbl.inspect(model).rows
    assert (row.name, row.path, row.kind) == ("drop", "drop", "DropBlock2D")
    assert (row.map, row.channels, row.block) == ((14, 14), 8, (7, 7))
    assert row.share == (0.5, 0.5)
    assert row.keep_prob == 0.9
    assert row.gamma == dbl.gamma(0.9, 7, 14)
    assert row.expected_rate == dbl.expected_drop_rate(row.gamma, 7, 14)
    assert row.training_rate is None and row.inference_rate is None


def test_the_exact_rule_is_reported():
    [row] = dbl.inspect(sequential(block(gamma="exact", keep_prob=0.6))).rows
    assert row.gamma == dbl.exact_gamma(0.6, 3, 12)
    assert row.expected_rate == pytest.approx(0.4)


def test_a_block_is_clipped_to_the_map_and_axes_are_those_of_the_data_format():
    drop = block(size=(3, 9), data_format="channels_first")
    [row] = dbl.inspect(sequential(drop, shape=(8, 12, 6))).rows
    assert (row.map, row.channels, row.block) == ((12, 6), 8, (3, 6))


def test_unknown_sides_are_none_until_a_batch_is_given():
    model = sequential(block(), shape=(None, None, 8))
    [row] = dbl.inspect(model).rows
    assert (row.map, row.channels) == ((None, None), 8)
    assert row.share == (None, None)
    assert row.gamma is None and row.expected_rate is None
    [row] = dbl.inspect(model, X).rows
    assert row.map == (12, 12) and row.gamma == dbl.gamma(0.9, 3, 12)


@pytest.mark.parametrize(
    "layer, shape, rate",
    [
        (layers.Dropout(0.3, seed=1), SHAPE, 0.3),
        (layers.Dropout(0.3, noise_shape=(None, 1, 1, 8), seed=1), SHAPE, 0.3),
        (layers.Dropout(0.0), SHAPE, 0),
        (layers.SpatialDropout1D(0.3, seed=1), (12, 8), 0.3),
        (layers.SpatialDropout2D(0.3, seed=1), SHAPE, 0.3),
        (layers.SpatialDropout3D(0.3, seed=1), (4, 4, 4, 8), 0.3),
        (layers.AlphaDropout(0.3, seed=1), SHAPE, 0.3),
        (layers.GaussianDropout(0.3, seed=1), SHAPE, 1),
        (block(keep_prob=0.7, gamma="exact"), SHAPE, 0.3),
        (block(keep_prob=0.7, gamma="exact", per_channel=False), SHAPE, 0.3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_rates_of_all_kinds_are_measured_without_a_warning(layer, shape, rate):
    x = np.zeros((16, *shape), "float32")
    report = dbl.inspect(sequential(layer, shape=shape), x)
    [row] = report.rows
    assert row.kind == type(layer).__name__
    assert row.maps == (shape,)
    assert row.expected_rate == pytest.approx(rate)
    assert row.training_rate == pytest.approx(rate, abs=0.1)
    assert row.inference_rate == 0
    warned(report)


def test_few_units_are_measured_over_several_calls():
    model = sequential(block(keep_prob=0.8))
    report = dbl.inspect(model, X[:1])
    assert report.rows[0].training_rate == pytest.approx(0.18, abs=0.1)
    warned(report)


def test_layers_at_any_depth_are_found_once_with_their_paths():
    stage = sequential(block("deep"), Holding(name="holding"))
    backbone = keras.Sequential([keras.Input(SHAPE), stage], name="backbone")
    inputs = keras.Input(SHAPE)
    x = backbone(inputs)
    shared = block("shared")
    x = shared(shared(x))
    x = layers.Dense(4)(layers.Dropout(0.2, name="head")(x))
    report = dbl.inspect(keras.Model(inputs, x, name="whole"), X)
    assert [row.path for row in report.rows] == [
        "backbone/net/deep",
        "backbone/net/holding/first",
        "backbone/net/holding/second",
        "shared",
        "head",
    ]
    assert all(row.map == (12, 12) for row in report.rows)
    assert all(row.training_rate > 0 for row in report.rows)
    warned(report)


def test_a_shared_layer_lists_all_its_maps():
    inputs = keras.Input(SHAPE)
    shared = block("shared")
    small = layers.AveragePooling2D(2)(shared(inputs))
    model = keras.Model(inputs, [shared(small), small])
    for report in (dbl.inspect(model), dbl.inspect(model, X)):
        [row] = report.rows
        assert row.maps == ((12, 12, 8), (6, 6, 8))
        low, high = sorted(
            dbl.expected_drop_rate(dbl.gamma(0.9, 3, side), 3, side) for side in (6, 12)
        )
        assert low < row.expected_rate < high
        warned(report)


def test_a_subclassed_model_needs_a_batch_for_layers_that_are_not_built():
    model = Calling(layers.Dropout(0.5, name="dropout"))
    model(X)
    [row] = dbl.inspect(model).rows
    assert row.map is None and row.channels is None
    [row] = dbl.inspect(model, X).rows
    assert (row.path, row.map, row.channels) == ("dropout", (12, 12), 8)


def test_a_built_block_in_a_subclassed_model_knows_its_map():
    model = Calling(block())
    model(X)
    [row] = dbl.inspect(model).rows
    assert (row.map, row.channels) == ((12, 12), 8)


def test_inputs_may_be_a_dictionary():
    inputs = {"a": keras.Input(SHAPE, name="a"), "b": keras.Input((3,), name="b")}
    outputs = [block()(inputs["a"]), keras.layers.ReLU()(inputs["b"])]
    model = keras.Model(inputs, outputs)
    report = dbl.inspect(model, {"a": X, "b": np.ones((16, 3), "float32")})
    assert report.rows[0].training_rate > 0


# Warnings


def test_a_model_that_drops_as_intended_triggers_no_warning():
    model = sequential(
        layers.Conv2D(8, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        block(size=5),
        layers.GlobalAveragePooling2D(),
        layers.Dropout(0.5),
        layers.Dense(3),
    )
    warned(dbl.inspect(model))
    warned(dbl.inspect(model, X))


def test_a_block_that_never_drops_triggers_a_warning():
    warned(
        inspect_called(block(), training=False),
        "drop: dropped nothing in training mode, although 10.0% was requested",
    )


def test_a_layer_that_is_not_called_triggers_a_warning():
    class Forgetful(keras.Model):
        def __init__(self, drop):
            super().__init__()
            self.dense = layers.Dense(2)
            self.drop = drop

        def call(self, x):
            return self.dense(x)

    model = Forgetful(layers.Dropout(0.5, name="forgotten"))
    model(X)
    warned(dbl.inspect(model, X), "forgotten: dropped nothing, because the model")
    model = Forgetful(block("forgotten"))
    model(X)
    report = dbl.inspect(model)
    warned(report, "forgotten: has not been called yet")
    assert "not called yet" in str(report).split("\n")[3]


class Loose(keras.Model):
    """A subclassed model whose `call` is a function of the test."""

    def __init__(self, call):
        super().__init__(name="loose")
        self.first, self.drop = layers.Conv2D(8, 3, padding="same"), block()
        self.how = call

    def call(self, x, training=False):
        return self.how(self, x, training)


def inspect_loose(call):
    model = Loose(call)
    model(X)
    return dbl.inspect(model, X)


def test_a_layer_whose_output_is_ignored_triggers_a_warning():
    def ignores(model, x, training):
        x = model.first(x)
        model.drop(x)
        return x

    warned(inspect_loose(ignores), "drop: the model ignores the layer's output")


@pytest.mark.parametrize(
    "call",
    [
        lambda model, x, training: model.drop(model.first(x)),
        lambda model, x, training: model.drop(x) if training else model.first(x),
        # The outputs have only integers, which may be equal by chance.
        lambda model, x, training: keras.ops.argmax(model.drop(x), axis=-1),
    ],
    ids=["both", "training only", "integers"],
)
def test_a_subclassed_model_that_drops_triggers_no_warning(call):
    report = inspect_loose(call)
    assert report.rows[0].training_rate > 0
    warned(report)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="has no tf.function")
def test_a_model_that_tensorflow_compiled_is_measured():
    import tensorflow as tf

    report = inspect_loose(tf.function(lambda model, x, training: model.drop(x)))
    assert report.rows[0].training_rate > 0
    warned(report)
    assert not tf.config.functions_run_eagerly()


def test_equal_warnings_of_several_layers_are_one():
    drops = [block(f"drop_{i}", size=12) for i in range(5)]
    warned(dbl.inspect(sequential(*drops)), "drop_0, drop_1, drop_2 and 2 more: the bl")


def test_a_rate_given_as_keep_prob_triggers_a_warning():
    report = dbl.inspect(sequential(block(size=7, keep_prob=0.1)), X)
    warned(
        report, "so 90.0% of the units are to be dropped. It is the fraction to keep"
    )
    assert "to drop 10.0%, set keep_prob=0.9" in report.warnings[0]


def trained(schedule, epochs, unit="epoch", **arguments):
    model = sequential(block("a", **arguments), block("b"), layers.Dense(8))
    model.compile("sgd", "mse")
    scheduler = dbl.KeepProbScheduler(schedule, unit)
    model.fit(X, X, 4, epochs=epochs, verbose=0, callbacks=[scheduler])
    return model


UNREACHED = (
    "a, b: the schedule did not reach its end: keep_prob is 0.95 rather than 0.9."
)


# An epoch has four steps.
@pytest.mark.parametrize(("unit", "steps", "epochs"), [("epoch", 2, 2), ("step", 6, 1)])
def test_a_schedule_that_did_not_reach_its_end_triggers_a_warning(unit, steps, epochs):
    model = trained(dbl.linear_schedule(1.0, 0.9, steps), epochs, unit)
    warned(dbl.inspect(model, X), UNREACHED)
    # An assigned keep_prob is intended, so there is no warning.
    for layer in dbl.find_drop_block_layers(model):
        layer.keep_prob = 0.92
    warned(dbl.inspect(model))


def test_the_end_of_a_schedule_is_saved_with_the_model(tmp_path):
    model = trained(dbl.linear_schedule(1.0, 0.9, 2), 2)
    model.save(tmp_path / "model.keras")
    warned(dbl.inspect(keras.saving.load_model(tmp_path / "model.keras")), UNREACHED)


def test_a_schedule_that_has_not_begun_to_drop_triggers_one_warning():
    report = dbl.inspect(trained(dbl.linear_schedule(1.0, 0.9, 1000), 1))
    warned(report, "schedule did not reach its end: keep_prob is 1 rather than 0.9.")


def test_a_layer_that_drops_a_fraction_of_the_rate_has_its_own_end():
    model = trained(dbl.linear_schedule(1.0, 0.9, 2), 2, rate_scale=0.5)
    warned(
        dbl.inspect(model),
        "a: the schedule did not reach its end: keep_prob is 0.975 rather than 0.95.",
        "b: the schedule did not reach its end: keep_prob is 0.95 rather than 0.9.",
    )


@pytest.mark.parametrize(
    ("schedule", "unit"),
    [
        (dbl.linear_schedule(1.0, 0.9, 2), "epoch"),
        (dbl.linear_schedule(1.0, 0.9, 1), "epoch"),
        # The last of 48 steps is one before the end.
        (dbl.linear_schedule(1.0, 0.9, 48), "step"),
        # A floor is not an end, and the end of a plain function is unknown.
        (dbl.decrement_schedule(1.0, 0.02, floor=0.5), "epoch"),
        (lambda index: 0.97, "epoch"),
    ],
)
def test_a_schedule_that_reached_its_end_triggers_no_warning(schedule, unit):
    epochs = 12 if unit == "step" else 3
    warned(dbl.inspect(trained(schedule, epochs, unit)))


def test_too_few_units_to_tell_trigger_no_warning():
    model = Calling(block(keep_prob=0.999), training=False)
    model(X[:1])
    warned(dbl.inspect(model, X[:1]))


def test_a_keep_prob_of_1_triggers_a_warning():
    drops = [block(f"drop_{i}", keep_prob=1.0) for i in range(5)]
    report = dbl.inspect(sequential(*drops), X)
    warned(
        report,
        "drop_0, drop_1, drop_2 and 2 more: keep_prob is 1, so nothing is dropped. "
        "Set it or use KeepProbScheduler.",
    )
    for drop in drops[1:]:
        drop.keep_prob = 0.9
    warned(dbl.inspect(sequential(*drops), X), "drop_0: keep_prob is 1, so nothing")


def test_a_block_that_covers_the_map_triggers_a_warning():
    report = dbl.inspect(sequential(block(size=12)))
    assert report.rows[0].share == (1, 1)
    warned(
        report,
        "drop: the block covers the whole map of 12x12, so it drops whole channels",
    )


def test_a_map_of_one_pixel_triggers_a_warning():
    pooling = layers.GlobalAveragePooling2D(keepdims=True)
    warned(dbl.inspect(sequential(pooling, block())), "drop: its map is 1x1")


def test_dropping_at_inference_triggers_a_warning():
    report = inspect_called(block(), training=True)
    warned(report, "of the units at inference. Do not pass training=True")
    assert report.rows[0].inference_rate > 0


def test_an_expected_rate_far_from_the_nominal_triggers_a_warning():
    report = dbl.inspect(sequential(block(size=7, keep_prob=0.5)), X)
    warned(report, 'use gamma="exact"')
    exact = sequential(block(size=7, keep_prob=0.5, gamma="exact"))
    warned(dbl.inspect(exact, X))


def test_a_measured_rate_far_from_the_expected_triggers_a_warning():
    class Halved(layers.Dropout):
        def call(self, inputs, training=False):
            return keras.random.dropout(inputs, self.rate / 2 if training else 0.0)

    report = dbl.inspect(sequential(Halved(0.5, name="halved")), X)
    warned(report, "in training mode, where 50.0% is expected")


def test_frozen_normalization_triggers_a_warning():
    def model(*drops):
        frozen = layers.BatchNormalization(name="norm", trainable=False)
        return sequential(layers.Conv2D(4, 3), *drops, frozen)

    warned(
        dbl.inspect(model(layers.Dropout(0.5))),
        "norm: normalization is frozen after a layer that drops",
    )
    warned(dbl.inspect(model(layers.Dropout(0.0))))


def test_normalization_frozen_before_the_layers_that_drop_is_fine():
    backbone = sequential(layers.Conv2D(4, 3), layers.BatchNormalization())
    backbone.trainable = False
    head = layers.GlobalAveragePooling2D(), layers.Dropout(0.5), layers.Dense(2)
    model = sequential(backbone, block(), *head)
    warned(dbl.inspect(model))
    warned(dbl.inspect(model, X))


def test_a_model_without_a_layer_that_drops_triggers_a_warning():
    report = dbl.inspect(sequential(layers.ReLU()), X)
    assert report.rows == ()
    warned(report, "the model contains no layer that drops")
    assert "no layer that drops" in str(report) and "<table" not in report._repr_html_()


# Restoring


def noisy_model():
    return sequential(
        layers.SpectralNormalization(layers.Conv2D(8, 3)),
        layers.BatchNormalization(),
        block(),
        layers.Dropout(0.5, seed=3),
    )


def state(model):
    return [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]


def test_variables_are_restored():
    model = noisy_model()
    before = state(model)
    dbl.inspect(model, X)
    for old, new in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_variables_and_calls_are_restored_after_an_error():
    class Failing(layers.Layer):
        def call(self, x, training=False):
            if training:
                raise RuntimeError("planted")
            return x

    parts = layers.BatchNormalization(), block(), Failing()
    model = sequential(*parts)
    before = state(model)
    with pytest.raises(RuntimeError, match="planted"):
        dbl.inspect(model, X)
    for old, new in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(old, new)
    assert "call" not in vars(parts[1])


def test_a_replaced_call_is_kept():
    drop = block()
    model = sequential(drop)
    replaced = drop.call
    object.__setattr__(drop, "call", replaced)
    dbl.inspect(model, X)
    assert vars(drop)["call"] is replaced


def test_an_inspected_model_trains_and_then_reports_the_new_keep_prob():
    model = sequential(block(keep_prob=1.0), layers.Dense(8))
    dbl.inspect(model, X)
    model.compile("sgd", "mse")
    schedule = dbl.KeepProbScheduler(dbl.linear_schedule(1.0, 0.8, 1))
    model.fit(X, X, epochs=2, verbose=0, callbacks=[schedule])
    report = dbl.inspect(model, X)
    assert report.rows[0].keep_prob == 0.8
    warned(report)


# Display


def test_the_table_is_aligned_and_the_warnings_follow():
    model = sequential(block("a", 12), layers.Dropout(0.25, name="longer"))
    title, header, rule, first, second, *warnings = str(dbl.inspect(model)).split("\n")
    assert title == "net: 1 DropBlock2D, 1 Dropout"
    columns = ["layer", "kind", "map", "block", "keep_prob", "gamma", "expected"]
    assert header.split() == columns
    assert set(rule) == {"-", " "}
    assert first.split()[:3] == ["a", "DropBlock2D", "12x12x8"]
    assert "12x12 of 12x12" in first and first.endswith("10.00%")
    assert second.split() == ["longer", "Dropout", "12x12x8", "25.00%"]
    assert header.index("kind") == first.index("DropBlock2D")
    [warning] = warnings
    assert warning.startswith("Warning: a: the block covers")
    assert "training" in str(dbl.inspect(model, X)).split("\n")[1]


def test_html_is_escaped():
    model = sequential(block("drop", 12))
    report = dbl.inspect(model)
    row = dataclasses.replace(report.rows[0], path="<b>")
    report = dataclasses.replace(report, rows=(row,), model="a&b")
    text = report._repr_html_()
    assert "<td>&lt;b&gt;<br>DropBlock2D<br>" in text and "a&amp;b" in text
    assert "<b>" not in text and "<li>drop: the block" in text


def test_html_says_what_was_not_called_and_sets_code():
    class Unused(keras.Model):
        def __init__(self):
            super().__init__()
            self.on, self.off = block("on"), block("off")

        def call(self, x):
            return self.on(x)

    model = Unused()
    model(X)
    text = dbl.inspect(model, X)._repr_html_()
    assert text.count("<td>not called</td>") == 1
    assert "<code>call</code>" in text and "`" not in text


def test_html_has_few_columns():
    nested = sequential(block("drop_1"), layers.Dropout(0.25))
    report = dbl.inspect(sequential(nested), X)
    text = report._repr_html_()
    columns = ["layer", "nominal", "expected", "training / inference"]
    assert re.findall("<th scope[^>]*>(.*?)</th>", text) == columns
    first, second = report.rows
    rates = [row.training_rate for row in report.rows]
    assert re.findall("<td>(.*?)</td>", text) == [
        "net/<wbr>drop_<wbr>1<br>DropBlock2D<br>12x12x8<br>block 3x3",
        *("10.0%", f"{first.expected_rate:.1%}", f"{rates[0]:.1%} / 0.0%"),
        f"net/<wbr>{second.name.replace('_', '_<wbr>')}<br>Dropout<br>12x12x8",
        *("25.0%", "25.0%", f"{rates[1]:.1%} / 0.0%"),
    ]
    assert "training" not in dbl.inspect(nested)._repr_html_()


def test_a_report_cannot_be_changed():
    report = dbl.inspect(sequential(block()))
    for frozen in (report, report.rows[0]):
        with pytest.raises(dataclasses.FrozenInstanceError):
            frozen.new = 1


# Invalid arguments


@pytest.mark.parametrize(
    "model", [None, "net", block(), X], ids=lambda x: type(x).__name__
)
def test_anything_but_a_model_is_rejected(model):
    with pytest.raises(ValueError, match="`model`"):
        dbl.inspect(model)


def test_a_batch_without_samples_is_rejected():
    model = keras.Sequential([keras.Input(X.shape[1:]), block()])
    with pytest.raises(ValueError, match=r"`inputs`.*at least one sample"):
        dbl.inspect(model, X[:0])


def test_dropout_of_a_vector_without_features_is_measured():
    inputs = keras.Input(batch_shape=(400,))
    model = keras.Model(inputs, keras.layers.Dropout(0.5, seed=0)(inputs))
    report = dbl.inspect(model, np.ones(400, "float32"))
    assert 0.3 < report.rows[0].training_rate < 0.7
    assert report.rows[0].inference_rate == 0
    assert report.rows[0].channels is None


def test_a_model_that_is_not_built_is_rejected():
    with pytest.raises(ValueError, match="a built model: call it on a batch first"):
        dbl.inspect(keras.Sequential([block()]))
