"""The detector: its loss in NumPy, its pyramid against KerasHub's, a round trip."""

import dataclasses
import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest
from backend import BACKEND, array, tensor
from boxes import overlap
from tiny_detector import LEVELS, small_encoder, tiny_detector

from dropblock_lib import load_dataset
from dropblock_lib.detection.batches import DetectionBatches
from dropblock_lib.detection.detector import RetinaNet
from dropblock_lib.detection.nms import PerClassNonMaxSuppression
from dropblock_lib.detection.pyramid import build_pyramid

pytestmark = pytest.mark.backends

SIZE = 64
CLASSES = 3
# XLA takes minutes to compile what these tests run once.
JIT = keras.backend.backend() == "jax"


def make(variant="none", seed=0, classes=CLASSES):
    keras.utils.set_random_seed(0)
    model = tiny_detector(variant, classes, SIZE, seed=seed)
    model.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=JIT)
    return model


@pytest.fixture(scope="module")
def model():
    return make()


class OneBatch(keras.utils.PyDataset):
    """The same images and boxes at every step."""

    def __init__(self, images, truth, steps=1):
        super().__init__()
        self.batch, self.steps = (images, truth), steps

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        return self.batch


def images(count=2):
    rng = np.random.default_rng(0)
    return rng.uniform(0, 255, (count, SIZE, SIZE, 3)).astype("float32")


def truth(*objects):
    """Targets of images, each a list of (label, box); padded to two objects."""
    boxes = np.full((len(objects), 2, 4), -1, "float32")
    labels = np.full((len(objects), 2), -1, "float32")
    for image, rows in enumerate(objects):
        for place, (label, box) in enumerate(rows):
            boxes[image, place], labels[image, place] = box, label
    return {"boxes": boxes, "labels": labels}


SOME = truth([(0, (4, 4, 40, 36)), (2, (30, 20, 62, 62))], [(1, (10, 8, 30, 60))])
NONE = truth([], [])


# === The loss, from the paper, in NumPy ===


