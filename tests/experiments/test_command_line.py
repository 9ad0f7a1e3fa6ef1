"""The command line: what it prints, and with which exit code."""

import csv
import io
import json
import signal
import subprocess
import sys

import keras
import pytest
from tiny import outcome, tiny_data, tiny_recipe, use_tiny_net

from dropblock_lib.experiments import PROFILES, Record, make_recipes, run
from dropblock_lib.experiments.__main__ import main
from dropblock_lib.experiments.recipes import profiles
from dropblock_lib.experiments.running.progress import LineProgress, open_progress

command_line = sys.modules["dropblock_lib.experiments.__main__"]
run_module = sys.modules["dropblock_lib.experiments.running.run"]
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


def listed(capsys, *arguments):
    """Returns the rows that `list` prints as JSON."""
    code, out, err = main_output(capsys, "list", "--format", "json", *arguments)
    assert (code, err) == (0, "")
    return json.loads(out)


def test_list_shows_what_remains_to_be_run(tmp_path, capsys):
    rows = listed(capsys, "--results", tmp_path)
    recipes = make_recipes("quick")
    assert [row["name"] for row in rows] == [recipe.name for recipe in recipes]
    assert [row["recipe_hash"] for row in rows] == [recipe.hash for recipe in recipes]
    assert {row["state"] for row in rows} == {"to do"}
    assert {row["test_accuracy"] for row in rows} == {None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "cifar10-jpeg"], "`dataset`. Expected one of cifar10, mnist. "),
        (["--variant", "nome"], "`variant`. Expected one of none, dropout-0.25, "),
        (["--seeds", "99"], "`seeds`. Expected one of 0, 1, 2. "),
        (["--network", "resnet*", "--dataset", "coco"], "`dataset`. Expected one of"),
    ],
)
@pytest.mark.parametrize("command", ["run", "list"])
def test_a_filter_that_no_run_passes_is_an_error(
    command, arguments, message, tmp_path, capsys
):
    places = ["--grid", "slides", "--results", tmp_path]
    code, out, err = main_output(capsys, command, *places, *arguments)
    assert (code, out) == (1, "")
    assert message in err and f"Received: {arguments[-2]} {arguments[-1]}" in err
    assert not list(tmp_path.iterdir())


def test_one_value_of_a_filter_that_no_run_passes_is_an_error(tmp_path, capsys):
    filters = ["--variant", "none", "nome"]
    arguments = ["list", "--grid", "slides", "--results", tmp_path, *filters]
    code, out, err = main_output(capsys, *arguments)
    assert (code, out) == (1, "")
    assert "Received: --variant nome" in err


def test_filters_that_exclude_each_other_are_an_error(tmp_path, capsys):
    filters = ["--variant", "spatial-0.7", "--network", "densenet121"]
    arguments = ["list", "--grid", "slides", "--results", tmp_path, *filters]
    code, _, err = main_output(capsys, *arguments)
    assert code == 1
    assert "network densenet121, variant spatial-0.7" in err


def test_names_patterns_and_filters_select_runs(tmp_path, capsys):
    def chosen(*arguments):
        rows = listed(capsys, *arguments, "--results", tmp_path)
        return [row["name"] for row in rows]

    assert chosen(NAME) == [NAME]
    assert len(chosen("resnet50-*-none-full-*", "resnet50-*-none-small-*")) == 12
    only = chosen("--dataset", "mnist", "--variant", "none", "--seeds", "4", "5")
    assert only == [
        f"{network}-mnist-none-quick-seed{seed}"
        for network in ("custom_net", "resnet50", "densenet121")
        for seed in (4, 5)
    ]
    both = chosen("--profile", "quick", "small", "--dataset", "digits", "cifar10")
    assert len(both) == 3 * (2 * 5 + 3 * 5)
    # The profile small does not have these images.
    shapes = chosen("--profile", "quick", "small", "--dataset", "shapes")
    assert shapes and all("-shapes-" in name for name in shapes)
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
        (["--engine", "ray", "--jobs", "2"], "--jobs is for one machine"),
        (["--address", "auto"], "--address, --cpus and --gpus are for --engine ray"),
        (["--cpus", "2"], "--address, --cpus and --gpus are for --engine ray"),
        (["--jobs", "2", "--gpus", "0"], "--cpus and --gpus are for --engine ray"),
    ],
)
def test_bad_values_are_named(tmp_path, capsys, arguments, says):
    code, _, err = main_output(capsys, "run", *arguments, "--results", tmp_path)
    assert code == 1
    assert err.startswith("error: ") and says in err
    assert not list(tmp_path.iterdir()), "something was written"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train"],
        ["run", "--grid"],
        ["table", "--format", "html"],
        ["list", "--results", __file__],
    ],
)
def test_bad_usage_exits_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m dropblock_lib.experiments" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "two"])
@pytest.mark.parametrize("option", ["--jobs", "--devices"])
def test_a_number_that_is_not_positive_is_an_error(capsys, option, number):
    with pytest.raises(SystemExit):
        main(["run", option, number])
    says = f"{option}: expected a positive integer. Received: {number}\n"
    assert capsys.readouterr().err.endswith(says)


