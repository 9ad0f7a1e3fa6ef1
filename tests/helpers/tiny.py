"""The smallest experiment: a few images and a network with every kind of noise."""

import copy

import keras
import numpy as np

from dropblock_lib.data import Dataset
from dropblock_lib.experiments import Recipe
from dropblock_lib.models import NETWORKS
from dropblock_lib.variants import get_variant


def tiny_net(variant="none", input_shape=(32, 32, 3), classes=10, seed=None):
    """A small network with the arguments of the book's networks."""
    layers = [
        keras.Input(input_shape),
        keras.layers.Rescaling(1 / 255),
        keras.layers.AveragePooling2D(4),
        keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
        keras.layers.BatchNormalization(),
        get_variant(variant)(name="drop1", seed=seed),
        keras.layers.SpatialDropout2D(0.2),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(classes),
    ]
    return keras.Sequential([layer for layer in layers if layer is not None])


def tiny_data(requested="shapes", name="shapes", source=None, train=64, test=20):
    """Noisy images whose mean brightness shows their class."""
    rng = np.random.default_rng(0)

    def images(count):
        labels = np.arange(count) % 4
        noise = rng.integers(0, 100, (count, 16, 16, 3))
        pixels = noise + 40 * labels[:, None, None, None]
        return pixels.astype("uint8"), labels.astype("int64")

    x_train, y_train = images(train)
    x_test, y_test = images(test)
    return Dataset(
        requested=requested,
        name=name,
        source=source or name,
        origin="built-in" if requested == name else "stand-in",
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        classes=("night", "dusk", "dawn", "day"),
    )


def tiny_recipe(**changes):
    """Three epochs of four steps."""
    return Recipe(
        **{
            "network": "tiny",
            "variant": "dropblock-3-0.7",
            "dataset": "shapes",
            "train_size": 48,
            "validation_size": 16,
            "test_size": None,
            "epochs": 3,
            "batch_size": 12,
            "profile": "tiny",
            "keep_prob_schedule": "linear-epoch",
            "probes": False,
        }
        | changes
    )


def use_tiny_net(monkeypatch):
    """Registers the network as "tiny"."""
    monkeypatch.setitem(NETWORKS, "tiny", tiny_net)


def outcome(record):
    """A record without the values that differ between equal runs.

    Args:
        record: A `Record`, or the contents of its file.
    """
    record = copy.deepcopy(record if isinstance(record, dict) else record.to_dict())
    for key in ("seconds", "date", "git", "resumes"):
        del record[key]
    del record["history"]["seconds"]
    return record
