"""The drawn shapes: reproducible, balanced, and geometrically right."""

import hashlib
import math

import numpy as np
import pytest

from dropblock_lib.data import load_dataset
from dropblock_lib.data.stand_ins.shapes import SHAPES, draw_shapes


def test_every_machine_draws_the_same_images():
    images, labels = draw_shapes(300, seed=7)
    digest = hashlib.sha256(images.tobytes() + labels.astype("uint8").tobytes())
    expected = "215b1054e8ab62882e099e95720f52acb00c1a8a450d527cd8e3cfeeed2443ff"
    assert digest.hexdigest() == expected


def test_more_images_start_with_the_same_ones():
    few, few_labels = draw_shapes(37, seed=3)
    many, many_labels = draw_shapes(250, seed=3)
    np.testing.assert_array_equal(few, many[:37])
    np.testing.assert_array_equal(few_labels, many_labels[:37])


def test_seeds_differ():
    assert not np.array_equal(draw_shapes(10, seed=0)[0], draw_shapes(10, seed=1)[0])


def test_any_size_can_be_drawn():
    images, labels = draw_shapes(12, image_size=64)
    assert images.shape == (12, 64, 64, 3)
    assert labels.shape == (12,)


@pytest.mark.parametrize("count", [0, -3])
def test_a_count_below_one_is_rejected(count):
    with pytest.raises(ValueError, match=f"`count`.*Received: count={count}"):
        draw_shapes(count)


@pytest.fixture(scope="module")
def shapes():
    return load_dataset("shapes")


def test_the_format_is_that_of_cifar10(shapes):
    assert shapes.x_train.shape == (10_000, 32, 32, 3)
    assert shapes.x_test.shape == (2_000, 32, 32, 3)
    assert shapes.x_train.dtype == shapes.x_test.dtype == np.uint8
    assert shapes.y_train.dtype == shapes.y_test.dtype == np.int64
    assert len(shapes.classes) == 10


def test_classes_are_balanced_in_the_first_images_too(shapes):
    for labels in (shapes.y_train, shapes.y_test, shapes.y_train[:500]):
        counts = np.bincount(labels, minlength=10)
        np.testing.assert_array_equal(counts, len(labels) // 10)


def test_no_image_occurs_twice(shapes):
    images = [*shapes.x_train, *shapes.x_test]
    assert len({image.tobytes() for image in images}) == 12_000


def test_loading_again_shares_the_arrays(shapes):
    assert np.shares_memory(load_dataset("shapes").x_train, shapes.x_train)


# The area of each shape, from elementary geometry.
LENS = (
    1.0**2 * math.acos((0.5**2 + 1.0**2 - 0.75**2) / (2 * 0.5 * 1.0))
    + 0.75**2 * math.acos((0.5**2 + 0.75**2 - 1.0**2) / (2 * 0.5 * 0.75))
    - 0.5
    * math.sqrt(
        (-0.5 + 1 + 0.75) * (0.5 + 1 - 0.75) * (0.5 - 1 + 0.75) * (0.5 + 1 + 0.75)
    )
)
# From the center to a tip: the pentagon's apothem over cos 72 degrees.
STAR_TIP = math.cos(math.pi / 5) / math.cos(2 * math.pi / 5) / 2.35
STAR_DENT = 1 / 2.35
AREAS = {
    "circle": math.pi * 0.9**2,
    "ring": math.pi * (0.96**2 - 0.48**2),
    "crescent": math.pi - LENS,
    "half disk": math.pi / 2 + 0.05 * math.sqrt(1 - 0.05**2) + math.asin(0.05),
    "triangle": 3 * math.sqrt(3) / 4,
    "square": 1.5**2,
    "hexagon": 3 * math.sqrt(3) / 2,
    "star": 5 * STAR_TIP * STAR_DENT * math.sin(math.pi / 5),
    "cross": 2 * 1.9 * 0.6 - 0.6**2,
    "bars": 2 * 1.7 * 0.48,
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_have_the_area_of_their_geometry(name):
    steps = 1000
    axis = (np.arange(steps, dtype="float32") + 0.5) / steps * 2.4 - 1.2
    u, v = np.meshgrid(axis, axis)
    area = np.mean(SHAPES[name](u, v) < 0) * 2.4**2
    # The grid's error is at most the cells that an outline of length 12 crosses.
    assert area == pytest.approx(AREAS[name], abs=12 * 2.4 / steps)
    assert AREAS.keys() == SHAPES.keys()


def test_the_shape_stands_out_from_the_background():
    """Averaged over many images, each class shows its own silhouette."""
    images, labels = draw_shapes(3_000, seed=5)
    gray = images.mean(axis=-1)
    silhouettes = np.stack([gray[labels == label].mean(axis=0) for label in range(10)])
    ring, circle = (list(SHAPES).index(name) for name in ("ring", "circle"))
    corner = silhouettes[:, :3, :3].mean(axis=(1, 2))
    middle = silhouettes[:, 14:18, 14:18].mean(axis=(1, 2))
    assert middle[circle] > corner[circle] + 30
    assert middle[ring] < middle[circle] - 20
