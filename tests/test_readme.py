"""README.md and results/README.md agree with the code and the records."""

import io
import re
import runpy
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from dropblock_lib import models
from dropblock_lib.experiments import (
    PROFILES,
    compare,
    load_benchmarks,
    load_records,
    make_recipes,
    recorded,
    slides,
    speed,
    verdicts,
)

ROOT = Path(__file__).resolve().parents[1]


README = (ROOT / "README.md").read_text()
# As one line, so that a statement may be wrapped anywhere.
WORDS = " ".join(README.split())


def test_the_code_runs(monkeypatch):
    use, insert = re.findall("```python\n(.*?)```", README, re.DOTALL)
    rng = np.random.default_rng(0)
    given = {"images": rng.random((4, 12, 12, 3)), "labels": np.arange(4)}
    exec(use, given)
    assert given["model"].layers[1].keep_prob == pytest.approx(0.9)
    # ResNet-9 has the same kind of blocks, is smaller, and needs no download.
    monkeypatch.setattr(keras.applications, "ResNet50", models.resnet9)
    exec(insert, given)
    assert given["dbl"].find_drop_block_layers(given["model"])


def test_the_picture_is_drawn_by_the_code():
    three_ways = runpy.run_path(str(ROOT / "book" / "three_ways.py"))
    path = three_ways["PICTURE"]
    assert path.relative_to(ROOT).as_posix() in README
    assert path.stat().st_size < 100_000
    with Image.open(path) as kept, Image.open(io.BytesIO(three_ways["draw"]())) as new:
        assert kept.size == new.size
        pixels = [np.asarray(image.convert("RGB"), float) for image in (kept, new)]
    # Fonts and decoders differ a little from version to version.
    assert np.abs(pixels[0] - pixels[1]).mean() < 3


def _dropped(rates, contestant, size):
    (row,) = speed.select(rates, contestant=contestant, size=size, block_size=7)
    assert row["nominal"] == 0.1
    return f"drops {100 * row['dropped']:.0f}%"


def test_what_other_packages_drop_is_as_recorded():
    rates = load_benchmarks("peer_rates")
    torch, tensorflow = rates["torch"], rates["tensorflow"]
    timm = _dropped(torch, "timm", (7, 7))
    wide = _dropped(tensorflow, "KerasCV", (8, 14))
    tall = _dropped(tensorflow, "KerasCV", (14, 8)).removeprefix("drops ")
    version = torch["versions"] | tensorflow["versions"]
    for statement in (
        f"of a 7x7 map in blocks of 7, timm {version['timm']} {timm}",
        f"KerasCV {version['KerasCV']} {wide} of an 8x14 map and {tall} of a 14x8 map",
        f"torchvision {version['torchvision']} follows the paper, as this layer does",
    ):
        assert statement in WORDS
    for document in rates.values():
        for row in document["rows"]:
            if (
                row["contestant"] in ("torchvision", "DropBlock2D")
                and "error" not in row
            ):
                error = abs(row["dropped"] - row["expected"])
                assert error < 4 * row["standard_error"], row


def test_the_speed_is_as_recorded():
    documents = load_benchmarks("layer_speed")
    case = {"shape": (32, 56, 56, 64), "block_size": 7, "keep_prob": 0.9}
    ratio, worst = {}, {}
    for backend, document in documents.items():
        (row,) = speed.select(document, contestant="DropBlock2D", **case)
        ratio[backend] = f"{row['ratio']:.2f}"
        worst[speed.worst_ratio(document, keep_prob=0.9)] = backend
        assert document["hardware"]["cores"] == 2
    assert (
        f"{ratio['tensorflow']} of the time of Keras' Dropout on TensorFlow, "
        f"{ratio['jax']} on JAX and {ratio['torch']} on PyTorch"
    ) in WORDS
    assert worst[max(worst)] == "torch"
    assert f"at `keep_prob=0.9` is {max(worst):.2f}, for maps of 4x4 on PyT" in WORDS
    busy = speed.select(
        load_benchmarks("loaded_speed")["torch"],
        shape=(64, 4, 4, 128),
        keep_prob=0.9,
        contestant="DropBlock2D",
    )
    most = max((row for row in busy if row["busy"]), key=lambda row: row["ratio"])
    assert most["threads"] == "one"
    assert (
        "Next to a busy process and with one thread, that ratio can reach "
        f"{most['ratio']:.2f}."
    ) in WORDS


def test_the_accuracies_are_as_recorded():
    records = compare.select(
        load_records(ROOT / "results" / "records"),
        profile="slides",
        network="custom_net",
        dataset="cifar10",
    )
    arms = verdicts.arms_of(records)
    # The seeds with which every variant was run.
    complete = set.intersection(*(set(runs) for runs in arms.values()))
    arms = {a: {s: runs[s] for s in complete} for a, runs in arms.items()}
    mean = {a: f"{100 * np.mean(list(runs.values())):.2f}%" for a, runs in arms.items()}
    assert (
        f"CustomNet reaches {mean['none']} without a regularizer, "
        f"{mean['dropblock-3-0.9']} with DropBlock 3/0.9, "
        f"{mean['dropblock-7-0.9']} with DropBlock 7/0.9, "
        f"{mean['dropout-0.25']} with Dropout 0.25 and "
        f"{mean['spatial-0.7']} with SpatialDropout 0.7, means of {len(complete)} runs."
    ) in WORDS
    accuracies, losses = (
        verdicts.verdict_table(records, metric=metric, apart=slides.UNEVEN[:1])
        for metric in ("test_accuracy", "test_loss")
    )
    told, loss = (
        {row["arm"]: row["verdict"] for row in table["rows"]}
        for table in (accuracies, losses)
    )
    assert told == {
        "dropout-0.25": "lower",
        "spatial-0.7": "lower",
        "dropblock-3-0.9": "not told apart",
        "dropblock-7-0.9": "not told apart",
    }
    assert loss["dropblock-7-0.9"] == "higher" != loss["dropblock-3-0.9"]
    [row] = (row for row in losses["rows"] if row["arm"] == "dropblock-7-0.9")
    low, high = row["simultaneous"]
    assert (
        f"DropBlock 7/0.9 is {row['difference']:.3f} higher "
        f"({low:.4f} to {high:.3f}, by a rule added after the runs)."
    ) in WORDS
    [setting] = {(run.recipe.epochs, run.data.train) for run in records}
    assert setting == (10, 45_000)


