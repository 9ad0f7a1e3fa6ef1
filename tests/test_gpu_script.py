"""scripts/gpu.py: all runs of a network share a backend, also in a second call."""

import argparse
import importlib.util
import json
from pathlib import Path

import pytest
from records import record_of

from dropblock_lib.experiments import make_recipes

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "gpu.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("gpu", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def chosen(tmp_path):
    return argparse.Namespace(results=tmp_path, backends=["jax", "torch"])


RECIPES = make_recipes("quick", "custom_net", "cifar10", ["none", "dropblock-7-0.9"])


def leave_state(results, recipe, backend):
    folder = results / ".partial" / recipe.name_on("cifar10-jpeg")
    folder.mkdir(parents=True)
    state = {"versions": {"keras": "3", backend: "1"}}
    (folder / "state.json").write_text(json.dumps(state))


@pytest.mark.parametrize("number", ["0", "-2", "many"])
def test_a_number_of_jobs_that_is_not_positive_is_an_error(script, capsys, number):
    with pytest.raises(SystemExit):
        script._parser().parse_args(["--jobs", number])
    says = f"--jobs: expected a positive integer. Received: {number}\n"
    assert capsys.readouterr().err.endswith(says)


def test_without_runs_no_backend_is_given(script, chosen):
    assert script._backend_begun(RECIPES, chosen) is None


def test_the_backend_of_a_record_or_an_unfinished_run_is_kept(script, chosen):
    leave_state(chosen.results, RECIPES[1], "torch")
    assert script._backend_begun(RECIPES, chosen) == "torch"
    assert script._backend_begun(RECIPES[:1], chosen) is None
    record_of(RECIPES[0], backend="torch").write(chosen.results / "records")
    assert script._backend_begun(RECIPES, chosen) == "torch"
    assert script._backend_begun(RECIPES[:1], chosen) == "torch"


@pytest.mark.parametrize("backends", [["tensorflow"], ["jax", "torch"]])
def test_runs_on_other_backends_stop_the_script(script, chosen, backends):
    for recipe, backend in zip(RECIPES, backends, strict=False):
        leave_state(chosen.results, recipe, backend)
    with pytest.raises(SystemExit) as stopped:
        script._backend_begun(RECIPES, chosen)
    assert f"has runs of custom_net on {' and '.join(backends)}" in str(stopped.value)
    assert "Expected one of jax, torch" in str(stopped.value)