@pytest.mark.parametrize(
    ("kind", "known"), [("grid", "quick, slides, small, when"), ("queue", "gpu, queue")]
)
def test_a_missing_grid_or_queue_is_named_beside_the_books(capsys, kind, known):
    code, _, err = main_output(capsys, "list", f"--{kind}", "sldes")
    assert code == 1
    assert f"There is no {kind} 'sldes'." in err and f"{known}." in err


QUICK = """
[quick]
network = "custom_net"
dataset = "shapes"
variant = "none"
train_size = 48
validation_size = 16
epochs = 1
"""


def test_run_runs_then_skips_and_table_shows(tmp_path, monkeypatch, capsys):
    use_tiny_net(monkeypatch)
    monkeypatch.setattr(run_module, "_load", lambda name, data_dir: tiny_data())
    monkeypatch.setattr(profiles, "SHIPPED", tmp_path)
    (tmp_path / "quick.toml").write_text(QUICK)
    (tmp_path / "cifar_stems.toml").write_text(QUICK)
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

    rows = listed(capsys, *command[1:])
    assert [(row["state"], row["epoch"]) for row in rows] == [("done", 1)] * 2
    records = [json.loads(path.read_text()) for path in tmp_path.glob("*/*.json")]
    accuracies = {r["recipe_hash"]: r["final"]["test_accuracy"] for r in records}
    assert {r["recipe_hash"]: r["test_accuracy"] for r in rows} == accuracies


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
    assert table("--profile", "ti*") == table()
    [row] = json.loads(table("--format", "json", "--seeds", "1"))
    assert row["seeds"] == [1]


@pytest.mark.parametrize(
    ("option", "value", "known"),
    [
        ("network", "custom_net", "tiny"),
        ("profile", "tin_", "tiny"),
        ("variant", "dropblok-3-0.7", "dropblock-3-0.7"),
        ("seeds", "2", "0, 1"),
    ],
)
def test_table_names_a_value_that_no_record_has(results, capsys, option, value, known):
    command = ["table", "--results", results, f"--{option}", value]
    code, out, err = main_output(capsys, *command)
    assert (code, out) == (1, "")
    assert f"`{option}`" in err and f"one of {known}. " in err
    assert f"--{option} {value}" in err


@pytest.fixture(autouse=True)
def _tiny_net(monkeypatch):
    use_tiny_net(monkeypatch)


