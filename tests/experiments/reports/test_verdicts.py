"""Verdicts on records: which arms are compared, and what a page shows."""

import dataclasses
import math

import pytest
from arms import random_arms, rows_of
from records import make_record

from dropblock_lib.experiments.reports.statistics import blocked
from dropblock_lib.experiments.reports.verdicts import (
    arms_of,
    did_not_learn,
    format_sentence,
    format_verdicts,
    verdict_table,
    verdicts,
)


def test_an_arm_below_a_third_of_the_baseline_did_not_learn():
    training = {
        "none": {0: 0.9, 1: 0.96},
        "a1": {0: 0.9, 1: 0.5},
        "a2": {0: 0.1, 1: 0.51},  # a mean of 0.305, and 0.31 is the third
        "a3": {0: 0.11, 1: 0.52},
        "a4": {0: math.nan},
    }
    assert did_not_learn(training) == ["a2", "a4"]
    with pytest.raises(ValueError, match=r"`train_accuracy`.*\['a5'\]"):
        did_not_learn({**training, "a5": {}})


def test_arms_that_did_not_learn_are_listed_and_not_compared():
    arms = random_arms(4, 3)
    learned = {arm: values for arm, values in arms.items() if arm != "a2"}
    arms["a2"] = {1: 0.1}  # run once
    training = {arm: {0: 0.1 if arm == "a2" else 0.9} for arm in arms}
    result = verdicts(arms, training)
    assert result["did_not_learn"] == ["a2"]
    assert [row["arm"] for row in result["rows"]] == ["a1", "a2", "a3"]
    row = result["rows"].pop(1)
    assert row["verdict"] == "did not learn" and row["simultaneous"] is None
    assert row["difference"] == pytest.approx(0.1 - arms["none"][1])
    compared = {key: found for key, found in result.items() if key != "did_not_learn"}
    assert compared == blocked(learned)


def test_arms_are_listed_if_only_the_baseline_learned():
    arms = {"none": {0: 0.9}, "a": {0: 0.1}, "b": {1: 0.1}}
    table = verdicts(arms, {"none": {0: 0.9}, "a": {0: 0.1}, "b": {1: 0.1}})
    assert [row["difference"] for row in table["rows"]] == [
        pytest.approx(-0.8),
        None,
    ]
    assert format_verdicts(table).splitlines()[-4:] == [
        "| a | -80.00 |  | did not learn |",
        "| b |  |  | did not learn |",
        "",
        "Random seed 0.",
    ]


def test_every_arm_needs_a_training_accuracy():
    arms = random_arms(2, 2)
    with pytest.raises(ValueError, match=r"`train_accuracy`.*\['a1'\]"):
        verdicts(arms, {"none": {0: 0.9}})


def record(variant, seed, accuracy, training=0.9, epochs=2):
    final = {"test_accuracy": accuracy, "train_accuracy": training, "test_loss": None}
    return make_record(seed, variant, "cifar10", epochs=epochs, **final)


def small_table(*more):
    table = {"dropout-0.25": (0.6, 0.64, 0.62), "none": (0.5, 0.52, 0.51)}
    return [
        record(variant, seed, accuracy)
        for variant, accuracies in table.items()
        for seed, accuracy in reversed([*enumerate(accuracies)])
    ] + list(more)


def test_records_are_arranged_by_arm_and_seed():
    arms = arms_of(small_table())
    assert list(arms) == ["none", "dropout-0.25"]
    assert list(arms["none"].items()) == [(0, 0.5), (1, 0.52), (2, 0.51)]
    assert math.isnan(arms_of(small_table(), "test_loss")["none"][0])
    with pytest.raises(ValueError, match=r"`metric`.*'AP'"):
        arms_of(small_table(), "AP")
    with pytest.raises(ValueError, match=r"`metric`.*recalibrated.test_accuracy"):
        arms_of(small_table(), "recalibrated.test_accuracy")
    with pytest.raises(ValueError, match=r"`records`.*at least one"):
        arms_of([])


