"""Average precision against values counted by hand and COCO's own tools."""

import contextlib
import io
import json
import sys

import numpy as np
import pytest

from dropblock_lib.data.detection_dataset import DetectionSplit
from dropblock_lib.detection.average_precision import (
    METRICS,
    average_precision,
    of_category,
    precision_by_recall,
    to_coco,
    to_supercategories,
    trivial_results,
)


def annotation(number, image, category, box, iscrowd=0):
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": iscrowd,
    }


def result(image, category, box, score):
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


ANNOTATIONS = {
    "images": [{"id": 5, "width": 200, "height": 200}, {"id": 9, "width": 200}],
    "categories": [{"id": 1, "name": "person"}, {"id": 90, "name": "toothbrush"}],
    "annotations": [
        annotation(1, 5, 1, [10, 10, 40, 40]),
        annotation(2, 5, 90, [100, 100, 60, 60]),
        annotation(3, 9, 1, [20, 20, 100, 120]),
        annotation(4, 9, 1, [0, 150, 200, 50], iscrowd=1),
    ],
}
PERFECT = [
    result(5, 1, [10, 10, 40, 40], 0.9),
    result(5, 90, [100, 100, 60, 60], 0.8),
    result(9, 1, [20, 20, 100, 120], 0.7),
]


def test_the_ground_truth_itself_scores_one():
    measured = average_precision(ANNOTATIONS, PERFECT)
    assert set(measured) == set(METRICS)
    assert measured["AP"] == measured["AP50"] == measured["AP75"] == 1
    assert measured["AP_small"] is None  # no object is that small


def test_nothing_found_scores_zero():
    assert average_precision(ANNOTATIONS, [])["AP"] == 0


def test_without_objects_there_is_no_precision():
    empty = {**ANNOTATIONS, "annotations": []}
    assert average_precision(empty, PERFECT)["AP"] is None


def test_a_false_alarm_with_the_highest_score_lowers_the_precision():
    # Person: two objects, three detections. A false one has the highest score, so the
    # precision is 1/2 at the first object found and 2/3 at the second. COCO uses the
    # largest precision at the same or a higher recall, 2/3 everywhere. Toothbrush: 1.
    alarm = result(9, 1, [150, 0, 40, 40], 0.99)
    measured = average_precision(ANNOTATIONS, [*PERFECT, alarm])
    assert measured["AP50"] == pytest.approx((2 / 3 + 1) / 2, abs=1e-3)


def test_average_precision_is_the_area_below_the_curves():
    # As above, but no toothbrush is found, and the box of one of the two persons is
    # right only at low thresholds.
    results = [
        result(9, 1, [150, 0, 40, 40], 0.99),
        result(5, 1, [10, 10, 40, 40], 0.9),
        result(9, 1, [20, 20, 100, 90], 0.7),
    ]
    curves = precision_by_recall(ANNOTATIONS, results)
    assert list(curves) == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    # The mean over classes is half the precision of persons: the other class has 0.
    np.testing.assert_allclose(curves[0.5], np.full(101, 2 / 3 / 2))
    # An IoU of .75 counts at the threshold of .75.
    np.testing.assert_allclose(curves[0.75], curves[0.5])
    half = np.where(np.linspace(0, 1, 101) <= 0.5, 1 / 2 / 2, 0)
    np.testing.assert_allclose(curves[0.8], half)
    measured = average_precision(ANNOTATIONS, results)
    assert measured["AP"] == pytest.approx(np.mean(list(curves.values())))
    assert measured["AP50"] == pytest.approx(np.mean(curves[0.5]))


def test_without_objects_there_is_no_curve():
    assert precision_by_recall({**ANNOTATIONS, "annotations": []}, PERFECT) == {}


def test_a_detection_in_a_crowd_is_no_false_alarm():
    crowd = result(9, 1, [50, 160, 30, 30], 0.99)
    assert average_precision(ANNOTATIONS, [*PERFECT, crowd])["AP50"] == 1


def test_a_box_that_is_half_right_counts_at_low_thresholds_only():
    # 40 x 40 shifted by 10: IoU 30 * 40 / (2 * 1600 - 1200) = .6, so it counts at
    # .50, .55 and .60 of ten thresholds.
    shifted = [result(5, 1, [20, 10, 40, 40], 0.9), *PERFECT[1:]]
    one = {
        **ANNOTATIONS,
        "annotations": ANNOTATIONS["annotations"][:2],
    }
    measured = average_precision(one, shifted[:2])
    assert measured["AP50"] == pytest.approx(1)
    assert measured["AP75"] == pytest.approx(0.5, abs=1e-6)
    assert measured["AP"] == pytest.approx((0.3 + 1) / 2, abs=1e-6)


