"""Layers are inserted after the chosen ones, and nothing else changes."""

import keras
import numpy as np
import pytest
from backend import array
from keras import layers, ops

import dropblock_lib as dbl
from dropblock_lib.insertion import insert_after

DROP_BLOCK = dbl.VARIANTS["dropblock-3-0.7"]
SHAPE = (32, 32, 3)
X = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype("float32")
# Number of places: the blocks that end in a sum, times the units of each.
MAIN_PATH = {"ResNet50": 32, "ResNet50V2": 32, "MobileNetV2": 20, "EfficientNetB0": 18}
PAPER_CODE = {"ResNet50": 36, "ResNet50V2": 36, "MobileNetV2": 16, "EfficientNetB0": 20}


def drops(model):
    return [layer.name for layer in model.layers if layer.name.startswith("drop_")]


def outputs(model, x=X, **kwargs):
    return ops.convert_to_numpy(model(x, **kwargs))


@pytest.mark.parametrize("rank", [1, 3])
def test_placements_find_convolutions_of_every_rank(rank):
    convolution = {1: layers.Conv1D, 3: layers.Conv3D}[rank]
    drop = {1: dbl.DropBlock1D, 3: dbl.DropBlock3D}[rank]
    inputs = keras.Input((4,) * rank + (3,))
    x = layers.BatchNormalization()(convolution(4, 1)(inputs))
    model = keras.Model(inputs, layers.ReLU(name="relu")(x))
    copy = insert_after(model, lambda name: drop(3, name=name), "main-path-relu")
    assert drops(copy) == ["drop_relu"]
    with pytest.raises(ValueError, match=r"(?s)drop_relu.*rank 4"):
        insert_after(model, DROP_BLOCK, "main-path-relu")


def is_relu(layer):
    return layer.name.startswith("relu")


@pytest.fixture(scope="module")
def application():
    made = {}

    def make(name):
        if name not in made:
            network = getattr(keras.applications, name)
            made[name] = network(
                weights=None, include_top=False, input_shape=SHAPE, pooling="avg"
            )
        return made[name]

    return make


@pytest.mark.parametrize(
    ("name", "where", "count"),
    [(name, "main-path-relu", count) for name, count in MAIN_PATH.items()]
    + [("DenseNet121", "dense-block-relu", 116), ("DenseNet121", "main-path-relu", 58)]
    + [(name, "paper-code", count) for name, count in PAPER_CODE.items()]
    # Two blocks of two units in MobileNetV2's last group that has sums.
    + [("ResNet50", "last-group", 12), ("MobileNetV2", "last-group", 8)]
    + [("ResNet50", "after-addition", 16), ("MobileNetV2", "after-addition", 10)],
)
def test_a_placement_has_the_expected_number_of_places(application, name, where, count):
    plain = application(name)
    model = insert_after(plain, DROP_BLOCK, where)
    assert len(drops(model)) == count
    assert model.count_params() == plain.count_params()
    np.testing.assert_array_equal(outputs(model), outputs(plain))


def test_main_path_relu_has_the_places_of_the_slides(application):
    model = insert_after(application("ResNet50"), DROP_BLOCK, "main-path-relu")
    blocks = [
        f"conv{g}_block{b}"
        for g, n in zip((2, 3, 4, 5), (3, 4, 6, 3), strict=True)
        for b in range(1, n + 1)
    ]
    expected = {f"drop_{block}_{unit}_relu" for block in blocks for unit in (1, 2)}
    assert set(drops(model)) == expected
    for block in blocks:
        for unit in (1, 2):
            reader = model.get_layer(f"{block}_{unit + 1}_conv")
            assert reader.input is model.get_layer(f"drop_{block}_{unit}_relu").output


def test_paper_code_drops_a_quarter_in_the_earlier_group(application):
    model = insert_after(application("ResNet50"), DROP_BLOCK, "paper-code")
    for name in drops(model):
        keep_prob = model.get_layer(name).keep_prob
        assert keep_prob == pytest.approx(0.925 if "conv4" in name else 0.7)
    for block in ("conv4_block2", "conv5_block1"):
        skip, main = model.get_layer(f"{block}_add").input
        assert skip is model.get_layer(f"drop_{block}_add_skip").output
        assert main is model.get_layer(f"drop_{block}_3_bn").output
    first = model.get_layer("conv4_block2_1_conv").input
    assert first is model.get_layer("conv4_block1_out").output


