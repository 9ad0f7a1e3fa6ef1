"""Runs on a Ray cluster of two nodes, one of which dies."""

import dataclasses
import importlib.util
import os
import re
import socket
import sys
import threading
import time
from pathlib import Path

import keras
import pytest
from tiny import outcome, tiny_data, tiny_recipe, use_tiny_net

from dropblock_lib.experiments import load_records, run
from dropblock_lib.experiments.__main__ import main
from dropblock_lib.experiments.engines import on_ray as ray_engine
from dropblock_lib.experiments.engines.on_ray import run_on_ray
from dropblock_lib.experiments.records.record import Record, RecordError
from dropblock_lib.experiments.running.run import RunsFailed

run_module = sys.modules["dropblock_lib.experiments.running.run"]
# The training step of a run at which the head's process, or the other node, dies. An
# epoch has four steps.
HEAD_DIES_AT, OTHER_DIES_AT = 6, 7


@pytest.fixture(autouse=True)
def _tiny_net(monkeypatch):
    use_tiny_net(monkeypatch)


# A node waits 15 seconds for its agents to choose these ports, which is too short on a
# busy machine (ray-project/ray#65983). It does not wait for ports that are given.
PORTS = (
    "metrics_agent_port",
    "metrics_export_port",
    "dashboard_agent_listen_port",
    "runtime_env_agent_port",
)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start_node(start, attempts=3):
    """Starts a node, again if a busy machine takes longer than Ray's 30 seconds."""
    for left in reversed(range(attempts)):
        try:
            return start()
        except Exception as error:
            if not left or "timed out during startup" not in str(error):
                raise


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Two nodes with one processor each, whose processes know the tiny network."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs the extra cluster: Ray is not installed")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # By default, Ray's processes have low priority and take minutes on a busy machine.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "helpers"))
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    import ray
    from ray.cluster_utils import Cluster

    def node(what, **options):
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        return {"num_cpus": 1, "env_vars": {"TINY_AT": f"*:{what}"}} | ports | options

    process_dies = f"{HEAD_DIES_AT}:SIGKILL:{tmp_path}/process"
    head = node(process_dies, include_dashboard=False)
    cluster = start_node(lambda: Cluster(initialize_head=True, head_node_args=head))
    try:
        waits = node(f"{OTHER_DIES_AT}:wait:{tmp_path}/node")
        other = start_node(lambda: cluster.add_node(**waits))
        ray.init(cluster.address, log_to_driver=False, logging_level="error")
        yield lambda: cluster.remove_node(other, allow_graceful=False)
    finally:
        ray.shutdown()
        cluster.shutdown()


def when_file_exists(file, do):
    """Starts a thread that calls `do` once a file exists."""

    def watch():
        while not file.exists():
            time.sleep(0.05)
        do()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_every_run_has_one_record_when_a_process_and_a_node_die(cluster, tmp_path):
    recipes = [tiny_recipe(seed=seed) for seed in range(3)]
    watcher = when_file_exists(tmp_path / "node", cluster)
    lines = []
    results = tmp_path / "results"
    records = run_on_ray(
        recipes, results_dir=results, modules=["tiny_registered"], say=lines.append
    )
    watcher.join(60)
    assert not watcher.is_alive() and (tmp_path / "process").exists()
    assert load_records(results / "records") == records
    assert [r.name for r in records] == [recipe.name for recipe in recipes]
    # Two runs died in their second epoch and resumed after the first.
    epochs = [[resume["epoch"] for resume in r.resumes] for r in records]
    assert sorted(epochs) == [[], [1], [1]]
    alone = [run(r, results_dir=tmp_path / "alone", data=tiny_data()) for r in recipes]
    assert [outcome(r) for r in records] == [outcome(r) for r in alone]
    left = [path for path in results.rglob("*") if path.is_file()]
    assert len(left) == 3, "unfinished files remain"

    # A run with a record is skipped, and a run that fails is named.
    lines.clear()
    good, bad = tiny_recipe(seed=0), tiny_recipe(seed=3, batch_size=7)
    with pytest.raises(RunsFailed, match=r"1 of 2 runs failed.\n.*-seed3: Value") as e:
        run_on_ray(
            [good, bad],
            results_dir=results,
            modules=["tiny_registered"],
            devices=2,
            say=lines.append,
        )
    assert "argument `devices`" in str(e.value)
    assert lines[0] == f"[1/2] {good.name}: skipped, its record exists"
    assert len(list((results / "records").iterdir())) == 3


