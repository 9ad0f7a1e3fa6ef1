"""What the chapter says about the detectors' runs, with made-up records."""

import dataclasses

import numpy as np
import pytest

from dropblock_lib.data import COCO_NAMES
from dropblock_lib.experiments import describe_setting, detectors, load_benchmarks
from dropblock_lib.experiments.records.record import DataAccount, Record, load_records
from dropblock_lib.variants import VARIANTS, Variant


def made_up(recipe, ap50, source=None):
    """A valid record of a planned run."""
    epochs, every = recipe.epochs, recipe.validation_every
    validated = [1.0 if (epoch + 1) % every == 0 else None for epoch in range(epochs)]
    history = {
        key: validated if key.startswith("val_") else [1.0] * epochs
        for key in recipe.task.metrics.history
    }
    sizes = dict.fromkeys(("AP", "AP_small", "AP_medium", "AP_large"), 0.05)
    measured = sizes | {"AP50": ap50}
    groups = {"supercategories": measured, "person": measured}
    if recipe.dataset == "scenes":
        groups = {}
    source = source or recipe.dataset
    return Record(
        recipe=recipe,
        data=DataAccount(
            requested=recipe.dataset,
            source=source,
            origin="data_dir",
            sha256=source,
            train=500,
            validation=166,
            test=0,
        ),
        history=history,
        final={
            "AP75": 0.01,
            "val_loss": 1.0,
            "train_loss": 1.0,
            "untrained_class_loss": 1.1,
            "uninformed_class_loss": 0.9,
            "trivial": {"AP50": 0.001, **groups},
            **measured,
            **groups,
        },
        best={"epoch": 5, "val_loss": 1.0},
        parameters={"total": 4, "trainable": 3},
        seconds=900.0,
        hardware={"cpu": "abacus", "cores": 2, "gpus": []},
        backend="tensorflow",
        versions={"keras": "3"},
        git=None,
        resumes=[],
        date="2026-01-01T00:00:00+00:00",
        detections={
            "before": {},
            "after": {},
            "photographs": {
                "astronaut": [
                    {"category_id": 1, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.9},
                    {"category_id": 17, "bbox": [0.0, 0.0, 1.0, 1.0], "score": 0.1},
                ]
            },
        },
    )


def rows_of(text):
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]


@pytest.fixture(scope="module")
def planned():
    return list(detectors.recorded("detect", []).recipes)


def test_all_seven_variants_are_planned_with_three_seeds(planned):
    assert len(planned) == 21
    assert len({recipe.variant for recipe in planned}) == 7


def test_without_a_record_the_page_says_so(planned):
    text = detectors.format_plan(detectors.recorded("detect", []))
    assert "**0 of 21 runs recorded.** To run them: `python" in text
    assert text.count("not run yet") == 21
    assert detectors.format_results([]) == detectors.NOT_RUN
    for report in (detectors.format_verdict, detectors.format_answer):
        assert report(detectors.recorded("detect", [])) == detectors.NOT_RUN
    assert detectors.yardsticks([]) == {}


def test_a_record_from_a_folder_is_counted_and_shown(planned, tmp_path):
    made_up(planned[0], 0.15).write(tmp_path)
    runs = detectors.recorded("detect", load_records(tmp_path))
    found = runs.records
    assert [record.recipe for record in found] == planned[:1]
    text = detectors.format_plan(runs)
    assert "**1 of 21 runs recorded.** It took 0.2 hours on abacus" in text
    assert rows_of(text)[2] == ["plain", "recorded", "not run yet", "not run yet"]
    heading, _, plain, trivial = rows_of(detectors.format_results(found))
    shown = dict(zip(heading, plain, strict=True))
    assert shown["AP50"] == shown["AP50, person"] == "15.0"
    assert shown["AP, large"] == "5.0" and shown["class loss"] == "1.000"
    assert shown["slides' val_loss"] == "2.62"
    assert trivial[heading.index("AP50")] == "15.0"
    assert detectors.yardsticks(found) == {"untrained": 1.1, "knows nothing": 0.9}
    assert "AdamW" in describe_setting(found)


def test_records_of_stand_ins_and_of_other_recipes_are_left_out(planned):
    stand_in = made_up(planned[0], 0.5, source="scenes")
    other = made_up(dataclasses.replace(planned[1], epochs=5), 0.5)
    assert detectors.recorded("detect", [stand_in, other]).records == ()


def test_records_of_two_backends_are_not_compared(planned):
    records = [made_up(recipe, 0.1) for recipe in planned[:3]]
    records[0] = dataclasses.replace(records[0], backend="jax")
    assert list(detectors.recorded("detect", records).records) == records[1:]


