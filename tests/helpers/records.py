"""Records without a run behind them."""

import dataclasses

from dropblock_lib.experiments import Recipe
from dropblock_lib.experiments.records.record import DataAccount, Record


def make_record(
    seed=0,
    variant="none",
    source="cifar10-jpeg",
    *,
    backend="jax",
    epochs=2,
    **final,
):
    """A valid record of CustomNet on CIFAR-10, with the given final results."""
    recipe = Recipe("custom_net", variant, "cifar10", epochs=epochs, seed=seed)
    values = [0.5] + [0.25] * (epochs - 1)
    history = {key: list(values) for key in recipe.task.metrics.history}
    return Record(
        recipe=recipe,
        data=DataAccount(
            requested="cifar10",
            source=source,
            origin="data_dir",
            sha256=source,
            train=9000,
            validation=1000,
            test=10000,
        ),
        history=history | {"keep_prob": [None] * epochs},
        final={
            "test_loss": 1.0,
            "test_accuracy": 0.5,
            "val_loss": 1.0,
            "val_accuracy": 0.5,
            "train_loss": 1.0,
            "train_accuracy": 0.5,
        }
        | final,
        best={"epoch": 1, "val_accuracy": 0.5},
        parameters={"total": 309_290, "trainable": 308_394},
        seconds=10.0 + seed,
        hardware={"cpu": "abacus", "cores": 2, "gpus": []},
        backend=backend,
        versions={"keras": "3"},
        git=None,
        resumes=[],
        date="2026-01-01T00:00:00+00:00",
    )


def record_of(recipe, *, backend="jax", **final):
    """A valid record of a classifier's recipe, with the given final results."""
    record = make_record(epochs=recipe.epochs, backend=backend)
    source = {"cifar10": "cifar10-jpeg"}.get(recipe.dataset, recipe.dataset)
    data = {"requested": recipe.dataset, "source": source, "sha256": source}
    return dataclasses.replace(
        record,
        recipe=recipe,
        data=dataclasses.replace(record.data, **data),
        final=record.final | final,
    )
