"""Runs: what they leave, and what happens when they are stopped."""

import dataclasses
import json
import os
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny import outcome, tiny_data, tiny_net, tiny_recipe, use_tiny_net

from dropblock_lib.experiments import (
    Record,
    RecordError,
    run,
    run_or_load,
)
from dropblock_lib.experiments.records import checkpoint
from dropblock_lib.experiments.records.record import DataAccount
from dropblock_lib.experiments.tasks.split import fingerprint, split
from dropblock_lib.keep_prob_scheduler import find_drop_block_layers
from dropblock_lib.models import NETWORKS

run_module = sys.modules["dropblock_lib.experiments.running.run"]


@pytest.fixture(autouse=True)
def _tiny_net(monkeypatch):
    use_tiny_net(monkeypatch)


class Stopped(Exception):
    """Represents whatever ends a process."""


def stop_at_step(monkeypatch, step):
    """Raises `Stopped` in the middle of an epoch, after this many steps of the run."""
    done = 0

    def count(self):
        nonlocal done
        done += 1
        if done == step:
            raise Stopped

    monkeypatch.setattr(run_module.open_progress(1).__class__, "step", count)


def forbid_training(monkeypatch):
    def fit(*arguments, **options):
        raise AssertionError("it trains")

    monkeypatch.setattr(keras.Model, "fit", fit)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The record of an uninterrupted run, and its folder."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_tiny_net(monkeypatch)
        results = tmp_path_factory.mktemp("whole")
        return run(tiny_recipe(), results_dir=results, data=tiny_data()), results


# === Finished runs ===


def test_the_record_is_on_disk_and_nothing_else(whole):
    record, results = whole
    [path] = (results / "records").iterdir()
    assert path.name == "tiny-shapes-dropblock-3-0.7-tiny-seed0.json"
    assert Record.read(path) == record
    assert list((results / ".partial").iterdir()) == []


@pytest.mark.backends
def test_the_record_says_how_it_was_made(whole):
    record, _ = whole
    recipe = tiny_recipe()
    assert record.recipe == recipe
    assert record.data == DataAccount(
        requested="shapes",
        source="shapes",
        origin="built-in",
        sha256=fingerprint(tiny_data()),
        train=48,
        validation=16,
        test=20,
    )
    assert record.backend == keras.backend.backend()
    assert record.versions["keras"] == keras.__version__
    assert record.versions["numpy"] == np.__version__
    assert record.versions[record.backend]
    assert record.hardware["cores"] >= 1 and record.hardware["cpu"]
    assert set(record.git or {}) in (set(), {"commit", "clean"})
    assert record.resumes == []
    text = json.dumps(record.to_dict())
    for private in (str(Path.home()), os.getcwd(), os.uname().nodename):
        assert private not in text


@pytest.mark.backends
def test_the_history_has_the_requested_values(whole):
    history = whole[0].history
    assert history["keep_prob"] == pytest.approx([1.0, 0.85, 0.7], abs=1e-6)
    # Cosine over 12 steps, at the beginning of each epoch: steps 0, 4 and 8.
    cosine = 1e-3 * (1 + np.cos(np.pi * np.array([0, 4, 8]) / 12)) / 2
    assert history["learning_rate"] == pytest.approx(cosine, rel=1e-5)
    assert all(seconds > 0 for seconds in history["seconds"])
    best = int(np.argmax(history["val_accuracy"]))
    assert whole[0].best == {
        "epoch": best + 1,
        "val_accuracy": history["val_accuracy"][best],
    }
    assert whole[0].seconds >= sum(history["seconds"])


def test_the_final_results_are_those_of_the_final_weights(monkeypatch, tmp_path):
    saved = tmp_path / "last.keras"
    write = Record.write

    def keep_last_model(*arguments):
        [path] = tmp_path.glob(".partial/*/*.keras")
        saved.write_bytes(path.read_bytes())
        return write(*arguments)

    monkeypatch.setattr(Record, "write", keep_last_model)
    recipe, data = tiny_recipe(epochs=1), tiny_data()
    record = run(recipe, results_dir=tmp_path, data=data)
    model = keras.saving.load_model(saved)
    images = split(data, recipe)
    for part in ("train", "val", "test"):
        x = getattr(images, f"x_{part}").astype("float32")
        labels = getattr(images, f"y_{part}")
        logits = np.asarray(model.predict(x, verbose=0), "float64")
        accuracy = np.mean(logits.argmax(axis=-1) == labels)
        assert record.final[f"{part}_accuracy"] == pytest.approx(accuracy, abs=1e-6)
        peak = logits.max(axis=-1, keepdims=True)
        logsum = peak[:, 0] + np.log(np.exp(logits - peak).sum(axis=-1))
        loss = np.mean(logsum - logits[np.arange(len(labels)), labels])
        assert record.final[f"{part}_loss"] == pytest.approx(loss, rel=1e-4)
    trainable = sum(np.prod(v.shape) for v in model.trainable_variables)
    assert record.parameters["trainable"] == trainable
    drops = len(find_drop_block_layers(model))
    assert record.parameters["total"] == model.count_params() + drops


