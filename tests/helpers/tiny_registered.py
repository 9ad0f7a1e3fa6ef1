"""A module for `--import` that registers the tiny network.

It also replaces the data sets with tiny ones. With $TINY_AT set to SEED:STEP:WHAT:FILE,
that step of the run with that seed (* for any) creates the file and sends the signal
WHAT to its process, or waits to be killed if WHAT is "wait". If the file already
exists, nothing happens. In FILE, "{seed}" becomes the seed of the run.
"""

import collections
import os
import signal
import time
from pathlib import Path

from tiny import tiny_data, tiny_net

import dropblock_lib.data
from dropblock_lib.experiments.running.progress import LineProgress
from dropblock_lib.models import NETWORKS

NETWORKS["tiny"] = tiny_net
dropblock_lib.data.load_dataset = lambda name, data_dir=None: tiny_data()

steps_done = collections.Counter()


def step(self):
    seed, when, what, file = os.environ["TINY_AT"].split(":")
    own_seed = self.label.rpartition("-seed")[2]
    file = file.format(seed=own_seed)
    if Path(file).exists() or seed not in ("*", own_seed):
        return
    steps_done[self.label] += 1
    if steps_done[self.label] == int(when):
        Path(file).touch()
        if what == "wait":
            time.sleep(600)
        else:
            os.kill(os.getpid(), getattr(signal, what))


if "TINY_AT" in os.environ:
    LineProgress.step = step
