"""Prints what the benchmarks found, and draws it.

python benchmarks/table.py --format markdown --plots FOLDER
"""

import argparse
from pathlib import Path

from dropblock_lib import plots
from dropblock_lib.experiments.records.benchmark import (
    default_benchmarks_directory,
    describe,
    load_benchmarks,
)
from dropblock_lib.experiments.reports import speed


def main(arguments=None):
    chosen = _parser().parse_args(arguments)
    layers, steps, rates = (
        load_benchmarks(name, chosen.input)
        for name in ("layer_speed", "step_speed", "peer_rates")
    )
    for backend, document in layers.items():
        rounds = document["settings"]["rounds"]
        _head(f"Layers on {speed.BACKEND_LABELS[backend]}", document)
        print(
            f"Forward and backward, medians of {rounds} runs in turn: milliseconds of "
            f"{document['settings']['base']}, and how many times as long each other "
            "layer takes. Memory: temporary, as a share of the input's.\n"
        )
        print(speed.layer_table(document, chosen.format))
        _reasons(document)
    if steps:
        settings = next(iter(steps.values()))["settings"]
        print(
            f"## A training step\n\n{settings['network']}, images of "
            f"{speed.by(settings['image'])}, batch {settings['batch']}.\n"
        )
        for document in steps.values():
            print(describe(document), end="\n\n")
        print(speed.step_table(steps, chosen.format))
    for backend, document in rates.items():
        _head(f"Dropped, in percent, on {speed.BACKEND_LABELS[backend]}", document)
        print(speed.rate_table(document, chosen.format))
        _reasons(document)
    if chosen.plots:
        _draw(chosen.plots, layers, rates)


def _head(title, document):
    print(f"## {title}\n\n{describe(document)}\n")
    if document["settings"]["smoke"]:
        print("This only shows that the benchmark runs: its figures mean nothing.\n")


def _reasons(document):
    """Why something is missing or not compiled, each reason once."""
    found = [f"without {who}: {why}" for who, why in document["missing"].items()]
    for row in document["rows"]:
        for key, what in (("error", "error"), ("not_compiled", "not compiled")):
            if key in row:
                found.append(f"{row['contestant']}, {what}: {row[key]}")
    for reason in dict.fromkeys(found):
        print(f"- {reason}")
    if found:
        print()


def _draw(folder, layers, rates):
    folder.mkdir(parents=True, exist_ok=True)
    figures = {}
    if layers:
        blocks = dict.fromkeys(
            row["block_size"] for d in layers.values() for row in d["rows"]
        )
        for block in blocks:
            figures[f"layer-speed-{block}"] = plots.layer_speed(layers, block)
    if rates:
        blocks = dict.fromkeys(
            row["block_size"] for d in rates.values() for row in d["rows"]
        )
        for block in blocks:
            figures[f"peer-rates-{block}"] = plots.peer_rates(rates, block)
    for name, drawn in figures.items():
        path = folder / f"{name}.svg"
        drawn.savefig(path, bbox_inches="tight")
        print(path)


def _parser():
    parser = argparse.ArgumentParser(description="Tables and plots of the benchmarks.")
    parser.add_argument(
        "--input",
        type=Path,
        default=default_benchmarks_directory(),
        help="folder of the JSON files",
    )
    parser.add_argument("--format", choices=speed.FORMATS, default="text")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw as well")
    return parser


if __name__ == "__main__":
    main()
