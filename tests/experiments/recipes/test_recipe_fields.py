"""What each field of a recipe does to a run."""

import json

import keras
import numpy as np
import pytest
from tiny import tiny_data, tiny_net, tiny_recipe, use_tiny_net

from dropblock_lib.experiments import load_records, run
from dropblock_lib.experiments.tasks.split import split
from dropblock_lib.models import NETWORKS

pytestmark = pytest.mark.backends


@pytest.fixture
def run_tiny(monkeypatch, tmp_path):
    use_tiny_net(monkeypatch)

    def start(**fields):
        recipe = tiny_recipe(**fields)
        return run(recipe, results_dir=tmp_path / recipe.hash, data=tiny_data())

    return start


def test_keep_prob_falls_at_every_step(run_tiny):
    record = run_tiny(keep_prob_schedule="linear")
    # Twelve steps in three epochs: the history has keep_prob after steps 4, 8 and 12.
    expected = [1 - 0.3 * step / 11 for step in (3, 7, 11)]
    assert record.history["keep_prob"] == pytest.approx(expected, abs=1e-6)


def test_a_constant_keep_prob_does_not_change(run_tiny):
    record = run_tiny(keep_prob_schedule="constant")
    assert record.history["keep_prob"] == pytest.approx([0.7] * 3, abs=1e-6)


def test_an_only_epoch_or_step_drops(run_tiny):
    record = run_tiny(keep_prob_schedule="linear-epoch", epochs=1)
    assert record.history["keep_prob"] == pytest.approx([0.7], abs=1e-6)
    record = run_tiny(keep_prob_schedule="linear", epochs=1, batch_size=64)
    assert record.history["keep_prob"] == pytest.approx([0.7], abs=1e-6)


def test_the_learning_rate_of_a_recipe_rises_and_falls(run_tiny):
    record = run_tiny(
        optimizer="sgd",
        learning_rate=0.12,
        learning_rate_schedule="one-cycle",
        warmup=0.5,
    )
    # At the start of each epoch, that is, before steps 1, 5 and 9 of 12.
    expected = [0.12 * min((step + 1) / 6, (12 - step) / 6) for step in (0, 4, 8)]
    assert record.history["learning_rate"] == pytest.approx(expected, rel=1e-5)


def test_some_epochs_are_not_validated_but_the_last_is(run_tiny):
    record = run_tiny(epochs=5, validation_every=2, validation_subset=8)
    known = [value is not None for value in record.history["val_loss"]]
    assert known == [False, True, False, True, True]
    # The accuracy is a multiple of 1/8, because 8 images are validated.
    assert all(
        (8 * value).is_integer()
        for value in record.history["val_accuracy"]
        if value is not None
    )
    assert record.best["epoch"] in (2, 4, 5)


def test_smoothed_labels_are_trained_on_but_not_reported_at_the_end(
    monkeypatch, tmp_path
):
    made = []

    def keep(*args, **kwargs):
        made.append(tiny_net(*args, **kwargs))
        return made[-1]

    monkeypatch.setitem(NETWORKS, "tiny", keep)
    recipe, data = tiny_recipe(label_smoothing=0.4, epochs=2), tiny_data()
    record = run(recipe, results_dir=tmp_path, data=data)
    images = split(data, recipe)
    logits = made[0].predict(images.x_val, verbose=0).astype("float64")
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    right = log_probabilities[np.arange(len(images.y_val)), images.y_val]
    smoothed = 0.6 * right + 0.4 * log_probabilities.mean(-1)
    final, history = record.final, record.history
    assert final["val_loss"] == pytest.approx(-right.mean(), rel=1e-4)
    assert history["val_loss"][-1] == pytest.approx(-smoothed.mean(), rel=1e-4)