def test_coco_s_own_tools_agree(tmp_path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)
    noisy = [
        {
            **row,
            "bbox": [float(side + rng.normal(0, 6)) for side in row["bbox"]],
            "score": float(rng.random()),
        }
        for row in PERFECT * 5
    ]
    ours = average_precision(ANNOTATIONS, noisy)
    (tmp_path / "truth.json").write_text(json.dumps({"info": {}, **ANNOTATIONS}))
    (tmp_path / "found.json").write_text(json.dumps(noisy))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "truth.json"))
        found = truth.loadRes(str(tmp_path / "found.json"))
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    theirs = [None if value < 0 else value for value in evaluation.stats]
    assert list(ours.values()) == theirs
    assert 0 < ours["AP"] < 1


def test_arguments_are_not_modified():
    # Not ANNOTATIONS, which other tests may have modified.
    annotations = {**ANNOTATIONS, "annotations": [annotation(1, 5, 1, [1, 1, 4, 4])]}
    before = json.dumps([annotations, PERFECT])
    average_precision(annotations, PERFECT)
    assert json.dumps([annotations, PERFECT]) == before


def test_area_and_iscrowd_may_be_left_out():
    solid = [a for a in ANNOTATIONS["annotations"] if not a["iscrowd"]]
    keys = ("id", "image_id", "category_id", "bbox")
    bare = [{key: item[key] for key in keys} for item in solid]
    found = PERFECT[1:]
    expected = average_precision({**ANNOTATIONS, "annotations": solid}, found)
    assert average_precision({**ANNOTATIONS, "annotations": bare}, found) == expected
    assert 0 < expected["AP_medium"] < 1


@pytest.mark.parametrize(
    "ids", [(0, 1, 2, 3), (7, 7, 7, 7), (None,) * 4, (-1, 0, "a", 2.5), ()]
)
def test_ids_of_annotations_do_not_matter(ids):
    bare = [{**item} for item in ANNOTATIONS["annotations"]]
    for item in bare:
        del item["id"]
    for item, number in zip(bare, ids, strict=False):
        item["id"] = number
    changed = {**ANNOTATIONS, "annotations": bare}
    results = [*PERFECT, result(9, 1, [150, 0, 40, 40], 0.99)]
    expected = average_precision(ANNOTATIONS, results)
    assert average_precision(changed, results) == expected
    curves = precision_by_recall(changed, results)
    assert np.mean(list(curves.values())) == pytest.approx(expected["AP"])


@pytest.mark.parametrize("kind", [tuple, np.array, np.float32])
def test_boxes_and_scores_may_be_tuples_and_arrays(kind):
    rows = [
        {**row, "bbox": kind(row["bbox"]), "score": np.float32(row["score"])}
        for row in PERFECT
    ]
    assert average_precision(ANNOTATIONS, rows) == average_precision(
        ANNOTATIONS, PERFECT
    )


@pytest.mark.parametrize("key", ["image_id", "category_id"])
@pytest.mark.parametrize("value", [77, "5", None])
def test_rows_of_unknown_images_and_categories_are_rejected(key, value):
    row = {**ANNOTATIONS["annotations"][0], key: value}
    more = {**ANNOTATIONS, "annotations": [*ANNOTATIONS["annotations"], row]}
    with pytest.raises(ValueError, match=f"`annotations`.*{key} .*{value!r}"):
        average_precision(more, PERFECT)
    with pytest.raises(ValueError, match=f"`results`.*{key} .*{value!r}"):
        precision_by_recall(ANNOTATIONS, [{**PERFECT[0], key: value}])


@pytest.mark.parametrize("key", ["images", "categories"])
def test_images_and_categories_that_are_listed_twice_are_rejected(key):
    twice = {**ANNOTATIONS, key: ANNOTATIONS[key] * 2}
    with pytest.raises(ValueError, match=f"unique ids of the {key}"):
        average_precision(twice, PERFECT)


@pytest.mark.parametrize(
    "change",
    [
        {"bbox": None},
        {"bbox": [1, 2, 3]},
        {"bbox": [1, 2, 3, "4px"]},
        {"bbox": [1, 2, 3, float("nan")]},
        {"bbox": ["1", "2", "3", "4"]},
        {"bbox": [[1, 2], [3]]},
        {"score": "0.9"},
        {"score": None},
        {"score": float("nan")},
    ],
)
def test_rows_without_a_box_or_a_score_are_rejected(change):
    [key] = change
    results = [{**row, **change} for row in PERFECT]
    with pytest.raises(ValueError, match=f"`results`.*finite {key}"):
        average_precision(ANNOTATIONS, results)
    if key == "bbox":
        objects = [{**row, **change} for row in ANNOTATIONS["annotations"]]
        with pytest.raises(ValueError, match=r"`annotations`.*finite bbox"):
            average_precision({**ANNOTATIONS, "annotations": objects}, [])


def test_a_result_of_another_image_is_rejected():
    with pytest.raises(ValueError, match=r"`results`.*77"):
        average_precision(ANNOTATIONS, [result(77, 1, [0, 0, 5, 5], 0.5)])