def test_the_leads_at_equal_dose_are_as_recorded():
    dose = recorded("dose", "dose")
    arms = {
        (block, keep): f"dose dropblock-{block}-{keep}-exact"
        for block in (1, 3, 7, 32)
        for keep in (0.9, 0.8, 0.65)
    }

    def minus(ours, theirs):
        ours, theirs = (
            [arm for key, arm in arms.items() if number in key]
            for number in (ours, theirs)
        )
        weights = {arm: 1 / len(ours) for arm in ours}
        return weights | {arm: -1 / len(theirs) for arm in theirs}

    # The five planned questions of the chapter, which are judged together.
    named = {
        "lead": minus(7, 1),
        "any": {arm: 1 / 12 for arm in arms.values()} | {"dose none": -1},
        "3": minus(3, 1),
        "whole": minus(32, 7),
        "dose": minus(0.65, 0.9),
    }
    as_trained, *_ = dose.effects(named)
    again, *_ = dose.effects(named, "recalibrated.test_accuracy")
    before, left = (f"{100 * row['difference']:.1f}" for row in (as_trained, again))
    assert (
        f"blocks of 7 are {before} points ahead of single units, over "
        f"{len(dose.seeds)} runs."
    ) in WORDS
    low, high = (f"{100 * again[end]:+.1f}" for end in ("low", "high"))
    interval = f"({low} to {high}; not a planned comparison)"
    assert (
        f"the difference is {left} points and not told apart from zero {interval}"
    ) in WORDS
    assert len({recipe.seed for recipe in dose.recipes}) == 5
    assert as_trained["verdict"] == "higher" and again["verdict"] == "not told apart"
    before, left = (
        dose.effects(named, metric)[0]["difference"]
        for metric in ("test_loss", "recalibrated.test_loss")
    )
    assert f"most of the lead goes, from {-before:.2f} to {-left:.2f}." in WORDS


def test_the_test_after_the_pooling_is_as_recorded():
    arms = {
        block: [f"dropblock-{block}-{keep}-exact" for keep in (0.9, 0.8, 0.65)]
        for block in (1, 7)
    }
    variants = ["none", *arms[1], *arms[7]]
    moved = recorded("dose", ["dose", "dose_after_pooling"], variants=variants)

    def minus(ours, theirs):
        weights = {arm: 1 / len(ours) for arm in ours}
        return weights | {arm: -1 / len(theirs) for arm in theirs}

    before = [f"dose {arm}" for arm in arms[1]]
    after = [f"dose_after_pooling {arm}" for arm in arms[1]]
    blocks = [f"dose {arm}" for arm in arms[7]]
    # The three planned questions of the chapter, which are judged together.
    place, _, left = moved.effects(
        {
            "place": minus(after, before),
            "plain": minus(after, ["dose none"]),
            "left": minus(blocks, after),
        }
    )
    assert {place["runs"], left["runs"]} == {3}
    better, apart, low, high = (
        f"{100 * number:{sign}.1f}"
        for number, sign in (
            (place["difference"], ""),
            (left["difference"], "+"),
            (left["low"], "+"),
            (left["high"], "+"),
        )
    )
    assert (
        f"single units do {better} points better, and blocks of 7 minus such units is "
        f"{apart} points, not told apart from zero ({low} to {high})."
    ) in WORDS
    assert (place["verdict"], left["verdict"]) == ("higher", "not told apart")


def _is_of_profile(row):
    return row[0] in PROFILES


def _labels(cell):
    """The networks of a cell. A label may itself contain a comma."""
    found = [label for label in models.LABELS.values() if label == cell]
    return found or cell.split(", ")


def test_the_page_of_the_records_states_the_profiles_as_they_are():
    readme = (ROOT / "results" / "README.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in readme.splitlines()
        if line.startswith("|")
    ]
    stated = {
        (profile, network, dataset): cells
        for profile, networks, datasets, *cells in filter(_is_of_profile, rows)
        for network in _labels(networks)
        for dataset in datasets.split(", ")
    }
    groups = {}
    for profile in PROFILES:
        for recipe in make_recipes(profile):
            key = (profile, models.LABELS[recipe.network], recipe.dataset)
            groups.setdefault(key, []).append(recipe)
    actual = {key: _cells(recipes) for key, recipes in groups.items()}
    assert stated == actual


def _cells(recipes):
    """The cells of a profile's table, except those that name the runs."""
    recipe = recipes[0]
    train = f"{recipe.train_size:,}" if recipe.train_size else "all others"
    test_images = f"{recipe.test_size:,}" if recipe.test_size else "all"
    return [
        f"{train} + {recipe.validation_size:,}",
        str(recipe.image_size) if recipe.image_size else test_images,
        str(recipe.epochs),
        str(recipe.batch_size),
        ", ".join(map(str, sorted({recipe.seed for recipe in recipes}))),
    ]