def test_weight_decay_shrinks_kernels(monkeypatch, tmp_path):
    use_tiny_net(monkeypatch)
    norms = {}
    for decay in (0.0, 0.3):
        kept = {}

        def keep(*args, _kept=kept, **kwargs):
            _kept["model"] = tiny_net(*args, **kwargs)
            return _kept["model"]

        monkeypatch.setitem(NETWORKS, "tiny", keep)
        recipe = tiny_recipe(
            variant="none",
            optimizer="sgd",
            learning_rate=0.05,
            weight_decay=decay,
            epochs=6,
        )
        run(recipe, results_dir=tmp_path / str(decay), data=tiny_data())
        model = kept["model"]
        norms[decay] = [
            float(np.linalg.norm(keras.ops.convert_to_numpy(weight)))
            for weight in model.trainable_weights
            if weight.name == "kernel"
        ]
    assert all(a > 1.2 * b for a, b in zip(norms[0.0], norms[0.3], strict=True))


def test_the_subset_depends_on_the_seed_if_requested(monkeypatch):
    use_tiny_net(monkeypatch)
    data = tiny_data()

    def images(**fields):
        return split(data, tiny_recipe(train_size=24, **fields)).x_train

    fixed = [images(seed=seed) for seed in (0, 1)]
    np.testing.assert_array_equal(*fixed)
    own = [images(seed=seed, subset_seed="seed") for seed in (0, 1)]
    assert not np.array_equal(*own)
    # All arms of a seed share a subset, and subset_seed=1 is the subset of seed 1.
    np.testing.assert_array_equal(
        own[1], images(seed=1, subset_seed="seed", variant="none")
    )
    np.testing.assert_array_equal(own[1], images(seed=5, subset_seed=1))


def test_training_and_validation_images_are_disjoint_in_every_subset(monkeypatch):
    use_tiny_net(monkeypatch)
    data = tiny_data()
    for seed in range(3):
        parts = split(data, tiny_recipe(seed=seed, subset_seed="seed"))
        train = {image.tobytes() for image in parts.x_train}
        val = {image.tobytes() for image in parts.x_val}
        assert len(train) == 48 and len(val) == 16 and not train & val


def test_the_placement_reaches_the_network(monkeypatch, tmp_path):
    seen = []

    def placed(variant="none", input_shape=None, classes=10, seed=None, *, where="a"):
        seen.append(where)
        return tiny_net(variant, input_shape, classes, seed)

    monkeypatch.setitem(NETWORKS, "tiny", placed)
    recipe = tiny_recipe(epochs=1)
    assert recipe.placement == "a"
    for placement in (None, "b"):
        recipe = tiny_recipe(epochs=1, placement=placement)
        run(recipe, results_dir=tmp_path / recipe.placement, data=tiny_data())
    assert set(seen) == {"a", "b"}


def test_a_network_without_placements_rejects_one(monkeypatch):
    use_tiny_net(monkeypatch)
    with pytest.raises(ValueError, match=r"`placement`\. Expected None"):
        tiny_recipe(placement="after-pooling")


def test_a_network_may_pass_the_placement_on(monkeypatch):
    def wrapper(variant="none", **arguments):
        return tiny_net(variant, **arguments)

    monkeypatch.setitem(NETWORKS, "tiny", wrapper)
    assert tiny_recipe(placement="b").placement == "b"


def test_the_precision_applies_only_to_the_layers_of_the_run(monkeypatch, tmp_path):
    dtypes = []

    def watched(*args, **kwargs):
        model = tiny_net(*args, **kwargs)
        dtypes.append({layer.compute_dtype for layer in model.layers})
        return model

    monkeypatch.setitem(NETWORKS, "tiny", watched)
    recipe = tiny_recipe(epochs=1, precision="mixed_bfloat16")
    record = run(recipe, results_dir=tmp_path, data=tiny_data())
    assert dtypes == [{"bfloat16"}]
    assert keras.config.dtype_policy().name == "float32"
    assert np.isfinite(record.final["test_loss"])


def test_probes_are_in_the_record(run_tiny, tmp_path):
    record = run_tiny(probes=True)
    [on_disk] = load_records(tmp_path / tiny_recipe(probes=True).hash / "records")
    assert on_disk.to_dict() == json.loads(json.dumps(record.to_dict()))
    final = record.final
    assert sum(final["calibration"]["count"]) == record.data.test
    for key in ("recalibrated", "drop_block_at_inference", "occlusion", "noise"):
        assert final[key] is not None
    assert final["predictions"]["count"] == record.data.test
    assert "calibration" not in run_tiny().final
