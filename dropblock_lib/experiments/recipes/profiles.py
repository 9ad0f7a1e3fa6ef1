"""The profiles of the book: grids at three scales, whole or in part."""

from collections.abc import Sequence
from typing import Any

from dropblock_lib.arguments import check_choice, invalid
from dropblock_lib.experiments.recipes.grids import SHIPPED, read_tables
from dropblock_lib.experiments.recipes.recipe import Recipe, find_task
from dropblock_lib.variants import Variant

PROFILES = ("quick", "small", "full")


def make_recipe(
    profile: str,
    dataset: str,
    variant="none",
    seed: int = 0,
    network: str = "custom_net",
) -> Recipe:
    """One recipe of a profile.

    Args:
        profile: One of `PROFILES`.
        dataset: A data set of that profile.
        variant: The regularizer, as in `Recipe`.
        seed: Random seed of the run.
        network: A key of `dropblock_lib.models.NETWORKS` or `DETECTORS`. Networks
            that the profile does not have are trained like CustomNet.

    Returns:
        A `Recipe`.

    Raises:
        ValueError: If the profile is not known, or has no such data set.
    """
    [recipe] = make_recipes(profile, [network], [dataset], [variant], [seed])
    return recipe


def make_recipes(
    profile: str,
    networks: Sequence[str] | str | None = None,
    datasets: Sequence[str] | str | None = None,
    variants: Sequence | str | Variant | None = None,
    seeds: Sequence[int] | int | None = None,
) -> list[Recipe]:
    """The grid of a profile, or a part of it.

    Each seed is complete before the next begins, so that an interrupted grid compares
    all variants over fewer seeds, rather than fewer variants.

    Args:
        profile: One of `PROFILES`.
        networks: Name or names of networks; by default those of the profile.
        datasets: Name or names of data sets; by default those of the profile.
        variants: One or several regularizers; by default those of the slides.
        seeds: One or several random seeds; by default those of the profile.

    Returns:
        A list of `Recipe`.

    Raises:
        ValueError: If a value is not known.

    Example:

    >>> len(make_recipes("small", datasets=["cifar10"]))
    45
    """
    networks, datasets = _as_list(networks), _as_list(datasets)
    chosen = {"variant": _as_list(variants), "seed": _as_list(seeds)}
    chosen = {field: each for field, each in chosen.items() if each is not None}
    tables = _tables(profile)
    for dataset in datasets or ():
        if dataset not in datasets_of(profile):
            raise _unknown(datasets_of(profile), profile, dataset)
    stems = read_tables(SHIPPED / "cifar_stems.toml")
    named = [*tables, *(table for table in stems if table.profile == profile)]
    recipes = []
    if networks is None:
        chosen_networks = list(dict.fromkeys(_values(tables, "network")))
    else:
        chosen_networks = networks
    for network in chosen_networks:
        own = [table for table in named if network in table.values("network")]
        fields = chosen
        if not own:
            own = [table for table in tables if "custom_net" in table.values("network")]
            fields = {"variant": ["none"]} | chosen
        known = {
            dataset: table
            for table in own
            for dataset in table.values("dataset")
            if dataset in find_task(network, dataset).datasets
        }
        for dataset in known if datasets is None else datasets:
            if dataset in known:
                only = {"network": network, "dataset": dataset}
                recipes += known[dataset].recipes(**only, **fields)
            elif networks is not None:
                raise _unknown(known, f"{profile} for {network}", dataset)
    return recipes


def datasets_of(profile: str) -> list[str]:
    """All data sets of a profile."""
    return list(dict.fromkeys(_values(_tables(profile), "dataset")))


def _as_list(value: Any) -> list[Any] | None:
    is_variant = isinstance(value, dict) and "method" in value
    if is_variant or isinstance(value, str | int | Variant):
        return [value]
    return None if value is None else list(value)


def _tables(profile):
    return read_tables(SHIPPED / f"{check_choice('profile', profile, PROFILES)}.toml")


def _values(tables, field):
    return [value for table in tables for value in table.values(field)]


def _unknown(known, where, dataset):
    expected = f"one of {', '.join(known)}, those of the profile {where}"
    return invalid("dataset", expected, dataset)
