"""Batch normalization against NumPy in float64 and against Keras' own layer."""

import inspect
import subprocess
import sys

import keras
import numpy as np
import pytest
from backend import BACKEND, DTYPES, array, tensor
from keras import layers, ops

from dropblock_lib import models
from dropblock_lib.models.normalization import BatchNormalization

ON_TENSORFLOW = BACKEND == "tensorflow"
SHAPE = (4, 5, 6, 3)
MOMENTUM, EPSILON = 0.9, 1e-3
# All different from the initial values of a new layer.
WEIGHTS = {
    "gamma": np.array([1.0, 2.0, -0.5]),
    "beta": np.array([0.0, 1.0, -1.0]),
    "moving_mean": np.array([1.0, -1.0, 0.5]),
    "moving_variance": np.array([2.0, 0.5, 1.0]),
}
# Arguments and input shapes that the fused operation does not support.
LEFT_TO_KERAS = {
    "vectors": ({}, (8, 3)),
    "sequences": ({}, (4, 5, 3)),
    "volumes": ({}, (2, 3, 4, 5, 3)),
    "channels first": ({"axis": 1}, (4, 3, 5, 6)),
    "no gamma": ({"scale": False}, SHAPE),
    "no beta": ({"center": False}, SHAPE),
    "a small epsilon": ({"epsilon": 1e-6}, SHAPE),
    "synchronized": ({"synchronized": True}, SHAPE),
}
if "renorm" in inspect.signature(layers.BatchNormalization).parameters:
    LEFT_TO_KERAS["renormalization"] = ({"renorm": True}, SHAPE)


def batch(number=0, shape=SHAPE, mean=3.0, deviation=2.0):
    return np.random.default_rng(number).normal(mean, deviation, shape)


def made(cls=BatchNormalization, shape=SHAPE, *, trainable=True, **arguments):
    layer = cls(**{"momentum": MOMENTUM, "epsilon": EPSILON} | arguments)
    layer.build(shape)
    for name, value in WEIGHTS.items():
        if getattr(layer, name, None) is not None:
            getattr(layer, name).assign(value)
    layer.trainable = trainable
    return layer


def ours_and_keras(shape=SHAPE, **arguments):
    classes = (BatchNormalization, layers.BatchNormalization)
    return [made(cls, shape, **arguments) for cls in classes]


def moving(layer):
    return [array(layer.moving_mean.value), array(layer.moving_variance.value)]


def assert_agree(got, expected, tolerance=2e-6):
    """Asserts that values are equal, up to rounding on TensorFlow."""
    if not ON_TENSORFLOW:
        tolerance = 0
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=5 * tolerance)


def normalized(x, mean, variance):
    return (x - mean) / np.sqrt(variance + EPSILON)


def operations(layer, x, **kwargs):
    """Types of the operations in TensorFlow's graph of a call."""
    import tensorflow as tf

    traced = tf.function(lambda x: layer(x, **kwargs))
    graph = traced.get_concrete_function(tf.TensorSpec(x.shape, x.dtype)).graph
    return {operation.type for operation in graph.get_operations()}


@pytest.mark.backends
def test_training_normalizes_by_the_batch_and_averages_its_moments():
    ours, theirs = ours_and_keras()
    mean, variance = WEIGHTS["moving_mean"], WEIGHTS["moving_variance"]
    for number in range(3):
        x = batch(number, mean=number)
        got = array(ours(tensor(x), training=True))
        # NumPy's variance is the biased one, over all units of a channel.
        moments = x.mean((0, 1, 2)), x.var((0, 1, 2))
        expected = WEIGHTS["gamma"] * normalized(x, *moments) + WEIGHTS["beta"]
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
        mean = MOMENTUM * mean + (1 - MOMENTUM) * moments[0]
        variance = MOMENTUM * variance + (1 - MOMENTUM) * moments[1]
        for value, right in zip(moving(ours), (mean, variance), strict=True):
            # The unbiased variance of 120 units would be 0.8% larger.
            np.testing.assert_allclose(value, right, rtol=1e-6, atol=1e-6)
        assert_agree(got, array(theirs(tensor(x), training=True)))
        assert_agree(moving(ours), moving(theirs))


@pytest.mark.backends
@pytest.mark.parametrize(
    ("trainable", "training"), [(True, False), (True, None), (False, True)]
)
def test_inference_and_a_frozen_layer_use_the_moving_moments(trainable, training):
    ours, theirs = ours_and_keras(trainable=trainable)
    x = batch()
    got = array(ours(tensor(x), training=training))
    moments = WEIGHTS["moving_mean"], WEIGHTS["moving_variance"]
    expected = WEIGHTS["gamma"] * normalized(x, *moments) + WEIGHTS["beta"]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert_agree(got, array(theirs(tensor(x), training=training)))
    np.testing.assert_array_equal(moving(ours), np.float32(moments))


