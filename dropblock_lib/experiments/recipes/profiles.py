"""The recipes of the book: three profiles, each a grid."""

import dataclasses

from dropblock_lib.arguments import invalid
from dropblock_lib.experiments.recipes import slides
from dropblock_lib.experiments.recipes.recipe import Recipe
from dropblock_lib.models import DETECTORS, NETWORKS

# What the slides compare in each network, whatever its stem.
VARIANTS_OF = {
    network + stem: tuple(figures)
    for (network, dataset), figures in slides.ACCURACY.items()
    for stem in ("", "_cifar")
    if dataset == "cifar10" and network + stem in NETWORKS
}

VARIANTS_OF |= dict.fromkeys(DETECTORS, tuple(slides.RETINANET_LOSSES))

# Chosen once per network, on validation images of the plain variant, for all
# variants: results/tuning.toml.
TRAINING_OF = {
    "custom_net": {"learning_rate": 1e-3, "augmentation": "none"},
    "resnet50": {"learning_rate": 1e-3, "augmentation": "shift-flip"},
    "resnet50_cifar": {"learning_rate": 1e-3, "augmentation": "shift-flip"},
    "densenet121": {"learning_rate": 1e-3, "augmentation": "none"},
    "densenet121_cifar": {"learning_rate": 1e-3, "augmentation": "none"},
    "retinanet": {"learning_rate": 2.5e-4, "augmentation": "flip"},
    "retinanet_light": {"learning_rate": 2.5e-4, "augmentation": "flip"},
}
# These profiles change keep_prob once an epoch, and show how training goes, not what
# it is good for.
COMMON = {"keep_prob_schedule": "linear-epoch", "probes": False}
# Digits are not flipped.
DIGITS = ("mnist", "digits")
BOOK_NETWORKS = ("custom_net", "resnet50", "densenet121")
_LARGE = BOOK_NETWORKS[1:]


@dataclasses.dataclass(frozen=True)
class Profile:
    """A scale of experiment: what it is for, and its settings by data set.

    `exceptions` holds what is different for some network: network -> data set ->
    settings. `detectors` holds the settings of those: network -> data set ->
    settings, and `detector_seeds` their seeds.
    """

    purpose: str
    seeds: tuple[int, ...]
    settings: dict[str, dict]
    exceptions: dict[str, dict[str, dict]] = dataclasses.field(default_factory=dict)
    detectors: dict[str, dict[str, dict]] = dataclasses.field(default_factory=dict)
    detector_seeds: tuple[int, ...] = (0,)

    def settings_of(self, network: str) -> dict[str, dict]:
        """Data set -> settings of a network, its exceptions included."""
        if network in DETECTORS:
            return self.detectors.get(network, {})
        exceptions = self.exceptions.get(network, {})
        return {
            dataset: settings | exceptions.get(dataset, {})
            for dataset, settings in self.settings.items()
        }

    @property
    def datasets(self) -> tuple[str, ...]:
        """All data sets of the profile."""
        detection = [dataset for own in self.detectors.values() for dataset in own]
        return tuple(dict.fromkeys([*self.settings, *detection]))


_QUICK_DATASETS = ("cifar10", "mnist", "shapes", "digits")
_ALL_IMAGES = {
    "train_size": None,
    "validation_size": 5_000,
    "epochs": 100,
    "batch_size": 128,
}

