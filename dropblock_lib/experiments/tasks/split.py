"""From a data set to the images of a run: subset, split, one size."""

import dataclasses
import hashlib

import numpy as np

from dropblock_lib.experiments.recipes.recipe import Recipe

# Of the test images, and of the validation images that are watched.
SPLIT_SEED = 0
IMAGE_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Split:
    """The images and labels of a run. The test set is for the very end."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def split(dataset, recipe: Recipe) -> Split:
    """Choose the images of a recipe, every class in its share.

    Training and validation images are disjoint and both come from the data
    set's training part; the recipe's `subset_seed` chooses them, so that all
    variants are compared on the same images.

    Args:
        dataset: What `dropblock_lib.load_dataset` returns.
        recipe: States how many images are wanted, and by which random seed.

    Returns:
        A `Split`; images are `uint8`, 32x32.

    Raises:
        ValueError: If the data set has fewer images than the recipe asks for.
    """
    available = len(dataset.y_train)
    wanted = (recipe.train_size or 1) + recipe.validation_size
    if wanted > available:
        field = "train_size" if recipe.train_size else "validation_size"
        raise ValueError(
            f"Invalid value received for argument `{field}`. Expected train_size "
            f"and validation_size to sum to at most {available}, the training "
            f"images of {dataset.source}. Received: "
            f"train_size={recipe.train_size}, "
            f"validation_size={recipe.validation_size}"
        )
    if recipe.test_size and recipe.test_size > len(dataset.y_test):
        raise ValueError(
            "Invalid value received for argument `test_size`. Expected at most "
            f"{len(dataset.y_test)}, the test images of {dataset.source}. "
            f"Received: test_size={recipe.test_size}"
        )
    train, val = stratified(
        dataset.y_train,
        recipe.train_size,
        recipe.validation_size,
        rng_seed=recipe.seed if recipe.subset_seed == "seed" else recipe.subset_seed,
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
    labels, first: int | None, second: int | None, rng_seed: int = SPLIT_SEED
):
    """Two disjoint, sorted sets of indices, each with every class in its share.

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
    # Give each example its rank within its class, as a share of the class: any
    # beginning of the list sorted by that rank holds all classes in proportion.
    ranks = np.empty(count)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        ranks[members] = (np.arange(len(members)) + 0.5) / len(members)
    # Ties between classes are broken at random, not by the order of classes.
    order = np.lexsort((rng.random(count), ranks))
    second = count - first if second is None else second
    first = count - second if first is None else first
    return np.sort(order[second : second + first]), np.sort(order[:second])


def fingerprint(dataset) -> str:
    """The sha256 of all images and labels of a data set."""
    digest = hashlib.sha256()
    for part in ("x_train", "y_train", "x_test", "y_test"):
        array = np.ascontiguousarray(getattr(dataset, part))
        digest.update(f"{part} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _to_image_size(images: np.ndarray) -> np.ndarray:
    """Enlarge by a whole factor, then pad with black, so that maps halve evenly."""
    height, width = images.shape[1:3]
    factor = max(1, IMAGE_SIZE // max(height, width))
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    missing = [max(0, IMAGE_SIZE - size) for size in images.shape[1:3]]
    before_and_after = [(size // 2, size - size // 2) for size in missing]
    return np.pad(images, [(0, 0), *before_and_after, (0, 0)])