_write = Record.write


def write_only_in_temporary_folders(record, directory):
    if not Path(directory).name.startswith("dropblock-record-"):
        raise OSError(28, "No space left on device")
    return _write(record, directory)


def test_a_stopped_task_is_found_again_by_the_same_command(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folders = []
    monkeypatch.setattr(ray_engine, "carry_out", lambda order, own: folders.append(own))
    order = {"recipe": tiny_recipe().to_dict(), "results_dir": "/nowhere"}
    order |= {"backend": keras.backend.backend(), "share_gpu": False, "index": 1}
    for token in ("driver-0", "driver-1"):
        ray_engine._task({**order, "token": token})
    other = tiny_recipe(seed=1).to_dict()
    ray_engine._task({**order, "token": "driver-1", "recipe": other})
    assert folders[0] == folders[1] != folders[2]


def test_a_machine_without_the_results_folder_returns_the_record(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "_load", lambda name, data_dir: tiny_data())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "there"))
    monkeypatch.setattr(ray_engine.checkpoint, "PATIENCE", 0)
    (tmp_path / "there").mkdir()
    here = tmp_path / "here"
    order = {
        "recipe": tiny_recipe(epochs=1).to_dict(),
        "backend": keras.backend.backend(),
        "results_dir": str(here),
        "token": "driver-0",
        "data_dir": None,
        "devices": 1,
        "share_gpu": False,
        "modules": [],
        "index": 1,
        "total": 1,
    }
    done = ray_engine._task(order)
    assert not here.exists()
    assert not [path for path in (tmp_path / "there").rglob("*") if path.is_file()]
    assert ray_engine._keep(done, here) == done
    assert load_records(here / "records") == [done]
    # A second finished attempt adds no record.
    again = dataclasses.replace(done, date="later")
    assert ray_engine._keep(again, here) == done
    # A record of another recipe is neither replaced nor returned.
    longer = ray_engine._task({**order, "recipe": tiny_recipe(epochs=2).to_dict()})
    with pytest.raises(RecordError, match=r"another recipe. The new record is in") as e:
        ray_engine._keep(longer, here)
    [saved] = Path(re.search(r"is in (\S+)\. Give", str(e.value))[1]).iterdir()
    assert Record.read(saved) == longer
    # A driver that cannot write the record keeps it elsewhere.
    with monkeypatch.context() as full, pytest.raises(OSError, match="move it there"):
        full.setattr(Record, "write", write_only_in_temporary_folders)
        ray_engine._keep(longer, tmp_path / "full")

    with pytest.raises(ValueError, match="Start Ray there with KERAS_BACKEND=other"):
        ray_engine._task({**order, "backend": "other"})


def test_without_ray_the_error_names_the_extra(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    command = ["run", "--profile", "quick", "--dataset", "digits", "--engine", "ray"]
    assert main([*command, "--results", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert "needs Ray" in err and "dropblock-lib[cluster]" in err
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_options_reach_the_engine(tmp_path, monkeypatch):
    from dropblock_lib.experiments import __main__ as cli

    seen = {}
    monkeypatch.setattr(cli, "run_on_ray", lambda recipes, **named: seen.update(named))
    command = ["run", "--engine", "ray", "--address", "10.0.0.1:6379", "--gpus", "0.5"]
    command += ["--cpus", "4", "--devices", "2", "--data-dir", "data"]
    assert main([*command, "--results", str(tmp_path)]) == 0
    assert seen == {
        "address": "10.0.0.1:6379",
        "gpus": 0.5,
        "cpus": 4,
        "devices": 2,
        "data_dir": "data",
        "modules": [],
        "results_dir": tmp_path,
    }
