"""The benchmarks run and compare like with like; no test checks a speed."""

import itertools
import os
import platform
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from backend import BACKEND

from benchmarks import (
    anchor_classes,
    contestants,
    errors,
    features,
    forward_backward,
    interleaved,
    layer_speed,
    loaded_speed,
    options,
    peer_rates,
    peers,
    run,
    run_speed,
    step_speed,
    table,
    versions,
)
from dropblock_lib.experiments.records.benchmark import (
    load_benchmarks,
    read_benchmark,
)

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ("layer_speed", "step_speed", "peer_rates", "features")

pytestmark = pytest.mark.backends
# These start processes, which takes long, and do the same on every backend.
once = pytest.mark.skipif(BACKEND != "tensorflow", reason="the same on every backend")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with the file of each benchmark, run in smoke mode."""
    folder = tmp_path_factory.mktemp("benchmarks")
    for benchmark in (layer_speed, step_speed, peer_rates, features):
        benchmark.main(["--smoke", "--output", str(folder)])
    return folder


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_writes_one_valid_file(written, name):
    document = read_benchmark(written / f"{name}-{BACKEND}.json")
    assert document["backend"] == BACKEND
    assert document["hardware"]["cores"] >= 1
    assert keras.__version__ == document["versions"]["keras"]
    assert document["settings"]["smoke"]
    assert list(written.glob(f"*{name}*")) == [written / f"{name}-{BACKEND}.json"]


@once
def test_anchors_are_counted_by_class(tmp_path):
    anchor_classes.main(["--smoke", "--dataset", "scenes", "--output", str(tmp_path)])
    document = load_benchmarks("anchor_classes", tmp_path)[BACKEND]
    counts = [row["anchors"] for row in document["rows"]]
    assert len(counts) == len({row["class"] for row in document["rows"]}) == 10
    assert 0 < sum(counts) < document["settings"]["asked"]


@once
def test_the_layer_is_timed_beside_busy_processes(tmp_path):
    loaded_speed.main(["--smoke", "--output", str(tmp_path)])
    rows = load_benchmarks("loaded_speed", tmp_path)[BACKEND]["rows"]
    cases = {(row["busy"], row["threads"], row["allocator"]) for row in rows}
    assert cases == {(1, "one", "default")}
    assert len(rows) == len({row["contestant"] for row in rows}) == 3
    assert all(row["median"] > 0 for row in rows)


@once
def test_two_versions_are_timed_in_turns(tmp_path):
    versions.main([str(ROOT), "--smoke", "--output", str(tmp_path)])
    document = load_benchmarks("versions", tmp_path)[BACKEND]
    assert {row["contestant"] for row in document["rows"]} == {"before", "after"}
    assert all(row["median"] > 0 for row in document["rows"])
    (ratio,) = (r["ratio"] for r in document["rows"] if r["contestant"] == "before")
    assert ratio == 1


@once
def test_the_earlier_version_is_the_one_in_its_folder(tmp_path):
    with pytest.raises(SystemExit):
        versions.main([str(tmp_path), "--smoke", "--output", str(tmp_path)])
    package = tmp_path / "dropblock_lib"
    package.mkdir()
    (package / "__init__.py").write_text("# No DropBlock2D.\n")
    with pytest.raises(RuntimeError, match="a version failed"):
        versions.main([str(tmp_path), "--smoke", "--output", str(tmp_path)])
    assert not list(tmp_path.glob("*.json"))


def test_our_layers_and_those_of_keras_are_timed_compiled(written):
    document = load_benchmarks("layer_speed", written)[BACKEND]
    mode = {"tensorflow": "graph", "jax": "jit", "torch": "eager"}[BACKEND]
    known = contestants.own(3, 0.9)
    rows = [row for row in document["rows"] if row["contestant"] in known]
    assert {row["contestant"] for row in rows} == set(known)
    for row in rows:
        assert row["mode"] == mode
        assert 0 < row["low"] <= row["median"] <= row["high"]
        assert row["ratio"] > 0
        assert ("temp_memory" in row) == (BACKEND == "jax")


@pytest.mark.parametrize("rank", [1, 3])
def test_sequences_and_volumes_are_timed_beside_dropout(written, rank):
    rows = load_benchmarks("layer_speed", written)[BACKEND]["rows"]
    rows = [row for row in rows if len(row["shape"]) == rank + 2]
    seen = {row["contestant"] for row in rows}
    assert set(contestants.own(3, 0.9, rank)) <= seen
    assert all(row["median"] > 0 for row in rows)
    loaded, _ = peers.load_all(BACKEND, rank)
    assert set(peers.PEERS) & seen == set(loaded)


def test_a_step_is_timed_with_and_without_regularizers(written):
    rows = load_benchmarks("step_speed", written)[BACKEND]["rows"]
    assert [(row["variant"], row["layers"]) for row in rows] == [
        ("none", 0),
        ("dropblock-3-0.9", 3),
    ]
    assert all(row["median"] > 0 for row in rows)


def test_each_peer_is_measured_or_reported_missing(written):
    for name in ("layer_speed", "peer_rates", "features"):
        document = load_benchmarks(name, written)[BACKEND]
        seen = {row["contestant"] for row in document["rows"]}
        for label, peer in peers.PEERS.items():
            if BACKEND in peer.backends:
                assert (label in seen) != (label in document["missing"])
                assert (label in seen) == (label in document["versions"])
            else:
                assert label not in seen | set(document["missing"])


def test_the_table_shows_every_benchmark_and_missing_peer(written, tmp_path, capsys):
    arguments = ["--input", str(written), "--plots", str(tmp_path)]
    table.main([*arguments, "--format", "markdown"])
    shown = capsys.readouterr().out
    assert "| 2x6x5x3 | 3 | 0.5 |" in shown
    assert "| DropBlock 3/0.9 | 3 |" in shown
    assert "| 8x6 | 3 | 10 |" in shown
    for document in load_benchmarks("layer_speed", written).values():
        for reason in document["missing"].values():
            assert reason in shown
    drawn = {path.name for path in tmp_path.glob("*.svg")}
    assert drawn == {"layer-speed-3.svg", "peer-rates-3.svg"}


def test_a_smoke_run_does_not_replace_results(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    results = tmp_path / "results"
    monkeypatch.setattr(options, "default_benchmarks_directory", lambda: results)
    parser = options.parser("A benchmark.")
    assert parser.parse_args([]).output == results
    assert parser.parse_args(["--smoke"]).output == options.SMOKE_FOLDER
    assert parser.parse_args(["--smoke", "--output", "."]).output == Path(".")
    assert "None" not in parser.format_help()
    results.rmdir()
    results.write_text("a file")
    with pytest.raises(SystemExit):
        parser.parse_args([])
    assert "a folder that can be written" in capsys.readouterr().err


def test_the_data_of_the_run_benchmark_are_complete():
    data = run_speed._data(1_000)
    assert data.x_train.shape == (1_000, *data.input_shape)
    assert len(data.y_test) == 1_000


@once
def test_the_command_runs_a_benchmark_and_says_why_a_backend_is_skipped(tmp_path):
    command = [sys.executable, "-m", "benchmarks.run", "--smoke"]
    command += ["--only", "peer_rates"]
    command += ["--backends", BACKEND, "--output", tmp_path, "--plots", tmp_path]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert f"== peer_rates on {BACKEND}" in ran.stdout
    assert "8x6" in ran.stdout
    assert (tmp_path / f"peer_rates-{BACKEND}.json").is_file()
    assert run.why_not("a_backend_that_nobody_has") == (
        "ModuleNotFoundError: No module named 'a_backend_that_nobody_has'"
    )


@pytest.mark.parametrize("name", list(contestants.own(3, 0.5)))
def test_a_timed_call_draws_new_noise_and_computes_the_gradient(name):
    contestant = contestants.own(3, 0.5)[name]()
    call, _ = forward_backward.prepare(contestant, (4, 6, 6, 3))
    rng = np.random.default_rng(0)
    x, gradient = rng.uniform(0.5, 1.5, (2, 4, 6, 6, 3)).astype("float32")
    masks = []
    for _ in range(2):
        y, dx = (keras.ops.convert_to_numpy(found) for found in call())
        # Output and gradient are the same scaled mask times their input.
        np.testing.assert_allclose(y / x, dx / gradient, rtol=1e-5)
        masks.append(y > 0)
    is_random = name != "x * c"
    assert (masks[0] != masks[1]).any() == is_random
    assert (~masks[0]).any() == is_random


def test_every_contestant_is_called_once_per_round_in_a_changing_order():
    log = []
    calls = {name: lambda name=name: log.append(name) for name in "abc"}
    seconds = interleaved.measure(calls, rounds=40, warm_up=2)
    assert {name: len(times) for name, times in seconds.items()} == dict(
        a=40, b=40, c=40
    )
    rounds = [tuple(log[i : i + 3]) for i in range(0, len(log), 3)]
    assert all(sorted(called) == ["a", "b", "c"] for called in rounds)
    assert len(set(rounds)) == 6, "some order never occurs"


def test_times_are_summarized_as_medians_quartiles_and_ratios():
    seconds = {"a": [2.0, 4.0, 6.0, 8.0, 10.0], "b": [1.0, 4.0, 2.0, 2.0, 10.0]}
    found = interleaved.summarize(seconds, base="b")
    assert found["a"] == {
        "median": 6.0, "low": 4.0, "high": 8.0,
        "ratio": 3.0, "ratio_low": 1.0, "ratio_high": 3.0,
    }  # fmt: skip
    assert found["b"]["ratio"] == 1.0
    assert interleaved.summarize({"a": [3.0]}, base="b") == {
        "a": {"median": 3.0, "low": 3.0, "high": 3.0}
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rounds", "two"], "an integer of at least 1. Received: two"),
        (["--rounds", "0"], "an integer of at least 1. Received: 0"),
        (["--rounds", "1.5"], "an integer of at least 1. Received: 1.5"),
        (["--image", "32xa"], "an integer of at least 1. Received: a"),
        (["--image", "32x32"], "3 numbers, such as 8x8x8. Received: 32x32"),
        (["--output", __file__], f"can be written. Received: {__file__}"),
    ],
)
def test_a_bad_option_is_named_before_anything_is_measured(capsys, arguments, says):
    with pytest.raises(SystemExit):
        step_speed.main([*arguments, "--smoke"])
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {arguments[0]}: expected" in error and error.endswith(says)


def test_an_error_is_shortened_to_a_line_without_paths():
    traced = TypeError(
        'in user code:\n\n    File "/my/own/a.py", line 1, in f  *\n        f(x)\n'
        '    File "/my/own/b.py", line 2, in g\n        g(x)\n\n'
        "    TypeError: Exception encountered when calling DropBlock2D.call().\n\n"
        "    \x1b[1mno int of /my/own/c.py\x1b[0m\n\n"
        "    Arguments received by DropBlock2D.call():\n      x=1\n"
    )
    assert errors.in_one_line(traced) == "TypeError: no int of c.py"
    assert errors.in_one_line(ValueError("a / b")) == "ValueError: a / b"
    assert len(errors.in_one_line(ValueError("a" * 1000))) == errors.MAX_LENGTH


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose `__init__` fails, with a layer in it."""
    layers = tmp_path / "heavy_package" / "layers"
    layers.mkdir(parents=True)
    for folder in (layers, layers.parent):
        (folder / "__init__.py").write_text("raise RuntimeError('imported whole')")
    (layers / "drop.py").write_text("from ..utils import log\ndrop = log\n")
    monkeypatch.syspath_prepend(tmp_path)
    peer = peers.Peer(
        "numpy", "heavy_package.layers.drop.drop", (BACKEND,),
        stubs={"heavy_package.utils": {"log": "what was asked for"}},
    )  # fmt: skip
    monkeypatch.setitem(peers.PEERS, "heavy", peer)


