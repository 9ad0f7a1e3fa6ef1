"""The images of a run: part of a data set, split and enlarged to one size."""

import dataclasses
import hashlib

import numpy as np

from dropblock_lib.arguments import invalid
from dropblock_lib.data.dataset import Dataset
from dropblock_lib.experiments.recipes.recipe import Recipe

# Random seed for the choice of test images and of the validation subset.
SPLIT_SEED = 0
IMAGE_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Split:
    """The images and labels of a run. The test set is for the final results only."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def split(dataset: Dataset, recipe: Recipe) -> Split:
    """Chooses the images of a recipe, stratified by class.

    Training and validation images are disjoint and both come from the data
    set's training part; the recipe's `subset_seed` chooses them, so that all
    variants are compared on the same images.

    Args:
        dataset: A `Dataset` from `dropblock_lib.load_dataset`.
        recipe: A `Recipe`, with the numbers of images and the seed of the choice.

    Returns:
        A `Split`; images are `uint8`, at least 32 pixels high and wide.

    Raises:
        ValueError: If the data set has fewer images than the recipe asks for.
    """
    available = len(dataset.y_train)
    if (recipe.train_size or 1) + recipe.validation_size > available:
        raise invalid(
            "train_size" if recipe.train_size else "validation_size",
            f"train_size and validation_size to sum to at most {available}, the "
            f"training images of {dataset.source}",
            received=f"train_size={recipe.train_size}, "
            f"validation_size={recipe.validation_size}",
        )
    if recipe.test_size and recipe.test_size > len(dataset.y_test):
        expected = f"at most {len(dataset.y_test)}, the test images of {dataset.source}"
        raise invalid("test_size", expected, recipe.test_size)
    subset_seed = recipe.seed if recipe.subset_seed == "seed" else recipe.subset_seed
    train, val = stratified(
        dataset.y_train,
        recipe.train_size,
        recipe.validation_size,
        rng_seed=int(subset_seed),
    )
    test = stratified(dataset.y_test, 0, recipe.test_size)[1]
    return Split(
        _to_image_size(dataset.x_train[train]),
        dataset.y_train[train],
        _to_image_size(dataset.x_train[val]),
        dataset.y_train[val],
        _to_image_size(dataset.x_test[test]),
        dataset.y_test[test],
    )


def stratified(
    labels: np.ndarray,
    first: int | None,
    second: int | None,
    rng_seed: int = SPLIT_SEED,
) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint, sorted sets of indices, both stratified by class.

    Args:
        labels: The class of every example.
        first: Size of the first set, or `None` for all that the second leaves.
        second: Size of the second set, or `None` for all that the first leaves.
        rng_seed: Random seed of the choice.

    Returns:
        A pair of index arrays.
    """
    rng = np.random.default_rng(rng_seed)
    count = len(labels)
    # Each example is ranked within its class, as a fraction of the class. The first
    # examples by rank, however many, then have all classes in proportion.
    ranks = np.empty(count)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        ranks[members] = (np.arange(len(members)) + 0.5) / len(members)
    # Ties between classes are broken at random.
    order = np.lexsort((rng.random(count), ranks))
    if second is None:
        second = count - (first or 0)
    if first is None:
        first = count - second
    return np.sort(order[second : second + first]), np.sort(order[:second])


def fingerprint(dataset: Dataset) -> str:
    """The sha256 of all images and labels of a data set."""
    digest = hashlib.sha256()
    for part in ("x_train", "y_train", "x_test", "y_test"):
        array = np.ascontiguousarray(getattr(dataset, part))
        digest.update(f"{part} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _to_image_size(images: np.ndarray) -> np.ndarray:
    """Enlarges by an integer factor and pads with black, so that maps halve evenly."""
    height, width = images.shape[1:3]
    factor = max(1, IMAGE_SIZE // max(height, width))
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    missing = [max(0, IMAGE_SIZE - size) for size in images.shape[1:3]]
    before_and_after = [(size // 2, size - size // 2) for size in missing]
    return np.pad(images, [(0, 0), *before_and_after, (0, 0)])
