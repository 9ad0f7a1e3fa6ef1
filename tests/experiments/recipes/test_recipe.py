"""Recipes: names, hashes, checks, and the grids of the book."""

import dataclasses
import hashlib

import pytest
from tiny import use_tiny_net

from dropblock_lib.experiments import (
    PROFILES,
    Recipe,
    make_recipe,
    make_recipes,
)
from dropblock_lib.experiments.recipes import slides
from dropblock_lib.experiments.tasks import Classification, Detection
from dropblock_lib.variants import get_variant

RECIPE = Recipe("custom_net", "dropblock-3-0.9", "cifar10")

# A valid value other than RECIPE's for every field.
OTHER = {
    "network": "tiny",
    "variant": "none",
    "dataset": "mnist",
    "train_size": None,
    "validation_size": 999,
    "test_size": 100,
    "epochs": 1,
    "batch_size": 65,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "learning_rate_schedule": "one-cycle",
    "keep_prob_schedule": "constant",
    "seed": 7,
    "profile": "mine_2",
    "augmentation": "crop-flip-cutout",
    "placement": "before-pooling",
    "warmup": 0.1,
    "weight_decay": 5e-4,
    "label_smoothing": 0.1,
    "validation_every": 2,
    "validation_subset": 500,
    "subset_seed": "seed",
    "precision": "mixed_bfloat16",
    "probes": False,
}
# Other fields that a value in OTHER requires.
REQUIRED = {"weight_decay": {"optimizer": "sgd"}, "network": {"placement": None}}


def test_name_and_hash_never_change():
    # Published records contain the name and the hash.
    assert RECIPE.name == "custom_net-cifar10-dropblock-3-0.9-small-seed0"
    assert RECIPE.name_on("cifar10-jpeg") == (
        "custom_net-cifar10-jpeg-dropblock-3-0.9-small-seed0"
    )
    assert RECIPE.hash == "c25f031a6e72"


def test_every_field_changes_the_hash(monkeypatch):
    use_tiny_net(monkeypatch)
    fields = {field.name for field in dataclasses.fields(Recipe)}
    # The first two are for detectors, see below; the last follows from the variant.
    assert set(OTHER) == fields - {"image_size", "weights", "regularizer"}
    changed = [
        dataclasses.replace(RECIPE, **{k: v}, **REQUIRED.get(k, {}))
        for k, v in OTHER.items()
    ]
    assert len({recipe.hash for recipe in [RECIPE, *changed]}) == len(OTHER) + 1


def test_only_detectors_have_an_image_size():
    detector = Recipe("retinanet", "none", "scenes", image_size=128)
    larger = dataclasses.replace(detector, image_size=256)
    assert detector.hash != larger.hash
    assert Recipe.from_dict(larger.to_dict()) == larger
    with pytest.raises(ValueError, match="argument `image_size`"):
        dataclasses.replace(detector, image_size=None)
    with pytest.raises(ValueError, match="a multiple of 32"):
        dataclasses.replace(detector, image_size=100)
    with pytest.raises(ValueError, match="argument `image_size`"):
        dataclasses.replace(RECIPE, image_size=128)


def test_a_field_added_later_changes_no_earlier_hash():
    detector = Recipe("retinanet", "none", "scenes", image_size=128)
    assert "weights" not in detector.to_dict()
    trained = dataclasses.replace(detector, weights="imagenet")
    assert trained.to_dict()["weights"] == "imagenet"
    assert trained.hash != detector.hash
    for recipe in (detector, trained):
        assert Recipe.from_dict(recipe.to_dict()) == recipe
    with pytest.raises(ValueError, match="argument `weights`"):
        dataclasses.replace(detector, weights="coco")
    with pytest.raises(ValueError, match="argument `weights`"):
        dataclasses.replace(RECIPE, weights="imagenet")


