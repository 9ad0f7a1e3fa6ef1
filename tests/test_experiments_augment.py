"""Training images, changed in every epoch: compared with loops over pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropblock_lib.experiments.augment import (
    AUGMENTATIONS,
    LARGEST_SHIFT,
    shift,
    shift_and_flip,
)

SIDE = 4 * LARGEST_SHIFT


def some_images(count, height=SIDE, width=SIDE, channels=3):
    # No black pixel, which would look like one that came in from outside.
    rng = np.random.default_rng(count)
    return rng.integers(1, 256, (count, height, width, channels), "uint8")


def moved(image, down, right):
    """An image moved by whole pixels, one pixel at a time."""
    height, width, _ = image.shape
    result = np.zeros_like(image)
    for y in range(height):
        if 0 <= y - down < height:
            for x in range(max(0, right), min(width, width + right)):
                result[y, x] = image[y - down, x - right]
    return result


def ways(image, result, mirrored=False):
    """All moves that make the one image of the other."""
    source = image[:, ::-1] if mirrored else image
    steps = range(-LARGEST_SHIFT, LARGEST_SHIFT + 1)
    # The middle pixel rules most moves out at once.
    middle = tuple(size // 2 for size in result.shape[:2])
    return [
        (down, right)
        for down in steps
        for right in steps
        if np.array_equal(source[middle[0] - down, middle[1] - right], result[middle])
        and np.array_equal(moved(source, down, right), result)
    ]


@given(
    count=st.integers(0, 3),
    height=st.integers(9, 14),
    width=st.integers(9, 14),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**32),
)
def test_each_image_is_moved_as_a_whole(count, height, width, channels, seed):
    images = some_images(count, height, width, channels)
    before = images.copy()
    results = shift(images, np.random.default_rng(seed))
    assert results.shape == images.shape and results.dtype == images.dtype
    np.testing.assert_array_equal(images, before, "the original was changed")
    for image, result in zip(images, results, strict=True):
        assert len(ways(image, result)) == 1


def test_all_moves_are_equally_likely():
    # The corner of a marked pixel tells the move without a search.
    count = 81 * 200
    images = np.zeros((count, SIDE, SIDE, 1), "uint8")
    images[:, LARGEST_SHIFT, LARGEST_SHIFT] = 1
    places = np.argwhere(shift(images, np.random.default_rng(0)))
    assert len(places) == count, "a pixel was lost"
    counts = np.zeros((2 * LARGEST_SHIFT + 1,) * 2)
    np.add.at(counts, (places[:, 1], places[:, 2]), 1)
    # Chi-squared with 80 degrees of freedom: mean 80, standard deviation 12.6.
    assert ((counts - 200) ** 2 / 200).sum() < 80 + 5 * 12.7


def test_half_of_the_images_are_mirrored():
    images = some_images(8)
    for seed in range(4):
        results = shift_and_flip(images, np.random.default_rng(seed))
        for pair in zip(images, results, strict=True):
            assert len(ways(*pair)) + len(ways(*pair, mirrored=True)) == 1
    # Which of two neighbors is the left one tells it of many images.
    many = np.zeros((400, SIDE, SIDE, 1), "uint8")
    many[:, SIDE // 2, SIDE // 2 - 1] = 1
    many[:, SIDE // 2, SIDE // 2] = 2
    results = shift_and_flip(many, np.random.default_rng(0))
    left, right = np.argwhere(results == 1)[:, 2], np.argwhere(results == 2)[:, 2]
    assert set(right - left) == {-1, 1}
    # Binomial: 200 +- 10.
    assert abs((right < left).sum() - 200) < 50


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_generator_decides_and_nothing_else(name):
    images = some_images(20)
    augment = AUGMENTATIONS[name]
    first, again, other = (
        augment(images, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, other) == (name == "none")
    assert np.array_equal(first, images) == (name == "none")
