"""Image classification as a kind of run."""

import math
from collections.abc import Callable
from typing import ClassVar, cast

import keras
import numpy as np

from dropblock_lib.arguments import invalid
from dropblock_lib.data import augment
from dropblock_lib.experiments.recipes import slides
from dropblock_lib.experiments.tasks import probes
from dropblock_lib.experiments.tasks.metrics import Metrics
from dropblock_lib.experiments.tasks.split import fingerprint, split, stratified
from dropblock_lib.experiments.tasks.task import Task
from dropblock_lib.models import NETWORKS

EVALUATION_BATCH = 256


class Classification(Task):
    """Classifies images, with a test set that is used once, at the end."""

    networks = NETWORKS
    datasets: ClassVar = {
        "mnist": 60_000,
        "cifar10": 50_000,
        "digits": 1_437,
        "shapes": 10_000,
    }
    metrics = Metrics(
        losses=("loss", "accuracy"),
        fractions=("test_accuracy", "val_accuracy", "train_accuracy"),
        final_losses=("test_loss", "val_loss", "train_loss"),
        shown=("test_accuracy", "train_accuracy"),
        best="val_accuracy",
        lowest_is_best=False,
        table=("test_accuracy", "val_accuracy", "train_accuracy", "gap", "seconds"),
        short_table={"test accuracy": "test_accuracy", "gap": "gap"},
    )

    def __init__(self, recipe, data, devices=1):
        super().__init__(recipe, data, devices)
        self.images = split(data, recipe)
        self.watched = self._watched_images()
        change = augment.get_augmentation(recipe.augmentation)
        self.augment = cast(Callable, change)  # `check` rejects None
        self.steps = math.ceil(len(self.images.y_train) / recipe.batch_size)
        self.evaluation_batch = EVALUATION_BATCH - EVALUATION_BATCH % devices

    @classmethod
    def check(cls, recipe):
        super().check(recipe)
        if augment.get_augmentation(recipe.augmentation) is None:
            raise invalid("augmentation", augment.EXPECTED, recipe.augmentation)
        if recipe.image_size is not None:
            raise invalid("image_size", "None for a classifier", recipe.image_size)
        if recipe.weights is not None:
            raise invalid("weights", "None for a classifier", recipe.weights)

    @classmethod
    def images_per_epoch(cls, recipe):
        everything = cls.datasets[recipe.dataset] - recipe.validation_size
        return recipe.train_size or everything

    @classmethod
    def published(cls, recipe):
        if recipe is None:
            return {"slides_accuracy": None}
        accuracies = slides.ACCURACY.get((recipe.network, recipe.dataset), {})
        return {"slides_accuracy": accuracies.get(recipe.variant)}

    @classmethod
    def describe_images(cls, recipe, data):
        return (
            f"{data.train:,} training, {data.validation:,} validation and "
            f"{data.test:,} test images"
        )

    def sizes(self):
        return {
            "batch_size": self.recipe.batch_size,
            "training images": len(self.images.y_train),
            "validation images": len(self.watched[1]),
            "test images": len(self.images.y_test),
        }

    def make(self, optimizer, jit_compile):
        model = self.build(self.recipe.variant)
        model.compile(
            optimizer=optimizer,
            loss=self._loss(),
            metrics=["accuracy"],
            jit_compile=jit_compile,
        )
        return model

    def build(self, variant, **arguments):
        return super().build(
            variant,
            input_shape=self.images.x_train.shape[1:],
            classes=len(self.data.classes),
            **arguments,
        )

    def _loss(self):
        smoothing = self.recipe.label_smoothing
        if smoothing:
            return keras.losses.CategoricalCrossentropy(
                from_logits=True, label_smoothing=smoothing
            )
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def _targets(self, labels):
        """Labels in the form that the loss expects."""
        if self.recipe.label_smoothing:
            return keras.utils.to_categorical(labels, len(self.data.classes))
        return labels

    def _watched_images(self):
        """The images for validation during training."""
        x, y = self.images.x_val, self.images.y_val
        if self.recipe.validation_subset is not None:
            chosen = stratified(y, 0, self.recipe.validation_subset)[1]
            x, y = x[chosen], y[chosen]
        return x, y

    def make_variables(self, model):
        # TensorFlow traces a step a second time if it creates variables, which takes
        # as long as a small run.
        model.optimizer.build(model.trainable_variables)
        label = keras.ops.convert_to_tensor(self._targets(np.zeros(1, "int32")))
        logits = keras.ops.zeros((1, len(self.data.classes)))
        model.compute_metrics(None, label, logits)
        model.reset_metrics()

    def epoch(self, epoch):
        rng = np.random.default_rng((self.recipe.seed, epoch))
        order = rng.permutation(len(self.images.y_train))
        fed = {
            "x": self.augment(self.images.x_train[order], rng),
            "y": self._targets(self.images.y_train[order]),
            "batch_size": self.recipe.batch_size,
        }
        if self.validates(epoch):
            x, y = self.watched
            fed["validation_data"] = (x, self._targets(y))
            fed["validation_batch_size"] = self.evaluation_batch
        return fed

    def final(self, model, history):
        # The test set is used only here, with the weights of the last epoch.
        size = {"batch_size": self.evaluation_batch}
        if self.recipe.probes:
            return probes.probe(model, self.build, self.images, **size), {}
        return probes.measure(model, self.images, **size), {}

    def account(self):
        return {
            "sha256": fingerprint(self.data),
            "train": len(self.images.y_train),
            "validation": len(self.images.y_val),
            "test": len(self.images.y_test),
        }