@pytest.mark.parametrize(
    "field, value",
    [("dataset", "cifar10"), ("augmentation", "shift"), ("test_size", 10)],
)
def test_a_detector_rejects_the_fields_of_a_classifier(field, value):
    detector = Recipe("retinanet", "none", "scenes", image_size=128)
    with pytest.raises(ValueError, match=f"argument `{field}`"):
        dataclasses.replace(detector, **{field: value})


def test_survives_json_and_is_frozen():
    assert Recipe.from_dict(RECIPE.to_dict()) == RECIPE
    assert dataclasses.replace(RECIPE, learning_rate=1).hash == (
        dataclasses.replace(RECIPE, learning_rate=1.0).hash
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        RECIPE.seed = 1


@pytest.mark.parametrize(
    "values",
    [None, {}, {**RECIPE.to_dict(), "depth": 3}, {"network": "custom_net"}],
)
def test_rejects_other_dictionaries(values):
    with pytest.raises(ValueError, match="argument `values`"):
        Recipe.from_dict(values)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network", "resnet"),
        ("network", None),
        ("variant", "dropblock"),
        ("dataset", "imagenet"),
        ("dataset", ["mnist"]),
        ("train_size", 0),
        ("train_size", 10.0),
        ("validation_size", 0),
        ("validation_size", None),
        ("test_size", -1),
        ("epochs", 0),
        ("epochs", True),
        ("batch_size", "64"),
        ("optimizer", "Adam"),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("learning_rate", "fast"),
        ("learning_rate", True),
        ("learning_rate_schedule", "step"),
        ("keep_prob_schedule", None),
        ("augmentation", "crop-crop"),
        ("augmentation", "flip2"),
        ("augmentation", None),
        ("placement", 3),
        ("warmup", 1),
        ("warmup", -0.1),
        ("weight_decay", -1e-4),
        ("weight_decay", 5e-4),  # with adam
        ("label_smoothing", 1.0),
        ("validation_every", 0),
        ("validation_subset", 1_001),
        ("subset_seed", "run"),
        ("subset_seed", -1),
        ("precision", "float16"),
        ("probes", 1),
        ("seed", -1),
        ("seed", None),
        ("profile", ""),
        ("profile", "a/b"),
        ("profile", "../up"),
        ("profile", "with-dash"),
        ("profile", None),
    ],
)
def test_names_the_bad_field(field, value):
    with pytest.raises(ValueError) as caught:
        dataclasses.replace(RECIPE, **{field: value})
    assert f"argument `{field}`. Expected" in str(caught.value)
    assert f"Received: {field}={value!r}" in str(caught.value)


def test_names_are_unique_over_all_grids():
    recipes = [recipe for profile in PROFILES for recipe in make_recipes(profile)]
    assert len({recipe.name for recipe in recipes}) == len(recipes)


def test_an_empty_choice_has_no_runs():
    assert make_recipes("quick", datasets=[]) == []
    assert make_recipes("quick", networks=[]) == []


def test_small_is_the_slides_comparison_over_three_seeds():
    recipes = [r for r in make_recipes("small") if r.task is Classification]
    found = [(r.network, r.dataset, r.variant, r.seed) for r in recipes]
    expected = [
        (network, dataset, variant, seed)
        for (network, dataset), figures in slides.ACCURACY.items()
        for variant in figures
        for seed in (0, 1, 2)
    ]
    assert len(expected) == 90 and sorted(found) == sorted(expected)
    # Within a data set the recipes differ in nothing but variant and seed.
    settings = {
        dataclasses.replace(recipe, variant="none", seed=0) for recipe in recipes
    }
    assert len(settings) == 6


