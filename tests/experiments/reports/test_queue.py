"""The queue: its order, its filters, and the time left."""

import importlib
import json

import pytest
from tiny import tiny_data, tiny_recipe, use_tiny_net

from dropblock_lib.experiments import Recipe, run_all
from dropblock_lib.experiments.__main__ import main
from dropblock_lib.experiments.records.checkpoint import PartialRun
from dropblock_lib.experiments.reports.queue import (
    RELATIVE_COST,
    SECONDS_PER_IMAGE,
    Step,
    format_status,
    passes,
    read_queue,
    recipes_of,
    status,
)
from dropblock_lib.experiments.running.run import RunsFailed, run
from dropblock_lib.models import DETECTORS, NETWORKS

GRID = """
network = "tiny"
dataset = "shapes"
train_size = 48
validation_size = 16
epochs = 3
batch_size = 12
probes = false
[[tiny]]
variant = ["none", "dropblock-3-0.7"]
seed = [0, 1]
[other]
variant = "none"
"""


@pytest.fixture
def queue(tmp_path, monkeypatch):
    use_tiny_net(monkeypatch)
    (tmp_path / "mine.toml").write_text(GRID)

    def write(text):
        path = tmp_path / "order.toml"
        path.write_text(text)
        return path

    return write


def step(title, **keys):
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join(["[[step]]", f'title = "{title}"', *lines, ""])


def test_steps_are_in_order_and_share_no_run(queue):
    path = queue(
        step("late", grid="mine", seed=1)
        + step("other", grid=["mine"], profile="oth*")
        + step("rest", grid="mine")
    )
    steps = read_queue(path)
    found = [(s.title, [(r.profile, r.variant, r.seed) for r in s.recipes])
             for s in steps]  # fmt: skip
    assert found == [
        ("late", [("tiny", "none", 1), ("tiny", "dropblock-3-0.7", 1)]),
        ("other", [("other", "none", 0)]),
        ("rest", [("tiny", "none", 0), ("tiny", "dropblock-3-0.7", 0)]),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "[[step]]"),
        ("[step]", "[[step]]"),
        ("x = 1\n" + step("a", grid="mine"), "[[step]]"),
        (step("a"), "step 1: `grid` is missing"),
        (step("a", grid="mine") + step("b", grid="mine", depth=3), "step 2: expected"),
        (step("a", grid="mine", seed=7), "step 1: no run"),
        (step("a", grid=3), "step 1: expected names of grids. Received: grid=3"),
        (step("a", grid=[]), "step 1: expected names of grids. Received: grid=[]"),
        (step("a", grid="mine", seed=[0, 7]), "has seed 7"),
        ("[[step", "not TOML"),
    ],
)
def test_errors_name_file_and_step(queue, text, says):
    path = queue(text)
    with pytest.raises(ValueError) as caught:
        read_queue(path)
    assert str(path) in str(caught.value) and says in str(caught.value)


def test_the_queue_of_the_book_is_valid():
    recipes = recipes_of(read_queue())
    assert len({recipe.name for recipe in recipes}) == len(recipes) > 200
    # The tables of the slides on CIFAR-10 come before those on MNIST.
    first = [recipe for recipe in recipes if recipe.profile == "slides"][:15]
    assert {(r.network, r.dataset) for r in first} == {("custom_net", "cifar10")}


def test_status_counts_runs_and_estimates_what_is_left(queue, tmp_path):
    steps = read_queue(queue(step("all", grid="mine", profile="tiny")))
    data = tiny_data()
    first = recipes_of(steps)[0]
    done = run(first, results_dir=tmp_path, data=data)
    rows, messages = status(steps, tmp_path)
    assert messages == []
    [row] = rows
    assert (row["runs"], row["done"], row["unfinished"], row["to_do"]) == (4, 1, 0, 3)
    # The other runs are as long as the one of this machine.
    assert row["hours"] == pytest.approx(3 * done.seconds / 3600)
    assert "all" in format_status(rows) and json.loads(format_status(rows, "json"))


def test_a_record_that_lacks_an_entry_of_the_hardware_is_of_another_machine(
    queue, tmp_path
):
    steps = read_queue(queue(step("all", grid="mine", profile="tiny")))
    done = run(recipes_of(steps)[0], results_dir=tmp_path, data=tiny_data())
    [path] = (tmp_path / "records").iterdir()
    path.write_text(json.dumps(done.to_dict() | {"hardware": {"cpu": "abacus"}}))
    [row], messages = status(steps, tmp_path)
    assert messages == []
    assert row["hours"] == pytest.approx(3 * 3 * 48 * SECONDS_PER_IMAGE / 3600)


@pytest.mark.parametrize(
    ("network", "dataset", "sizes", "images"),
    [
        ("custom_net", "cifar10", {"validation_size": 5000}, 45_000),
        ("custom_net", "digits", {"validation_size": 137}, 1300),
        ("custom_net", "shapes", {"train_size": 48, "validation_size": 16}, 48),
        # Detectors are validated on separate images.
        ("retinanet_light", "scenes", {"validation_size": 100}, 500),
        ("retinanet_light", "coco2017", {"validation_size": 100}, 118_287),
        ("retinanet_light", "scenes", {"train_size": 20, "validation_size": 10}, 20),
    ],
)
def test_time_is_estimated_from_the_images_of_each_data_set(
    network, dataset, sizes, images, tmp_path
):
    sizes = {"train_size": None, **sizes}
    if network == "retinanet_light":
        sizes["image_size"] = 64
    recipe = Recipe(network, "none", dataset, epochs=2, **sizes)
    [row], _ = status([Step("one", (recipe,))], tmp_path)
    area = (64 / 32) ** 2 if recipe.image_size else 1
    seconds = SECONDS_PER_IMAGE * RELATIVE_COST[network] * 2 * images * area
    assert row["hours"] == pytest.approx(seconds / 3600)


