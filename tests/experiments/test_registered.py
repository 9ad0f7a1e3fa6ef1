"""Custom networks and variants, in every command, table and figure."""

import dataclasses
import json
import sys

import matplotlib.figure
import pytest

import dropblock_lib as dbl
from dropblock_lib import plots
from dropblock_lib.experiments import (
    describe_setting,
    load_records,
    make_recipe,
    run,
)
from dropblock_lib.experiments.__main__ import main
from dropblock_lib.experiments.reports import compare
from dropblock_lib.models import NETWORKS

MODULE = """
import keras

import dropblock_lib as dbl
from dropblock_lib.models import NETWORKS
from dropblock_lib.variants import get_variant


def gaussian(name=None, seed=None):
    return keras.layers.GaussianDropout(0.1, seed=seed, name=name)


def little_net(variant="none", input_shape=(32, 32, 3), classes=10, seed=None):
    layers = [
        keras.Input(input_shape),
        keras.layers.AveragePooling2D(4),
        keras.layers.Conv2D(4, 3, activation="relu"),
        get_variant(variant)(name="drop", seed=seed),
        keras.layers.Flatten(),
        keras.layers.Dense(classes),
    ]
    return keras.Sequential([layer for layer in layers if layer is not None])


NETWORKS["little"] = little_net
dbl.VARIANTS["gaussian"] = gaussian
"""
GRID = """
network = "little"
dataset = "shapes"
train_size = 60
validation_size = 20
test_size = 20
epochs = 2
batch_size = 20

[ours]
probes = false
variant = ["none", "gaussian", "dropblock-2-0.85-exact"]
seed = [0, 1]
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder with records of a custom network and variant."""
    folder = tmp_path_factory.mktemp("registered")
    (folder / "outside.py").write_text(MODULE)
    (folder / "ours.toml").write_text(GRID)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        patch.setattr(sys, "modules", dict(sys.modules))
        known = dict(NETWORKS), dict(dbl.VARIANTS)
        command = ["run", "--grid", "ours.toml", "--import", "outside"]
        assert main([*command, "--results", "."]) == 0
        yield folder
        for registry, before in zip((NETWORKS, dbl.VARIANTS), known, strict=True):
            registry.clear()
            registry.update(before)


def test_records_contain_the_numbers(results):
    records = load_records(results / "records")
    found = {r.recipe.variant: r.recipe.regularizer for r in records}
    assert found == {
        "none": {"method": "none"},
        "gaussian": {"method": "custom", "rate": 0.1},
        "dropblock-2-0.85-exact": {
            "method": "dropblock",
            "block_size": 2,
            "keep_prob": 0.85,
            "gamma": "exact",
            "per_channel": True,
        },
    }


@pytest.mark.parametrize("format", ["text", "markdown", "csv", "json"])
@pytest.mark.parametrize("command", ["table", "list"])
def test_every_command_prints_them(results, capsys, command, format):
    options = ["--results", str(results), "--format", format, "--import", "outside"]
    if command == "list":
        options += ["--grid", str(results / "ours.toml")]
    assert main([command, *options]) == 0
    printed = capsys.readouterr().out
    assert "gaussian" in printed
    assert "DropBlock 2/0.85, exact" in printed or "dropblock-2-0.85-exact" in printed
    if format == "json":
        assert len(json.loads(printed)) == (6 if command == "list" else 3)


def test_records_are_read_without_the_module(results, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(NETWORKS, "little")
        patch.delitem(dbl.VARIANTS, "gaussian")
        for format in ("text", "markdown"):
            assert main(["table", "--results", str(results), "--format", format]) == 0
            assert "gaussian" in capsys.readouterr().out
        records = load_records(results / "records")
        assert list(compare.by_variant(records)) == [
            "none", "dropblock-2-0.85-exact", "gaussian",
        ]  # fmt: skip
        assert isinstance(figure_of(records), matplotlib.figure.Figure)


def figure_of(records):
    return plots.accuracy_by_variant(list(compare.by_variant(records).items()))


def test_every_figure_draws_them(results):
    records = load_records(results / "records")
    curves = compare.histories(records)
    differences = compare.differences(records)
    assert "gaussian" in {row["variant"] for row in differences}
    assert "60 training" in describe_setting(records)
    losses = {
        variant: [(h["loss"][-1], h["val_loss"][-1]) for h in runs]
        for variant, runs in curves.items()
    }
    accuracies = {v: a[0] for v, a in compare.by_variant(records).items()}
    for figure in (
        figure_of(records),
        plots.validation_curves(curves),
        plots.validation_curves(curves, "loss"),
        plots.losses_by_variant({"ours": losses}),
        plots.sampling_error({"ours": accuracies}, images=20),
    ):
        texts = [text.get_text() for text in figure.findobj(match=is_text)]
        assert any("gaussian" in text for text in texts)


def is_text(artist):
    return isinstance(artist, matplotlib.text.Text)


def test_the_quick_profile_accepts_them(results):
    recipe = make_recipe("quick", "shapes", "gaussian", network="little")
    recipe = dataclasses.replace(recipe, probes=True)
    record = run(recipe, results_dir=results / "quick")
    assert record.recipe.regularizer["rate"] == 0.1
    assert "calibration" in record.final
