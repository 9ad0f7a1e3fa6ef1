"""Random augmentation, compared with loops over pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropblock_lib.data.augment import (
    GRAY,
    LARGEST_SHIFT,
    crop,
    cutout,
    flip,
    get_augmentation,
    shift,
)

SIDE = 4 * LARGEST_SHIFT


def some_images(count, height=SIDE, width=SIDE, channels=3):
    # No pixel is black, because a shift fills the border with black.
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
    """All moves that turn `image` into `result`."""
    source = image[:, ::-1] if mirrored else image
    steps = range(-LARGEST_SHIFT, LARGEST_SHIFT + 1)
    # Comparing the middle pixel first rules out most moves cheaply.
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
    # One marked pixel shows the move without a search.
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
        results = get_augmentation("shift-flip")(images, np.random.default_rng(seed))
        for pair in zip(images, results, strict=True):
            assert len(ways(*pair)) + len(ways(*pair, mirrored=True)) == 1
    # In each image, two marked neighbors swap sides when it is mirrored.
    many = np.zeros((400, SIDE, SIDE, 1), "uint8")
    many[:, SIDE // 2, SIDE // 2 - 1] = 1
    many[:, SIDE // 2, SIDE // 2] = 2
    results = flip(many, np.random.default_rng(0))
    left, right = np.argwhere(results == 1)[:, 2], np.argwhere(results == 2)[:, 2]
    assert set(right - left) == {-1, 1}
    # Binomial: mean 200, standard deviation 10.
    assert abs((right < left).sum() - 200) < 50


def test_a_crop_is_a_window_of_the_image_padded_by_reflection():
    images = some_images(30, 9, 11)
    results = crop(images, np.random.default_rng(0))
    for image, result in zip(images, results, strict=True):
        # NumPy's "symmetric" repeats the border pixel, "reflect" does not.
        rows = [abs(i) if i < 9 else 16 - i for i in range(-4, 13)]
        columns = [abs(i) if i < 11 else 20 - i for i in range(-4, 15)]
        large = image[np.ix_(rows, columns)]
        windows = [
            large[top : top + 9, left : left + 11]
            for top in range(9)
            for left in range(9)
        ]
        assert sum(np.array_equal(window, result) for window in windows) == 1


def test_cutout_paints_a_gray_square():
    images = some_images(500, 20, 24)
    images[images == GRAY] = 0
    results = cutout(images, np.random.default_rng(0), pixels=6)
    centers = []
    for image, result in zip(images, results, strict=True):
        covered = (result == GRAY).all(-1)
        np.testing.assert_array_equal(result[~covered], image[~covered])
        rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
        assert covered[np.ix_(rows, columns)].all()
        # The center is in the image, so at least half of each side is.
        for places, side in ((rows, 20), (columns, 24)):
            whole = places[0] > 0 and places[-1] < side - 1
            assert len(places) == 6 if whole else 3 <= len(places) <= 6
        centers.append((rows.mean(), columns.mean()))
    # Uniform over the image: means 9.5 and 11.5, standard errors below 0.35.
    assert np.allclose(np.mean(centers, 0), (9.5, 11.5), atol=5 * 0.35)


def test_a_number_in_the_name_sets_the_largest_shift():
    images = np.zeros((400, 20, 20, 1), "uint8")
    images[:, 10, 10] = 1
    results = get_augmentation("shift2")(images, np.random.default_rng(0))
    rows = np.argwhere(results)[:, 1]
    assert set(rows) == {8, 9, 10, 11, 12}


@pytest.mark.parametrize(
    "name",
    ["", "turn", "flip-", "flip-flip", "flip2", "shift0", "shift-2", "none-flip", None],
)
def test_an_unknown_name_gives_none(name):
    assert get_augmentation(name) is None


@pytest.mark.parametrize(
    "name", ["none", "shift", "shift-flip", "crop-flip", "crop-flip-cutout8", "shift2"]
)
def test_the_result_depends_only_on_the_random_generator(name):
    images = some_images(20)
    before = images.copy()
    augment = get_augmentation(name)
    first, again, other = (
        augment(images, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(images, before, "the original was changed")
    assert first.dtype == images.dtype and first.shape == images.shape
    assert np.array_equal(first, other) == (name == "none")
    assert np.array_equal(first, images) == (name == "none")
