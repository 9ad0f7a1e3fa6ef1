"""Letterboxing and mirroring: a marked rectangle moves with its box."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropblock_lib.data.letterbox import PADDING, fit_image, fitted_sides, mirror

few = settings(max_examples=60, deadline=None)


@st.composite
def marked(draw):
    """The sides of an image and a box in it."""
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    right = draw(st.integers(left + 1, width))
    bottom = draw(st.integers(top + 1, height))
    return height, width, (left, top, right, bottom)


def marked_image(height, width, box):
    left, top, right, bottom = box
    image = np.zeros((height, width, 3), "uint8")
    image[top:bottom, left:right] = 255
    return image


def box_of(bright):
    rows, columns = (np.flatnonzero(bright.any(axis=axis)) for axis in (1, 0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


@few
@given(marked(), st.integers(16, 64))
def test_a_marked_rectangle_moves_with_its_box(drawn, size):
    height, width, box = drawn
    image, boxes, scale = fit_image(marked_image(*drawn), [box], size)
    assert (image.dtype, image.shape) == (np.uint8, (size, size, 3))
    assert boxes.dtype == np.float32
    assert scale == size / max(height, width)
    np.testing.assert_allclose(boxes[0], np.array(box) * scale, rtol=1e-6)
    fitted = image[: max(1, round(height * scale)), : max(1, round(width * scale))]
    # A box thinner than three pixels may not be half bright anywhere.
    if min(boxes[0, 2:] - boxes[0, :2]) >= 3:
        # Half a pixel for the image's rounded side, and half for the pixel grid.
        assert np.abs(box_of(fitted[..., 0] >= 128) - boxes[0]).max() <= 1.001


@few
@given(marked(), st.integers(1, 64))
def test_the_rest_of_the_square_is_one_color(drawn, size):
    height, width, box = drawn
    image, _, scale = fit_image(marked_image(*drawn), [box], size)
    rows, columns, same = fitted_sides(height, width, size)
    assert same == scale
    assert max(rows, columns) == size
    assert min(rows, columns) == max(1, round(min(height, width) * scale))
    assert (image[rows:] == PADDING).all()
    assert (image[:, columns:] == PADDING).all()


def test_an_image_that_fits_is_not_changed(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    image = np.arange(5 * 8 * 3, dtype="uint8").reshape(5, 8, 3)
    fitted, boxes, scale = fit_image(image, (), 8)
    np.testing.assert_array_equal(fitted[:5], image)
    assert boxes.shape == (0, 4)
    assert scale == 1
    with pytest.raises(ImportError, match=r"Pillow.*dropblock-lib\[detection\]"):
        fit_image(image, (), 7)


def test_smaller_images_are_averages():
    """A checkerboard of single black and white pixels becomes gray."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype("uint8")
    image, _, _ = fit_image(np.stack([board] * 3, axis=-1), (), 8)
    assert np.abs(image.astype(int) - 127).max() <= 8


@pytest.mark.parametrize(
    "image",
    [
        np.ones((8, 8, 3)),
        np.zeros((8, 8), "uint8"),
        np.zeros((8, 8, 4), "uint8"),
        np.zeros((0, 8, 3), "uint8"),
        [[[0, 0, 0]]],
    ],
    ids=["floats", "gray", "alpha", "empty", "list"],
)
def test_other_images_are_rejected(image):
    with pytest.raises(
        ValueError, match=r"`image`.*a uint8 array \(height, width, 3\)"
    ):
        fit_image(image, (), 8)


@pytest.mark.parametrize("size", [0, -1, 2.0, None, True])
def test_a_bad_size_is_rejected(size):
    with pytest.raises(ValueError, match=r"`size`.*Received: size="):
        fit_image(np.zeros((3, 3, 3), "uint8"), (), size)


@few
@given(marked(), st.integers(0, 20))
def test_a_mirrored_rectangle_moves_with_its_box(drawn, padding):
    height, width, box = drawn
    image = np.zeros((height, width + padding, 3), "uint8")
    image[:, width:] = PADDING
    image[:, :width] = marked_image(*drawn)
    flipped, boxes = mirror(image, [box], width)
    assert (flipped[:, width:] == PADDING).all()
    np.testing.assert_array_equal(box_of(flipped[:, :width, 0] == 255), boxes[0])


@few
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 4), st.integers(0, 9999))
def test_mirroring_twice_is_the_identity(height, width, padding, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width + padding, 3), dtype="uint8")
    boxes = rng.integers(0, 4 * width, (3, 4)) / 4
    image_before, boxes_before = image.copy(), boxes.copy()
    twice = mirror(*mirror(image, boxes, width), width)
    np.testing.assert_array_equal(twice[0], image)
    np.testing.assert_array_equal(twice[1], boxes)
    # The arguments are unchanged.
    np.testing.assert_array_equal(image, image_before)
    np.testing.assert_array_equal(boxes, boxes_before)


def test_no_boxes():
    assert mirror(np.zeros((4, 4, 3), "uint8"), (), 4)[1].shape == (0, 4)