def anchors():
    """Nine anchors at every position of levels 3 to 5: left, top, right, bottom."""
    rows = []
    for level in (3, 4, 5):
        stride = 2**level
        sizes = [int(4 * stride * 2 ** (third / 3)) for third in range(3)]
        centers = np.arange(SIZE // stride) * stride
        shapes = [
            (size / ratio**0.5, size * ratio**0.5)
            for ratio in (0.5, 1, 2)
            for size in sizes
        ]
        for y in centers:
            for x in centers:
                for width, height in shapes:
                    half = np.round(np.array([width, height], "float32") / 2)
                    rows.append([x - half[0], y - half[1], x + half[0], y + half[1]])
    return np.array(rows, "float64")


def encode(anchor, box):
    size, other = anchor[2:] - anchor[:2], box[2:] - box[:2]
    shift = (box[:2] + box[2:] - anchor[:2] - anchor[2:]) / 2
    return np.concatenate([shift / size, np.log(other / size)])


def losses_in_numpy(y, logits, offsets):
    """(box loss, class loss): eqs. 4 and 5 and smooth L1, per positive anchor."""
    every_anchor = anchors()
    box_loss = class_loss = positives = 0.0
    for image in range(len(logits)):
        present = y["labels"][image] >= 0
        boxes = y["boxes"][image][present].astype("float64")
        labels = y["labels"][image][present].astype(int)
        for index, anchor in enumerate(every_anchor):
            overlaps = [overlap(anchor, box) for box in boxes] or [0]
            best = int(np.argmax(overlaps))
            if 0.4 <= overlaps[best] < 0.5:
                continue
            target = np.zeros(CLASSES)
            if overlaps[best] >= 0.5:
                positives += 1
                target[labels[best]] = 1
                distance = encode(anchor, boxes[best]) - offsets[image, index]
                distance, beta = np.abs(distance), 1 / 9
                box_loss += np.where(
                    distance < beta, distance**2 / (2 * beta), distance - beta / 2
                ).sum()
            p = 1 / (1 + np.exp(-logits[image, index].astype("float64")))
            p_t = np.where(target, p, 1 - p)
            alpha_t = np.where(target, 0.25, 0.75)
            class_loss -= (alpha_t * (1 - p_t) ** 2 * np.log(p_t)).sum()
    share = max(positives, 1)
    return box_loss / share, class_loss / share


@pytest.mark.parametrize("y", [SOME, NONE], ids=["objects", "none"])
def test_the_loss_is_that_of_the_paper(model, y):
    outputs = model(tensor(images()), training=False)
    box_loss, class_loss = losses_in_numpy(
        y, array(outputs["cls_logits"]), array(outputs["bbox_regression"])
    )
    measured = model.evaluate(OneBatch(images(), y), return_dict=True, verbose=0)
    assert measured["bbox_regression_loss"] == pytest.approx(box_loss, rel=1e-3)
    assert measured["cls_logits_loss"] == pytest.approx(class_loss, rel=1e-3)
    assert measured["loss"] == pytest.approx(box_loss + class_loss, rel=1e-3)


def test_training_on_a_batch_without_objects_lowers_the_loss():
    model = make()
    first = model.fit(OneBatch(images(), NONE, steps=3), epochs=4, verbose=0)
    losses = first.history["loss"]
    assert 0 < losses[-1] < losses[0]


ZERO_BOXES = {
    "boxes": np.zeros((2, 0, 4), "float32"),
    "labels": np.zeros((2, 0), "float32"),
}


@pytest.mark.parametrize("way", ["compute_loss", "evaluate", "train_on_batch"])
def test_a_batch_of_zero_boxes_counts_as_one_without_objects(way):
    def loss(y):
        model = make()
        if way == "compute_loss":
            outputs = model(tensor(images()), training=False)
            return model.compute_loss(x=tensor(images()), y=y, y_pred=outputs)
        run = getattr(model, way)
        return run(images(), y, return_dict=True)["loss"]

    expected = loss(truth([], []))
    assert float(loss(ZERO_BOXES)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="needs batches of unknown shape"
)
def test_some_batches_of_a_dataset_may_have_zero_boxes():
    import tensorflow as tf

    def batches():
        for y in (ZERO_BOXES, SOME, ZERO_BOXES):
            yield images(), y

    spec = (
        tf.TensorSpec((None, SIZE, SIZE, 3), "float32"),
        {
            "boxes": tf.TensorSpec((None, None, 4), "float32"),
            "labels": tf.TensorSpec((None, None), "float32"),
        },
    )
    data = tf.data.Dataset.from_generator(batches, output_signature=spec)
    found = make().evaluate(data, verbose=0, return_dict=True)["loss"]
    expected = [first_loss(make(), y) for y in (NONE, SOME, NONE)]
    assert found == pytest.approx(np.mean(expected), rel=1e-3)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow's own reading ahead"
)
def test_tensorflow_reads_what_keras_would_and_tunes_nothing():
    from dropblock_lib.detection.tensorflow_batches import without_autotune

    def batches():
        split = load_dataset("scenes").train.take(5)
        arguments = {"shuffle": True, "mirror": True, "seed": 3}
        return DetectionBatches(split, SIZE, 2, **arguments)

    def trained(fit):
        model, data, held_out = make(classes=10), batches(), batches()
        history = fit(
            model, data, validation_data=held_out, epochs=3, shuffle=False, verbose=0
        ).history
        assert data.epoch == held_out.epoch == 3
        return history

    ours, keras_own = trained(RetinaNet.fit), trained(keras.Model.fit)
    assert ours.keys() == keras_own.keys()
    for key, values in ours.items():
        assert values == pytest.approx(keras_own[key], rel=1e-4), key
    # Without autotuning, because an iterator may have to wait for its thread.
    assert without_autotune(batches()).options().autotune.enabled is False

    model, data = make(classes=10), batches()
    assert len(model.predict(data, verbose=0)["boxes"]) == 5
    assert model.evaluate(data, verbose=0, return_dict=True)["loss"] > 0