def test_the_test_set_is_seen_once_at_the_end(monkeypatch, tmp_path):
    recipe, data = tiny_recipe(epochs=2), tiny_data()
    test_images = split(data, recipe).x_test
    events = []
    predict, fit = keras.Model.predict, keras.Model.fit

    def is_test(x):
        # The last batch is padded.
        return np.array_equal(x[: len(test_images)], test_images)

    def watch_predict(self, x, *arguments, **options):
        if is_test(x):
            events.append("test")
        return predict(self, x, *arguments, **options)

    def watch_fit(self, x, y, **options):
        events.append("fit")
        validation = options["validation_data"][0]
        assert not is_test(x) and not is_test(validation)
        return fit(self, x, y, **options)

    monkeypatch.setattr(keras.Model, "predict", watch_predict)
    monkeypatch.setattr(keras.Model, "fit", watch_fit)
    run(recipe, results_dir=tmp_path, data=data)
    assert events == ["fit", "fit", "test"]


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow's own compiler"
)
def test_compiled_code_is_reused_in_every_epoch(tmp_path, monkeypatch):
    # TensorFlow discards compiled functions when it is seeded.
    import tensorflow as tf

    events = []
    set_seed, fit = tf.random.set_seed, keras.Model.fit

    def watch_seed(seed):
        events.append("seed")
        set_seed(seed)

    def watch_fit(self, *arguments, **options):
        events.append("fit")
        return fit(self, *arguments, **options)

    monkeypatch.setattr(tf.random, "set_seed", watch_seed)
    monkeypatch.setattr(keras.Model, "fit", watch_fit)
    run(tiny_recipe(), results_dir=tmp_path, data=tiny_data())
    assert "fit" in events
    assert "seed" not in events[events.index("fit") :]


def test_another_seed_is_another_run_and_noise_differs(whole, tmp_path):
    other = run(tiny_recipe(seed=1), results_dir=tmp_path, data=tiny_data())
    assert other.name.endswith("-seed1")
    assert other.history["loss"] != whole[0].history["loss"]


# === Stopped runs ===


@pytest.mark.backends
@pytest.mark.parametrize("step", [2, 9])
def test_a_stopped_run_ends_like_an_uninterrupted_one(
    whole, tmp_path, monkeypatch, step
):
    # Epochs have four steps: stopped in the first, in the third.
    with monkeypatch.context() as stopping:
        stop_at_step(stopping, step)
        with pytest.raises(Stopped):
            run(tiny_recipe(), results_dir=tmp_path, data=tiny_data())
    assert not list((tmp_path / "records").iterdir()), "half a record"
    # A new process has random states that differ from those of a killed one.
    keras.utils.set_random_seed(999)
    record = run(tiny_recipe(), results_dir=tmp_path, data=tiny_data())
    assert outcome(record) == outcome(whole[0])
    epochs_done = (step - 1) // 4
    assert [r["epoch"] for r in record.resumes] == [epochs_done] * bool(epochs_done)
    assert list((tmp_path / ".partial").iterdir()) == []


def test_a_run_stopped_between_training_and_record_does_not_train_again(
    whole, tmp_path, monkeypatch
):
    with monkeypatch.context() as stopping:

        def stop(*arguments):
            raise Stopped

        stopping.setattr(Record, "write", stop)
        with pytest.raises(Stopped):
            run(tiny_recipe(), results_dir=tmp_path, data=tiny_data())
    forbid_training(monkeypatch)
    record = run(tiny_recipe(), results_dir=tmp_path, data=tiny_data())
    assert outcome(record) == outcome(whole[0])


def test_a_run_stopped_while_saving_resumes_from_the_save_before(
    whole, tmp_path, monkeypatch
):
    save = keras.Model.save

    def save_half(self, path, *arguments, **options):
        save(self, path, *arguments, **options)
        if Path(path).name == "epoch-2.keras":
            os.truncate(path, 100)
            raise Stopped

    with monkeypatch.context() as stopping:
        stopping.setattr(keras.Model, "save", save_half)
        with pytest.raises(Stopped):
            run(tiny_recipe(), results_dir=tmp_path, data=tiny_data())
    record = run(tiny_recipe(), results_dir=tmp_path, data=tiny_data())
    assert [resume["epoch"] for resume in record.resumes] == [1]
    assert outcome(record) == outcome(whole[0])


