"""What every kind of run has in common."""

from collections.abc import Callable
from typing import Any, ClassVar

from dropblock_lib.arguments import check_choice
from dropblock_lib.experiments.recipes.recipe import Recipe
from dropblock_lib.experiments.tasks.metrics import Metrics


class Task:
    """A kind of run; an instance is one run of it.

    The class says which networks and data a recipe may name and what is measured. An
    instance has the images of one recipe, makes its network and evaluates it.

    Args:
        recipe: The recipe of the run.
        data: A loaded data set.
        devices: Number of devices over which each batch is spread.

    Attributes:
        networks: Name -> function that makes a network.
        datasets: Name -> number of training images.
        metrics: What a record has and tables show.
        steps: Number of batches in an epoch.
    """

    networks: ClassVar[dict[str, Callable]]
    datasets: ClassVar[dict[str, int]]
    metrics: ClassVar[Metrics]
    steps: int

    def __init__(self, recipe: Recipe, data, devices: int = 1):
        self.recipe = recipe
        self.data = data

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Raises a `ValueError` if a field does not suit this kind of run."""
        check_choice("dataset", recipe.dataset, cls.datasets)

    @classmethod
    def published(cls, recipe: Recipe | None) -> dict[str, float | None]:
        """The slides' results for a recipe: "slides_..." -> number or `None`.

        Without a recipe, as on a stand-in, they are `None`.
        """
        raise NotImplementedError

    @classmethod
    def describe_images(cls, recipe: Recipe, data) -> str:
        """Describes the number and size of the images of a record."""
        raise NotImplementedError

    @classmethod
    def images_per_epoch(cls, recipe: Recipe) -> int:
        """Number of training images of a recipe, whose data need not be loaded."""
        return recipe.train_size or cls.datasets[recipe.dataset]

    def sizes(self) -> dict[str, int]:
        """Sizes that must be divisible by the number of devices, by name."""
        raise NotImplementedError

    def make(self, optimizer, jit_compile: bool | str):
        """A new, compiled network."""
        raise NotImplementedError

    def build(self, variant, **arguments):
        """The recipe's network with any variant, in its initial state."""
        if self.recipe.placement is not None:
            arguments["where"] = self.recipe.placement
        make = self.networks[self.recipe.network]
        return make(variant, seed=self.recipe.seed, **arguments)

    def make_variables(self, model) -> None:
        """Creates the variables that the first training step would create."""

    def epoch(self, epoch: int) -> dict[str, Any]:
        """Arguments of `fit` for an epoch, a function of seed and epoch alone."""
        raise NotImplementedError

    def validates(self, epoch: int) -> bool:
        """Whether an epoch ends with a validation; the last one always does."""
        done = epoch + 1
        return done == self.recipe.epochs or done % self.recipe.validation_every == 0

    def rename(self, logs: dict) -> dict:
        """Renames what `fit` reports to the keys of the history."""
        return logs

    def before(self, model) -> dict:
        """Detections of the untrained network, for the record."""
        return {}

    def final(self, model, history: dict) -> tuple[dict, dict]:
        """Final results of the trained network, and its detections."""
        raise NotImplementedError

    def account(self) -> dict[str, Any]:
        """The record's account of the images that were used."""
        raise NotImplementedError
