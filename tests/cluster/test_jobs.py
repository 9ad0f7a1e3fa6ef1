"""Runs side by side, with processes that are interrupted, killed and resumed."""

import os
import signal
import sys
from pathlib import Path

import pytest
from tiny import outcome, tiny_data, tiny_recipe, use_tiny_net

from dropblock_lib.experiments import load_records, run
from dropblock_lib.experiments.__main__ import main
from dropblock_lib.experiments.engines.side_by_side import _reason, run_side_by_side
from dropblock_lib.experiments.records.checkpoint import PartialRun
from dropblock_lib.experiments.running.run import RunsFailed


@pytest.fixture(autouse=True)
def _tiny_net(monkeypatch):
    use_tiny_net(monkeypatch)


def test_interrupted_and_killed_processes_lose_nothing(tmp_path, monkeypatch):
    alone = tmp_path / "alone"
    recipes = [tiny_recipe(seed=seed) for seed in range(3)]
    expected = [run(r, results_dir=alone, data=tiny_data()) for r in recipes]
    results = tmp_path / "results"
    run(recipes[2], results_dir=results, data=tiny_data())
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "helpers"))
    lines = []

    def start(say):
        run_side_by_side(
            recipes, 2, results_dir=results, modules=["tiny_registered"], say=say
        )

    def interrupt_at_the_first_epoch(line):
        lines.append(line)
        if "epoch 1/3" in line:
            os.kill(os.getpid(), signal.SIGINT)

    # Each run waits in its second epoch, so that none can finish before the interrupt.
    monkeypatch.setenv("TINY_AT", f"*:5:wait:{tmp_path}/waits{{seed}}")
    with pytest.raises(KeyboardInterrupt):
        start(interrupt_at_the_first_epoch)
    for partial in (results / ".partial").iterdir():
        with PartialRun(partial).locked(patience=0):
            pass  # raises if a process still has the lock
    assert len(list((results / "records").iterdir())) == 1
    assert not list(results.rglob("*.tmp"))

    # Seed 0 resumes; seed 1 is killed in its third step, wherever it resumes.
    monkeypatch.setenv("TINY_AT", f"1:3:SIGKILL:{tmp_path}/killed")
    lines.clear()
    with pytest.raises(RunsFailed) as caught:
        start(lines.append)
    name = recipes[1].name
    assert str(caught.value) == f"1 of 3 runs failed.\n{name}: killed by SIGKILL"
    assert f"[2/3] {name}: killed by SIGKILL" in lines
    assert f"[3/3] {recipes[2].name}: skipped, its record exists" in lines
    assert any(line.startswith(f"[1/3] {recipes[0].name}: test acc") for line in lines)

    run(recipes[1], results_dir=results, data=tiny_data())
    found = load_records(results / "records")
    assert [outcome(r) for r in found] == [outcome(r) for r in expected]
    assert list((results / ".partial").iterdir()) == []


def test_a_failed_process_reports_its_signal_message_or_exit_code():
    assert _reason(-signal.SIGSEGV, ["something"]) == "killed by SIGSEGV"
    assert _reason(1, ["a\n", "error: no room\n", " \n"]) == "no room"
    assert _reason(3, []) == "exit code 3"


@pytest.mark.parametrize("jobs", ["0", "-1", "two"])
def test_an_invalid_number_of_jobs_is_rejected(jobs, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["run", "--jobs", jobs])
    assert caught.value.code == 2
    assert "--jobs" in capsys.readouterr().err


def test_command_line_options_reach_run_side_by_side(tmp_path, monkeypatch):
    from dropblock_lib.experiments import __main__ as cli

    seen = []
    monkeypatch.setattr(
        cli, "run_side_by_side", lambda *args, **named: seen.append((args, named))
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "of_my_own.py").write_text("imported = True")
    command = ["run", "--profile", "quick", "--dataset", "digits", "--seeds", "1"]
    command += ["--jobs", "3", "--results", str(tmp_path), "--import", "of_my_own"]
    code = main(command)
    [((recipes, jobs), named)] = seen
    assert code == 0 and jobs == 3 and sys.modules["of_my_own"].imported
    assert {(r.dataset, r.seed) for r in recipes} == {("digits", 1)}
    assert named["results_dir"] == tmp_path and named["modules"] == ["of_my_own"]


def test_a_missing_module_is_named(capsys):
    assert main(["list", "--import", "no_such_module"]) == 1
    assert "no_such_module" in capsys.readouterr().err
