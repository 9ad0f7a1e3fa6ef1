"""The records of a grid: which runs are done, and what they measure."""

import dataclasses

import pytest
from records import make_record, record_of

from dropblock_lib.experiments import read_grid, recorded
from dropblock_lib.experiments.reports.statistics import blocked

ARMS = [
    "none",
    "dropblock-1-0.9-exact",
    "dropblock-1-0.8-exact",
    "dropblock-7-0.9-exact",
]
UNITS = {"units": {"dose none": -1, "dose dropblock-1-0.9-exact": 1}}
BLOCKS = {"blocks": {"dose none": -1, "dose dropblock-7-0.9-exact": 1}}


def dose_records(seeds, without=(), idle=(), names=ARMS):
    """Records of four arms of the grid "dose"; higher seeds have higher accuracies."""
    records = []
    for recipe in read_grid("dose"):
        name, seed = recipe.variant, recipe.seed
        if recipe.profile != "dose" or name not in names or seed not in seeds:
            continue
        if (name, seed) in without:
            continue
        number = names.index(name)
        noise = 0.001 * ((seed + number) % 3)
        accuracy = 0.6 + 0.01 * number + 0.02 * seed + noise
        final = {"test_accuracy": accuracy, "train_accuracy": 0.9}
        if name in idle:
            final = {"test_accuracy": 0.1, "train_accuracy": 0.1, "test_loss": None}
        records.append(record_of(recipe, **final))
    return recorded("dose", "dose", records, names)


def test_a_grid_without_records_says_how_to_make_them():
    found = recorded("dose", "dose", [])
    assert len(found.recipes) == 65 and found.records == ()
    assert found.account == (
        "**0 of 65 runs recorded.** To run them: "
        "`python -m dropblock_lib.experiments run --grid dose --profile dose`."
    )


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"profile": "dosse"}, "profile"),
        ({"profile": ["dose", "dos"]}, "profile"),
        ({"variants": ["none", "dropblock-3-0.95"]}, "variants"),
        ({"variants": ["dropblock*"]}, "variants"),
        ({"network": "resnet"}, "network"),
        ({"dataset": "mnist"}, "dataset"),
    ],
)
def test_what_the_grid_does_not_plan_is_rejected(arguments, name):
    with pytest.raises(ValueError, match=f"argument `{name}`"):
        recorded("dose", records=[], **arguments)


def test_variants_may_be_one_name_or_an_iterator():
    for variants in ("none", iter(["none"])):
        found = recorded("dose", "dose", [], variants)
        assert {recipe.variant for recipe in found.recipes} == {"none"}


def test_records_are_in_the_order_of_the_grid_and_others_are_left_out():
    recipes = read_grid("dose")[:3]
    records = [make_record(), *map(record_of, reversed(recipes))]
    found = recorded("dose", "dose", records)
    assert [record.recipe for record in found.records] == recipes
    minutes = sum(record.seconds for record in records[1:]) / 60
    assert found.account == (
        f"**3 of 65 runs recorded.** They took {minutes / 60:.1f} hours "
        f"({minutes / 3:.0f} minutes each) on abacus (2 cores), with "
        f"{records[1].backend}. To repeat them in a new folder: `python -m "
        "dropblock_lib.experiments run --grid dose --profile dose --results repeated`."
    )


def test_the_backend_with_the_most_records_is_used():
    recipes = read_grid("dose")[:3]
    records = [record_of(recipe, backend="tensorflow") for recipe in recipes[:2]]
    records.append(record_of(recipes[2], backend="jax"))
    assert len(recorded("dose", "dose", records).records) == 2


def test_real_data_comes_before_a_stand_in():
    recipes = read_grid("dose")[:3]
    real, *others = map(record_of, recipes)
    stand_ins = [
        dataclasses.replace(
            record,
            data=dataclasses.replace(record.data, source="shapes", sha256="shapes"),
        )
        for record in others
    ]
    assert list(recorded("dose", "dose", [*stand_ins, real]).records) == [real]
    assert list(recorded("dose", "dose", stand_ins).records) == stand_ins


def test_a_network_and_a_data_set_can_be_chosen():
    found = recorded("slides", records=[], network="resnet50", dataset="mnist")
    assert len(found.recipes) == 15
    assert found.command.endswith("--grid slides --network resnet50 --dataset mnist")