def test_every_network_of_the_book_has_a_relative_cost():
    assert set(RELATIVE_COST) == {*NETWORKS, *DETECTORS}


def test_the_command_shows_it(queue, tmp_path, capsys):
    path = queue(step("a step", grid="mine"))
    assert main(["status", "--queue", str(path), "--results", str(tmp_path)]) == 0
    assert "a step" in capsys.readouterr().out
    assert main(["status", "--queue", str(tmp_path / "no.toml")]) == 1


def test_a_run_in_progress_elsewhere_is_skipped(monkeypatch, tmp_path):
    use_tiny_net(monkeypatch)
    monkeypatch.setattr("dropblock_lib.experiments.records.checkpoint.PATIENCE", 0.1)
    module = importlib.import_module("dropblock_lib.experiments.running.run")
    monkeypatch.setattr(module, "_load", lambda name, data_dir: tiny_data())
    recipes = [tiny_recipe(epochs=1, seed=seed) for seed in (0, 1)]
    busy = PartialRun(tmp_path / ".partial" / recipes[0].name)
    with busy.locked(), pytest.raises(RunsFailed, match="1 of 2"):
        run_all(recipes, results_dir=tmp_path, keep_going=True)
    names = [path.stem for path in (tmp_path / "records").glob("*.json")]
    assert names == [recipes[1].name]


def test_a_run_that_another_process_finished_in_the_meantime_has_not_failed(
    monkeypatch, tmp_path
):
    use_tiny_net(monkeypatch)
    monkeypatch.setattr("dropblock_lib.experiments.records.checkpoint.PATIENCE", 0.1)
    module = importlib.import_module("dropblock_lib.experiments.running.run")
    monkeypatch.setattr(module, "_load", lambda name, data_dir: tiny_data())
    recipes = [tiny_recipe(epochs=1, seed=seed) for seed in (0, 1)]
    first = run_all(recipes[:1], results_dir=tmp_path / "elsewhere")[0]
    busy = PartialRun(tmp_path / ".partial" / recipes[0].name)

    def finish(recipe, **settings):
        # The other process writes its record while the second run is trained.
        done = usual(recipe, **settings)
        first.write(tmp_path / "records")
        return done

    usual = module.run
    monkeypatch.setattr(module, "run", finish)
    with busy.locked():
        records = run_all(recipes, results_dir=tmp_path, keep_going=True)
    assert {record.name for record in records} == {r.name for r in recipes}


def test_any_error_of_a_run_leaves_the_others_to_run(monkeypatch, tmp_path):
    use_tiny_net(monkeypatch)
    module = importlib.import_module("dropblock_lib.experiments.running.run")
    monkeypatch.setattr(module, "_load", lambda name, data_dir: tiny_data())
    recipes = [tiny_recipe(epochs=1, seed=seed) for seed in (0, 1)]

    def out_of_memory(recipe, *rest):
        if recipe.seed == 0:
            raise RuntimeError("RESOURCE_EXHAUSTED")
        return train(recipe, *rest)

    train = module.train
    monkeypatch.setattr(module, "train", out_of_memory)
    with pytest.raises(RunsFailed, match="RESOURCE_EXHAUSTED"):
        run_all(recipes, results_dir=tmp_path, keep_going=True)
    names = [path.stem for path in (tmp_path / "records").glob("*.json")]
    assert names == [recipes[1].name]


def test_a_run_that_cannot_start_is_counted(monkeypatch, tmp_path, capsys):
    use_tiny_net(monkeypatch)
    module = importlib.import_module("dropblock_lib.experiments.running.run")
    monkeypatch.setattr(module, "_load", lambda name, data_dir: tiny_data())
    recipes = [tiny_recipe(epochs=1, seed=seed) for seed in (0, 1)]
    broken = tmp_path / ".partial" / recipes[0].name
    broken.mkdir(parents=True)
    (broken / "state.json").write_text('{"recipe": ')
    with pytest.raises(RunsFailed, match="1 of 2"):
        run_all(recipes, results_dir=tmp_path, keep_going=True)
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith(f"[1/2] {recipes[0].name}: skipped, it cannot start: ")
    assert others
    assert all(line.startswith(f"[2/2] {recipes[1].name}: ") for line in others)


def test_two_runs_of_one_name_are_rejected(queue, tmp_path):
    longer = GRID.replace("epochs = 3", "epochs = 4")
    (tmp_path / "longer.toml").write_text(longer)
    path = queue(step("one", grid="mine") + step("two", grid="longer"))
    with pytest.raises(ValueError, match="two runs have the same name"):
        read_queue(path)


def test_filters_take_values_patterns_and_lists():
    recipe = Recipe("resnet9", "none", "cifar10", seed=3)
    assert passes(recipe, {"network": ["resnet*"], "seed": [3]})
    assert passes(recipe, {"network": None, "seed": [1, "3"]})
    assert not passes(recipe, {"network": ["resnet50"]})
