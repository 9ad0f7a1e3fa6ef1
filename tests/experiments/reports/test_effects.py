"""Tables and sentences of effects, from no record to several runs."""

import pytest
from records import record_of

from dropblock_lib.experiments import (
    count_verdicts,
    dose_table,
    effects_answer,
    effects_table,
    read_grid,
    recorded,
)

KNOWN = {
    "label": "units",
    "difference": 0.0101,
    "low": 0.002,
    "high": 0.018,
    "verdict": "higher",
    "runs": 3,
    "uneven": [],
}
UNKNOWN = {**dict.fromkeys(("difference", "low", "high", "verdict")), "uneven": []}
NO_RUN = {**UNKNOWN, "label": "blocks", "runs": 0}
ONE_RUN = {**UNKNOWN, "label": "maps", "difference": -0.00001, "runs": 1}
IDLE = {**UNKNOWN, "label": "noise", "verdict": "an arm did not learn", "runs": 3}


def test_a_table_says_what_is_known_of_each_contrast():
    heading, _, *rows = effects_table([KNOWN, NO_RUN, ONE_RUN, IDLE]).splitlines()
    assert heading == (
        "| contrast | estimate | simultaneous interval | verdict | runs |"
    )
    assert rows == [
        "| units | +1.01 | +0.20 to +1.80 | higher | 3 |",
        "| blocks |  |  | no complete run yet | 0 |",
        "| maps | +0.00 |  | one run, no verdict | 1 |",
        "| noise |  |  | an arm did not learn | 3 |",
    ]
    assert "| +0.010 | +0.002 to +0.018 |" in effects_table([KNOWN], 1, 3)
    assert effects_table([NO_RUN]).startswith("**No result yet.**")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([NO_RUN], "**No result yet.** No run of all arms is complete."),
        ([NO_RUN, ONE_RUN], "**No verdict yet.** One run of each arm"),
        ([KNOWN], "**Over 3 runs**, higher: units (+1.01)."),
        ([{**KNOWN, "runs": 2}, KNOWN], "**Over 2 to 3 runs**, higher: units"),
        (
            [KNOWN, {**KNOWN, "label": "b", "verdict": "not told apart"}, IDLE],
            "higher: units (+1.01); not told apart from zero: b (+1.01); no "
            "comparison, because an arm did not learn: noise.",
        ),
        ([KNOWN, ONE_RUN, NO_RUN], "no verdict from one run: maps (+0.00); no comp"),
    ],
)
def test_an_answer_says_no_more_than_the_runs_do(rows, expected):
    assert expected in effects_answer(rows)


def test_an_interval_that_disagrees_with_the_verdict_is_named():
    assert "Holm" not in effects_table([KNOWN])
    wider = {**KNOWN, "low": -0.001}
    assert "zero is ruled out for units." in effects_table([wider])


def test_arms_that_vary_more_than_the_others_are_named_once():
    assert "vary more" not in effects_table([KNOWN])
    uneven = ["dose dropblock-1-0.65-exact", "resnet9_main_path dropblock-3-0.9"]
    text = effects_table([{**KNOWN, "uneven": uneven}, {**KNOWN, "uneven": uneven[:1]}])
    assert (
        "\nArms that may vary more than the others: units (Dropout) at 35%; DropBlock "
        "3/0.9 (resnet9_main_path). An interval with such an arm"
    ) in text


def test_verdicts_are_counted():
    counts = count_verdicts([KNOWN, KNOWN, NO_RUN, ONE_RUN, IDLE])
    assert counts == {"higher": 2, "lower": 0, "not told apart": 0, "no verdict": 3}


def doses(*runs):
    """The dose table of some runs, each a pair of variant and seed."""
    records = [
        record_of(recipe, test_accuracy=0.6 + 0.02 * recipe.seed)
        for recipe in read_grid("dose")
        if recipe.profile == "dose" and (recipe.variant, recipe.seed) in runs
    ]
    names = ["none", "dropblock-1-0.9-exact", "dropblock-7-0.8-exact"]
    return dose_table(recorded("dose", "dose", records, names)).splitlines()


def test_a_dose_table_has_a_row_for_each_block_size():
    complete = [
        (variant, seed)
        for variant in ("none", "dropblock-1-0.9-exact", "dropblock-7-0.8-exact")
        for seed in (0, 1)
    ]
    assert doses(*complete, ("none", 2)) == [
        "| test accuracy (loss) | dose 0% | dose 10% | dose 20% |",
        "| :-- | :-: | :-: | :-: |",
        "| plain | 61.0 (1.00) |  |  |",
        "| units (Dropout) |  | 61.0 (1.00) |  |",
        "| blocks of 7 |  |  | 61.0 (1.00) |",
    ]


def test_a_dose_table_shows_single_runs_until_one_is_complete():
    assert doses()[2:] == [
        "| plain |  |  |  |",
        "| units (Dropout) |  |  |  |",
        "| blocks of 7 |  |  |  |",
    ]
    assert doses(("none", 0))[2] == "| plain | 60.0 (1.00) |  |  |"
