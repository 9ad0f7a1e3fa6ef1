"""The records of a grid: which runs are done, and what the page says of them."""

import dataclasses

from records import make_record

from dropblock_lib.experiments import read_grid, recorded


def record_of(recipe, **fields):
    record = make_record(epochs=recipe.epochs, backend=fields.pop("backend", "jax"))
    return dataclasses.replace(record, recipe=recipe, **fields)


def test_a_grid_without_records_tells_how_to_make_them():
    found = recorded("dose", "dose", [])
    assert len(found.recipes) == 65 and found.records == ()
    assert found.account == (
        "**0 of 65 runs recorded.** To make them: "
        "`python -m dropblock_lib.experiments run --grid dose --profile dose`."
    )


def test_records_are_in_the_order_of_the_grid_and_others_are_left_out():
    recipes = read_grid("dose")[:3]
    records = [make_record(), *map(record_of, reversed(recipes))]
    found = recorded("dose", "dose", records)
    assert [record.recipe for record in found.records] == recipes
    assert "**3 of 65 runs recorded.** They took 0.0 hours on abacus" in found.account


def test_of_several_backends_the_one_with_most_records_is_taken():
    recipes = read_grid("dose")[:3]
    records = [record_of(recipe, backend="tensorflow") for recipe in recipes[:2]]
    records.append(record_of(recipes[2], backend="jax"))
    assert len(recorded("dose", "dose", records).records) == 2


def test_patterns_choose_profiles():
    found = recorded("when", ["size_*", "rival_none"], [])
    profiles = {recipe.profile for recipe in found.recipes}
    assert len(profiles) == 6 and "rival_none" in profiles
    assert found.command.endswith("--grid when --profile 'size_*' rival_none")
