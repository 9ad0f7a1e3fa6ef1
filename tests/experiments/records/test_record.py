"""Records on disk, and the table made from them."""

import csv
import dataclasses
import io
import json
import os
import threading
from concurrent import futures
from pathlib import Path

import numpy as np
import pytest
from records import make_record, record_of

from dropblock_lib.experiments import (
    Recipe,
    Record,
    RecordError,
    describe_setting,
    format_table,
    load_records,
    summarize,
)
from dropblock_lib.experiments.recipes.recipe import _CHECKS, hash_of
from dropblock_lib.experiments.recipes.slides import ACCURACY, RETINANET_LOSSES
from dropblock_lib.experiments.records import record as record_module
from dropblock_lib.experiments.records.json_files import write_atomically
from dropblock_lib.experiments.records.record import default_results_directory
from dropblock_lib.experiments.records.schema1 import LATER_FIELDS
from dropblock_lib.variants import VARIANTS


def document_of(record):
    """A copy of the contents of the record's file."""
    return json.loads(json.dumps(record.to_dict()))


def test_round_trip(tmp_path):
    record = make_record()
    path = record.write(tmp_path / "records")
    assert path.name == "custom_net-cifar10-jpeg-none-small-seed0.json"
    assert Record.read(path) == record
    assert load_records(tmp_path / "records") == [record]
    assert os.listdir(path.parent) == [path.name], "a temporary file remains"


def test_records_are_never_overwritten(tmp_path):
    path = make_record().write(tmp_path)
    before = path.read_bytes()
    with pytest.raises(RecordError, match="never overwritten"):
        make_record(test_accuracy=0.9).write(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("links", [True, False])
def test_of_two_writers_at_once_one_is_told(tmp_path, monkeypatch, links):
    def no_links(*paths):
        raise PermissionError("no links here")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    records = [make_record(test_accuracy=value) for value in (0.5, 0.6)]
    barrier = threading.Barrier(2)

    def wait(path, text, **options):
        if links:
            barrier.wait(timeout=30)
        return write_atomically(path, text, **options)

    monkeypatch.setattr(record_module, "write_atomically", wait)

    def write(record):
        try:
            return record.write(tmp_path)
        except RecordError as error:
            return error

    with futures.ThreadPoolExecutor(2 if links else 1) as pool:
        results = list(pool.map(write, records))
    [error] = [result for result in results if isinstance(result, RecordError)]
    [path] = [result for result in results if result is not error]
    assert "never overwritten" in str(error)
    written = records[results.index(path)]
    assert Record.read(path).final == written.final
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_file_in_place_of_the_folder_is_not_taken_for_the_record(tmp_path):
    (tmp_path / "records").write_text("a file")
    with pytest.raises(OSError, match="The trained run is saved"):
        make_record().write(tmp_path / "records")


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, fails
):
    path = tmp_path / "a.json"
    write_atomically(path, "old")

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, fails, fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_reader_never_sees_half_a_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, "old")
    seen = []
    replace = os.replace

    def look_then_replace(source, target):
        # The new content is already complete, in a file of the same folder.
        seen.append((path.read_text(), Path(source).read_text()))
        assert os.path.dirname(source) == os.path.dirname(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", look_then_replace)
    write_atomically(path, "new" * 100_000)
    assert seen == [("old", "new" * 100_000)]
    assert path.read_text() == "new" * 100_000


def without(*keys):
    def change(record):
        section = record
        for key in keys[:-1]:
            section = section[key]
        del section[keys[-1]]

    return change


def with_value(value, *keys):
    def change(record):
        section = record
        for key in keys[:-1]:
            section = section[key]
        section[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (with_value(3, "schema"), "schema"),
        (without("schema"), "schema"),
        (without("history"), "`history` is missing"),
        (with_value("fast", "seconds"), "`seconds`"),
        (with_value("another", "name"), "another"),
        (with_value("resnet", "recipe", "network"), "hash"),
        (with_value(7, "recipe", "network"), "argument `network`"),
        (with_value({"method": "x"}, "recipe", "regularizer"), "argument `method`"),
        (with_value({"size": 3}, "recipe", "regularizer"), "argument `numbers`"),
        (without("recipe", "epochs"), "recipe"),
        (with_value(1, "recipe", "seed"), "hash"),
        (without("data", "source"), "'source'"),
        (with_value(3, "data", "source"), "`data` is not valid"),
        (with_value("9000", "data", "train"), "`data` is not valid"),
        (with_value([0.1], "history", "loss"), "`loss`"),
        (without("history", "keep_prob"), "`keep_prob`"),
        (with_value(1.5, "final", "test_accuracy"), "`test_accuracy`"),
        (with_value(None, "final", "val_accuracy"), "`val_accuracy`"),
        (without("final", "train_loss"), "`train_loss`"),
        (with_value("nan", "final", "test_loss"), "`test_loss`"),
        (without("best", "val_accuracy"), "`best`"),
        (with_value({"file": "a.npz"}, "weights"), "`weights`"),
        (with_value("a.npz", "weights"), "`weights`"),
    ],
)
def test_an_invalid_record_is_named_and_not_read(tmp_path, change, says):
    record = document_of(make_record())
    path = tmp_path / f"{record['name']}.json"
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(RecordError) as caught:
        load_records(tmp_path)
    assert str(path) in str(caught.value) and says in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"history": {}}, "`loss`"),
        ({"final": {}}, "`test_accuracy`"),
        ({"best": {}}, "`best`"),
        ({"seconds": "fast"}, "`seconds`"),
    ],
)
def test_an_invalid_record_is_named_and_not_written(tmp_path, change, says):
    record = dataclasses.replace(make_record(), **change)
    with pytest.raises(RecordError) as caught:
        record.write(tmp_path / "other")
    assert record.name in str(caught.value) and says in str(caught.value)
    assert not (tmp_path / "other").exists()


