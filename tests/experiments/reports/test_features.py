"""The table of what implementations of DropBlock can do."""

import pytest

from dropblock_lib.experiments.records.benchmark import load_benchmarks
from dropblock_lib.experiments.reports import features


def shipped():
    names = ("features", "peer_rates", "layer_speed")
    return features.feature_cells(*map(load_benchmarks, names))


def test_every_implementation_has_a_cell_for_every_feature():
    cells = shipped()
    table = features.feature_table(cells).splitlines()
    assert len(table) == len(cells) + 2
    for feature, row in cells.items():
        assert set(row) == set(features.IMPLEMENTATIONS.values())
        assert [name for name, cell in row.items() if not cell.found] == [], feature
        # A table with six columns has room for only a few letters.
        assert max(len(cell.short) for cell in row.values()) <= 10
    assert all(line.count("|") == 7 for line in table)
    found = features.feature_list(cells)
    assert found.count("\n- ") == len(cells) * len(features.IMPLEMENTATIONS)


def rate(size, block, dropped=0.1, expected=0.1, not_finite=0, **more):
    return {
        "contestant": "timm", "size": list(size), "block_size": block,
        "nominal": 0.1, "expected": expected, "dropped": dropped,
        "not_finite": not_finite, "single_calls": 9, **more,
    }  # fmt: skip


def failed(size, block):
    row = rate(size, block, error="ValueError: planted")
    del row["dropped"]
    return row


def exact(row):
    return row | {"contestant": "DropBlock2D, exact"}


# Rows for the other features.
MORE = [rate((7, 7), 7), rate((4, 4), 7), rate((8, 14), 7), rate((9, 9), 4)]


@pytest.mark.parametrize(
    ("feature", "rows", "short", "found"),
    [
        ("even blocks", [rate((9, 9), 4, 0.2)], "yes", "20.0%, where 10.0%"),
        ("even blocks", [failed((9, 9), 4)], "no", "``ValueError: planted``"),
        ("non-square maps", [rate((8, 14), 7, 0.103)], "yes", "within 0.30 points"),
        ("non-square maps", [rate((8, 14), 7, 0.2)], "no", "20.0%, where 10.0% is"),
        ("block larger than the map", [rate((4, 4), 7, not_finite=2)], "no", "2 of 9"),
        ("exact rate", [rate((7, 7), 7, 0.08, 0.08)], "no", "8.0%, where 10.0%"),
        ("backends", [rate((9, 9), 3)], "1 of 3", "JAX; on TensorFlow: ``V"),
    ],
)
def test_a_cell_says_what_was_counted(feature, rows, short, found):
    rates = {
        "tensorflow": {"rows": [failed((9, 9), 4)] * (feature == "backends")},
        "jax": {"rows": [*rows, *MORE, *map(exact, MORE)]},
    }
    cell = features.feature_cells({}, rates, {})[feature]["timm"]
    assert cell.short == short and found in cell.found


def test_a_feature_that_fails_on_one_backend_may_work_on_another():
    def document(works, **more):
        row = {"contestant": "KerasCV", "feature": "masks", "works": works}
        return {"rows": [row | more]}

    documents = {
        "torch": document(False, error="ValueError: planted"),
        "tensorflow": document(True, found="per channel"),
    }
    cell = features._checked(documents, "KerasCV", "masks")
    assert cell == features.Cell("no", "per channel")
    del documents["tensorflow"]
    cell = features._checked(documents, "KerasCV", "masks")
    assert cell == features.Cell("no", "``ValueError: planted``")