def first_loss(model, y=SOME):
    return model.evaluate(OneBatch(images(), y), return_dict=True, verbose=0)["loss"]


# === Initial weights, and KerasHub's pyramid ===


def test_only_the_class_head_has_an_initial_prior(model):
    heads = (model.box_head, model.classification_head)
    biases = [np.unique(array(head.layers[-1].bias)) for head in heads]
    assert biases[0] == 0 and biases[1] == pytest.approx(-np.log(99))
    kernels = [layer.kernel for head in heads for layer in head.layers]
    spread = [array(kernel).std() for kernel in kernels]
    assert spread == pytest.approx([0.01] * 4, rel=0.02)
    assert first_loss(model) < 5


def test_the_pyramid_computes_what_kerashub_s_does():
    encoder = small_encoder(seed=1)
    encoder.pyramid_outputs = {
        level: encoder.get_layer(name).output for level, name in LEVELS.items()
    }
    ours = build_pyramid(encoder, LEVELS, 3, 7)
    theirs = keras_hub.models.RetinaNetBackbone(
        encoder, 3, 7, use_p5=True, image_shape=(SIZE, SIZE, 3)
    )
    for level in (3, 4, 5, 6, 7):
        pairs = {f"output_P{level}": theirs.feature_pyramid.output_conv_layers}
        if level < 6:
            pairs[f"lateral_P{level}"] = theirs.feature_pyramid.lateral_conv_layers
        for name, layers in pairs.items():
            name = name if level < 6 else f"coarser_P{level}"
            layers[f"P{level}"].set_weights(ours.get_layer(name).get_weights())
    expected = theirs(tensor(images()))
    found = ours(tensor(images()))
    assert list(found) == list(expected)
    for level, value in expected.items():
        np.testing.assert_allclose(
            array(found[level]), array(value), rtol=1e-4, atol=1e-5
        )


# === Saving, training, predicting ===


@pytest.mark.skipif(BACKEND == "torch", reason="torch traces nothing")
@pytest.mark.parametrize("variant", ["none", "dropblock-3-0.9"])
def test_a_training_step_is_traced_once(variant, monkeypatch):
    traced = []
    compute_loss = RetinaNet.compute_loss

    def counted(self, *arguments, **named):
        traced.append(self.name)
        return compute_loss(self, *arguments, **named)

    model = make(variant=variant)
    monkeypatch.setattr(RetinaNet, "compute_loss", counted)
    model.fit(OneBatch(images(), SOME, steps=2), epochs=2, verbose=0)
    assert len(traced) == 1


