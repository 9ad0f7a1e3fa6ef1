"""Files of benchmarks, the tables made from them, and those in the repository."""

import copy
import json
from pathlib import Path

import pytest

from dropblock_lib.experiments.records import environment
from dropblock_lib.experiments.records.benchmark import (
    BACKENDS,
    BenchmarkError,
    describe,
    load_benchmarks,
    make_benchmark,
    read_benchmark,
    write_benchmark,
)
from dropblock_lib.experiments.reports import speed

SHIPPED = Path(__file__).resolve().parents[3] / "results" / "benchmarks"


def timed(contestant, median, ratio, shape=(2, 4, 4, 3), keep_prob=0.9, **more):
    return {
        "shape": list(shape), "block_size": 7, "keep_prob": keep_prob,
        "contestant": contestant, "median": median, "ratio": ratio,
        "ratio_low": 0.9 * ratio, "ratio_high": 1.1 * ratio, **more,
    }  # fmt: skip


def layer_document():
    rows = [
        timed("Dropout", 0.004, 1.0),
        timed("DropBlock2D", 0.002, 0.5, temp_memory=0.25),
        timed("KerasCV", 0.012, 3.0, not_compiled="no"),
        {"contestant": "timm", "error": "no"} | case(),
        timed("Dropout", 0.010, 1.0, (2, 8, 8, 3)),
        timed("DropBlock2D", 0.009, 0.9, (2, 8, 8, 3), temp_memory=0.1),
    ]
    return make_benchmark("layer_speed", rows, {"base": "Dropout"}, {}, {"timm": "1"})


def case():
    return {"shape": [2, 4, 4, 3], "block_size": 7, "keep_prob": 0.9}


def rate_document():
    case = {"size": [14, 8], "block_size": 7, "nominal": 0.1}
    rows = [
        case | {"contestant": "DropBlock2D", "dropped": 0.0931, "not_finite": 0,
                "single_calls": 200},
        case | {"contestant": "KerasCV", "dropped": 0.62, "not_finite": 56,
                "single_calls": 200},
        case | {"contestant": "torchvision", "error": "even"},
    ]  # fmt: skip
    return make_benchmark("peer_rates", rows, {}, {"timm": "not installed"}, {})


def test_a_benchmark_is_read_as_written_and_replaces_an_older_one(tmp_path):
    document = layer_document()
    path = write_benchmark(document, tmp_path)
    assert read_benchmark(path) == document
    newer = copy.deepcopy(document) | {"date": "2100-01-01T00:00:00+00:00"}
    assert write_benchmark(newer, tmp_path) == path
    assert load_benchmarks("layer_speed", tmp_path) == {document["backend"]: newer}
    assert load_benchmarks("step_speed", tmp_path) == {}
    assert document["versions"]["timm"] == "1"
    assert document["hardware"] == environment.hardware()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"schema": 2}, "expected schema 1, found 2"),
        ({"rows": []}, "it has no rows"),
        ({"rows": [3]}, "a row is not a JSON object"),
        ({"hardware": None}, "`hardware` is None"),
        ({"backend": "mxnet"}, "not that of its benchmark and backend"),
    ],
)
def test_an_incomplete_benchmark_is_rejected_by_name(tmp_path, change, why):
    document = layer_document()
    path = write_benchmark(document, tmp_path)
    path.write_text(json.dumps(document | change))
    with pytest.raises(BenchmarkError, match=f"{path.name} is not a benchmark.*{why}"):
        load_benchmarks("layer_speed", tmp_path)
    path.write_text("{")
    with pytest.raises(BenchmarkError, match="it is not JSON"):
        load_benchmarks("layer_speed", tmp_path)


def test_nan_is_not_written(tmp_path):
    document = layer_document()
    document["rows"][0]["median"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_benchmark(document, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_layer_table_has_a_line_for_each_input():
    lines = speed.layer_table(layer_document(), "markdown").splitlines()
    assert lines[0].split(" | ")[3:] == [
        "Dropout, ms", "DropBlock2D", "KerasCV", "timm", "memory |",
    ]  # fmt: skip
    assert lines[2:] == [
        "| 2x4x4x3 | 7 | 0.9 | 4.00 | 0.50 | 3.00 (eager) | error | 0.25 |",
        "| 2x8x8x3 | 7 | 0.9 | 10.00 | 0.90 |  |  | 0.10 |",
    ]


def test_layers_of_all_ranks_share_a_column():
    document = layer_document()
    document["rows"] += [
        timed("Dropout", 0.008, 1.0, (2, 8, 3)),
        timed("DropBlock1D", 0.004, 0.6, (2, 8, 3), temp_memory=0.2),
        timed("DropBlock3D", 0.006, 0.7, (2, 4, 4, 4, 3), temp_memory=0.3),
    ]
    lines = speed.layer_table(document, "markdown").splitlines()
    assert lines[0].split(" | ")[3:] == [
        "Dropout, ms", "DropBlock", "KerasCV", "timm", "memory |",
    ]  # fmt: skip
    assert lines[4:] == [
        "| 2x8x3 | 7 | 0.9 | 8.00 | 0.60 |  |  | 0.20 |",
        "| 2x4x4x4x3 | 7 | 0.9 |  | 0.70 |  |  | 0.30 |",
    ]


def test_a_rate_table_shows_errors_and_nan():
    lines = speed.rate_table(rate_document(), "markdown").splitlines()
    assert lines[2] == "| 14x8 | 7 | 10 | 9.3 | 62.0 (NaN: 56 of 200) | error |"


def test_a_step_table_has_all_backends():
    rows = [{"variant": "none", "layers": 0, "median": 0.25, "ratio": 1.0}]
    documents = {name: {"rows": rows} for name in ("tensorflow", "jax")}
    lines = speed.step_table(documents, "markdown").splitlines()
    assert lines[2:] == [
        "| TensorFlow | plain | 0 | 250.00 | 1.00 |",
        "| JAX | plain | 0 | 250.00 | 1.00 |",
    ]
    with pytest.raises(ValueError, match=r"`format`.*'html'"):
        speed.step_table(documents, "html")


def test_the_worst_ratio_is_over_all_inputs_of_that_kind():
    document = layer_document()
    assert speed.worst_ratio(document) == pytest.approx(0.9)
    assert speed.worst_ratio(document, shape=(2, 4, 4, 3)) == pytest.approx(0.5)
    assert speed.worst_ratio(document, base="KerasCV") == pytest.approx(1 / 6)
    with pytest.raises(ValueError, match=r"rows of timm and Dropout"):
        speed.worst_ratio(document, "timm")


def test_the_machine_is_described_without_its_name():
    document = layer_document()
    document["git"] = {"commit": "0123456789abcdef", "clean": False}
    text = describe(document)
    assert f"{document['hardware']['cores']} cores" in text
    assert "commit 0123456789 with changes" in text
    assert "timm 1" in text
    assert "outside git" in describe(document | {"git": None})


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.json")), ids=lambda p: p.stem)
def test_benchmarks_in_the_repository_were_not_run_in_smoke_mode(path):
    document = read_benchmark(path)
    assert document["backend"] in BACKENDS
    assert not document["settings"]["smoke"]
    assert document["git"] is not None
