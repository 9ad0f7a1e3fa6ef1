"""Jitter of images: a drawn box moves to its new coordinates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropblock_lib.data.jitter import jitter
from dropblock_lib.data.letterbox import PADDING, fit_image

SIZE = 64
few = settings(max_examples=80, deadline=None)


@st.composite
def drawn(draw):
    """An image with one white box on black, and the box."""
    height, width = draw(st.integers(20, 90)), draw(st.integers(20, 90))
    left, top = draw(st.integers(0, width - 10)), draw(st.integers(0, height - 10))
    right = draw(st.integers(left + 10, width))
    bottom = draw(st.integers(top + 10, height))
    image = np.zeros((height, width, 3), "uint8")
    image[top:bottom, left:right] = 255
    return image, np.array([left, top, right, bottom])


def white_box(square):
    bright = (square >= 128).all(axis=2)
    rows, columns = (np.flatnonzero(bright.any(axis=axis)) for axis in (1, 0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


@few
@given(drawn(), st.integers(0, 2**32))
def test_a_drawn_box_is_where_its_coordinates_say(case, seed):
    image, box = case
    rng = np.random.default_rng(seed)
    square, boxes, kept = jitter(image, [box], SIZE, rng, color=0.0)
    assert (square.shape, square.dtype) == ((SIZE, SIZE, 3), np.uint8)
    assert (boxes >= 0).all() and (boxes <= SIZE).all()
    if kept[0] and min(boxes[0, 2:] - boxes[0, :2]) >= 3:
        assert np.abs(white_box(square) - boxes[0]).max() <= 1.001


@few
@given(drawn(), st.integers(0, 2**32))
def test_a_box_is_kept_if_a_third_of_it_remains(case, seed):
    image, box = case
    rng = np.random.default_rng(seed)
    _, boxes, kept = jitter(image, [box], SIZE, rng, scales=(1.5, 1.5))
    height, width = image.shape[:2]
    # The whole object at this scale, each side rounded with the image.
    sides = [max(1, round(max(1, round(s * SIZE / max(height, width))) * 1.5))
             for s in (height, width)]  # fmt: skip
    whole = np.prod((box[2:] - box[:2]) * np.divide(sides[::-1], (width, height)))
    widths = boxes[0, 2:] - boxes[0, :2]
    fraction = np.prod(widths) / whole
    if abs(fraction - 1 / 3) > 1e-4 and abs(widths.min() - 1) > 1e-4:
        assert kept[0] == (fraction > 1 / 3 and widths.min() > 1)


def test_scales_and_positions_vary_within_their_limits():
    image = np.full((40, 80, 3), 255, "uint8")
    shapes, corners = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        _, [box], _ = jitter(image, [[0, 0, 80, 40]], SIZE, rng, color=0.0)
        shapes.append(box[2:] - box[:2])
        corners.append(box[:2])
    widths, heights = np.transpose(shapes)
    # A width of 32 to 96 pixels, of which 64 fit, and half of it as height.
    assert 32 <= widths.min() < 34 and widths.max() == SIZE
    assert 16 <= heights.min() < 18 and 46 < heights.max() <= 48
    assert np.ptp(corners, axis=0).min() > 20
    assert np.mean(widths == SIZE) == np.clip(np.mean(widths == SIZE), 0.35, 0.65)


def test_without_any_change_it_is_the_letterbox():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (50, 80, 3)).astype("uint8")
    box = [[10, 5, 40, 30]]
    expected, boxes, _ = fit_image(image, box, SIZE)
    square, moved, kept = jitter(image, box, SIZE, rng, scales=(1, 1), color=0.0)
    # The position of the image is random; its pixels and box are not.
    shift = moved[0, :2] - boxes[0, :2]
    assert kept.all() and shift[0] == 0 and 0 <= shift[1] <= 24
    top = int(shift[1])
    np.testing.assert_array_equal(square[top : top + 40], expected[:40])
    np.testing.assert_allclose(moved[0] - boxes[0], [0, top, 0, top])


def test_colors_change_and_padding_does_not():
    image = np.tile(np.array([200, 90, 30], "uint8"), (40, 80, 1))
    colors = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        square, [box], _ = jitter(image, [[0, 0, 80, 40]], SIZE, rng, scales=(0.5, 0.5))
        left, top, right, bottom = box.astype(int)
        inside = square[top:bottom, left:right]
        assert (inside == inside[0, 0]).all()
        colors.add(tuple(inside[0, 0].tolist()))
        outside = np.ones((SIZE, SIZE), bool)
        outside[top:bottom, left:right] = False
        assert (square[outside] == PADDING).all()
    assert len(colors) == 20


def test_the_same_random_seed_gives_the_same_result():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (50, 80, 3)).astype("uint8")
    one, other = (
        jitter(image, [[1, 2, 30, 40]], SIZE, np.random.default_rng(7)) for _ in "ab"
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"image": np.ones((50, 80, 3))}, "image"),
        ({"size": 0}, "size"),
        ({"scales": (-1, -0.5)}, "scales"),
        ({"scales": (1.5, 0.5)}, "scales"),
        ({"color": 2}, "color"),
    ],
)
def test_a_bad_argument_is_named(arguments, name):
    given = {"image": np.zeros((50, 80, 3), "uint8"), "boxes": [], "size": SIZE}
    with pytest.raises(ValueError, match=f"argument `{name}`"):
        jitter(**{**given, **arguments}, rng=np.random.default_rng(0))


def test_no_boxes():
    image = np.zeros((50, 80, 3), "uint8")
    _, boxes, kept = jitter(image, [], SIZE, np.random.default_rng(0))
    assert boxes.shape == (0, 4) and kept.shape == (0,)
