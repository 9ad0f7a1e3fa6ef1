"""Pages say what is recorded so far, and no more."""

import pytest
from records import make_record

from dropblock_lib.experiments import pages, slides

ARMS = {"none": 0.8, "dropout-0.25": 0.7, "dropblock-7-0.9": 0.81}


def runs(*seeds, without=()):
    return [
        make_record(
            seed, variant, test_accuracy=accuracy + seed / 100, train_accuracy=0.9
        )
        for variant, accuracy in ARMS.items()
        for seed in seeds
        if (variant, seed) not in without
    ]


def test_without_runs_a_page_says_so():
    assert pages.format_runs([]) == pages.NOT_RUN
    assert pages.format_answer([]) == ""
    assert pages.complete_seeds([]) == []
    assert "Not run yet" in pages.format_results([])


def test_records_are_found_by_the_fields_of_their_recipes():
    records = runs(0, 1)
    assert len(pages.find(records, variant="none")) == 2
    assert pages.find(records, network="resnet50") == []


def test_records_of_one_backend_and_of_real_data_are_found():
    others = [make_record(seed, backend="torch") for seed in (0, 1)]
    stand_ins = [make_record(seed, source="shapes") for seed in range(9)]
    found = runs(0)
    assert pages.find([*others, *stand_ins, *found], network="custom_net") == found
    assert pages.find(stand_ins, network="custom_net") == stand_ins


def test_a_table_has_a_column_for_each_run():
    heading, _, *rows = pages.format_runs(runs(0, 1)).splitlines()
    assert heading == "| variant | run 0 | run 1 | mean | training | slides |"
    published = 100 * slides.ACCURACY["custom_net", "cifar10"]["none"]
    assert rows[0] == f"| plain | 80.00 | 81.00 | 80.50 | 90.00 | {published:.2f} |"
    assert len(rows) == len(ARMS)


def test_a_missing_run_has_an_empty_cell_and_enters_no_mean():
    records = runs(0, 1, 2, without={("dropout-0.25", 2)})
    _, _, plain, dropout, _ = pages.format_runs(records).splitlines()
    assert plain.startswith("| plain | 80.00 | 81.00 | 82.00 | 80.50 |")
    assert dropout.startswith("| Dropout 0.25 | 70.00 | 71.00 |  | 70.50 |")


def test_a_stand_in_is_not_compared_with_the_slides():
    records = [make_record(source="shapes")]
    assert "slides" not in pages.format_runs(records)


def test_a_variant_that_did_not_learn_needs_no_second_run():
    idle = make_record(0, "spatial-0.7", test_accuracy=0.1, train_accuracy=0.1)
    assert pages.complete_seeds([*runs(0, 1), idle]) == [0, 1]
    assert "did not learn: SpatialDropout 0.7" in pages.format_answer(
        [*runs(0, 1), idle]
    )


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (runs(0), "Only run 0 has every variant"),
        (runs(0, 1, without={("none", 1)}), "Only run 0 has every variant"),
        (runs(1, without={("none", 1)}) + runs(0)[:1], "No run has every variant"),
    ],
)
def test_one_complete_run_allows_no_verdict(records, expected):
    answer = pages.format_answer(records)
    assert answer.startswith("**No verdict yet.**")
    assert expected in answer


def test_two_complete_runs_allow_one():
    records = runs(0, 1)
    records[3] = make_record(1, "dropout-0.25", test_accuracy=0.711, train_accuracy=0.9)
    answer = pages.format_answer(records)
    assert "| Dropout 0.25 |" in answer
    assert "over 2 runs: " in answer
    assert "lower: Dropout 0.25" in answer
