"""What a module for `--import` looks like: its import adds the tiny network.

The data sets become tiny ones as well. TINY_AT=seed:step:signal sends a signal to
the process at that step of the run of that seed.
"""

import os
import signal

from tiny import tiny_data, tiny_net

import dropblock_lib.data
from dropblock_lib.experiments.progress import LineProgress
from dropblock_lib.models import NETWORKS

NETWORKS["tiny"] = tiny_net
dropblock_lib.data.load_dataset = lambda name, data_dir=None: tiny_data()

if "TINY_AT" in os.environ:
    seed, when, name = os.environ["TINY_AT"].split(":")
    steps_done = 0

    def step(self):
        global steps_done
        if self.label.endswith(f"-seed{seed}"):
            steps_done += 1
            if steps_done == int(when):
                os.kill(os.getpid(), getattr(signal, name))

    LineProgress.step = step