def test_table_shows_where_run_writes_or_else_the_records_of_the_book(
    results, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(command_line, "default_results_directory", lambda: tmp_path)
    monkeypatch.setattr(
        command_line, "default_records_directory", lambda: results / "records"
    )
    _, of_the_book, _ = main_output(capsys, "table")
    assert "tiny     shapes" in of_the_book
    (tmp_path / "records").mkdir()
    assert main_output(capsys, "table") == (0, "No records.\n", "")


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
    assert "resumes the unfinished one after its last whole epoch" in err


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The record of an uninterrupted run."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_tiny_net(monkeypatch)
        folder = tmp_path_factory.mktemp("whole")
        return run(tiny_recipe(), results_dir=folder, data=tiny_data())


GRID = """
[tiny]
network = "tiny"
variant = "dropblock-3-0.7"
dataset = "shapes"
train_size = 48
validation_size = 16
test_size = "none"
epochs = 3
batch_size = 12
keep_prob_schedule = "linear-epoch"
probes = false
seed = [0, 1, 2, 3]
"""


@pytest.fixture
def some_of_each(tmp_path, whole):
    """A grid with a run that is done, one that was stopped, and two others."""
    grid = tmp_path / "grid.toml"
    grid.write_text(GRID)
    results = tmp_path / "results"
    whole.write(results / "records")
    partial = results / ".partial" / tiny_recipe(seed=1).name_on("shapes-for-x")
    partial.mkdir(parents=True)
    state = {"recipe": tiny_recipe(seed=1).to_dict(), "history": {"loss": [1.0, 0.5]}}
    (partial / "state.json").write_text(json.dumps(state))
    return "--grid", grid, "--results", results


def test_list_shows_the_progress_of_each_run(some_of_each, capsys):
    rows = listed(capsys, *some_of_each)
    assert [(row["seed"], row["state"], row["epoch"]) for row in rows] == [
        (0, "done", 3),
        (1, "unfinished", 2),
        (2, "to do", 0),
        (3, "to do", 0),
    ]
    assert [row["data"] for row in rows][:2] == ["shapes", "shapes-for-x"]


def test_list_in_all_formats(some_of_each, capsys):
    rows = listed(capsys, *some_of_each)

    def shown(format):
        arguments = ("list", "--format", format, *some_of_each)
        code, out, _ = main_output(capsys, *arguments)
        assert code == 0
        return out

    assert list(csv.DictReader(io.StringIO(shown("csv")))) == [
        {key: "" if value is None else str(value) for key, value in row.items()}
        for row in rows
    ]
    heading, ruler, first, second, *_ = shown("text").splitlines()
    # Every cell begins at the start of its column.
    starts = [i for i in range(len(ruler)) if f" {ruler}"[i : i + 2] == " -"]
    assert len(starts) == 9
    for line in (heading, first):
        assert all(f" {line}"[i] == " " != line[i] for i in starts)
    accuracy = f"{rows[0]['test_accuracy']:.4f}"
    assert first.split() == [
        *(tiny_recipe().name, "tiny", "shapes", "dropblock-3-0.7", "tiny", "0"),
        *("done", "3/3", accuracy),
    ]
    assert second.split()[-2:] == ["unfinished", "2/3"]
    table = [line.strip("| ").split(" | ") for line in shown("markdown").splitlines()]
    assert table[2] == first.split()
    assert {len(line.split("|")) for line in shown("markdown").splitlines()} == {11}


def test_corrupt_files_are_named_by_every_command(some_of_each, capsys, monkeypatch):
    def forbidden(*arguments, **options):
        raise AssertionError("it trains")

    results = some_of_each[-1]
    record = results / "records" / f"{tiny_recipe(seed=2).name}.json"
    record.write_text('{"schema": 1')
    state = results / ".partial" / tiny_recipe(seed=3).name / "state.json"
    state.parent.mkdir()
    state.write_text("")

    code, out, err = main_output(capsys, "list", "--format", "json", *some_of_each)
    states = [row["state"] for row in json.loads(out)]
    assert states == ["done", "unfinished", "corrupt", "corrupt"]
    assert code == 1 and f"{record} is not a record" in err and str(state) in err

    code, out, err = main_output(capsys, "table", "--results", results)
    assert (code, out) == (1, "") and f"{record} is not a record" in err

    monkeypatch.setattr("keras.Model.fit", forbidden)
    for jobs in ("1", "2"):
        arguments = ("run", "--jobs", jobs, *some_of_each)
        code, out, err = main_output(capsys, *arguments)
        assert (code, out) == (1, "") and f"{record} is not a record" in err
        assert "Nothing was trained" in err
    assert record.read_text() == '{"schema": 1'


def test_list_reads_every_record_once(results, capsys, monkeypatch):
    reads = []
    read = Record.read
    monkeypatch.setattr(Record, "read", lambda path: reads.append(path) or read(path))
    listed(capsys, "--profile", *PROFILES, "--results", results)
    assert len(reads) == 2


# === Interrupted runs ===


def run_grid(capsys, monkeypatch, tmp_path):
    """`run` of the grid's first run, on the tiny data."""
    monkeypatch.setattr(run_module, "_load", lambda name, data_dir: tiny_data())
    grid = tmp_path / "grid.toml"
    grid.write_text(GRID)
    return main_output(
        capsys,
        *("run", "--grid", grid, "--seeds", "0", "--results", tmp_path / "results"),
    )


def names_of_files(results):
    return {path.name for path in results.rglob("*") if path.is_file()}


def test_ctrl_c_in_an_epoch_loses_nothing(whole, tmp_path, monkeypatch, capsys):
    steps = iter([None] * 5 + [signal.SIGINT])

    def step(self):
        if next(steps, None):
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as interrupting:
        interrupting.setattr(LineProgress, "step", step)
        code, _, err = run_grid(capsys, interrupting, tmp_path)
    assert code == 130
    assert "resumes the unfinished one after its last whole epoch" in err
    assert "Traceback" not in err
    left = names_of_files(tmp_path / "results")
    assert left - {"lock"} == {
        "epoch-1.keras",
        "state.json",
    }
    code, out, _ = run_grid(capsys, monkeypatch, tmp_path)
    assert code == 0 and "resuming after epoch 1/3" in out
    [path] = (tmp_path / "results" / "records").iterdir()
    assert outcome(json.loads(path.read_text())) == outcome(whole)


@pytest.fixture
def full_disk():
    """Returns a function that limits the size of files, as a full disk would."""
    resource = pytest.importorskip("resource", reason="limits are POSIX")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size):
        new = before[0] if size is None else size
        resource.setrlimit(resource.RLIMIT_FSIZE, (new, before[1]))

    yield limit
    limit(None)


