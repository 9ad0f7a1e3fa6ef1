"""Anchors and their training targets, against plain NumPy."""

import dataclasses

import numpy as np
import pytest
from boxes import overlap
from tiny_detector import tiny_detector

import dropblock_lib as dbl
from dropblock_lib.detection.anchors import (
    anchors_by_level,
    assign,
    count_assigned,
)

pytestmark = pytest.mark.backends

SIZE = 64


@pytest.fixture(scope="module")
def model():
    return tiny_detector(image_size=SIZE)


@pytest.mark.parametrize(
    "boxes, labels, named",
    [
        ([[10, 10, 60, 60], [1, 1, 30, 30]], [1], "labels"),
        ([[10, 10, 60, 60]], [3], "labels"),
        ([[10, 10, 60, 60]], [-1], "labels"),
        ([[40, 40, 20, 10]], [1], "boxes"),
        ([[0.1, 0.1, 0.9, 0.8]], [1], "boxes"),
    ],
)
def test_objects_that_cannot_be_assigned_are_rejected(model, boxes, labels, named):
    with pytest.raises(ValueError, match=f"argument `{named}`"):
        assign(model, boxes, labels)


def test_every_position_of_every_level_has_nine_anchors(model):
    anchors = anchors_by_level(model)
    shapes = {level: found.shape for level, found in anchors.items()}
    assert shapes == {"P3": (8, 8, 9, 4), "P4": (4, 4, 9, 4), "P5": (2, 2, 9, 4)}


def test_anchors_grow_with_the_level_and_move_with_the_position(model):
    anchors = anchors_by_level(model)
    for stride, (level, found) in zip((8, 16, 32), anchors.items(), strict=True):
        centers = (found[..., :2] + found[..., 2:]) / 2
        rows, columns = np.indices(found.shape[:2])
        np.testing.assert_allclose(
            centers, stride * np.stack([columns, rows], -1)[:, :, None] + 0 * centers
        )
        width, height = np.moveaxis(found[..., 2:] - found[..., :2], -1, 0)
        # Four strides, times 1, 2^(1/3) and 2^(2/3), rounded to pixels.
        sides = 4 * stride * 2 ** (np.arange(3) / 3)
        sides_found = np.sqrt(width * height).reshape(-1, 3, 3)
        assert abs(sides_found - sides).max() < 2, level
        ratios = (height / width).reshape(-1, 3, 3)
        np.testing.assert_allclose(ratios, ratios[:1] + 0 * ratios)
        assert abs(ratios[0] / np.array([[0.5], [1], [2]]) - 1).max() < 0.06


def test_an_anchor_is_assigned_to_an_object_it_overlaps_by_half(model):
    boxes, labels = [[2, 3, 33, 34], [30, 12, 62, 60]], [2, 0]
    found = assign(model, boxes, labels)
    flat = [part.reshape(-1, 4) for part in anchors_by_level(model).values()]
    np.testing.assert_array_equal(found.anchors, np.concatenate(flat))
    assert list(found.levels) == ["P3"] * 576 + ["P4"] * 144 + ["P5"] * 36

    expected = np.array([[overlap(a, box) for box in boxes] for a in found.anchors])
    np.testing.assert_allclose(found.overlaps, expected, atol=1e-5)
    best = expected.max(1)
    np.testing.assert_array_equal(found.positive, best >= 0.5)
    np.testing.assert_array_equal(found.background, best < 0.4)
    np.testing.assert_array_equal(found.ignored, (best >= 0.4) & (best < 0.5))
    own = np.array(labels)[expected.argmax(1)]
    np.testing.assert_array_equal(found.labels[found.positive], own[found.positive])
    assert set(found.objects[found.positive]) == {0, 1}
    assert (found.objects[best == 0] == -1).all() and (best == 0).any()


def test_without_objects_all_anchors_are_background(model):
    found = assign(model, [], [])
    assert found.background.all()
    assert found.overlaps.shape == (len(found.labels), 0)
    assert set(found.objects) == {-1}


def test_targets_are_counted_over_all_images(model):
    split = dbl.load_dataset("scenes").validation.take(3)
    classes = model.num_classes
    # Large enough for the anchors of a small model.
    boxes = [[2, 2, 88, 98], [30, 40, 90, 70]]
    labels = [[0, 1], [2, 1], [2, 0]]
    objects = [
        {"image_id": image_id, "category_id": label + 1, "bbox": box}
        for image_id, own in zip(split.ids, labels, strict=True)
        for label, box in zip(own, boxes, strict=True)
    ]
    annotations = {**split.annotations, "annotations": objects}
    split = dataclasses.replace(split, annotations=annotations)
    of_classes, anchors = count_assigned(model, split)

    expected, asked = np.zeros(classes, int), 0
    for index, boxes in enumerate(split.boxes):
        # Their longer side becomes that of the model's images.
        scale = SIZE / max(split.image(index).shape)
        found = assign(model, scale * np.asarray(boxes), labels[index]).labels
        asked += np.count_nonzero(found != -2)
        for label in range(classes):
            expected[label] += np.count_nonzero(found == label)
    assert of_classes.tolist() == expected.tolist()
    assert expected.sum() > 0 and anchors == asked
