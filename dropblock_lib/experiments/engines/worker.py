"""One run in its own process, for `run_side_by_side`.

Reads an order as a line of JSON from standard input, which stays open: when it is
closed, the parent process is gone, and this process ends as well.
"""

import json
import os
import sys
import threading

from dropblock_lib.experiments.engines.orders import carry_out


def main() -> int:
    """Carries out the order on standard input; returns the exit code."""
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        carry_out(order, order["results_dir"])
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _end_with_the_parent():
    # Not sys.stdin, whose lock Python would wait for at exit.
    while os.read(0, 1024):
        pass
    # A run is safe to kill at any moment.
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