PROFILES = {
    "quick": Profile(
        purpose="see it work: a minute or two a network on two cores",
        seeds=(0,),
        settings={
            dataset: {
                "train_size": 1_000,
                "validation_size": 200,
                # The digits that stand in for MNIST are few.
                "test_size": 300 if dataset in DIGITS else 500,
                "epochs": 3,
                "batch_size": 32,
            }
            for dataset in _QUICK_DATASETS
        },
        exceptions={
            network: {
                dataset: {"train_size": 500, "test_size": 200, "epochs": 2}
                for dataset in _QUICK_DATASETS
            }
            for network in _LARGE
        },
        detectors={
            "retinanet_light": {
                "scenes": {
                    "train_size": 48,
                    "validation_size": 16,
                    "epochs": 10,
                    "batch_size": 8,
                    "image_size": 96,
                }
            }
        },
    ),
    "small": Profile(
        purpose="compare with a spread over seeds: hours on two cores",
        seeds=(0, 1, 2),
        settings={
            "cifar10": {"train_size": 4_000, "validation_size": 1_000, "epochs": 12},
            "mnist": {"train_size": 2_000, "validation_size": 500, "epochs": 8},
        },
        exceptions={
            network: {"cifar10": {"epochs": 8}, "mnist": {"epochs": 6}}
            for network in _LARGE
        },
        detectors={
            "retinanet_light": {
                "coco2017-mini": {
                    "train_size": 500,
                    "validation_size": 166,
                    "epochs": 8,
                    "batch_size": 8,
                    "image_size": 96,
                },
                "scenes": {
                    "train_size": 500,
                    "validation_size": 100,
                    "epochs": 20,
                    "batch_size": 8,
                    "image_size": 96,
                },
            }
        },
    ),
    "full": Profile(
        purpose="all images and 100 epochs, which the slides name for CustomNet: a GPU",
        seeds=(0, 1, 2),
        settings={"cifar10": _ALL_IMAGES, "mnist": _ALL_IMAGES},
        detectors={
            "retinanet": {
                "coco2017-mini": {
                    "train_size": 500,
                    "validation_size": 166,
                    "epochs": 50,
                    "batch_size": 8,
                    "image_size": 512,
                }
            }
        },
        detector_seeds=(0, 1, 2),
    ),
}


def make_recipe(
    profile: str,
    dataset: str,
    variant: str = "none",
    seed: int = 0,
    network: str = "custom_net",
) -> Recipe:
    """One recipe of a profile.

    Args:
        profile: A key of `PROFILES`.
        dataset: A data set of that profile.
        variant: Name of a variant.
        seed: Random seed of the run.
        network: A key of `dropblock_lib.models.NETWORKS`.

    Returns:
        A `Recipe`.

    Raises:
        ValueError: If the profile is not known, or has no such data set.
    """
    settings = _profile(profile).settings_of(network)
    if dataset not in settings:
        raise _unknown_dataset(settings, f"{profile} for {network}", dataset)
    training = TRAINING_OF.get(network, {})
    if dataset in DIGITS:
        training = {**training, "augmentation": "none"}
    return Recipe(
        network=network,
        variant=variant,
        dataset=dataset,
        seed=seed,
        profile=profile,
        **COMMON | training | settings[dataset],
    )


def make_recipes(
    profile: str,
    networks=None,
    datasets=None,
    variants=None,
    seeds=None,
) -> list[Recipe]:
    """The grid of a profile, or the part of it that is asked for.

    Each seed is complete before the next begins, so that an interrupted grid has
    compared all variants over fewer seeds, and not fewer variants.

    Args:
        profile: A key of `PROFILES`.
        networks: Names of networks; those the slides compare if `None`.
        datasets: Names of data sets; the profile's own if `None`.
        variants: Names of variants; those the slides compare if `None`.
        seeds: Integers; the profile's own if `None`.

    Returns:
        A list of `Recipe`.

    Raises:
        ValueError: If a value is not known.

    Example:

    >>> len(make_recipes("small", datasets=["cifar10"]))
    45
    """
    chosen = _profile(profile)
    for dataset in datasets or ():
        if dataset not in chosen.datasets:
            raise _unknown_dataset(chosen.datasets, profile, dataset)
    recipes = []
    for network in networks or (*BOOK_NETWORKS, *chosen.detectors):
        known = chosen.settings_of(network)
        wanted = datasets or known
        if networks is None:
            # Not every network of the book detects, and none does everything.
            wanted = [dataset for dataset in wanted if dataset in known]
        own_seeds = chosen.detector_seeds if network in DETECTORS else chosen.seeds
        recipes += [
            make_recipe(profile, dataset, variant, seed, network)
            for dataset in wanted
            for seed in (own_seeds if seeds is None else seeds)
            for variant in variants or VARIANTS_OF.get(network, ("none",))
        ]
    return recipes


def _unknown_dataset(known, where: str, dataset) -> ValueError:
    return invalid(
        "dataset", f"one of {', '.join(known)}, those of the profile {where}", dataset
    )


def _profile(profile: str) -> Profile:
    if profile not in PROFILES:
        raise ValueError(
            "Invalid value received for argument `profile`. Expected one of "
            f"{', '.join(PROFILES)}. Received: profile={profile!r}"
        )
    return PROFILES[profile]
