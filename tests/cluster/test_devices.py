"""A run over several devices, which are parts of the processor."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from dropblock_lib.experiments.running.devices import spread_over

SCRIPT = Path(__file__).with_name("over_devices.py")
BACKEND = keras.backend.backend()


@pytest.mark.backends
@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch uses one device only")
def test_several_devices_give_the_result_of_one(tmp_path):
    command = [sys.executable, SCRIPT, tmp_path]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1] / "helpers")}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=environment
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])

    one, two = answers["one"], answers["two"]
    assert one["hardware"]["devices"] == 1 and two["hardware"]["devices"] == 2
    assert [(r["epoch"], r["devices"]) for r in two["resumes"]] == [(1, 2)]
    assert one["recipe_hash"] == two["recipe_hash"]
    # Summing 12 terms in another order changes each of eight steps by about 1e-7. If
    # batch normalization saw half of a batch, the change would be about 1e-1.
    for key in ("loss", "val_loss"):
        assert two["history"][key] == pytest.approx(one["history"][key], rel=1e-4)
        assert two["history"][key][0] == one["history"][key][0]
    for key in ("test_loss", "train_loss"):
        assert two["final"][key] == pytest.approx(one["final"][key], rel=1e-4)

    # Of 200 copies of an image, three devices share 126, where one takes 128.
    (one_batch, alone), (three_batches, shared) = answers["moments"]
    assert one_batch == three_batches == 1
    assert shared == pytest.approx(alone, rel=1e-4)

    assert "at most 3: cpu:0, cpu:1, cpu:2" in answers["too many"]
    assert "batch_size=7, test images=19. Received: devices=2" in answers["uneven"]
    if BACKEND == "tensorflow":
        assert "the same noise; KERAS_BACKEND=jax" in answers["noise"]


@pytest.mark.backends
def test_more_devices_than_available_are_rejected():
    with (
        pytest.raises(ValueError, match=r"argument `devices`.*Received: devices=1000"),
        spread_over(1000),
    ):
        pass
