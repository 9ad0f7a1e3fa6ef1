"""A run that classifies images: what is fed to the network, and what is measured."""

import math

import keras
import numpy as np

from dropblock_lib.experiments.augment import AUGMENTATIONS
from dropblock_lib.experiments.split import fingerprint, split
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
        self.steps = math.ceil(len(self.images.y_train) / recipe.batch_size)
        self.evaluation_batch = EVALUATION_BATCH - EVALUATION_BATCH % devices

    def sizes(self):
        """What a batch or a set of images must be divided into, by name."""
        return {
            "batch_size": self.recipe.batch_size,
            "training images": len(self.images.y_train),
            "validation images": len(self.images.y_val),
            "test images": len(self.images.y_test),
        }

    def make(self, optimizer, jit_compile):
        """The network, new and compiled."""
        model = NETWORKS[self.recipe.network](
            self.recipe.variant,
            input_shape=self.images.x_train.shape[1:],
            classes=len(self.data.classes),
            seed=self.recipe.seed,
        )
        model.compile(
            optimizer=optimizer,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=jit_compile,
        )
        return model

    def make_variables(self, model):
        """Make what training would make in its first step.

        TensorFlow traces a step again that has made variables, which takes as long
        as a small run.
        """
        model.optimizer.build(model.trainable_variables)
        label = keras.ops.zeros((1,), "int32")
        logits = keras.ops.zeros((1, len(self.data.classes)))
        model.compute_metrics(None, label, logits)
        model.reset_metrics()

    def epoch(self, epoch):
        """What `fit` is given in an epoch: a function of seed and epoch alone."""
        rng = np.random.default_rng((self.recipe.seed, epoch))
        order = rng.permutation(len(self.images.y_train))
        augment = AUGMENTATIONS[self.recipe.augmentation]
        return {
            "x": augment(self.images.x_train[order], rng),
            "y": self.images.y_train[order],
            "batch_size": self.recipe.batch_size,
            "validation_data": (self.images.x_val, self.images.y_val),
            "validation_batch_size": self.evaluation_batch,
        }

    def names(self, logs):
        """What `fit` reports, by the names of the history."""
        return logs

    def before(self, model):
        """What a record holds of the network before it was trained."""
        return {}

    def final(self, model, history):
        """What the trained network reached, and what else a record holds of it."""
        train = self._evaluate(model, self.images.x_train, self.images.y_train)
        # The one look at the test set, with the weights that training ended with.
        test = self._evaluate(model, self.images.x_test, self.images.y_test)
        final = {
            "test_loss": test["loss"],
            "test_accuracy": test["accuracy"],
            "val_loss": history["val_loss"][-1],
            "val_accuracy": history["val_accuracy"][-1],
            "train_loss": train["loss"],
            "train_accuracy": train["accuracy"],
        }
        return final, {}

    def _evaluate(self, model, x, y):
        return model.evaluate(
            x, y, batch_size=self.evaluation_batch, verbose=0, return_dict=True
        )

    def account(self):
        """What data the run used."""
        return {
            "sha256": fingerprint(self.data),
            "train": len(self.images.y_train),
            "validation": len(self.images.y_val),
            "test": len(self.images.y_test),
        }