@pytest.mark.parametrize("saves", ["epoch-2.keras", "state.json"])
def test_a_disk_that_fills_up_in_training_loses_nothing(
    whole, tmp_path, monkeypatch, capsys, full_disk, saves
):
    end_epoch = LineProgress.end_epoch
    # A model takes some 50 KB, a state 1 KB.
    size = 20_000 if saves == "epoch-2.keras" else 100
    save = keras.Model.save

    def fill_up(self, epoch, logs):
        end_epoch(self, epoch, logs)
        if saves == "epoch-2.keras":
            full_disk(size)

    def fill_up_behind(self, path, *arguments, **options):
        save(self, path, *arguments, **options)
        if saves == "state.json" and path.name == "epoch-2.keras":
            full_disk(size)

    with monkeypatch.context() as full:
        full.setattr(LineProgress, "end_epoch", fill_up)
        full.setattr(keras.Model, "save", fill_up_behind)
        code, _, err = run_grid(capsys, full, tmp_path)
        full_disk(None)
    assert code == 1
    assert "Cannot save" in err and "epoch-2.keras" in err
    assert "File too large" in err and "resumes after epoch 1" in err
    left = names_of_files(tmp_path / "results") - {"epoch-2.keras"}
    assert left - {"lock"} == {
        "epoch-1.keras",
        "state.json",
    }
    code, out, _ = run_grid(capsys, monkeypatch, tmp_path)
    assert code == 0 and "resuming after epoch 1/3" in out
    [path] = (tmp_path / "results" / "records").iterdir()
    assert outcome(json.loads(path.read_text())) == outcome(whole)


def test_a_disk_that_is_full_for_the_record_loses_nothing(
    whole, tmp_path, monkeypatch, capsys, full_disk
):
    write = Record.write

    def fill_up(*arguments):
        full_disk(100)
        write(*arguments)

    with monkeypatch.context() as full:
        full.setattr(Record, "write", fill_up)
        code, _, err = run_grid(capsys, full, tmp_path)
        full_disk(None)
    assert code == 1
    assert "Cannot write" in err and "File too large" in err and whole.name in err
    left = names_of_files(tmp_path / "results")
    assert left - {"lock"} == {
        "epoch-3.keras",
        "state.json",
    }
    monkeypatch.setattr("keras.Model.fit", None)
    code, _, _ = run_grid(capsys, monkeypatch, tmp_path)
    [path] = (tmp_path / "results" / "records").iterdir()
    assert code == 0 and outcome(json.loads(path.read_text())) == outcome(whole)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch, capsys):
    results = tmp_path / "results"
    results.mkdir()
    results.chmod(0o500)
    try:
        (results / "probe").touch()
    except OSError:
        pass
    else:
        pytest.skip("this user writes everywhere")
    code, _, err = run_grid(capsys, monkeypatch, tmp_path)
    results.chmod(0o700)
    assert code == 1 and f"Cannot write to {results}" in err
    assert "Nothing was trained" in err and "Traceback" not in err


def test_importing_works_without_the_extra_packages():
    # None in sys.modules makes an import fail, as if the package were not installed.
    # Looking at the loaded modules is not enough, because Keras loads them if it can.
    code = """
import sys
for name in ("sklearn", "matplotlib", "IPython"):
    sys.modules[name] = None
from dropblock_lib.experiments.__main__ import main
from dropblock_lib.experiments.recipes import profiles
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
from dropblock_lib.experiments.running.progress import open_progress
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
