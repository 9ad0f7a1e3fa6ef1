"""Train the tiny network in processes that are killed, each at a chosen moment.

    python killed.py RESULTS MOMENT...

Each process resumes in the folder that the previous one left. A moment is one of:

- "step:6": after that training step of the process
- "half:epoch-2.keras": when that model is half written
- "os.rename:state.json", "os.remove:epoch-1.keras" and so on: before that operation
- "nth:7": before the seventh operation on a file
- "never"

Prints one line of JSON for each process.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import keras
from tiny import tiny_data, tiny_net, tiny_recipe

from dropblock_lib.experiments import load_records, run
from dropblock_lib.experiments.running.progress import LineProgress
from dropblock_lib.models import NETWORKS

OPERATIONS = (
    "open",
    "os.link",
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "shutil.rmtree",
)
# Operations that are named by their second path.
TWO_PATHS = ("os.link", "os.rename")


def killed_recipe():
    """A recipe with every source of noise and every kind of state."""
    return tiny_recipe(
        augmentation="crop-flip-cutout4",
        optimizer="sgd",
        learning_rate=0.05,
        learning_rate_schedule="one-cycle",
        weight_decay=5e-4,
        label_smoothing=0.1,
        validation_every=2,
        validation_subset=8,
        subset_seed="seed",
        probes=True,
    )


def die():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def kill_at(moment, results):
    """Arranges for this process to be killed at a moment."""
    what, _, where = moment.partition(":")
    if what == "step":
        steps = iter(range(1, int(where)))
        LineProgress.step = lambda self: next(steps, None) or die()
    elif what == "half":
        save = keras.Model.save

        def save_half(self, path, *arguments, **options):
            save(self, path, *arguments, **options)
            if Path(path).name == where:
                os.truncate(path, os.path.getsize(path) // 2)
                die()

        keras.Model.save = save_half
    elif what != "never":
        count = 0

        def hook(event, arguments):
            nonlocal count
            if event not in OPERATIONS or not arguments:
                return
            path = str(arguments[1] if event in TWO_PATHS else arguments[0])
            if event not in TWO_PATHS and not path.startswith("/"):
                # `shutil.rmtree` gives names relative to their folder.
                path = path if event in ("os.remove", "os.rmdir") else ""
            elif not path.startswith(results):
                return
            count += bool(path)
            if what == "nth":
                if count == int(where):
                    die()
            elif event == what and Path(path).name == where:
                die()

        sys.addaudithook(hook)


def main(results, moments):
    NETWORKS["tiny"] = tiny_net
    for moment in moments:
        # Keras is imported but has computed nothing, so each child starts its own
        # backend, as a separate process would.
        child = os.fork()
        if child == 0:
            kill_at(moment, results)
            run(killed_recipe(), results_dir=results, data=tiny_data())
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        report = {
            "moment": moment,
            "exit": os.waitstatus_to_exitcode(status),
            "records": [
                record.to_dict() for record in load_records(Path(results) / "records")
            ],
            "files": sorted(
                str(path.relative_to(results))
                for path in Path(results).rglob("*")
                if path.is_file()
            ),
        }
        print(f"\n{json.dumps(report)}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
