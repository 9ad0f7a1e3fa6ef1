"""Runs the benchmarks on every installed backend, then prints and draws the results.

    python -m benchmarks.run --only layer_speed --backends jax torch

Unknown options, such as `--rounds 41`, are passed on to the benchmarks.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from benchmarks import options, process

BENCHMARKS = ["layer_speed", "loaded_speed", "step_speed", "peer_rates", "features"]
BACKENDS = ["tensorflow", "jax", "torch"]


def main(arguments=None):
    chosen, passed_on = _parser().parse_known_args(arguments)
    folder = str(chosen.output) if chosen.output else None
    if folder is None and "--smoke" in passed_on:
        folder = str(options.SMOKE_FOLDER)
    os.environ.update(process.SETTINGS)
    for backend in chosen.backends:
        if reason := why_not(backend):
            print(f"skipped {backend}: {reason}", flush=True)
            continue
        os.environ["KERAS_BACKEND"] = backend
        for benchmark in chosen.only:
            print(f"== {benchmark} on {backend}", flush=True)
            # Separate processes, because memory that one keeps would slow the next.
            _run_module(benchmark, "--output", folder, *passed_on)
    _run_module("table", "--input", folder, "--plots", str(chosen.plots))


def why_not(backend):
    """Returns the error of importing a backend; empty if it can be imported."""
    command = [sys.executable, "-c", f"import {backend}"]
    tried = subprocess.run(command, capture_output=True, text=True)
    lines = tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"]
    return lines[-1] if tried.returncode else ""


def _run_module(name, option, folder, *arguments):
    where = [option, folder] if folder else []
    command = [sys.executable, "-m", f"benchmarks.{name}", *where, *arguments]
    if status := subprocess.run(command).returncode:
        sys.exit(status)


def _parser():
    parser = argparse.ArgumentParser(
        description="All benchmarks on all backends.",
        epilog="Each benchmark's --help lists the options that are passed on.",
    )
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=BENCHMARKS)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--output", type=Path, help="folder of the JSON files")
    parser.add_argument("--plots", type=Path, default=Path("_build/benchmarks"))
    return parser


if __name__ == "__main__":
    main()
