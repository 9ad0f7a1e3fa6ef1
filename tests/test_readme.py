"""The front page shows what the records say."""

import re
from pathlib import Path

from dropblock_lib.experiments import format_table, load_records, summarize

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