@pytest.mark.skipif(not ON_TENSORFLOW, reason="elsewhere Keras computes them")
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("trainable", [True, False])
def test_gradients(trainable, jit_compile):
    import tensorflow as tf

    layer = made(trainable=trainable)
    x, weights = batch(1), batch(2, mean=0.0)

    @tf.function(jit_compile=jit_compile)
    def gradients(x):
        parameters = [layer.gamma.value, layer.beta.value]
        with tf.GradientTape() as tape:
            tape.watch([x, *parameters])
            total = tf.reduce_sum(layer(x, training=True) * tensor(weights))
        return tape.gradient(total, [x, *parameters])

    got = gradients(tensor(x))
    axes = (0, 1, 2)
    if trainable:
        moments = x.mean(axes), x.var(axes)
    else:
        moments = WEIGHTS["moving_mean"], WEIGHTS["moving_variance"]
    units = normalized(x, *moments)
    of_gamma, of_beta = (weights * units).sum(axes), weights.sum(axes)
    through = weights
    if trainable:
        # The moments depend on the inputs as well.
        count = x[..., 0].size
        through = weights - of_beta / count - units * of_gamma / count
    of_x = WEIGHTS["gamma"] / np.sqrt(moments[1] + EPSILON) * through
    for value, right in zip(got, (of_x, of_gamma, of_beta), strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-4, atol=1e-4)


@pytest.mark.backends
def test_fit_moves_all_weights_as_with_keras_layer():
    after = []
    for layer in ours_and_keras():
        model = keras.Sequential([keras.Input(SHAPE[1:]), layer])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        x = batch(1, (8, *SHAPE[1:])).astype("float32")
        model.fit(x, 0 * x, batch_size=4, epochs=2, shuffle=False, verbose=0)
        after.append(model.get_weights())
    for mine, other, begin in zip(*after, WEIGHTS.values(), strict=True):
        assert_agree(mine, other, tolerance=1e-5)
        assert not np.allclose(mine, begin)


@pytest.mark.backends
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "dtype", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16", *DTYPES[3:]]
)
def test_every_precision(dtype, training):
    ours, theirs = ours_and_keras(dtype=dtype)
    x = tensor(batch(), ours.compute_dtype)
    got, expected = (layer(x, training=training) for layer in (ours, theirs))
    assert got.dtype == expected.dtype
    assert keras.backend.standardize_dtype(got.dtype) == ours.compute_dtype
    # A number halfway between two may be rounded either way: one unit in the last
    # of 8 or 11 bits.
    step = {"bfloat16": 2**-8, "float16": 2**-11}
    tolerance = 2 * step.get(ours.compute_dtype, 0)
    assert_agree(array(got), array(expected), tolerance)
    tolerance = 2 * step.get(ours.variable_dtype, 1e-6)
    assert_agree(moving(ours), moving(theirs), tolerance)


@pytest.mark.skipif(
    BACKEND == "torch",
    reason="Keras' own layer takes E[x^2] - E[x]^2 in float32 on PyTorch, which rounds "
    "a variance of 1 at a mean of 1000 to sixteenths",
)
@pytest.mark.backends
def test_large_activations_keep_their_variance():
    for deviation in (1.0, 30_000.0):
        layer = made(dtype="mixed_float16", momentum=0.0)
        x = array(tensor(batch(3, mean=1000.0, deviation=deviation), "float16"))
        x = np.clip(x, -65_000, 65_000)
        got = array(layer(tensor(x, "float16"), training=True))
        assert np.isfinite(got).all()
        expected = x.astype("float64").var((0, 1, 2))
        np.testing.assert_allclose(moving(layer)[1], expected, rtol=1e-3)


@pytest.mark.backends
@pytest.mark.parametrize("side", [1, 3])
def test_a_batch_of_one(side):
    """With a single pixel the variance is zero, without a division by zero."""
    shape = (1, side, side, 3)
    ours, theirs = ours_and_keras(shape)
    x = batch(shape=shape)
    got = array(ours(tensor(x), training=True))
    expected = 0.9 * WEIGHTS["moving_variance"] + 0.1 * x.var((0, 1, 2))
    np.testing.assert_allclose(moving(ours)[1], expected, rtol=1e-6)
    assert_agree(got, array(theirs(tensor(x), training=True)))
    if side == 1:
        np.testing.assert_array_equal(got[0, 0, 0], WEIGHTS["beta"])