def test_only_the_file_with_the_layer_is_imported_from_a_peer(package):
    assert peers.load("heavy") == "what was asked for"
    assert [name for name in sys.modules if name.startswith("heavy_package")] == []


def test_a_missing_or_broken_peer_says_why(package, monkeypatch):
    peer = peers.PEERS["heavy"]
    absent = peers.Peer("no-such-distribution", peer.name, peer.backends)
    monkeypatch.setitem(peers.PEERS, "heavy", absent)
    with pytest.raises(peers.Missing, match="no-such-distribution is not installed"):
        peers.load("heavy")
    broken = peers.Peer("numpy", "heavy_package.layers.gone.drop", peer.backends)
    monkeypatch.setitem(peers.PEERS, "heavy", broken)
    with pytest.raises(peers.Missing, match=r"cannot be imported: No module .*gone"):
        peers.load("heavy")
    assert [name for name in sys.modules if name.startswith("heavy_package")] == []


def test_a_drop_rate_counts_zeros_and_nan_and_calls_with_nan_are_counted():
    numbers = itertools.count()

    def half_of_a_map_and_sometimes_nan(x):
        mask = np.ones(x.shape, "float32")
        mask[:, : x.shape[1] // 2] = np.nan if next(numbers) % 4 == 0 else 0
        return mask

    contestant = contestants.Contestant(half_of_a_map_and_sometimes_nan)
    call = peer_rates.caller(contestant)
    chosen = peer_rates._parser().parse_args(["--calls", "12"])
    found = peer_rates.dropped(call, (8, 4), chosen)
    assert found == {"dropped": 0.5, "standard_error": 0.0, "calls": 12, "batch": 392}
    spoiled = peer_rates.unusable(call, (8, 4), calls=8)
    assert spoiled == {"not_finite": 2, "single_calls": 8}


def test_a_timed_process_restarts_with_its_environment_variables():
    code = (
        "import sys\nfrom benchmarks import process\n"
        "process.restart_with_settings()\n"
        "print(process.current() == process.SETTINGS, sys.argv[1:])"
    )
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC", "TF_"))}
    ran = subprocess.run(
        [sys.executable, "-c", code, "--rounds", "3"],
        cwd=ROOT, env=bare, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    is_glibc = platform.libc_ver()[0] == "glibc"
    assert ran.stdout == f"{is_glibc} ['--rounds', '3']\n", ran.stderr