def test_a_record_that_is_read_and_written_again_is_the_same_file(tmp_path):
    paths = sorted((default_results_directory() / "records").glob("*.json"))
    if not paths:
        pytest.skip("the package is installed without its source tree")
    for path in paths:
        text = path.read_text()
        record = Record.read(path)
        if json.loads(text)["schema"] == 2:
            assert record.write(tmp_path).read_text() == text
        else:
            assert record.name == path.stem


DIGITS, DEPTH = b"9" * 5_000, b"[" * 100_000


@pytest.mark.parametrize(
    "content", [b"", b'{"schema": 1', b"[]", b"\xff\xfe", b"null", DIGITS, DEPTH]
)
def test_a_file_that_is_not_a_record_is_named(tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"broken\.json is not a record"):
        load_records(tmp_path)


def test_a_record_that_cannot_be_opened_hides_no_other(tmp_path):
    record = make_record()
    record.write(tmp_path)
    folder, link = tmp_path / "folder.json", tmp_path / "link.json"
    folder.mkdir()
    link.symlink_to(tmp_path / "nowhere")
    records, errors = record_module.read_all(tmp_path)
    assert records == [record]
    assert set(errors) == {folder, link}
    assert all(str(path) in str(error) for path, error in errors.items())


def test_a_record_of_a_newer_version_says_so(tmp_path):
    document = document_of(make_record()) | {"schema": 3}
    (tmp_path / f"{document['name']}.json").write_text(json.dumps(document))
    with pytest.raises(RecordError, match="a newer version of dropblock_lib wrote it"):
        load_records(tmp_path)


def test_a_diverged_loss_is_kept_as_null(tmp_path):
    record = make_record(test_loss=None)
    assert Record.read(record.write(tmp_path)).final["test_loss"] is None


def test_a_folder_without_records_is_empty(tmp_path):
    assert load_records(tmp_path) == []
    assert load_records(tmp_path / "none") == []


def test_default_folder_is_the_shipped_one_or_the_source_tree(tmp_path, monkeypatch):
    package = tmp_path / "tree" / "dropblock_lib"
    (package / "experiments" / "records").mkdir(parents=True)
    (tmp_path / "tree" / "pyproject.toml").touch()
    monkeypatch.setattr(
        record_module,
        "__file__",
        str(package / "experiments" / "records" / "record.py"),
    )
    results = tmp_path / "tree" / "results"
    make_record(seed=1).write(results / "records")
    assert [record.recipe.seed for record in load_records()] == [1]
    make_record(seed=2).write(package / "results" / "records")
    assert [record.recipe.seed for record in load_records()] == [2]

    assert record_module.default_results_directory() == results
    (tmp_path / "tree" / "pyproject.toml").unlink()
    monkeypatch.chdir(tmp_path)
    assert record_module.default_results_directory() == tmp_path / "results"


