"""Runs the benchmarks on every backend that can be imported; then table and plots.

    python benchmarks/run.py --only layer_speed --backends jax torch

What it does not know, such as `--rounds 41`, it passes on.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import process

FOLDER = Path(__file__).resolve().parent
BENCHMARKS = ["layer_speed", "step_speed", "peer_rates"]
BACKENDS = ["tensorflow", "jax", "torch"]


def main(arguments=None):
    chosen, passed_on = _parser().parse_known_args(arguments)
    for backend in chosen.backends:
        reason = why_not(backend)
        if reason:
            print(f"skipped {backend}: {reason}", flush=True)
            continue
        for benchmark in chosen.only:
            print(f"== {benchmark} on {backend}", flush=True)
            # Each in a process of its own: what one leaves in memory slows the next.
            _python(f"{benchmark}.py", backend, *_output(chosen, "--output"),
                    *passed_on)  # fmt: skip
    plots = ["--plots", str(chosen.plots)]
    _python("table.py", None, *_output(chosen, "--input"), *plots)


def why_not(backend):
    """Why a backend cannot be used; empty if it can."""
    command = [sys.executable, "-c", f"import {backend}"]
    tried = subprocess.run(command, capture_output=True, text=True)
    lines = tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"]
    return lines[-1] if tried.returncode else ""


def _output(chosen, option):
    return [option, str(chosen.output)] if chosen.output else []


def _python(script, backend, *arguments):
    environment = process.environment()
    if backend:
        environment["KERAS_BACKEND"] = backend
    command = [sys.executable, str(FOLDER / script), *arguments]
    status = subprocess.run(command, env=environment).returncode
    if status:
        sys.exit(status)


def _parser():
    parser = argparse.ArgumentParser(
        description="All benchmarks on all backends.", epilog="See the scripts' --help."
    )
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=BENCHMARKS)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--output", type=Path, help="folder of the JSON files")
    parser.add_argument("--plots", type=Path, default=Path("_build/benchmarks"))
    return parser


if __name__ == "__main__":
    main()
