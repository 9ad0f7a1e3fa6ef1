"""The command line: what it prints, and with which exit code."""

import csv
import io
import json
import subprocess
import sys

import pytest
from tiny import tiny_data, tiny_recipe, use_tiny_net

from dropblock_lib.experiments import PROFILES, make_recipes, run
from dropblock_lib.experiments.__main__ import main
from dropblock_lib.experiments.progress import LineProgress, open_progress

run_module = sys.modules["dropblock_lib.experiments.run"]
NAME = "custom_net-cifar10-dropblock-3-0.9-small-seed0"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two finished runs of the tiny network, and one that was stopped."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_tiny_net(monkeypatch)
        for seed in (0, 1):
            recipe = tiny_recipe(epochs=1, seed=seed)
            run(recipe, results_dir=folder, data=tiny_data())
    return folder


def main_output(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return code, output.out, output.err


def test_list_shows_what_is_to_do(tmp_path, capsys):
    code, out, _ = main_output(capsys, "list", "--results", tmp_path)
    names = [line.split()[0] for line in out.splitlines()]
    assert code == 0
    assert names == [recipe.name for recipe in make_recipes("small")]
    assert all(line.endswith("  to do") for line in out.splitlines())


def test_names_patterns_and_filters_choose(tmp_path, capsys):
    def chosen(*arguments):
        _, out, _ = main_output(capsys, "list", *arguments, "--results", tmp_path)
        return [line.split()[0] for line in out.splitlines()]

    assert chosen(NAME) == [NAME]
    assert len(chosen("resnet50-*-none-full-*", "resnet50-*-none-small-*")) == 12
    only = chosen("--dataset", "mnist", "--variant", "none", "--seeds", "4", "5")
    assert only == [
        f"{network}-mnist-none-small-seed{seed}"
        for network in ("custom_net", "resnet50", "densenet121")
        for seed in (4, 5)
    ]
    both = chosen("--profile", "quick", "small", "--dataset", "digits", "cifar10")
    assert len(both) == 3 * (2 * 5 + 3 * 5)
    everything = chosen("--profile", *PROFILES)
    assert len(everything) == sum(len(make_recipes(profile)) for profile in PROFILES)


def test_a_mistyped_name_gets_a_hint(tmp_path, capsys):
    typo = NAME.replace("custom_net", "customnet")
    code, out, err = main_output(capsys, "run", typo, "--results", tmp_path)
    assert code == 1 and out == ""
    assert typo in err and f"Did you mean {NAME}" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--dataset", "imagenet"], "argument `dataset`"),
        (["--variant", "drop"], "argument `variant`"),
        (["--network", "vgg"], "argument `network`"),
        (["--seeds", "-1"], "argument `seed`"),
        (["--data-dir", "/no/such/folder"], "/no/such/folder"),
    ],
)
def test_bad_values_are_named(tmp_path, capsys, arguments, says):
    code, _, err = main_output(capsys, "run", *arguments, "--results", tmp_path)
    assert code == 1
    assert err.startswith("error: ") and says in err
    assert not list(tmp_path.iterdir()), "something was written"


@pytest.mark.parametrize(
    "arguments",
    [[], ["train"], ["run", "--grid"], ["table", "--format", "html"]],
)
def test_bad_usage_exits_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m dropblock_lib.experiments" in capsys.readouterr().err


def test_run_runs_then_skips_and_table_shows(tmp_path, monkeypatch, capsys):
    use_tiny_net(monkeypatch)
    monkeypatch.setattr(run_module, "_load", lambda name, data_dir: tiny_data())
    monkeypatch.setitem(
        PROFILES["quick"].settings,
        "shapes",
        {"train_size": 48, "validation_size": 16, "epochs": 1},
    )
    command = ["run", "--profile", "quick", "--network", "tiny", "--dataset"]
    command += ["shapes", "--variant", "none", "--seeds", "0", "1"]
    command += ["--results", tmp_path]
    code, out, _ = main_output(capsys, *command)
    assert code == 0
    assert "[1/2] tiny-shapes-none-quick-seed0: epoch 1/1, loss" in out
    assert "[2/2] tiny-shapes-none-quick-seed1: test accuracy" in out
    assert "\x1b" not in out and "\r" not in out, "not a terminal, yet it has bars"
    assert len(list((tmp_path / "records").iterdir())) == 2

    code, out, _ = main_output(capsys, *command)
    assert code == 0 and out.count("skipped, its record exists") == 2

    command[0] = "list"
    code, out, _ = main_output(capsys, *command)
    assert code == 0 and out.count("done: shapes 0.") == 2


