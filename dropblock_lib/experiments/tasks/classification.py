"""A run that classifies images: what is fed to the network, and what is measured."""

import math

import keras
import numpy as np

from dropblock_lib.data.augment import get_augmentation
from dropblock_lib.experiments.tasks import probes
from dropblock_lib.experiments.tasks.split import fingerprint, split, stratified
from dropblock_lib.models import NETWORKS

EVALUATION_BATCH = 256


class Classification:
    """The images and the network of a recipe.

    Args:
        recipe: A `Recipe` of a classifier.
        data: A loaded data set.
        devices: Over how many devices each batch is spread.
    """

    def __init__(self, recipe, data, devices):
        self.recipe = recipe
        self.data = data
        self.images = split(data, recipe)
        self.watched = self._watched_images()
        self.augment = get_augmentation(recipe.augmentation)
        self.steps = math.ceil(len(self.images.y_train) / recipe.batch_size)
        self.evaluation_batch = EVALUATION_BATCH - EVALUATION_BATCH % devices

    def sizes(self):
        """What a batch or a set of images must be divided into, by name."""
        return {
            "batch_size": self.recipe.batch_size,
            "training images": len(self.images.y_train),
            "validation images": len(self.watched[1]),
            "test images": len(self.images.y_test),
        }

    def make(self, optimizer, jit_compile):
        """The network, new and compiled."""
        model = self._build(self.recipe.variant)
        model.compile(
            optimizer=optimizer,
            loss=self._loss(),
            metrics=["accuracy"],
            jit_compile=jit_compile,
        )
        return model

    def _build(self, variant):
        """The recipe's network with any variant, in its first state."""
        placement = self.recipe.placement
        return NETWORKS[self.recipe.network](
            variant,
            input_shape=self.images.x_train.shape[1:],
            classes=len(self.data.classes),
            seed=self.recipe.seed,
            **({} if placement is None else {"where": placement}),
        )

    def _loss(self):
        smoothing = self.recipe.label_smoothing
        if smoothing:
            return keras.losses.CategoricalCrossentropy(
                from_logits=True, label_smoothing=smoothing
            )
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def _targets(self, labels):
        """Labels in the form that the loss takes."""
        if self.recipe.label_smoothing:
            return keras.utils.to_categorical(labels, len(self.data.classes))
        return labels

    def _watched_images(self):
        """The validation images that are looked at while training."""
        x, y = self.images.x_val, self.images.y_val
        if self.recipe.validation_subset is not None:
            chosen = stratified(y, 0, self.recipe.validation_subset)[1]
            x, y = x[chosen], y[chosen]
        return x, y

    def make_variables(self, model):
        """Make what training would make in its first step.

        TensorFlow traces a step again that has made variables, which takes as long
        as a small run.
        """
        model.optimizer.build(model.trainable_variables)
        label = keras.ops.convert_to_tensor(self._targets(np.zeros(1, "int32")))
        logits = keras.ops.zeros((1, len(self.data.classes)))
        model.compute_metrics(None, label, logits)
        model.reset_metrics()

    def epoch(self, epoch):
        """What `fit` is given in an epoch: a function of seed and epoch alone."""
        rng = np.random.default_rng((self.recipe.seed, epoch))
        order = rng.permutation(len(self.images.y_train))
        fed = {
            "x": self.augment(self.images.x_train[order], rng),
            "y": self._targets(self.images.y_train[order]),
            "batch_size": self.recipe.batch_size,
        }
        is_last = epoch + 1 == self.recipe.epochs
        if is_last or (epoch + 1) % self.recipe.validation_every == 0:
            x, y = self.watched
            fed["validation_data"] = (x, self._targets(y))
            fed["validation_batch_size"] = self.evaluation_batch
        return fed

    def names(self, logs):
        """What `fit` reports, by the names of the history."""
        return logs

    def before(self, model):
        """What a record holds of the network before it was trained."""
        return {}

    def final(self, model, history):
        """What the trained network reached, and what else a record holds of it.

        This is the one look at the test set, with the weights of the last epoch.
        """
        size = {"batch_size": self.evaluation_batch}
        if self.recipe.probes:
            return probes.probe(model, self._build, self.images, **size), {}
        return probes.measure(model, self.images, **size), {}

    def account(self):
        """What data the run used."""
        return {
            "sha256": fingerprint(self.data),
            "train": len(self.images.y_train),
            "validation": len(self.images.y_val),
            "test": len(self.images.y_test),
        }
