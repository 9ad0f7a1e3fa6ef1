"""Pages say what is recorded so far, and no more."""

import dataclasses

import pytest
from records import record_of

from dropblock_lib.experiments import pages, read_grid, recorded, slides

ARMS = {
    "none": 0.8,
    "dropout-0.25": 0.7,
    "spatial-0.7": 0.5,
    "dropblock-3-0.9": 0.81,
    "dropblock-7-0.9": 0.82,
}
NOISE = {("dropout-0.25", 1): 0.001}


def runs(*seeds, without=(), idle=(), source=None):
    """The runs of CustomNet on CIFAR-10 with some seeds, except those in `without`."""
    records = []
    for recipe in read_grid("slides"):
        run = (recipe.variant, recipe.seed)
        if (recipe.network, recipe.dataset) != ("custom_net", "cifar10"):
            continue
        if recipe.seed not in seeds or run in without:
            continue
        tested = ARMS[recipe.variant] + recipe.seed / 100 + NOISE.get(run, 0)
        trained = 0.9
        if recipe.variant in idle:
            tested = trained = 0.1
        record = record_of(recipe, test_accuracy=tested, train_accuracy=trained)
        if source:
            data = dataclasses.replace(record.data, source=source)
            record = dataclasses.replace(record, data=data)
        records.append(record)
    return recorded("slides", records=records, network="custom_net", dataset="cifar10")


def test_without_runs_a_page_says_so():
    assert pages.format_runs(runs()) == pages.NOT_RUN
    assert pages.format_answer(runs()) == ""
    text = pages.format_results(runs())
    assert "Not run yet" in text and "**0 of 15 runs recorded.** To run them" in text


def test_a_table_has_a_column_for_each_run():
    heading, _, *rows = pages.format_runs(runs(0, 1)).splitlines()
    assert heading == "| variant | run 0 | run 1 | mean | training | slides |"
    published = 100 * slides.ACCURACY["custom_net", "cifar10"]["none"]
    assert rows[0] == f"| plain | 80.00 | 81.00 | 80.50 | 90.00 | {published:.2f} |"
    assert len(rows) == len(ARMS)


def test_a_table_of_one_run_has_no_mean():
    heading, _, plain, *_ = pages.format_runs(runs(0)).splitlines()
    assert heading == "| variant | run 0 | training | slides |"
    assert plain.startswith("| plain | 80.00 | 90.00 |")


def test_a_missing_run_has_an_empty_cell_and_enters_no_mean():
    found = runs(0, 1, 2, without={("dropout-0.25", 2)})
    _, _, plain, dropout, *_ = pages.format_runs(found).splitlines()
    assert plain.startswith("| plain | 80.00 | 81.00 | 82.00 | 80.50 |")
    assert dropout.startswith("| Dropout 0.25 | 70.00 | 71.10 |  | 70.55 |")


def test_a_stand_in_is_not_compared_with_the_slides():
    assert "slides |" not in pages.format_runs(runs(0, source="shapes"))


def test_a_variant_that_did_not_learn_needs_no_second_run():
    found = runs(0, 1, without={("spatial-0.7", 1)}, idle=["spatial-0.7"])
    spatial = pages.format_runs(found).splitlines()[4]
    assert spatial.startswith("| SpatialDropout 0.7 | 10.00 |  | 10.00 | 10.00 |")
    assert "did not learn: SpatialDropout 0.7" in pages.format_answer(found)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (runs(0), "Only run 0 has every variant"),
        (runs(0, 1, without={("none", 1)}), "Only run 0 has every variant"),
        (runs(0, 1, without={("none", 0)}), "Only run 1 has every variant"),
        (runs(0, without={("dropblock-7-0.9", 0)}), "No run has every variant"),
        (
            runs(0, 1, without={(arm, seed) for arm in ARMS for seed in (0, 1)
                                if arm != "none"}),
            "No run has every variant",
        ),
    ],
)  # fmt: skip
def test_one_complete_run_allows_no_verdict(found, expected):
    answer = pages.format_answer(found)
    assert answer.startswith("**No verdict yet.**")
    assert expected in answer
    assert f"{len(found.records)} of 15 runs recorded" in pages.format_results(found)


@pytest.mark.parametrize(("seeds", "count"), [((0, 1), 2), ((0, 1, 2), 3)])
def test_several_complete_runs_allow_one(seeds, count):
    answer = pages.format_answer(runs(*seeds))
    assert "| Dropout 0.25 |" in answer
    assert (
        f"**Against plain training** over {count} runs: higher: DropBlock 3" in answer
    )
    assert "lower: Dropout 0.25" in answer