def test_places_of_residual_blocks_in_resnet50(application):
    groups = {
        group: [f"conv{group}_block{block}" for block in range(1, count + 1)]
        for group, count in ((2, 3), (3, 4), (4, 6), (5, 3))
    }
    units = ("1_relu", "2_relu", "add_skip", "3_bn")
    expected = {
        "paper-code": [
            f"{b}_{unit}" for g in (4, 5) for b in groups[g] for unit in units
        ],
        "last-group": [f"{b}_{unit}" for b in groups[5] for unit in units],
        "after-addition": [f"{b}_out" for blocks in groups.values() for b in blocks],
    }
    plain = application("ResNet50")
    for where, places in expected.items():
        model = insert_after(plain, DROP_BLOCK, where)
        assert sorted(drops(model)) == sorted(f"drop_{place}" for place in places)
        if where != "paper-code":
            keep_probs = [drop.keep_prob for drop in dbl.find_drop_block_layers(model)]
            assert keep_probs == pytest.approx([0.7] * len(places))
    # Both paths of the next block read the layer after the ReLU of the addition.
    dropped = model.get_layer("drop_conv2_block1_out").output
    assert model.get_layer("conv2_block2_1_conv").input is dropped
    assert model.get_layer("conv2_block2_add").input[0] is dropped


def residual():
    """Two groups of one residual block each."""
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 1)(inputs)
    for group in range(2):
        x = layers.Conv2D(4 + group, 1)(x)
        main = layers.Conv2D(2, 1)(x)
        main = layers.BatchNormalization()(main)
        main = layers.ReLU(name=f"relu{group}")(main)
        main = layers.Conv2D(4 + group, 1, name=f"main{group}")(main)
        x = layers.Add(name=f"add{group}")([x, main])
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


@pytest.mark.backends
def test_a_schedule_respects_the_quarter(tmp_path):
    model = insert_after(residual(), DROP_BLOCK, "paper-code")
    model.compile("sgd", "mse")
    scheduler = dbl.KeepProbScheduler(dbl.linear_schedule(1.0, 0.6, 1))
    model.fit(X, np.ones((4, 5)), epochs=2, callbacks=[scheduler], verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = {
        f"drop_{name}{group}{end}": keep_prob
        for group, keep_prob in ((0, 0.9), (1, 0.6))
        for name, end in (("add", "_skip"), ("relu", ""), ("main", ""))
    }
    assert {
        layer.name: pytest.approx(layer.keep_prob)
        for layer in dbl.find_drop_block_layers(loaded)
    } == expected


def test_finds_functions_that_a_model_uses_in_place_of_layers():
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 1)(inputs)
    for block in range(2):
        main = layers.Conv2D(4, 1)(x)
        main = ops.relu(layers.BatchNormalization()(main))
        main = layers.Conv2D(4, 1, name=f"main{block}")(main)
        x = keras.activations.relu(x + main)
    x = layers.Lambda(lambda values: 2 * values, output_shape=(32, 32, 4))(x)
    plain = keras.Model(inputs, ops.mean(x, (1, 2)))
    for where, count in (("main-path-relu", 2), ("paper-code", 6)):
        model = insert_after(plain, DROP_BLOCK, where)
        assert len(drops(model)) == count
        np.testing.assert_array_equal(outputs(model), outputs(plain))
        assert not np.array_equal(outputs(model, training=True), outputs(plain))


@pytest.mark.parametrize("where", ["main-path-relu", "paper-code", is_relu])
def test_all_variants_have_the_same_places(where):
    names = {
        tuple(drops(insert_after(residual(), factory, where)))
        for variant, factory in dbl.VARIANTS.items()
        if variant != "none"
    }
    assert len(names) == 1 and len(names.pop()) == (6 if where == "paper-code" else 2)


def test_an_application_saves_and_loads(application, tmp_path):
    plain = application("ResNet50")
    model = insert_after(plain, DROP_BLOCK, "paper-code")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(outputs(loaded), outputs(plain))
    keep_probs = [layer.keep_prob for layer in dbl.find_drop_block_layers(loaded)]
    assert sorted(keep_probs) == pytest.approx([0.7] * 12 + [0.925] * 24)


@pytest.mark.backends
def test_keeps_precision_trainability_and_functions():
    inputs = keras.Input(SHAPE)
    policy = keras.DTypePolicy("mixed_bfloat16")
    x = layers.Conv2D(4, 3, name="conv", dtype=policy)(inputs)
    x = layers.ReLU(name="relu", dtype=policy)(x)
    x = ops.tanh(x) + 1.0
    plain = keras.Model(inputs, layers.GlobalMaxPooling2D(dtype=policy)(x))
    plain.get_layer("conv").trainable = False
    model = insert_after(
        plain, lambda name: dbl.DropBlock2D(3, 0.7, name=name, dtype=policy), is_relu
    )
    assert model.get_layer("conv").dtype_policy == policy
    assert model.trainable_weights == []
    np.testing.assert_array_equal(outputs(model), outputs(plain))