def test_without_pycocotools_the_message_says_what_to_install(monkeypatch):
    for module in [m for m in sys.modules if m.startswith("pycocotools")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ImportError, match=r"pycocotools.*dropblock-lib\[detection\]"):
        average_precision(ANNOTATIONS, PERFECT)


def test_predictions_become_results_in_stored_pixels():
    predictions = {
        "boxes": np.array([[[5, 10, 15, 40], [-1] * 4], [[0, 0, 2, 2], [1, 1, 4, 3]]]),
        "labels": np.array([[1, -1], [0, 1]]),
        "confidence": np.array([[0.75, -1], [0.5, 0.25]]),
    }
    rows = to_coco(predictions, [5, 9], [0.5, 2.0], [1, 90])
    assert rows == [
        result(5, 90, [10, 20, 20, 60], 0.75),
        result(9, 1, [0, 0, 1, 1], 0.5),
        result(9, 90, [0.5, 0.5, 1.5, 1], 0.25),
    ]


ANIMALS = {
    "images": [{"id": 1, "height": 100, "width": 100}],
    "categories": [
        {"id": 3, "name": "cat", "supercategory": "animal"},
        {"id": 5, "name": "dog", "supercategory": "animal"},
        {"id": 7, "name": "car", "supercategory": "vehicle"},
    ],
    "annotations": [
        {"image_id": 1, "category_id": 3, "bbox": [0, 0, 40, 40]},
        {"image_id": 1, "category_id": 7, "bbox": [50, 50, 40, 40]},
    ],
}


def of_animal(category, box, score):
    return {"image_id": 1, "category_id": category, "bbox": box, "score": score}


def test_a_dog_for_a_cat_is_right_among_supercategories():
    found = [
        of_animal(5, [1, 0, 40, 40], 0.8),
        of_animal(3, [0, 0, 40, 40], 0.9),  # the same animal as above
        of_animal(5, [30, 30, 40, 40], 0.3),  # another place
        of_animal(7, [50, 50, 40, 40], 0.5),
    ]
    annotations, merged = to_supercategories(ANIMALS, found)
    assert [item["name"] for item in annotations["categories"]] == ["animal", "vehicle"]
    assert [row["score"] for row in merged] == [0.9, 0.3, 0.5]
    assert average_precision(annotations, merged)["AP"] == pytest.approx(1.0)
    only_dog = to_supercategories(ANIMALS, [found[0], found[3]])
    assert average_precision(*only_dog)["AP50"] == pytest.approx(1.0)
    half = average_precision(ANIMALS, [found[0], found[3]])["AP50"]
    assert half == pytest.approx(0.5)
    assert to_supercategories(ANIMALS, [])[1] == []


def test_categories_without_a_supercategory_are_rejected():
    other = {**ANIMALS, "categories": [{"id": 1, "name": "cat"}]}
    with pytest.raises(ValueError, match=r"`annotations`.*supercategory.*'cat'"):
        to_supercategories(other, [])


def test_one_category_is_measured_alone():
    found = [of_animal(7, [50, 50, 40, 40], 0.5), of_animal(3, [60, 60, 9, 9], 0.9)]
    assert of_category(ANIMALS, found, "car")["AP"] == pytest.approx(1.0)
    assert of_category(ANIMALS, found, "cat")["AP"] == 0
    assert of_category(ANIMALS, found, "dog")["AP"] is None
    with pytest.raises(ValueError, match=r"`name`.*cat"):
        of_category(ANIMALS, found, "horse")


def split(sizes, boxes):
    return DetectionSplit(
        annotations={
            "images": [
                {"id": number, "height": height, "width": width}
                for number, (height, width) in enumerate(sizes)
            ],
            "annotations": [
                {"image_id": number, "category_id": category, "bbox": box}
                for number, category, box in boxes
            ],
            "categories": ANIMALS["categories"],
        },
        read=lambda number: pytest.fail("read"),
    )


def test_the_trivial_detector_reports_nothing_if_there_was_nothing_to_learn():
    images = [(100, 200), (50, 50)]
    validation = split(images, [(1, 3, [0, 0, 50, 50])])
    assert trivial_results(split(images, []), validation) == []


def test_the_trivial_detector_reports_the_mean_box_of_the_most_common_class():
    train = split(
        [(100, 200), (50, 50)],
        [(0, 5, [0, 0, 100, 50]), (1, 5, [25, 25, 25, 25]), (1, 3, [0, 0, 50, 50])],
    )
    found = trivial_results(train, split([(300, 600)], []))
    # Left 0, 0.5, 0; top 0, 0.5, 0; right 0.5, 1, 1; bottom 0.5, 1, 1.
    expected = [100, 50, 600 * (5 / 6 - 1 / 6), 300 * (5 / 6 - 1 / 6)]
    assert [(row["image_id"], row["category_id"]) for row in found] == [(0, 5)]
    assert found[0]["bbox"] == pytest.approx(expected)