def test_lines_begin_with_plain_training_and_have_the_blocked_intervals():
    found = dose_records((0, 1, 2))
    lines = found.dose_lines()
    assert list(lines) == ["units (Dropout)", "blocks of 7"]
    line = lines["units (Dropout)"]
    assert line["x"] == [0, 0.1, 0.2] and line["y"][0] == line["low"][0]
    row = blocked(found.arms(), "dose none")["rows"][0]
    assert line["y"][1] - line["y"][0] == pytest.approx(row["difference"])
    half = (row["pointwise"][1] - row["pointwise"][0]) / 2
    assert line["high"][1] - line["y"][1] == pytest.approx(half)


def test_lines_of_a_single_run_have_no_band():
    [line, _] = dose_records((0,)).dose_lines().values()
    assert len(line["y"]) == 3 and "low" not in line


def test_a_seed_counts_once_all_arms_have_it():
    assert dose_records((0, 1)).seeds == [0, 1]
    found = dose_records((0, 1), without={("dropblock-1-0.8-exact", 1)})
    assert found.seeds == [0] and set(found.arms()["dose none"]) == {0}
    assert len(found.compared) == 4
    assert dose_records(()).dose_lines() == dose_records(()).arms() == {}


def test_until_a_seed_is_complete_all_records_are_shown():
    found = dose_records((0,), without={("none", 0)})
    assert found.seeds == [] and found.compared == list(found.records)
    assert found.dose_lines() == {}


def test_effects_of_no_complete_run_are_unknown():
    for found in (dose_records(()), dose_records((0,), without={("none", 0)})):
        [row] = found.effects(UNITS)
        assert row["runs"] == 0
        assert row["difference"] is row["low"] is row["verdict"] is None


def test_effects_of_one_run_have_no_interval_and_no_verdict():
    [row] = dose_records((0,)).effects(UNITS)
    assert row["difference"] == pytest.approx(0.011) and row["runs"] == 1
    assert row["low"] is row["high"] is row["verdict"] is None


def test_effects_of_several_runs_have_intervals():
    [row] = dose_records((0, 1, 2)).effects(UNITS)
    assert row["difference"] == pytest.approx(0.01) and row["runs"] == 3
    assert row["low"] < row["difference"] < row["high"]
    assert row["verdict"] == "higher"


def test_effects_name_an_arm_that_varies_more_than_the_others():
    found = dose_records((0, 1, 2))
    assert found.effects(UNITS)[0]["uneven"] == []
    # It need not be part of the contrast.
    wild = {0: 0.2, 1: 0.9, 2: 0.3}
    records = [
        record_of(run.recipe, test_accuracy=wild[run.recipe.seed], train_accuracy=0.9)
        if run.recipe.variant == "dropblock-7-0.9-exact"
        else run
        for run in found.records
    ]
    found = dataclasses.replace(found, records=tuple(records))
    assert found.effects(UNITS)[0]["uneven"] == ["dose dropblock-7-0.9-exact"]


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_an_arm_that_did_not_learn_is_compared_with_nothing(seeds):
    idle = "dropblock-7-0.9-exact"
    found = dose_records(seeds, without={(idle, 1)}, idle=[idle])
    assert found.did_not_learn == [f"dose {idle}"]
    # One run of it is enough.
    assert found.seeds == list(seeds) and len(found.compared) == 3 * len(seeds) + 1
    blocks, units = found.effects(BLOCKS | UNITS)
    assert blocks["verdict"] == "an arm did not learn" and blocks["difference"] is None
    assert (
        units["difference"]
        == dose_records(seeds, names=ARMS[:3]).effects(UNITS)[0]["difference"]
    )
    assert list(found.dose_lines("test_loss")) == ["units (Dropout)"]


def test_a_loss_that_is_not_finite_is_left_out():
    found = dose_records((0, 1))
    final = found.records[-1].final | {"test_loss": None}
    last = dataclasses.replace(found.records[-1], final=final)
    found = dataclasses.replace(found, records=(*found.records[:-1], last))
    assert len(found.arms("test_loss")) == 3 and len(found.arms()) == 4


@pytest.mark.parametrize("seeds", [(), (0, 1)])
def test_a_contrast_of_an_arm_that_is_not_planned_is_rejected(seeds):
    typo = {"typo": {"dose dropblock-3-0.9-exakt": 1, "dose none": -1}}
    with pytest.raises(ValueError, match=r"`named`.*among.*\['dose drop.*exakt'\]"):
        dose_records(seeds).effects(typo)


def test_patterns_choose_profiles():
    found = recorded("when", ["size_*", "rival_none"], [])
    profiles = {recipe.profile for recipe in found.recipes}
    assert len(profiles) == 6 and "rival_none" in profiles
    assert found.command.endswith("--grid when --profile 'size_*' rival_none")