def test_the_state_of_another_recipe_version_or_data_set_is_not_resumed(
    whole, tmp_path, monkeypatch, capsys
):
    with monkeypatch.context() as stopping:
        stop_at_step(stopping, 6)
        with pytest.raises(Stopped):
            run(tiny_recipe(), results_dir=tmp_path, data=tiny_data())
    [path] = tmp_path.glob(".partial/*/state.json")
    content = json.loads(path.read_text())
    changed = content | {"versions": {**content["versions"], "keras": "2.0"}}
    path.write_text(json.dumps(changed))
    with pytest.raises(RecordError, match=r"done: 1\), trained with other versions\. "):
        run(tiny_recipe(), results_dir=tmp_path, data=tiny_data())
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match=r"trained from another recipe\. Noth"):
        run(tiny_recipe(epochs=4), results_dir=tmp_path, data=tiny_data())
    images = np.array(tiny_data().x_train)
    images[0, 0, 0] ^= 1
    others = dataclasses.replace(tiny_data(), x_train=images)
    with pytest.raises(RecordError, match=r"trained on other images\. Nothing"):
        run(tiny_recipe(), results_dir=tmp_path, data=others)
    # All differences are named.
    with pytest.raises(RecordError, match="from another recipe and on other images"):
        run(tiny_recipe(epochs=4), results_dir=tmp_path, data=others)
    # Nothing was lost: the run as it was begun resumes.
    record = run(tiny_recipe(), results_dir=tmp_path, data=tiny_data())
    assert [resume["epoch"] for resume in record.resumes] == [1]
    assert outcome(record) == outcome(whole[0])


