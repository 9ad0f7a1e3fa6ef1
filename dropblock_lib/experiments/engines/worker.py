"""One run in a process of its own, for `run_side_by_side`.

Reads what to do as a line of JSON from standard input, which stays open: when it
is closed, whoever gave the order is gone, and this process goes as well.
"""

import importlib
import json
import os
import sys
import threading

from dropblock_lib.experiments.recipes.recipe import Recipe
from dropblock_lib.experiments.running.progress import LineProgress
from dropblock_lib.experiments.running.run import run


def import_modules(names) -> None:
    """Import modules that add networks or variants of the user's own."""
    # They may lie beside the user's files, as with `python -m`.
    if names and "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in names:
        importlib.import_module(name)


def main() -> int:
    """Run the order on standard input; returns the exit code."""
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_other, daemon=True).start()
    try:
        import_modules(order["modules"])
        progress = LineProgress(order["total"], sys.stdout)
        progress.run_index = order["index"] - 1
        run(
            Recipe.from_dict(order["recipe"]),
            results_dir=order["results_dir"],
            data_dir=order["data_dir"],
            progress=progress,
            devices=order["devices"],
        )
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _end_with_the_other():
    # Not sys.stdin: Python would wait for its lock at the end.
    while os.read(0, 1024):
        pass
    # Safe at any moment, as a kill is.
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
