"""Detections of a split, and average precision during training."""

import dataclasses
import math

import keras
import pytest
from tiny_detector import tiny_detector

from dropblock_lib.data import load_dataset
from dropblock_lib.detection.average_precision import average_precision
from dropblock_lib.detection.batches import DetectionBatches
from dropblock_lib.detection.evaluation import AveragePrecisionCallback, detect

pytestmark = pytest.mark.backends

SCENES = load_dataset("scenes")


@pytest.fixture(scope="module")
def model():
    model = tiny_detector(classes=len(SCENES.classes))
    # Without the prior, an untrained model detects something.
    head = model.classification_head.layers[-1]
    head.bias.assign(keras.ops.zeros(head.bias.shape))
    model.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    return model


def test_detections_are_in_pixels_of_the_stored_images(model):
    split = SCENES.train.take(3)
    found = detect(model, split, SCENES.category_ids, batch_size=2)
    assert {row["image_id"] for row in found} == set(split.ids)
    # The model sees 64 x 64 pixels; stored images have 128 x 128.
    ends = [row["bbox"][0] + row["bbox"][2] for row in found]
    assert 64 < max(ends) <= 128.01
    batches = DetectionBatches(split, 64, 2)
    assert detect(model, batches, SCENES.category_ids) == found


def test_the_callback_reports_what_the_finished_model_reaches(model):
    split = SCENES.train.take(4)
    batches = DetectionBatches(split, 64, 4)
    callback = AveragePrecisionCallback(split, SCENES.category_ids, every=2)
    history = model.fit(
        batches, epochs=4, shuffle=False, verbose=0, callbacks=[callback]
    ).history
    # Nothing is measured before the second epoch.
    assert len(history["val_AP"]) == 4 and math.isnan(history["val_AP"][0])
    assert history["val_AP"][1] == history["val_AP"][2]
    found = detect(model, split, SCENES.category_ids)
    reached = average_precision(split.annotations, found)
    assert history["val_AP50"][-1] == reached["AP50"]


def test_objects_too_small_to_train_on_do_not_prevent_detection(model, caplog):
    split = SCENES.train.take(2)
    objects = [
        {**item, "bbox": [4, 4, 0.5, 0.5]} for item in split.annotations["annotations"]
    ]
    annotations = {**split.annotations, "annotations": objects}
    tiny = dataclasses.replace(split, annotations=annotations)
    expected = detect(model, split, SCENES.category_ids)
    assert detect(model, tiny, SCENES.category_ids) == expected
    assert not caplog.records


@pytest.mark.parametrize("name", ["shuffle", "mirror", "jitter", "drop_last"])
def test_batches_that_change_the_split_are_rejected(model, name):
    batches = DetectionBatches(SCENES.train.take(3), 64, 2, **{name: True})
    with pytest.raises(ValueError, match=f"argument `{name}`"):
        detect(model, batches, SCENES.category_ids)


def test_a_split_without_images_has_no_detections(model):
    split = SCENES.train.take(1)
    none = {**split.annotations, "images": [], "annotations": []}
    empty = dataclasses.replace(split, annotations=none)
    assert detect(model, empty, SCENES.category_ids) == []


def test_a_data_set_is_not_a_split(model):
    with pytest.raises(ValueError, match=r"`split`.*`dataset.train`"):
        detect(model, SCENES, SCENES.category_ids)


def test_every_class_needs_its_id(model):
    with pytest.raises(ValueError, match="argument `category_ids`"):
        detect(model, SCENES.train.take(1), SCENES.category_ids[:-1])


@pytest.mark.parametrize(
    ("name", "value"),
    [("every", 0), ("every", -1), ("every", 1.5), ("batch_size", 0), ("split", SCENES)],
)
def test_bad_arguments_are_rejected_before_training(name, value):
    arguments = {"split": SCENES.train, "category_ids": SCENES.category_ids}
    with pytest.raises(ValueError, match=f"argument `{name}`"):
        AveragePrecisionCallback(**{**arguments, name: value})