def test_records_of_detectors_have_arms_and_effects(planned):
    found = detectors.recorded("detect", [made_up(r, 0.1) for r in planned[:8]])
    assert found.did_not_learn == []
    assert found.seeds == [0] and len(found.compared) == 7
    assert set(found.arms("AP50")) == {f"detect {r.variant}" for r in planned[:7]}
    blocks = {"detect none": -1, "detect dropblock-3-0.9": 1}
    [row] = found.effects({"blocks": blocks}, metric="AP50")
    assert row["difference"] == pytest.approx(0)


def test_there_is_no_verdict_until_every_variant_has_two_seeds(planned):
    records = [made_up(recipe, 0.1) for recipe in planned]
    for report in (detectors.format_verdict, detectors.format_answer):
        for count in (1, 4, 7, 13):
            found = detectors.recorded("detect", records[:count])
            assert "fewer than two random seeds" in report(found), count
        plain = detectors.recorded("detect_scratch", [])
        [only] = plain.recipes
        found = detectors.recorded("detect_scratch", [made_up(only, 0.1)])
        assert "only one variant" in report(found)


def test_several_seeds_have_a_blocked_verdict(planned):
    rng = np.random.default_rng(0)
    better = {"dropblock-3-0.9": 0.1, "spatial-0.7": -0.1}
    records = [
        made_up(
            recipe,
            0.3
            + better.get(recipe.variant, 0)
            + 0.05 * recipe.seed
            # Seeds differ much, and the runs with the same seed differ little.
            + 0.002 * rng.random(),
        )
        for recipe in planned
    ]
    found = detectors.recorded("detect", records)
    text = detectors.format_verdict(found)
    assert "SpatialDropout 0.7 may vary more than the others" in text
    rows = {row[0]: row for row in rows_of(text)}
    assert rows["DropBlock 3/0.9"][-1] == "higher"
    assert rows["SpatialDropout 0.7"][-1] == "lower"
    assert rows["DropBlock 7/0.9"][-1] == "not told apart"
    sentence = detectors.format_answer(found)
    assert sentence.startswith("**Against plain training** over 3 runs: higher: Drop")
    plain = rows_of(detectors.format_results(records))[2]
    assert plain[0] == "plain" and "±" in plain[2]


def test_a_seed_that_a_variant_lacks_is_left_out_of_the_verdict(planned):
    records = [
        made_up(recipe, 0.3 + 0.01 * recipe.seed + 0.001 * (number % 3))
        for number, recipe in enumerate(planned[:18])
    ]
    text = detectors.format_verdict(detectors.recorded("detect", records))
    assert "Random seeds 0, 1;" in text and "random seed 2 is left out" in text


def test_a_variant_that_the_slides_lack_has_no_loss_of_theirs(planned, monkeypatch):
    own = Variant(method="dropblock", block_size=5, keep_prob=0.8)
    monkeypatch.setitem(VARIANTS, "dropblock-5-0.8", own)
    recipe = dataclasses.replace(planned[0], variant="dropblock-5-0.8")
    heading, _, row, _ = rows_of(detectors.format_results([made_up(recipe, 0.1)]))
    assert row[heading.index("slides' val_loss")] == ""
    assert row[heading.index("AP50")] == "10.0"


def test_random_weights_are_not_shown_beside_the_losses_of_the_slides():
    planned = detectors.recorded("detect_scratch", []).recipes
    heading, *_ = rows_of(detectors.format_results([made_up(planned[0], 0.01)]))
    assert heading[-2:] == ["class loss", "random seeds"]


def test_scenes_have_no_supercategories():
    planned = detectors.recorded("detect_scenes", []).recipes
    heading, *_ = rows_of(detectors.format_results([made_up(planned[0], 0.6)]))
    assert heading == ["variant", "AP", "AP50", "AP75", "class loss", "random seeds"]


def test_detections_on_photographs_have_names_and_boxes(planned):
    image = np.zeros((8, 8, 3), "uint8")
    panels = detectors.on_photographs(
        [made_up(planned[0], 0.1)], {"astronaut": image, "coffee": image}, ["none"]
    )
    assert list(panels) == ["plain, astronaut", "plain, coffee\nnot run yet"]
    # The second detection has too low a score.
    assert panels["plain, astronaut"]["found"] == ([[1, 2, 4, 6]], ["person 0.9"])
    assert "found" not in panels["plain, coffee\nnot run yet"]


def test_a_recipe_is_described_by_its_numbers(planned):
    text = detectors.format_recipe(planned[0])
    for part in ("0.0003", "256 pixels", "30 epochs", "ImageNet", "5% of the steps"):
        assert part in text


def test_the_names_of_coco_are_those_of_its_files():
    rows = load_benchmarks("anchor_classes")["tensorflow"]["rows"]
    assert [row["class"] for row in rows] == list(COCO_NAMES.values())
    assert (min(COCO_NAMES), max(COCO_NAMES), COCO_NAMES[17]) == (1, 90, "cat")
