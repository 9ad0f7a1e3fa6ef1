"""The front page, and the one of the records, state what the code and records do."""

import re
from pathlib import Path

from dropblock_lib import models
from dropblock_lib.experiments import (
    BOOK_NETWORKS,
    PROFILES,
    format_table,
    load_records,
    make_recipes,
    summarize,
)
from dropblock_lib.experiments.recipes import slides

ROOT = Path(__file__).resolve().parents[1]


def test_the_results_are_those_of_the_records():
    readme = (ROOT / "README.md").read_text()
    shown = re.search("<!-- results -->\n(.*)<!-- /results -->", readme, re.DOTALL)[1]
    records = load_records(ROOT / "results" / "records")
    small = [record for record in records if record.recipe.profile == "small"]
    assert shown.strip() == format_table(summarize(small), "markdown").strip()


def _seeds_of_comparisons():
    """(network, source) -> variant -> seeds, of the small setting."""
    comparisons = {}
    for row in summarize(load_records(ROOT / "results" / "records")):
        if row["profile"] == "small":
            key = (row["network"], row["source"])
            comparisons.setdefault(key, {})[row["variant"]] = row["seeds"]
    return comparisons


def test_the_variants_of_a_comparison_have_the_same_seeds():
    found = {
        key: seeds
        for key, seeds in _seeds_of_comparisons().items()
        if key[0] in BOOK_NETWORKS
    }
    assert found
    for (network, source), seeds in found.items():
        assert set(seeds) == set(slides.ACCURACY[network, "cifar10"]), (network, source)
        assert len(set(map(tuple, seeds.values()))) == 1, (network, source)


def test_the_detectors_of_the_slides_have_all_their_seeds():
    found = _seeds_of_comparisons()
    recipes = make_recipes("small", networks=["retinanet_light"])
    least = {recipe.seed for recipe in recipes}
    seeds = found["retinanet_light", "coco2017-mini"]
    assert set(seeds) == set(slides.RETINANET_LOSSES)
    # More of some, to see how far seeds alone are apart.
    assert all(least <= set(those) for those in seeds.values())
    drawn = found["retinanet_light", "scenes"]
    assert {"none", "dropblock-3-0.9"} <= set(drawn)
    assert all(least <= set(those) for those in drawn.values())


def _is_of_profile(row):
    return row[0] in PROFILES


def _labels(cell):
    """The networks of a cell; a label may hold a comma itself."""
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
    """The cells of a profile's table, but for those that name the runs."""
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