# === Table ===


def three_seeds(variant="none", source="cifar10-jpeg"):
    rng = np.random.default_rng(len(variant))
    return [
        make_record(
            seed,
            variant,
            source,
            test_accuracy=float(rng.uniform(0.4, 0.6)),
            val_accuracy=float(rng.uniform(0.4, 0.6)),
            train_accuracy=float(rng.uniform(0.8, 0.9)),
        )
        for seed in range(3)
    ]


def test_mean_and_sample_deviation_are_numpys():
    records = three_seeds()
    [row] = summarize(records)
    final = {key: np.array([r.final[key] for r in records]) for key in row_keys()}
    values = final | {
        "gap": final["train_accuracy"] - final["test_accuracy"],
        "seconds": np.array([10.0, 11.0, 12.0]),
    }
    for metric, expected in values.items():
        assert row[f"{metric}_mean"] == pytest.approx(expected.mean(), rel=1e-12)
        assert row[f"{metric}_std"] == pytest.approx(expected.std(ddof=1), rel=1e-12)
    assert row["n"] == 3 and row["seeds"] == [0, 1, 2]
    assert row["slides_accuracy"] == 0.7813


def row_keys():
    return ("test_accuracy", "val_accuracy", "train_accuracy")


def test_one_seed_has_no_deviation():
    [row] = summarize([make_record(seed=4)])
    assert (row["n"], row["seeds"], row["test_accuracy_std"]) == (1, [4], None)
    assert "±" not in format_table([row])


def test_a_stand_in_is_not_shown_beside_results_of_the_slides():
    [row] = summarize([make_record(source="shapes")])
    assert row["slides_accuracy"] is None
    assert format_table([row]).splitlines()[-1].endswith("10")  # the seconds


def test_only_runs_that_differ_in_the_seed_share_a_row():
    records = [
        *three_seeds("dropblock-7-0.9"),
        *three_seeds("none"),
        *three_seeds("none", "cifar10"),
        *three_seeds("none", "shapes"),
    ]
    rows = summarize(records[::-1])
    assert [(row["source"], row["variant"], row["n"]) for row in rows] == [
        ("cifar10", "none", 3),
        ("cifar10-jpeg", "none", 3),
        ("cifar10-jpeg", "dropblock-7-0.9", 3),
        ("shapes", "none", 3),
    ]

    longer = make_record(variant="dropblock-7-0.9", epochs=3)
    assert [row["n"] for row in summarize([longer, *records[1:3]])] == [1, 2]

    with pytest.raises(ValueError, match="argument `records`"):
        summarize([make_record(), make_record()])


def test_text_shows_mean_spread_and_n():
    records = [
        make_record(0, test_accuracy=0.50),
        make_record(1, test_accuracy=0.60),
    ]
    heading, rule, row = format_table(summarize(records)).splitlines()
    assert heading.split()[:5] == ["network", "data", "profile", "variant", "n"]
    assert set(rule) == {"-", " "}
    # Mean .55; deviations of .05 both ways, n - 1 = 1: sqrt(.005) = .0707.
    assert "2  jax      0.5500 ± 0.0707" in row and row.endswith("0.7813")


def test_csv_and_json_contain_the_same_rows():
    rows = summarize([*three_seeds("dropout-0.25"), make_record()])
    from_json = json.loads(format_table(rows, "json"))
    assert from_json == rows
    from_csv = list(csv.DictReader(io.StringIO(format_table(rows, "csv"))))
    for ours, theirs in zip(rows, from_csv, strict=True):
        assert theirs["seeds"].split() == [str(seed) for seed in ours["seeds"]]
        assert float(theirs["gap_mean"]) == ours["gap_mean"]
        assert theirs["gap_std"] == str(ours["gap_std"] or "")