def small():
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Activation("relu", name="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(2, name="logits")(x), name="small")


@pytest.mark.backends
def test_saves_loads_and_drops_only_while_training(tmp_path):
    model = insert_after(small(), DROP_BLOCK, is_relu)
    assert drops(model) == ["drop_relu"]
    assert not np.array_equal(outputs(model), outputs(model, training=True))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(outputs(loaded), outputs(model))


@pytest.mark.backends
def test_the_copy_normalizes_as_the_original_does():
    norm = layers.Normalization(name="normalization")
    norm.adapt(255 * X)
    plain = keras.Sequential(
        [keras.Input(SHAPE), norm, layers.Conv2D(4, 3, activation="relu", name="conv")]
    )
    model = insert_after(plain, DROP_BLOCK, lambda layer: layer.name == "conv")
    np.testing.assert_array_equal(array(model(255 * X)), array(plain(255 * X)))


@pytest.mark.backends
def test_trains_without_the_original():
    plain = small()
    before = [weight.copy() for weight in plain.get_weights()]
    model = insert_after(plain, DROP_BLOCK, "main-path-relu")
    model.compile("sgd", "mse")
    model.fit(X, np.ones((4, 2)), verbose=0)
    changed = model.get_layer("conv").get_weights()[0]
    assert not np.array_equal(changed, before[0])
    for now, then in zip(plain.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.backends
def test_shared_layers_and_several_inputs_and_outputs():
    a, b = keras.Input((8, 8, 3), name="a"), keras.Input((8, 8, 3), name="b")
    conv, relu = layers.Conv2D(3, 1, name="conv"), layers.ReLU(name="relu")
    left, right = relu(conv(a)), relu(conv(b))
    plain = keras.Model({"a": a, "b": b}, {"left": left, "sum": left + right})
    model = insert_after(plain, DROP_BLOCK, is_relu)
    assert sorted(drops(model)) == ["drop_relu", "drop_relu_2"]
    x = {key: X[:, :8, :8] for key in "ab"}
    expected, got = plain(x), model(x)
    for key in ("left", "sum"):
        np.testing.assert_array_equal(array(got[key]), array(expected[key]))


@pytest.mark.backends
@pytest.mark.parametrize("sequential", [False, True])
def test_reaches_into_nested_models(sequential, tmp_path):
    inner = small()
    if sequential:
        inner = keras.Sequential([keras.Input(SHAPE), *inner.layers[1:]], name="inner")
    inputs = keras.Input(SHAPE)
    plain = keras.Model(inputs, layers.Dense(3)(inner(inputs)))
    model = insert_after(plain, DROP_BLOCK, is_relu)
    assert len(dbl.find_drop_block_layers(model)) == 1
    np.testing.assert_array_equal(outputs(model), outputs(plain))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(outputs(loaded), outputs(plain))


def tied(wrapped=False):
    """A model that shares a layer with a model nested inside it."""
    shared = layers.Conv2D(3, 1, name="shared")
    inner = keras.Input((8, 8, 3))
    nested = keras.Model(inner, layers.ReLU()(shared(inner)), name="nested")
    inputs = keras.Input((8, 8, 3))
    x = shared(nested(inputs))
    if wrapped:
        x = layers.TimeDistributed(shared)(ops.expand_dims(x, 1))
    return keras.Model(inputs, layers.ReLU(name="last")(x))


@pytest.mark.backends
@pytest.mark.parametrize("places", [("shared",), ("last",)])
def test_a_layer_shared_with_a_nested_model_stays_one(places):
    plain = tied()
    model = insert_after(plain, DROP_BLOCK, lambda layer: layer.name in places)
    assert len(model.trainable_variables) == len(plain.trainable_variables) == 2
    nested, shared = model.get_layer("nested"), model.get_layer("shared")
    assert nested.get_layer("shared") is shared
    x = X[:, :8, :8]
    np.testing.assert_array_equal(outputs(model, x), outputs(plain, x))


def test_weights_that_a_copy_cannot_share_are_rejected():
    with pytest.raises(ValueError, match=r"no other layer shares.*'shared/kernel'"):
        insert_after(
            tied(wrapped=True),
            lambda name: layers.Dropout(0.5),
            lambda layer: layer.name == "last",
        )


@keras.saving.register_keras_serializable("tests")
class Block(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv, self.norm = layers.Conv2D(4, 3), layers.BatchNormalization()

    def build(self, shape):
        self.conv.build(shape)
        self.norm.build((*shape[:-1], 4))

    def call(self, x, training=False):
        return self.norm(self.conv(x), training=training)


@pytest.mark.backends
@pytest.mark.parametrize("frozen", ["conv", "norm", "kernel", "block", "rest", None])
def test_variables_frozen_inside_a_layer_stay_frozen(frozen):
    block = Block()
    inputs = keras.Input((8, 8, 3))
    inner = keras.Model(inputs, block(inputs), name="inner")
    plain = keras.Model(inputs, layers.Conv2D(2, 3, name="last")(inner(inputs)))
    if frozen == "kernel":
        block.conv.kernel.trainable = False
    elif frozen == "rest":
        plain.trainable = False
        for part in (plain, inner, block, block.norm):
            part.trainable = True
        block.conv.trainable = False
    elif frozen is not None:
        part = block if frozen == "block" else getattr(block, frozen)
        part.trainable = False
    model = insert_after(plain, DROP_BLOCK, lambda layer: layer.name == "last")

    def trainable(model):
        # Names of variables, because paths contain counters.
        return [(v.name, tuple(v.shape)) for v in model.trainable_variables]

    assert trainable(model) == trainable(plain)
    copy = next(x for x in model._flatten_layers() if isinstance(x, Block))
    assert copy.norm.trainable == block.norm.trainable


@pytest.mark.parametrize(
    "factory",
    [DROP_BLOCK, lambda name: layers.Cropping2D(3, name=name)],
)
def test_an_error_in_an_inserted_layer_names_the_place(factory):
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.ReLU(name="relu_map")(inputs))
    model = keras.Model(inputs, layers.ReLU(name="relu_dense")(x))
    with pytest.raises(ValueError, match=r"factory\('drop_relu_(dense|map)'\)"):
        insert_after(model, factory, is_relu)


def test_an_error_in_a_given_function_names_the_place():
    def fails(argument):
        raise KeyError("planted")

    for arguments, place in (
        ((fails, is_relu), "'drop_"),
        ((DROP_BLOCK, fails), "on layer '"),
    ):
        with pytest.raises(KeyError, match="planted") as caught:
            insert_after(small(), *arguments)
        [note] = caught.value.__notes__
        assert place in note


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("variant", ["dropblock-3-0.9", "spatial-0.3"])
def test_layers_of_another_data_format_are_rejected(variant, nested):
    first = {"data_format": "channels_first"}
    inputs = keras.Input((3, 12, 10))
    x = layers.Conv2D(8, 3, padding="same", **first)(inputs)
    model = keras.Model(inputs, layers.ReLU(name="relu")(x))
    if nested:
        again = keras.Input((3, 12, 10))
        model = keras.Model(again, layers.ReLU(name="last")(model(again)))
    with pytest.raises(ValueError, match="the model's data_format, channels_first"):
        insert_after(model, dbl.VARIANTS[variant], is_relu)

    def factory(name):
        return dbl.DropBlock2D(3, 0.9, name=name, **first)

    for layer in dbl.find_drop_block_layers(insert_after(model, factory, is_relu)):
        assert layer.data_format == "channels_first"


def test_layers_of_another_precision_are_rejected_with_the_reason():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, dtype="mixed_bfloat16")(inputs)
    model = keras.Model(inputs, layers.ReLU(name="relu", dtype="mixed_bfloat16")(x))
    with pytest.raises(ValueError, match=r"dtype bfloat16: .* keras\.config\.set_d"):
        insert_after(model, DROP_BLOCK, is_relu)


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": 3}, "argument `model`"),
        ({"model": Subclassed()}, "It is subclassed"),
        ({"model": keras.Sequential([layers.ReLU()])}, "It is not built"),
        ({"factory": "dropblock-3-0.9"}, "argument `factory`"),
        ({"factory": lambda name: 3}, "argument `factory`"),
        ({"factory": lambda name: layers.Flatten()}, "keep shape"),
        ({"where": "relu"}, "'main-path-relu', 'dense-block-relu', 'paper-code'"),
        ({"where": lambda layer: False}, "matches a layer of model 'small'"),
        ({"where": "paper-code"}, "'paper-code' needs blocks that end in an addition"),
    ],
)
def test_an_error_names_the_reason(arguments, message):
    good = {"model": small(), "factory": DROP_BLOCK, "where": is_relu}
    with pytest.raises(ValueError, match=message):
        insert_after(**good | arguments)
