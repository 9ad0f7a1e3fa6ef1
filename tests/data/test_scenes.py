"""The drawn scenes: reproducible, with boxes where the shapes are."""

import hashlib

import numpy as np
import pytest

from dropblock_lib.data import load_dataset
from dropblock_lib.data.stand_ins import scenes
from dropblock_lib.data.stand_ins.scenes import draw_scene
from dropblock_lib.data.stand_ins.shapes import SHAPES


def test_every_machine_draws_the_same_scenes():
    digest = hashlib.sha256()
    for index in range(20):
        for array in draw_scene(index, seed=7):
            digest.update(array.tobytes())
    expected = "2c22316e14eb595913bb32c4c7a02dcdc9d53ed8e64c4da91d4567809db561fb"
    assert digest.hexdigest() == expected


def test_a_scene_has_arrays_of_fixed_types():
    image, boxes, labels = draw_scene(3, seed=[1, 2], image_size=96)
    assert (image.dtype, image.shape) == (np.uint8, (96, 96, 3))
    assert (boxes.dtype, boxes.shape) == (np.float32, (len(labels), 4))
    assert labels.dtype == np.int64


def test_seed_and_index_determine_the_scene():
    def drawn(index, seed):
        return draw_scene(index, seed, image_size=32)[0].tobytes()

    assert drawn(4, 7) == drawn(4, [7])
    different = {drawn(4, 7), drawn(5, 7), drawn(4, 8), drawn(4, [7, 0])}
    assert len(different) == 4


def test_boxes_are_tight_around_painted_shapes(monkeypatch):
    painted = []
    paint = scenes.paint

    def remember(image, rng, cover, ground):
        before = image.copy()
        paint(image, rng, cover, ground)
        changed = (image != before).any(axis=(0, 1))
        painted.append((cover[0, 0], changed))

    monkeypatch.setattr(scenes, "paint", remember)
    for index in range(40):
        painted.clear()
        _, boxes, labels = draw_scene(index, seed=1)
        assert len(painted) == len(boxes) == len(labels)
        for (cover, changed), box in zip(painted, boxes.astype(int), strict=True):
            left, top, right, bottom = box
            inside = np.zeros(cover.shape, bool)
            inside[top:bottom, left:right] = True
            half = cover >= 0.5
            assert not half[~inside].any()
            # Each side of the box has a pixel of the shape.
            for side in (np.s_[top], np.s_[bottom - 1], np.s_[:, left]):
                assert half[side].any()
            assert half[:, right - 1].any()
            # Pixels covered by half are painted, and uncovered ones are not.
            assert changed[half].all()
            assert not changed[cover == 0].any()


def test_shapes_stand_out_from_their_surroundings():
    """Images are brighter inside boxes than around them, judged by pixels alone."""
    inside, around = [], []
    for index in range(60):
        image, boxes, labels = draw_scene(index, seed=2)
        gray = image.mean(axis=-1)
        free = np.ones(gray.shape, bool)
        for left, top, right, bottom in boxes.astype(int):
            free[top:bottom, left:right] = False
        for box, label in zip(boxes.astype(int), labels, strict=True):
            left, top, right, bottom = box
            ring = np.zeros(gray.shape, bool)
            ring[max(top - 4, 0) : bottom + 4, max(left - 4, 0) : right + 4] = True
            if list(SHAPES)[label] == "square" and (ring & free).any():
                inside.append(gray[top:bottom, left:right].mean())
                around.append(gray[ring & free].mean())
    assert len(inside) > 10
    assert (np.array(inside) > np.array(around) + 10).all()


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("scenes")


def test_the_data_set_describes_itself(dataset):
    assert (dataset.name, dataset.source, dataset.origin) == (
        "scenes",
        "scenes",
        "built-in",
    )
    assert not dataset.is_stand_in
    assert (len(dataset.train), len(dataset.validation)) == (500, 200)
    assert dataset.classes == tuple(SHAPES)
    assert len(dataset.category_ids) == 10
    assert "500 training and 200 validation images of up to 128 pixels" in str(dataset)
    assert load_dataset("scenes").train is dataset.train


def test_images_and_boxes_are_those_of_the_scene(dataset):
    for split, seed in ((dataset.train, (2017, 0)), (dataset.validation, (2017, 1))):
        image, boxes, labels = draw_scene(17, seed)
        np.testing.assert_array_equal(split.image(17), image)
        np.testing.assert_array_equal(split.boxes[17], boxes)
        np.testing.assert_array_equal(split.labels[17], labels)
        taken = split.take(3)
        index = split.ids.index(taken.ids[2])
        np.testing.assert_array_equal(taken.image(2), split.image(index))
        np.testing.assert_array_equal(taken.boxes[2], split.boxes[index])


def test_every_class_and_every_number_of_shapes_occurs(dataset):
    for split in (dataset.train, dataset.validation):
        numbers = np.bincount([len(boxes) for boxes in split.boxes], minlength=6)
        assert numbers[0] == 0
        assert len(numbers) == 6
        assert (numbers[1:] > len(split) / 10).all()
        classes = np.bincount(np.concatenate(split.labels), minlength=10)
        # Each is a tenth on average; five standard deviations around that.
        total = classes.sum()
        assert np.abs(classes - total / 10).max() < 5 * np.sqrt(total * 0.09)


def test_sizes_positions_and_overlaps(dataset):
    longer_sides = []
    for boxes in (*dataset.train.boxes, *dataset.validation.boxes):
        assert boxes.min() >= 0
        assert boxes.max() <= 128
        sides = boxes[:, 2:] - boxes[:, :2]
        longer_sides += (sides.max(axis=1) / 128).tolist()
        areas = sides.prod(axis=1)
        low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
        high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
        common = np.clip(high - low, 0, None).prod(axis=-1)
        union = areas[:, None] + areas - common
        np.fill_diagonal(common, 0)
        assert (common / union).max() <= 0.1
        assert (common <= 0.1 * np.minimum(areas[:, None], areas)).all()
    assert 0.1 < min(longer_sides) < 0.15
    assert 0.42 < max(longer_sides) < 0.5


def test_annotations_are_the_boxes_in_coco_s_format(dataset):
    split = dataset.validation
    numbers = [item["id"] for item in split.annotations["annotations"]]
    assert numbers == list(range(1, len(numbers) + 1))
    found = {image_id: [] for image_id in split.ids}
    for item in split.annotations["annotations"]:
        x, y, width, height = item["bbox"]
        label = dataset.category_ids.index(item["category_id"])
        assert item["area"] == width * height
        assert item["iscrowd"] == 0
        found[item["image_id"]].append((x, y, x + width, y + height, label))
    for image_id, boxes, labels in zip(
        split.ids, split.boxes, split.labels, strict=True
    ):
        own = np.array(found[image_id])
        np.testing.assert_array_equal(own[:, :4], boxes)
        np.testing.assert_array_equal(own[:, 4], labels)
    names = {item["id"]: item["name"] for item in split.annotations["categories"]}
    assert [names[i] for i in dataset.category_ids] == list(dataset.classes)
    assert [item["id"] for item in split.annotations["images"]] == list(split.ids)