def test_a_setting_is_described_from_its_records():
    text = describe_setting([make_record(0), make_record(2)])
    recipe = make_record().recipe
    assert f"{recipe.epochs} epochs in batches of {recipe.batch_size}" in text
    assert text.endswith("seeds 0, 2.")


def test_every_keep_prob_schedule_has_its_own_description():
    _, choices = _CHECKS["keep_prob_schedule"]
    recipes = [
        dataclasses.replace(make_record().recipe, keep_prob_schedule=choice)
        for choice in choices
    ]
    texts = {describe_setting([record_of(recipe)]) for recipe in recipes}
    assert len(texts) == len(choices)


def test_markdown_is_in_percent():
    records = [make_record(0, test_accuracy=0.50), make_record(1, test_accuracy=0.60)]
    heading, rule, row = format_table(summarize(records), "markdown").splitlines()
    assert heading.count("|") == rule.count("|") == row.count("|")
    assert "| plain | 55.00 ± 7.07 |" in row and row.endswith("| 2 | 78.13 |")


def test_markdown_names_the_networks_if_there_are_several():
    record = make_record(0)
    recipe = Recipe("resnet50", "none", "cifar10")
    rows = summarize([record, dataclasses.replace(record, recipe=recipe)])
    heading, rule, *rows = format_table(rows, "markdown").splitlines()
    assert heading.startswith("| network | data |")
    assert [row.split(" | ")[0] for row in rows] == ["| CustomNet", "| ResNet-50"]
    assert heading.count("|") == rule.count("|") == rows[0].count("|")


def test_no_records_make_an_empty_table():
    assert format_table([], "text") == "No records.\n"
    assert format_table([], "json") == "[]\n"
    assert format_table([], "csv") == ""
    with pytest.raises(ValueError, match="argument `format`"):
        format_table([], "html")


# === The slides' results ===


def test_the_slides_results_are_complete_and_have_the_known_winners():
    assert len(ACCURACY) == 6
    for (network, _), figures in ACCURACY.items():
        assert len(figures) == 5 and set(figures) <= set(VARIANTS)
        rate = "0.3" if network == "densenet121" else "0.7"
        assert f"spatial-{rate}" in figures
    winners = {key: max(figures, key=figures.get) for key, figures in ACCURACY.items()}
    # The winners in the slides' own tables.
    assert winners["custom_net", "cifar10"] == "dropout-0.25"
    assert winners["resnet50", "mnist"] == "dropout-0.25"
    assert winners["densenet121", "cifar10"] == "dropblock-7-0.9"
    assert len(RETINANET_LOSSES) == 7 and set(RETINANET_LOSSES) <= set(VARIANTS)
    assert min(RETINANET_LOSSES, key=lambda v: RETINANET_LOSSES[v][1]) == "dropout-0.25"


# === Records of the first layout ===


def first_layout():
    """A record as it was written before recipes contained numbers."""
    record = document_of(make_record(variant="dropblock-3-0.7"))
    later = {"regularizer", *LATER_FIELDS}
    recipe = {k: v for k, v in record["recipe"].items() if k not in later}
    return record | {
        "schema": 1,
        "recipe": recipe,
        "recipe_hash": hash_of(recipe),
    }


def test_a_record_of_the_first_layout_is_converted(tmp_path):
    old = first_layout()
    path = tmp_path / f"{old['name']}.json"
    path.write_text(json.dumps(old))
    new = Record.read(path)
    recipe = new.recipe
    assert recipe.regularizer == {
        "method": "dropblock",
        "block_size": 3,
        "keep_prob": 0.7,
        "gamma": "paper",
        "per_channel": True,
    }
    assert recipe.placement == "after-pooling"
    # In the first layout, keep_prob fell once per epoch.
    assert recipe.keep_prob_schedule == "linear-epoch"
    assert new.final == old["final"] and new.history == old["history"]
    assert json.loads(path.read_text()) == old, "the file was changed"


def test_a_changed_record_of_the_first_layout_is_rejected(tmp_path):
    old = first_layout()
    old["recipe"]["epochs"] = 3
    path = tmp_path / f"{old['name']}.json"
    path.write_text(json.dumps(old))
    with pytest.raises(RecordError, match="does not match its `recipe_hash`"):
        Record.read(path)
