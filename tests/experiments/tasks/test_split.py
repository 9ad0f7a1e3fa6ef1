"""Which images a run uses."""

import numpy as np
import pytest
from tiny import tiny_data, tiny_recipe, use_tiny_net

from dropblock_lib.data.load import BUILT_IN, STAND_INS
from dropblock_lib.experiments import make_recipes
from dropblock_lib.experiments.tasks import Classification
from dropblock_lib.experiments.tasks.split import fingerprint, split, stratified


@pytest.fixture(autouse=True)
def _tiny_net(monkeypatch):
    use_tiny_net(monkeypatch)


def uneven_labels():
    rng = np.random.default_rng(1)
    return rng.permutation(np.repeat([0, 1, 2], [500, 300, 200]))


@pytest.mark.parametrize(
    ("first", "second", "sizes"),
    [(400, 100, (400, 100)), (None, 137, (863, 137)), (0, None, (0, 1000))],
)
def test_sets_are_disjoint_and_of_the_right_size(first, second, sizes):
    one, two = stratified(uneven_labels(), first, second)
    assert (len(one), len(two)) == sizes
    assert not set(one) & set(two)
    assert len(set(one)) == len(one) and len(set(two)) == len(two)


@pytest.mark.parametrize(("first", "second"), [(400, 100), (7, 501), (37, 3)])
def test_every_class_has_its_proportion(first, second):
    labels = uneven_labels()
    for chosen in stratified(labels, first, second):
        counts = np.bincount(labels[chosen], minlength=3)
        expected = len(chosen) * np.bincount(labels) / len(labels)
        # The first set is between two cuts, each of which is off by less than one.
        assert np.abs(counts - expected).max() < 2


def test_the_choice_is_not_simply_the_first_images():
    one, two = stratified(uneven_labels(), 400, 100)
    for chosen in (one, two):
        # The mean of n random indices below 1,000: 499.5 +- 289 / sqrt(n).
        assert abs(chosen.mean() - 499.5) < 5 * 289 / len(chosen) ** 0.5


def test_all_seeds_and_variants_see_the_same_images():
    data = tiny_data()
    first = split(data, tiny_recipe(train_size=30))
    other = split(data, tiny_recipe(train_size=30, seed=9, variant="none", epochs=1))
    for part in ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(first, part), getattr(other, part))


def test_validation_images_come_from_the_training_part_and_are_held_out():
    data = tiny_data()
    images = split(data, tiny_recipe())

    def keys(x):
        return {image[::2, ::2].tobytes() for image in x}

    assert len(keys(images.x_train) | keys(images.x_val)) == 48 + 16
    everything = keys(data.x_train.repeat(2, axis=1).repeat(2, axis=2))
    assert keys(images.x_train) | keys(images.x_val) == everything
    assert len(images.x_test) == len(data.x_test)


@pytest.mark.parametrize(
    ("side", "factor", "before"), [(28, 1, 2), (8, 4, 0), (16, 2, 0), (32, 1, 0)]
)
def test_images_become_32_by_32(side, factor, before):
    data = tiny_data()
    pixels = np.random.default_rng(0).integers(1, 256, (64, side, side, 1), "uint8")
    object.__setattr__(data, "x_train", pixels)
    images = split(data, tiny_recipe(train_size=None)).x_train
    assert images.shape == (48, 32, 32, 1) and images.dtype == "uint8"
    inside = images[:, before : 32 - before, before : 32 - before]
    assert (inside > 0).all()
    assert images.astype(int).sum() == inside.astype(int).sum(), "padding is not black"
    originals = {image.tobytes() for image in pixels}
    assert {image.tobytes() for image in inside[:, ::factor, ::factor]} <= originals


@pytest.mark.parametrize(
    ("sizes", "name"),
    [
        ({"train_size": 49}, "train_size"),
        ({"train_size": None, "validation_size": 64}, "validation_size"),
        ({"test_size": 21}, "test_size"),
    ],
)
def test_says_when_there_are_too_few_images(sizes, name):
    with pytest.raises(ValueError, match=f"argument `{name}`"):
        split(tiny_data(), tiny_recipe(**sizes))


def test_a_quick_recipe_needs_no_more_images_than_a_stand_in_has():
    # A quick run must succeed on a machine without the data and without a network.
    for recipe in make_recipes("quick", variants=["none"]):
        if recipe.task is Classification:
            load = BUILT_IN.get(recipe.dataset) or STAND_INS[recipe.dataset]
            assert len(split(load(), recipe).y_test) == recipe.test_size


def test_the_fingerprint_depends_on_every_pixel_and_label():
    data, changed = tiny_data(), tiny_data()
    assert fingerprint(data) == fingerprint(changed)
    for part in ("x_train", "y_train", "x_test", "y_test"):
        changed = tiny_data()
        array = getattr(changed, part).copy()
        array[-1] = array[-1] ^ 1
        object.__setattr__(changed, part, array)
        assert fingerprint(changed) != fingerprint(data), part