def test_a_state_without_its_model_starts_over(whole, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as stopping:
        stop_at_step(stopping, 6)
        with pytest.raises(Stopped):
            run(tiny_recipe(), results_dir=tmp_path, data=tiny_data())
    [model] = tmp_path.glob(".partial/*/epoch-*.keras")
    model.unlink()
    record = run(tiny_recipe(), results_dir=tmp_path, data=tiny_data())
    assert "has lost its model; starting over" in capsys.readouterr().out
    assert record.resumes == []
    assert outcome(record) == outcome(whole[0])


def test_an_unreadable_state_is_reported_and_not_ignored(tmp_path):
    partial = tmp_path / ".partial" / tiny_recipe().name
    partial.mkdir(parents=True)
    (partial / "state.json").write_text('{"recipe": ')
    with pytest.raises(RecordError, match=r"state\.json cannot be read"):
        run(tiny_recipe(), results_dir=tmp_path, data=tiny_data())
    assert (partial / "state.json").read_text() == '{"recipe": '


def test_two_processes_do_not_train_the_same_run(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "PATIENCE", 0.2)
    fcntl = pytest.importorskip("fcntl", reason="file locks are POSIX")
    partial = tmp_path / ".partial" / tiny_recipe().name
    partial.mkdir(parents=True)
    with open(partial / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="Another process is training tiny-shapes"):
            run(tiny_recipe(), results_dir=tmp_path, data=tiny_data())


# === Existing records ===


def test_a_temporary_file_of_the_record_does_not_stay(whole, monkeypatch):
    """As if the process had been killed between its last two operations."""
    forbid_training(monkeypatch)
    record, results = whole
    name = record.name
    temporary = results / "records" / f".{name}.json.x7.tmp"
    temporary.write_text("{}")
    (results / ".partial" / name).mkdir(parents=True)
    assert run(tiny_recipe(), results_dir=results, data=tiny_data()) == record
    assert not temporary.exists() and not (results / ".partial" / name).exists()


def test_a_run_with_a_record_is_skipped_and_says_so(whole, monkeypatch, capsys):
    record, results = whole
    forbid_training(monkeypatch)
    assert run(tiny_recipe(), results_dir=results, data=tiny_data()) == record
    assert f"{record.name}: skipped, its record exists" in capsys.readouterr().out


def test_a_corrupt_record_is_named_and_not_overwritten(tmp_path, monkeypatch):
    forbid_training(monkeypatch)
    path = tmp_path / "records" / f"{tiny_recipe().name}.json"
    path.parent.mkdir()
    path.write_text('{"schema": 1,')
    with pytest.raises(RecordError, match=path.name):
        run(tiny_recipe(), results_dir=tmp_path, data=tiny_data())
    assert path.read_text() == '{"schema": 1,'


def test_a_record_of_another_recipe_is_not_mistaken_for_this_one(whole, monkeypatch):
    forbid_training(monkeypatch)
    with pytest.raises(RecordError, match="epochs is 3 there and 4 here"):
        run(tiny_recipe(epochs=4), results_dir=whole[1], data=tiny_data())


def test_stand_ins_and_real_data_have_separate_records(tmp_path, monkeypatch, capsys):
    recipe = tiny_recipe(dataset="cifar10", epochs=1)
    stand_in = tiny_data("cifar10", "shapes")
    real = tiny_data("cifar10", "cifar10", "cifar10-jpeg")

    first = run(recipe, results_dir=tmp_path, data=stand_in)
    assert first.name == "tiny-shapes-for-cifar10-dropblock-3-0.7-tiny-seed0"
    second = run(recipe, results_dir=tmp_path, data=real)
    assert second.name == "tiny-cifar10-jpeg-dropblock-3-0.7-tiny-seed0"

    # If both records exist, the one of real data is used.
    forbid_training(monkeypatch)
    assert run_or_load(recipe, results_dir=tmp_path) == second
    # With a record of real data, no run on a stand-in is needed.
    (tmp_path / "records" / f"{first.name}.json").unlink()
    assert run(recipe, results_dir=tmp_path, data=stand_in) == second
    assert "only the stand-in shapes" in capsys.readouterr().out
    # Other real data would not be pooled with it either.
    other = tiny_data("cifar10", "cifar10")
    assert run(recipe, results_dir=tmp_path, data=other) == second
    assert f"its record on {second.data.source} exists" in capsys.readouterr().out


def test_data_of_another_name_than_the_recipe_s_is_rejected(tmp_path):
    """Its record would count as one of the recipe's data set."""
    mine = tiny_data("mine", "mine")
    text = r"`data`.*data set of the recipe, 'shapes'.*Received: 'mine'"
    with pytest.raises(ValueError, match=text):
        run(tiny_recipe(epochs=1), results_dir=tmp_path, data=mine)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("devices", [0, -1, 1.5, True])
def test_a_number_of_devices_that_is_none_is_rejected(tmp_path, devices):
    with pytest.raises(ValueError, match=r"argument `devices`.*positive integer"):
        run(tiny_recipe(), results_dir=tmp_path, data=tiny_data(), devices=devices)
    assert not list(tmp_path.iterdir())


def test_run_or_load_says_which(tmp_path, monkeypatch, capsys):
    recipe = tiny_recipe(epochs=1)
    monkeypatch.setattr(run_module, "_load", lambda name, data_dir: tiny_data())
    made = run_or_load(recipe, results_dir=tmp_path)
    assert f"No record of {recipe.name} yet" in capsys.readouterr().out
    forbid_training(monkeypatch)
    assert run_or_load(recipe, results_dir=tmp_path) == made
    assert f"Read the record {recipe.name}" in capsys.readouterr().out


@pytest.mark.parametrize("blocked", ["results", "results/records", "results/.partial"])
def test_an_unusable_folder_is_detected_before_training(tmp_path, monkeypatch, blocked):
    forbid_training(monkeypatch)
    path = tmp_path / blocked
    path.parent.mkdir(exist_ok=True)
    path.write_text("a file where a folder should be")
    with pytest.raises(OSError, match=r"Cannot write to .*Nothing was trained"):
        run(tiny_recipe(), results_dir=tmp_path / "results", data=tiny_data())


def test_a_diverging_run_still_leaves_a_record(tmp_path):
    recipe = tiny_recipe(optimizer="sgd", learning_rate=1e30, epochs=1)
    record = run(recipe, results_dir=tmp_path, data=tiny_data())
    assert record.final["test_loss"] is None
    [path] = (tmp_path / "records").iterdir()
    assert Record.read(path) == record


def test_the_registered_network_is_trained(tmp_path, monkeypatch):
    made = []

    def watch(*arguments, **options):
        made.append((arguments, options))
        return tiny_net(*arguments, **options)

    monkeypatch.setitem(NETWORKS, "tiny", watch)
    run(tiny_recipe(epochs=1, seed=3), results_dir=tmp_path, data=tiny_data())
    assert made == [
        (("dropblock-3-0.7",), {"input_shape": (32, 32, 3), "classes": 4, "seed": 3})
    ]