@pytest.mark.parametrize(
    ("profile", "networks", "count", "digest"),
    [
        ("quick", None, 67, "338673357347"),
        ("small", None, 97, "7a412163ea85"),
        ("full", None, 111, "c70b24d90364"),
        ("quick", ["resnet50_cifar"], 20, "9692fd70e3a5"),
        ("small", ["resnet50_cifar"], 30, "ee60bcb7159d"),
        ("full", ["resnet50_cifar"], 30, "37571cda6d03"),
        ("quick", ["densenet121_cifar"], 20, "ac37a4395723"),
        ("small", ["densenet121_cifar"], 30, "08f7038ce0dc"),
        ("full", ["densenet121_cifar"], 30, "8d06839a13c9"),
    ],
)
def test_the_recipes_of_a_profile_never_change(profile, networks, count, digest):
    # Published records contain the hashes of these recipes.
    recipes = sorted(make_recipes(profile, networks), key=lambda r: (r.name, r.hash))
    hashes = "".join(recipe.hash for recipe in recipes)
    assert len(recipes) == count
    assert hashlib.sha256(hashes.encode()).hexdigest()[:12] == digest


def test_a_network_without_its_own_settings_is_trained_like_custom_net():
    [recipe] = make_recipes("quick", ["resnet9"], ["cifar10"])
    [model] = make_recipes("quick", ["custom_net"], ["cifar10"], ["none"])
    assert recipe == dataclasses.replace(
        model, network="resnet9", placement=recipe.placement
    )


@pytest.mark.parametrize(
    ("profile", "dataset"), [("small", "scenes"), ("full", "coco2017-mini")]
)
def test_detectors_are_compared_in_the_slides_seven_variants(profile, dataset):
    recipes = [r for r in make_recipes(profile) if r.task is Detection]
    settings = {dataclasses.replace(r, variant="none", seed=0) for r in recipes}
    seeds = {recipe.seed for recipe in recipes}
    assert len(recipes) == len(settings) * len(seeds) * 7 > 0
    assert {r.variant for r in recipes} == set(slides.RETINANET_LOSSES)
    assert {r.dataset for r in recipes} == {dataset}


def test_an_interrupted_grid_has_complete_comparisons():
    recipes = make_recipes("small", networks=["resnet50"], datasets=["cifar10"])
    for beginning in range(5, 16, 5):
        done = recipes[:beginning]
        assert {r.variant for r in done} == set(slides.ACCURACY["resnet50", "cifar10"])
        assert len({r.seed for r in done}) == beginning // 5


def test_a_grid_can_be_filtered():
    [recipe] = make_recipes(
        "full",
        networks=["custom_net"],
        datasets=["mnist"],
        variants=["dropblock-7-0.7"],
        seeds=[5],
    )
    assert recipe == make_recipe("full", "mnist", "dropblock-7-0.7", 5)
    assert recipe.train_size is None and recipe.epochs == 100


def test_a_single_value_is_a_list_of_one():
    several = make_recipes(
        "quick", ["custom_net"], ["cifar10"], ["dropblock-7-0.9"], [3]
    )
    assert (
        make_recipes("quick", "custom_net", "cifar10", "dropblock-7-0.9", 3) == several
    )
    assert [recipe.seed for recipe in several] == [3]
    variant = get_variant("dropblock-7-0.9")
    for same in (variant, [variant], variant.numbers()):
        assert make_recipes("quick", "custom_net", "cifar10", same, 3) == several
    named = dict.fromkeys(["none", "dropblock-7-0.9"])
    found = make_recipes("quick", "custom_net", "cifar10", named, 3)
    assert [recipe.variant for recipe in found] == list(named)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"profile": "tiny"}, "profile"),
        ({"profile": "small", "datasets": "x"}, "dataset"),
        ({"profile": "small", "datasets": ["shapes"]}, "dataset"),
        ({"profile": "small", "variants": ["x"]}, "variant"),
        ({"profile": "small", "networks": ["x"]}, "network"),
        ({"profile": "small", "seeds": [-1]}, "seed"),
        ({"profile": "small", "seeds": [2**32]}, "seed"),
    ],
)
def test_rejects_values_that_no_profile_has(arguments, name):
    with pytest.raises(ValueError, match=f"argument `{name}`"):
        make_recipes(**arguments)
