"""Runs of a detector: what their records contain, and how killed ones resume."""

import csv
import dataclasses
import io
import json
import sys
import types

import numpy as np
import pytest
from tiny_detector import tiny_detector

from dropblock_lib.data import load_dataset
from dropblock_lib.experiments import (
    Recipe,
    describe_setting,
    format_table,
    load_records,
    run,
    summarize,
)
from dropblock_lib.experiments.recipes.slides import RETINANET_LOSSES
from dropblock_lib.experiments.reports.listing import list_runs
from dropblock_lib.experiments.running.progress import LineProgress
from dropblock_lib.models import DETECTORS


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DETECTORS, "tiny_detector", tiny_detector)
        yield


def recipe(**changes):
    return Recipe(
        **{
            "network": "tiny_detector",
            "variant": "dropblock-3-0.7",
            "dataset": "scenes",
            "train_size": 12,
            "validation_size": 4,
            "epochs": 3,
            "batch_size": 4,
            "image_size": 64,
            "augmentation": "flip",
            "learning_rate": 1e-3,
            "keep_prob_schedule": "linear-epoch",
            "profile": "tiny",
        }
        | changes
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def record(results):
    return run(recipe(), results_dir=results)


def test_a_record_contains_losses_precision_and_detections(record, results):
    [on_disk] = load_records(results / "records")
    assert on_disk.to_dict() == json.loads(json.dumps(record.to_dict()))
    assert record.name == "tiny_detector-scenes-dropblock-3-0.7-tiny-seed0"
    history = record.history
    assert history["keep_prob"] == pytest.approx([1.0, 0.85, 0.7])
    for total, a, b in zip(
        history["loss"], history["class_loss"], history["box_loss"], strict=True
    ):
        assert total == pytest.approx(a + b, rel=1e-4)
    assert history["loss"][-1] < history["loss"][0]
    final = record.final
    assert 0 <= final["AP"] <= final["AP50"] <= 1
    assert final["val_loss"] == history["val_loss"][-1]
    assert record.best["val_loss"] == min(history["val_loss"])
    shown = record.detections
    validation = load_dataset("scenes").validation.take(4)
    assert set(shown["before"]) == set(shown["after"]) == set(map(str, validation.ids))
    assert record.data.train == 12 and record.data.validation == 4


def test_a_record_contains_reference_values(record):
    final = record.final
    assert 0 <= final["trivial"]["AP50"] < 0.2
    assert 0 < final["uninformed_class_loss"] < final["untrained_class_loss"]
    before = record.history["val_class_loss"][0]
    assert before == pytest.approx(final["untrained_class_loss"], rel=0.3)
    # Scenes have neither supercategories nor persons.
    assert "supercategories" not in final and "person" not in final


def with_persons():
    """Scenes with COCO's supercategories, whose first class is a person."""
    scenes = load_dataset("scenes")

    def renamed(split):
        categories = [
            {**item, "name": "person" if n == 0 else item["name"],
             "supercategory": "person" if n == 0 else "thing"}
            for n, item in enumerate(split.annotations["categories"])
        ]  # fmt: skip
        return dataclasses.replace(
            split, annotations={**split.annotations, "categories": categories}
        )

    return dataclasses.replace(
        scenes, train=renamed(scenes.train), validation=renamed(scenes.validation)
    )


def test_photographs_and_supercategories_are_in_the_record(monkeypatch, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype("uint8")

    def missing():
        raise OSError("no network")

    carried = types.SimpleNamespace(
        chelsea=lambda: pixels,
        stereo_motorcycle=lambda: (pixels[:20], pixels, None),
        astronaut=missing,
    )
    monkeypatch.setitem(sys.modules, "skimage", types.SimpleNamespace(data=carried))
    done = run(recipe(epochs=1), results_dir=tmp_path, data=with_persons())
    found = done.detections["photographs"]
    assert set(found) == {"chelsea", "stereo_motorcycle"}
    for name, height in (("chelsea", 30), ("stereo_motorcycle", 20)):
        for row in found[name]:
            left, top, width, high = row["bbox"]
            assert left >= 0 and left + width <= 40.1 and top + high <= height + 0.1
    for kind in ("supercategories", "person"):
        assert set(done.final[kind]) == {
            "AP", "AP50", "AP_small", "AP_medium", "AP_large",
        }  # fmt: skip
        assert done.final["trivial"][kind].keys() == done.final[kind].keys()


@pytest.mark.parametrize("augmentation", ["none", "flip-jitter"])
def test_images_are_augmented_as_the_recipe_says(augmentation):
    changed = recipe(augmentation=augmentation)
    task = changed.task(changed, load_dataset("scenes"))
    images = [task.epoch(epoch)["x"][0][0] for epoch in (0, 1)]
    jittered = task.train_batches.jitter
    assert jittered == task.train_batches.mirror == (augmentation == "flip-jitter")
    assert not task.validation_batches.jitter
    assert images[0].shape == images[1].shape == (4, 64, 64, 3)


def test_a_record_names_the_file_of_the_initial_weights(monkeypatch, tmp_path):
    pretrained = {"file": "trained.npz", "sha256": 64 * "0"}

    def detector(*arguments, **options):
        model = tiny_detector(*arguments, **options)
        model.pretrained = pretrained
        return model

    monkeypatch.setitem(DETECTORS, "tiny_detector", detector)
    chosen = recipe(weights="imagenet", epochs=2, train_size=4)
    with pytest.raises(Stop):
        run(chosen, results_dir=tmp_path, progress=StopAfter(1))
    # The loaded model no longer has the attribute `pretrained`.
    found = run(chosen, results_dir=tmp_path)
    assert found.resumes and found.weights == pretrained
    [on_disk] = load_records(tmp_path / "records")
    assert on_disk.weights == pretrained


class Stop(Exception):
    pass


class StopAfter(LineProgress):
    """Simulates the end of the process after an epoch is saved."""

    def __init__(self, epoch):
        super().__init__(1, io.StringIO())
        self.last = epoch

    def end_epoch(self, epoch, logs):
        if epoch + 1 == self.last:
            raise Stop


def test_a_run_that_ended_early_resumes_to_the_same_numbers(record, tmp_path):
    with pytest.raises(Stop):
        run(recipe(), results_dir=tmp_path, progress=StopAfter(2))
    again = run(recipe(), results_dir=tmp_path)
    assert again.resumes[0]["epoch"] == 2
    for key, values in record.history.items():
        if key != "seconds":
            np.testing.assert_array_equal(values, again.history[key], err_msg=key)
    assert again.final == record.final
    assert again.detections == record.detections


def test_requesting_more_images_than_available_is_rejected(tmp_path):
    with pytest.raises(ValueError, match="`train_size`"):
        run(recipe(train_size=10_000), results_dir=tmp_path)
    assert not list(tmp_path.glob("records/*"))


def test_tables_and_lists_show_average_precision(record, results):
    [row] = summarize([record])
    assert row["AP_mean"] == record.final["AP"] and row["AP_std"] is None
    assert row["slides_val_loss"] is None  # the slides had no drawn scenes
    text = format_table([row], "text")
    assert f"{record.final['val_loss']:.4f}" in text and "AP50" in text
    table = format_table([row], "markdown")
    assert f"{100 * record.final['AP50']:.2f}" in table and "slides" not in table
    classifier = {"network": "custom_net", "seeds": [0], "test_accuracy_mean": 0.5}
    both = csv.DictReader(io.StringIO(format_table([classifier, row], "csv")))
    first, second = both
    assert first["test_accuracy_mean"] == "0.5" and first["AP_mean"] == ""
    assert second["AP_mean"] == str(row["AP_mean"])
    [listed], _ = list_runs([recipe()], results)
    assert listed["state"] == "done" and listed["AP"] == record.final["AP"]
    assert listed["test_accuracy"] is None


def test_results_of_the_slides_are_shown_beside_those_on_coco(record):
    coco = dataclasses.replace(
        record,
        recipe=dataclasses.replace(record.recipe, dataset="coco2017-mini"),
        data=dataclasses.replace(
            record.data, requested="coco2017-mini", source="coco2017-mini"
        ),
    )
    [row] = summarize([coco])
    published = row["slides_loss"], row["slides_val_loss"]
    assert published == RETINANET_LOSSES["dropblock-3-0.7"]
    assert "| 1.64 / 2.63 |" in format_table([row], "markdown")


def test_a_setting_says_how_large_the_images_are(record):
    text = describe_setting([record])
    used, size = record.data, record.recipe.image_size
    assert f"{used.train} training and {used.validation} validation" in text
    assert f"images of {size} x {size} pixels" in text
    assert " test" not in text and text.endswith("seed 0.")
