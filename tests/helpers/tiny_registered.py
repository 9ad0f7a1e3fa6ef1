"""What a module for `--import` looks like: its import adds the tiny network.

The data sets become tiny ones as well. TINY_AT=SEED:STEP:WHAT:FILE does something
at that step of the run of that seed (* is any), unless the file is there, which it
then makes: it sends a signal to the process, or waits ("wait") to be ended from
outside.
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
    if Path(file).exists() or seed not in ("*", self.label.rpartition("-seed")[2]):
        return
    steps_done[self.label] += 1
    if steps_done[self.label] == int(when):
        Path(file).touch()
        if what == "wait":
            time.sleep(60)
        else:
            os.kill(os.getpid(), getattr(signal, what))


if "TINY_AT" in os.environ:
    LineProgress.step = step