def test_table_in_three_formats(results, capsys):
    def table(*arguments):
        code, out, _ = main_output(capsys, "table", "--results", results, *arguments)
        assert code == 0
        return out

    assert "tiny     shapes  tiny     dropblock-3-0.7  2  " in table()
    [row] = json.loads(table("--format", "json"))
    assert (row["n"], row["seeds"]) == (2, [0, 1])
    [line] = csv.DictReader(io.StringIO(table("--format", "csv")))
    assert float(line["test_accuracy_std"]) == row["test_accuracy_std"]
    assert table("--network", "custom_net") == "No records.\n"
    [row] = json.loads(table("--format", "json", "--seeds", "1"))
    assert row["seeds"] == [1]


@pytest.fixture(autouse=True)
def _tiny_net(monkeypatch):
    use_tiny_net(monkeypatch)


def test_table_without_records_says_where_it_looked(tmp_path, capsys):
    code, _, err = main_output(capsys, "table", "--results", tmp_path / "none")
    assert code == 1 and str(tmp_path / "none") in err


def test_table_names_a_corrupt_record(tmp_path, capsys):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "broken.json").write_text("{")
    code, _, err = main_output(capsys, "table", "--results", tmp_path)
    assert code == 1 and "broken.json is not a record" in err


def test_an_interrupted_run_says_that_nothing_is_lost(tmp_path, monkeypatch, capsys):
    def interrupt(name, data_dir):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "_load", interrupt)
    code, _, err = main_output(capsys, "run", NAME, "--results", tmp_path)
    assert code == 130
    assert "goes on after its last whole epoch" in err


def test_list_shows_how_far_a_stopped_run_got(tmp_path, monkeypatch, capsys):
    [recipe] = make_recipes("small", ["tiny"], ["cifar10"], ["none"], [0])
    partial = tmp_path / ".partial" / recipe.name_on("cifar10-jpeg")
    partial.mkdir(parents=True)
    state = {"recipe": recipe.to_dict(), "history": {"loss": [1.0, 0.5]}}
    (partial / "state.json").write_text(json.dumps(state))
    _, out, _ = main_output(
        capsys, "list", recipe.name, "--network", "tiny", "--results", tmp_path
    )
    assert out.rstrip().endswith(f"epoch 2 of {recipe.epochs}")


def test_importing_works_without_the_extra_packages():
    # None in sys.modules makes an import fail, as if the package were not there.
    # (Keras loads them if they are there: it is no use to look at what is loaded.)
    code = """
import sys
for name in ("sklearn", "matplotlib", "IPython"):
    sys.modules[name] = None
from dropblock_lib.experiments.__main__ import main
sys.exit(main(["list", "--profile", "quick"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "custom_net-cifar10-none-quick-seed0" in done.stdout


# === Progress ===


class Terminal(io.StringIO):
    def isatty(self):
        return True


EPOCH = {"loss": 0.5, "accuracy": 0.75, "val_loss": None, "val_accuracy": 0.625}


def walk(progress):
    with progress:
        progress.skip_run("one", "its record exists")
        progress.start_run("two", epochs=2, steps=3, first_epoch=1)
        for _ in range(3):
            progress.step()
        progress.end_epoch(1, EPOCH)
        progress.end_run("test accuracy 0.5000")


def test_log_lines():
    stream = io.StringIO()
    progress = open_progress(2, stream)
    assert type(progress) is LineProgress
    walk(progress)
    assert stream.getvalue().splitlines() == [
        "[1/2] one: skipped, its record exists",
        "[2/2] two: resuming after epoch 1/2",
        "[2/2] two: epoch 2/2, loss 0.5000, accuracy 0.7500, val_accuracy 0.6250, "
        "0:00 left",
        "[2/2] two: test accuracy 0.5000",
    ]


def test_bars_in_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    walk(open_progress(2, stream))
    text = stream.getvalue()
    assert "[2/2] two: test accuracy 0.5000" in text
    assert "val_accuracy 0.6250" in text
    last = text.split("[2/2] two: test accuracy")[-1]
    assert "2/2" in last and "3/3" in last


NOTEBOOK = """
from dropblock_lib.experiments.progress import open_progress
with open_progress(2) as progress:
    progress.skip_run("one", "its record exists")
    progress.start_run("two", epochs=2, steps=3)
    for epoch in range(2):
        progress.end_epoch(epoch, {"val_accuracy": 0.625})
    progress.end_run("test accuracy 0.5000")
"""


def test_a_notebook_keeps_only_the_last_line_of_a_run():
    nbformat = pytest.importorskip("nbformat", reason="needs the extra book")
    nbclient = pytest.importorskip("nbclient", reason="needs the extra book")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK)])
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=300).execute()
    outputs = [
        output.get("text") or output["data"]["text/plain"]
        for output in notebook.cells[0].outputs
        if output.get("name") != "stderr"
    ]
    assert outputs == [
        "[1/2] one: skipped, its record exists\n",
        "[2/2] two: test accuracy 0.5000",
    ]