@pytest.mark.backends
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("case", LEFT_TO_KERAS)
def test_other_arguments_are_left_to_keras(case, training):
    arguments, shape = LEFT_TO_KERAS[case]
    known = inspect.signature(layers.BatchNormalization).parameters
    if not arguments.keys() <= known.keys():
        pytest.skip(f"this version of Keras has no {case}")
    if arguments.get("synchronized") and not ON_TENSORFLOW:
        pytest.skip("Keras synchronizes on TensorFlow alone")
    ours, theirs = ours_and_keras(shape, **arguments)
    x = tensor(batch(shape=shape))
    got, expected = (array(layer(x, training=training)) for layer in (ours, theirs))
    np.testing.assert_array_equal(got, expected)
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(array(mine.value), array(other.value))
    if ON_TENSORFLOW:
        assert "FusedBatchNormV3" not in operations(ours, x, training=training)


@pytest.mark.backends
def test_a_mask_is_left_to_keras():
    ours, theirs = ours_and_keras()
    x = tensor(batch())
    mask = ops.convert_to_tensor(batch(1)[..., 0] > 3)
    got, expected = (array(b(x, training=True, mask=mask)) for b in (ours, theirs))
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(moving(ours), moving(theirs))
    plain = array(made()(x, training=True))
    assert not np.allclose(got, plain)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="the operation is TensorFlow's")
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("training", [True, False])
def test_tensorflow_fuses(dtype, training):
    layer = made(dtype=dtype)
    x = tensor(batch(), layer.compute_dtype)
    assert "FusedBatchNormV3" in operations(layer, x, training=training)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="the operation is TensorFlow's")
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("shape", [SHAPE, (1, 1, 1, 3)])
def test_xla_compiles_it(dtype, shape):
    import tensorflow as tf

    ours, theirs = ours_and_keras(shape, dtype=dtype)
    compiled = tf.function(lambda x: ours(x, training=True), jit_compile=True)
    x = tensor(batch(shape=shape), ours.compute_dtype)
    step = {"bfloat16": 2**-7, "float16": 2**-10}.get(ours.compute_dtype, 2e-6)
    assert_agree(array(compiled(x)), array(theirs(x, training=True)), step)
    assert_agree(moving(ours), moving(theirs))


@pytest.mark.backends
def test_shapes_may_be_unknown():
    inputs = keras.Input((None, None, 3))
    outputs = made()(inputs)
    assert outputs.shape == (None, None, None, 3)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    seen = WEIGHTS["moving_mean"]
    for shape in ((4, 5, 6, 3), (2, 3, 3, 3)):
        x = batch(shape=shape).astype("float32")
        model.fit(x, x, verbose=0)
        seen = MOMENTUM * seen + (1 - MOMENTUM) * x.mean((0, 1, 2), dtype="float64")
        np.testing.assert_allclose(moving(model.layers[1])[0], seen, rtol=1e-5)


@pytest.mark.backends
def test_a_clone_and_a_copy_from_the_configuration_are_of_the_same_class():
    model = keras.Sequential([keras.Input(SHAPE[1:]), made(name="norm")])
    cloned = keras.models.clone_model(model).layers[0]
    config = keras.saving.serialize_keras_object(model.layers[0])
    for copy in (cloned, keras.saving.deserialize_keras_object(config)):
        assert type(copy) is BatchNormalization
        assert copy.get_config() == model.layers[0].get_config()
        assert (copy.name, copy.momentum, copy.epsilon) == ("norm", MOMENTUM, EPSILON)


@pytest.mark.backends
def test_a_network_with_it_loads_where_only_the_package_is_imported(tmp_path):
    model = models.resnet9("dropblock-3-0.9", (8, 8, 3), seed=0, width=2)
    for variable in model.non_trainable_variables:
        if variable.path.endswith("moving_mean"):
            variable.assign(batch(shape=variable.shape))
    x = batch(shape=(2, 8, 8, 3), mean=128, deviation=40).astype("float32")
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", x)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer("stem_norm")) is BatchNormalization
    expected = ops.convert_to_numpy(model(x))
    np.testing.assert_array_equal(ops.convert_to_numpy(loaded(x)), expected)
    code = """
import dropblock_lib, keras, numpy as np
model = keras.saving.load_model("model.keras")
np.save("y.npy", keras.ops.convert_to_numpy(model(np.load("x.npy"))))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, rtol=1e-5)
