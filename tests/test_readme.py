"""The front page, and the one of the records, state what the code and records do."""

import re
from pathlib import Path

from dropblock_lib.experiments import (
    PROFILES,
    format_table,
    load_records,
    make_recipe,
    summarize,
)

ROOT = Path(__file__).resolve().parents[1]


def test_the_results_are_those_of_the_records():
    readme = (ROOT / "README.md").read_text()
    shown = re.search("<!-- results -->\n(.*)<!-- /results -->", readme, re.DOTALL)[1]
    records = load_records(ROOT / "results" / "records")
    small = [record for record in records if record["recipe"]["profile"] == "small"]
    assert shown.strip() == format_table(summarize(small), "markdown").strip()


def test_every_comparison_has_three_seeds():
    rows = summarize(load_records(ROOT / "results" / "records"))
    assert rows
    assert {
        (row["source"], row["variant"]): row["n"] for row in rows if row["n"] < 3
    } == {}


def test_the_page_of_the_records_states_the_profiles_as_they_are():
    readme = (ROOT / "results" / "README.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in readme.splitlines()
        if line.startswith("|")
    ]
    stated = {
        (profile, dataset): cells
        for profile, datasets, *cells in (row for row in rows if row[0] in PROFILES)
        for dataset in datasets.split(", ")
    }
    actual = {}
    for profile, about in PROFILES.items():
        for dataset in about.settings:
            recipe = make_recipe(profile, dataset)
            train = f"{recipe.train_size:,}" if recipe.train_size else "all others"
            actual[profile, dataset] = [
                f"{train} + {recipe.validation_size:,}",
                f"{recipe.test_size:,}" if recipe.test_size else "all",
                str(recipe.epochs),
                str(recipe.batch_size),
                ", ".join(map(str, about.seeds)),
            ]
    assert stated == actual
