"""The records of a grid: which runs are done, and what the page says about them."""

import dataclasses

import pytest
from records import make_record

from dropblock_lib.experiments import effects_table, read_grid, recorded
from dropblock_lib.experiments.reports.statistics import blocked


def record_of(recipe, **fields):
    record = make_record(epochs=recipe.epochs, backend=fields.pop("backend", "jax"))
    return dataclasses.replace(record, recipe=recipe, **fields)


def test_a_grid_without_records_says_how_to_make_them():
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
    assert (
        "**3 of 65 runs recorded.** They took 0.0 hours on abacus (2 cores)"
        in found.account
    )


def test_the_backend_with_the_most_records_is_used():
    recipes = read_grid("dose")[:3]
    records = [record_of(recipe, backend="tensorflow") for recipe in recipes[:2]]
    records.append(record_of(recipes[2], backend="jax"))
    assert len(recorded("dose", "dose", records).records) == 2


def some_records(seeds):
    """Records of four arms of the grid "dose"; higher seeds have higher accuracies."""
    names = ["none", "dropblock-1-0.9-exact", "dropblock-1-0.8-exact"]
    names.append("dropblock-7-0.9-exact")
    records = []
    for recipe in read_grid("dose"):
        if recipe.profile != "dose" or recipe.variant not in names:
            continue
        if recipe.seed in seeds:
            number = names.index(recipe.variant)
            noise = 0.001 * ((recipe.seed + number) % 3)
            accuracy = 0.6 + 0.01 * number + 0.02 * recipe.seed + noise
            record = record_of(recipe)
            final = record.final | {"test_accuracy": accuracy}
            records.append(dataclasses.replace(record, final=final))
    return recorded("dose", "dose", records, names)


def test_lines_begin_with_plain_training_and_have_the_blocked_intervals():
    found = some_records((0, 1, 2))
    lines = found.dose_lines()
    assert list(lines) == ["units (Dropout)", "blocks of 7"]
    line = lines["units (Dropout)"]
    assert line["x"] == [0, 0.1, 0.2] and line["y"][0] == line["low"][0]
    row = blocked(found.arms(), "dose none")["rows"][0]
    assert line["y"][1] - line["y"][0] == pytest.approx(row["difference"])
    half = (row["pointwise"][1] - row["pointwise"][0]) / 2
    assert line["high"][1] - line["y"][1] == pytest.approx(half)


def test_a_seed_counts_once_all_arms_have_it():
    found = some_records((0, 1))
    assert found.seeds == [0, 1]
    found = dataclasses.replace(found, records=found.records[:-1])
    assert found.seeds == [0] and set(found.arms()["dose none"]) == {0}
    assert some_records(()).dose_lines() == {}


def test_effects_wait_for_two_seeds():
    named = {"units": {"dose none": -1, "dose dropblock-1-0.9-exact": 1}}
    table = effects_table(some_records((0,)).effects(named))
    assert table.splitlines()[-1] == "| units |  |  | not recorded yet |"
    [row] = some_records((0, 1, 2)).effects(named)
    assert row["difference"] == pytest.approx(0.01)
    assert "| units | +1.00 |" in effects_table([row])


def test_patterns_choose_profiles():
    found = recorded("when", ["size_*", "rival_none"], [])
    profiles = {recipe.profile for recipe in found.recipes}
    assert len(profiles) == 6 and "rival_none" in profiles
    assert found.command.endswith("--grid when --profile 'size_*' rival_none")