def test_a_saved_detector_is_the_same_and_trains_on(tmp_path):
    model = make(variant="dropblock-3-0.9")
    model.fit(OneBatch(images(), SOME, steps=2), verbose=0)
    model.save(tmp_path / "detector.keras")
    copy = keras.saving.load_model(tmp_path / "detector.keras")
    assert isinstance(copy, RetinaNet)
    assert copy.backbone.get_layer("encoder").get_layer("drop").block_size == 3
    found, again = (m.predict(images(), verbose=0) for m in (model, copy))
    for name, value in found.items():
        np.testing.assert_array_equal(value, again[name])
    assert int(copy.optimizer.iterations) == 2
    for ours, theirs in zip(
        model.optimizer.variables, copy.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(array(ours), array(theirs))
    assert first_loss(model) == first_loss(copy)


def test_a_loaded_detector_trains_as_the_saved_one_did(tmp_path):
    model = make()
    weights = {"bbox_regression": 10.0, "cls_logits": 1.0}
    # On PyTorch, Keras supports only one step per execution.
    steps = 1 if BACKEND == "torch" else 2
    model.compile(
        keras.optimizers.Adam(1e-3),
        loss_weights=weights,
        steps_per_execution=steps,
        jit_compile=False,
    )
    loss = float(model.test_on_batch(images(), SOME)[0])
    model.save(tmp_path / "detector.keras")
    copy = keras.saving.load_model(tmp_path / "detector.keras")
    assert copy.steps_per_execution == steps
    assert float(copy.test_on_batch(images(), SOME)[0]) == pytest.approx(loss)
    model.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    assert float(model.test_on_batch(images(), SOME)[0]) < 0.9 * loss


def test_a_compiled_detector_can_be_cloned():
    model = make(variant="dropblock-3-0.9")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for name, output in model(tensor(images())).items():
        again = clone(tensor(images()))[name]
        np.testing.assert_allclose(array(output), array(again), rtol=1e-5, atol=1e-5)


def test_one_batch_is_predicted_as_all_are(model):
    found = model.predict_on_batch(images())
    for name, value in model.predict(images(), verbose=0).items():
        np.testing.assert_allclose(array(found[name]), value, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_matches_and_decodes_in_float32(model, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        mixed = make()
    finally:
        keras.config.set_dtype_policy(before)
    assert mixed.compute_dtype != "float32"
    boxes = np.array([[[3.3, 5.7, 40.1, 51.9], [20.2, 9.4, 60.6, 44.8]]], "float32")
    arguments = {
        "images": images(1),
        "boxes": boxes,
        "labels": np.array([[0.0, 1.0]], "float32"),
    }
    for one, other in zip(
        mixed.assign(**arguments), model.assign(**arguments), strict=True
    ):
        np.testing.assert_array_equal(array(one), array(other))
    found = mixed.predict(images(), verbose=0)
    assert found["boxes"].dtype == "float32"
    losses = mixed.fit(OneBatch(images(), SOME, steps=2), verbose=0).history["loss"]
    assert np.isfinite(losses).all()


def of_one_class(split, **changes):
    objects = [{**o, "category_id": 1} for o in split.annotations["annotations"]]
    annotations = {**split.annotations, "annotations": objects}
    return dataclasses.replace(split, annotations=annotations, **changes)


def test_batches_must_be_of_the_model_s_size_and_classes(model):
    split = load_dataset("scenes").train.take(4)
    few = of_one_class(split)
    with pytest.raises(ValueError, match=r"`image_size`.*model's 64.*image_size=96"):
        model.fit(DetectionBatches(few, 96, 2), verbose=0)
    with pytest.raises(ValueError, match=r"`labels`.*the model's classes"):
        model.fit(DetectionBatches(split, SIZE, 2), verbose=0)
    # Prediction needs no labels.
    assert len(model.predict(DetectionBatches(split, SIZE, 2), verbose=0)["boxes"]) == 4


def generator(x, y):
    while True:
        yield x, y


def tensorflow_dataset(x, y):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensors((x, y))


WAYS = {
    "fit": lambda model, x, y: model.fit(x, y, verbose=0),
    "fit-dataset": lambda model, x, y: model.fit(OneBatch(x, y), verbose=0),
    "fit-generator": lambda model, x, y: model.fit(
        generator(x, y), steps_per_epoch=1, verbose=0
    ),
    "fit-tf.data": lambda model, x, y: model.fit(tensorflow_dataset(x, y), verbose=0),
    "validation": lambda model, x, y: model.fit(
        x, SOME, validation_data=(x, y), verbose=0
    ),
    "evaluate": lambda model, x, y: model.evaluate(x, y, verbose=0),
    "evaluate-dataset": lambda model, x, y: model.evaluate(OneBatch(x, y), verbose=0),
    "train_on_batch": lambda model, x, y: model.train_on_batch(x, y),
    "test_on_batch": lambda model, x, y: model.test_on_batch(x, y),
    "compute_loss": lambda model, x, y: model.compute_loss(x=x, y=y, y_pred={}),
}


@pytest.mark.parametrize("way", WAYS)
def test_labels_beyond_the_classes_of_the_model_are_rejected(way):
    model = make()
    boxes = SOME["boxes"]
    for label in (CLASSES, -2, 0.5, np.nan):
        labels = np.where(SOME["labels"] == 0, np.float32(label), SOME["labels"])
        with pytest.raises(ValueError, match=r"`labels`.*to 2, the model's classes"):
            WAYS[way](model, images(), {"boxes": boxes, "labels": labels})
    with pytest.raises(ValueError, match=r"`y`.*keys `boxes` and `labels`.*classes"):
        WAYS[way](model, images(), {"boxes": boxes, "classes": SOME["labels"]})


BAD_BOXES = {
    "left, top, width, height": [30, 30, 20, 10],
    "fractions": [0.1, 0.2, 0.8, 0.9],
    "no width": [10, 10, 10, 40],
    "infinite": [10, 10, np.inf, 40],
    "nan": [np.nan, 10, 30, 40],
}


@pytest.mark.parametrize("way", ["fit", "fit-tf.data", "validation", "test_on_batch"])
def test_boxes_that_no_anchor_can_be_assigned_to_are_rejected(way):
    model = make()
    for box in BAD_BOXES.values():
        with pytest.raises(ValueError, match=r"argument `boxes`.*left"):
            WAYS[way](model, images(), truth([(1, box)], [(2, box)]))


@pytest.mark.parametrize("way", ["fit", "compute_loss"])
def test_boxes_and_labels_must_match(way):
    model = make()
    one_label, two = SOME["labels"][:, :1], SOME["boxes"]
    assert two.shape[1] == 2
    for boxes, labels in ((two, one_label), (two[:, 0], one_label[:, 0])):
        with pytest.raises(ValueError, match=r"`boxes`.*\(batch, k, 4\)"):
            WAYS[way](model, images(), {"boxes": boxes, "labels": labels})


@pytest.mark.parametrize("way", ["steps_per_epoch", "validation_steps", "steps"])
def test_a_number_of_steps_does_not_bypass_the_checks(way):
    model = make()
    split = load_dataset("scenes").train.take(4)

    def run(batches):
        if way == "steps_per_epoch":
            return model.fit(batches, steps_per_epoch=1, verbose=0)
        if way == "validation_steps":
            more = {"validation_data": batches, "validation_steps": 1}
            return model.fit(images(), SOME, **more, verbose=0)
        return model.evaluate(batches, steps=1, verbose=0)

    with pytest.raises(ValueError, match=r"`image_size`.*model's 64"):
        run(DetectionBatches(of_one_class(split), 96, 2))
    with pytest.raises(ValueError, match=r"`labels`.*the model's classes"):
        run(DetectionBatches(split, SIZE, 2))
    run(DetectionBatches(of_one_class(split), SIZE, 2))


def test_fit_takes_its_arguments_in_the_order_of_keras(model):
    # x, y, batch_size, epochs, verbose, callbacks, validation_split, validation_data
    history = model.fit(images(), SOME, 2, 1, 0, [], 0.0, (images(), SOME)).history
    assert {"loss", "val_loss"} <= history.keys()
    with pytest.raises(ValueError, match=r"`validation_data`.*\(images, y\)"):
        model.fit(images(), SOME, verbose=0, validation_data=(images(),))


def test_no_image_is_not_enough_to_train_on(model):
    split = of_one_class(load_dataset("scenes").train.take(1))
    none = {**split.annotations, "images": [], "annotations": []}
    empty = DetectionBatches(dataclasses.replace(split, annotations=none), SIZE, 2)
    with pytest.raises(ValueError, match="at least one image"):
        model.fit(empty, verbose=0)


def test_it_can_be_compiled_without_an_optimizer():
    model = make()
    model.compile(optimizer=None)
    found = model.evaluate(images(), SOME, verbose=0, return_dict=True)
    assert np.isfinite(found["loss"])


def test_valid_labels_are_accepted_in_every_way():
    model = make()
    # Tracing takes longer than eager steps, except on JAX.
    model.compile(optimizer="adam", run_eagerly=not JIT, jit_compile=JIT)
    for name in WAYS.keys() - {"compute_loss"}:
        WAYS[name](model, images(), SOME)


def test_sample_weights_are_rejected_rather_than_ignored(model):
    weights = np.ones(len(images()), "float32")
    with pytest.raises(ValueError, match=r"`sample_weight`.*Expected None"):
        model.compute_loss(x=images(), y=SOME, y_pred={}, sample_weight=weights)
    with pytest.raises(ValueError, match=r"`sample_weight`.*Expected None"):
        # On JAX a step that fails leaves the model without weights.
        make().fit(images(), SOME, sample_weight=weights, verbose=0)


@pytest.mark.parametrize("way", ["fit", "evaluate", "predict"])
def test_an_image_that_cannot_be_read_is_named(way):
    # On JAX a model is unusable after interrupted training.
    model = make()
    split = load_dataset("scenes").train.take(4)

    def broken(image_id):
        raise ValueError("broken.jpg cannot be read")

    batches = DetectionBatches(of_one_class(split, read=broken), SIZE, 2)
    with pytest.raises(ValueError, match=r"^broken.jpg cannot be read$"):
        getattr(model, way)(batches, verbose=0)


def test_another_process_can_load_it(tmp_path):
    path = tmp_path / "detector.keras"
    make(variant="dropblock-3-0.9").save(path)
    # A run may be resumed in a process that has not built a detector.
    code = (
        "import keras, dropblock_lib.detection.batches\n"
        f"model = keras.saving.load_model({str(path)!r})\n"
        "print(type(model).__name__, model.compiled)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["RetinaNet", "True"], done.stderr


def test_random_weights_are_a_function_of_the_seed():
    def weights(seed):
        return [array(v) for v in make(seed=seed).trainable_variables]

    first, again, other = weights(3), weights(3), weights(50)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])


def test_predictions_are_inside_the_image_and_padded(model):
    found = model.predict(images(3), verbose=0)
    assert found["boxes"].shape == (3, 100, 4)
    for count, boxes, labels in zip(
        found["num_detections"], found["boxes"], found["labels"], strict=True
    ):
        assert (boxes[:count] >= 0).all() and (boxes[:count] <= SIZE).all()
        assert (labels[count:] == -1).all()


def test_another_decoder_takes_effect_after_a_prediction():
    detector = tiny_detector()
    assert detector.predict(images(1), verbose=0)["boxes"].shape[1] == 100
    detector.prediction_decoder = PerClassNonMaxSuppression(max_detections=7)
    assert detector.predict(images(1), verbose=0)["boxes"].shape[1] == 7


def test_an_encoder_without_the_level_is_rejected():
    with pytest.raises(ValueError, match=r"`levels`.*'sixth'"):
        build_pyramid(small_encoder(), {"P3": "sixth"}, 3, 3)


@pytest.mark.parametrize(
    "levels, lowest, highest, named",
    [
        (LEVELS, 2, 5, "levels"),
        (LEVELS, 5, 3, "highest"),
        (LEVELS, 3.0, 5, "lowest"),
        ({"three": "third"}, 3, 5, "levels"),
        ({"P3": "third", "P5": "fifth"}, 3, 5, "levels"),
    ],
)
def test_bad_levels_of_a_pyramid_are_named(levels, lowest, highest, named):
    with pytest.raises(ValueError, match=f"argument `{named}`"):
        build_pyramid(small_encoder(), levels, lowest, highest)