def test_a_metric_inside_a_group_is_named_with_a_dot():
    records = small_table()
    for one in records:
        again = one.final["test_accuracy"] + 0.1
        one.final["recalibrated"] = {"test_accuracy": again, "test_loss": None}
    arms = arms_of(records, "recalibrated.test_accuracy")
    assert arms["none"] == pytest.approx({0: 0.6, 1: 0.62, 2: 0.61})
    assert math.isnan(arms_of(records, "recalibrated.test_loss")["none"][0])
    records[0].final["recalibrated"] = None  # a network without batch normalization
    with pytest.raises(ValueError, match=r"`metric`.*unlike \['custom_net-.*'\]"):
        arms_of(records, "recalibrated.test_accuracy")


def test_backends_and_data_are_never_mixed():
    other = record("none", 3, 0.5)
    with pytest.raises(ValueError, match=r"one backend.*\['jax', 'torch'\]"):
        arms_of(small_table(dataclasses.replace(other, backend="torch")))
    with pytest.raises(ValueError, match=r"same data.*\['1', 'cifar10'\]"):
        data = dataclasses.replace(other.data, sha256="1")
        arms_of(small_table(dataclasses.replace(other, data=data)))


def test_arms_are_named_by_a_label():
    longer = [record("none", seed, 0.7, epochs=9) for seed in range(2)]
    with pytest.raises(ValueError, match="`label`"):
        arms_of(small_table(*longer))

    def label(record):
        return f"{record.recipe.variant} {record.recipe.epochs}"

    arms = arms_of(small_table(*longer), label=label)
    assert list(arms) == ["none 2", "none 9", "dropout-0.25 2"]
    assert arms["none 9"] == {0: 0.7, 1: 0.7}


def test_an_arm_has_one_record_per_seed_and_one_recipe():
    again = record("none", 1, 0.5)
    with pytest.raises(ValueError, match=r"`records`.*\('none', 1\)"):
        arms_of(small_table(again))
    longer = record("none", 7, 0.5, epochs=9)
    with pytest.raises(ValueError, match=r"`records`.*one recipe.*'none'"):
        arms_of(small_table(longer), label=lambda record: record.recipe.variant)


def test_a_page_shows_percentage_points_and_what_was_left_out():
    table = verdict_table(
        small_table(
            record("none", 3, 0.5),
            *(record("spatial-0.7", seed, 0.1, training=0.1) for seed in range(3)),
        )
    )
    lines = format_verdicts(table).splitlines()
    (row,) = [row for row in table["rows"] if row["arm"] == "dropout-0.25"]
    low, high = (f"{100 * end:+.2f}" for end in row["simultaneous"])
    assert (
        lines[0] == "| against plain | difference | simultaneous interval | verdict |"
    )
    assert lines[2:4] == [
        f"| Dropout 0.25 | +11.00 | {low} to {high} | higher |",
        "| SpatialDropout 0.7 | -41.00 |  | did not learn |",
    ]
    assert lines[-1] == (
        "Random seeds 0, 1, 2; residual s.d. "
        f"{100 * table['residual_sd']:.2f} with 2 degrees of freedom; Dunnett's "
        "intervals of 95%; random seed 3 is left out (no run of Dropout 0.25)."
    )
    assert format_sentence(table) == (
        "**Against plain training** over 3 runs: higher: Dropout 0.25; did not learn: "
        "SpatialDropout 0.7."
    )


def test_all_arms_are_compared_if_no_metric_shows_which_learned():
    spatial = [record("spatial-0.7", s, 0.1 + s / 100, training=0.1) for s in range(3)]
    records = small_table(*spatial)
    table = verdict_table(records, learned_by=None)
    assert rows_of(table)["spatial-0.7"]["verdict"] == "lower"
    assert rows_of(verdict_table(records))["spatial-0.7"]["verdict"] == "did not learn"


def test_an_arm_that_varies_more_is_named():
    correct = {
        "none": (9619, 9649, 9687),
        "dropout-0.25": (9634, 9651, 9687),
        "dropblock-3-0.9": (9654, 9679, 9683),
        "dropblock-7-0.9": (9636, 9654, 9701),
        "spatial-0.7": (8276, 7793, 8573),
    }
    table = verdict_table(
        [
            record(variant, seed, right / 10_000)
            for variant, runs in correct.items()
            for seed, right in enumerate(runs)
        ]
    )
    assert table["uneven"] == ["spatial-0.7"]
    assert "SpatialDropout 0.7 may vary more than the others" in format_verdicts(table)
