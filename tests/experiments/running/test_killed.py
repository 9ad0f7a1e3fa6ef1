"""Processes killed by the system, each at a moment when something could break."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from backend import BACKEND
from killed import killed_recipe
from tiny import outcome, tiny_data, use_tiny_net

from dropblock_lib.experiments import run

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="processes are forked and killed as POSIX does it"
)
SCRIPT = Path(__file__).parents[2] / "helpers" / "killed.py"
NAME = "tiny-shapes-dropblock-3-0.7-tiny-seed0"
IN_AN_EPOCH = ["step:6"]
# In a chain, each process continues from what the previous one left.
WHILE_SAVING = [
    "half:epoch-2.keras",
    "os.rename:state.json",  # the model is written, the state is not
    "os.remove:epoch-1.keras",  # both are written, the previous model still exists
]
AT_THE_RECORD = [f"os.link:{NAME}.json"]
WHILE_CLEANING_UP = ["os.remove:state.json", "os.remove:lock"]


def processes(results, moments):
    """One report for each process."""
    done = subprocess.run(
        [sys.executable, SCRIPT, results, *moments],
        capture_output=True,
        text=True,
        timeout=600,
        # The same compiler option as in backend.py, because rounding depends on it.
        env={**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "true"},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    reports = [json.loads(line) for line in lines]
    assert [report["moment"] for report in reports] == moments, done.stderr
    return reports


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The record of an uninterrupted run."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_tiny_net(monkeypatch)
        results = tmp_path_factory.mktemp("whole")
        return run(killed_recipe(), results_dir=results, data=tiny_data())


@pytest.mark.backends
def test_killed_processes_lose_nothing(whole, tmp_path):
    moments = [*IN_AN_EPOCH, *WHILE_SAVING, *AT_THE_RECORD, *WHILE_CLEANING_UP]
    if BACKEND == "jax":  # JAX compiles for seconds in every process
        moments = [*IN_AN_EPOCH, *AT_THE_RECORD]
    *killed, last = processes(tmp_path, [*moments, "never"])
    assert [report["exit"] for report in killed] == [-signal.SIGKILL] * len(killed)
    assert last["exit"] == 0

    [record] = last["records"]
    assert outcome(record) == outcome(whole)
    assert last["files"] == [f"records/{NAME}.json"], "something was left behind"
    # Processes that reached the end of an epoch, or of the run, say where they began.
    epochs = [resume["epoch"] for resume in record["resumes"]]
    assert epochs == ([1, 2, 3] if len(moments) > 2 else [1, 3])
    # The record exists once it has its name, and not before.
    there = [bool(report["records"]) for report in killed]
    before = moments.index(AT_THE_RECORD[0]) + 1
    assert there == [False] * before + [True] * (len(moments) - before)
