"""Prints the benchmarks' results as tables, and draws them.

python -m benchmarks.table --format markdown --plots FOLDER
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
        settings = document["settings"]
        _print_heading(f"Layers on {speed.BACKEND_LABELS[backend]}", document)
        print(
            f"Forward and backward, medians of {settings['rounds']} rounds: "
            f"milliseconds of {settings['base']}, then each layer's time divided by "
            "it. Memory: temporary memory divided by the input's.\n"
        )
        print(speed.layer_table(document, chosen.format))
        _print_reasons(document)
    if steps:
        settings = next(iter(steps.values()))["settings"]
        print(
            f"## A training step\n\n{settings['network']}, images of "
            f"{speed.format_sides(settings['image'])}, batch {settings['batch']}.\n"
        )
        for document in steps.values():
            print(describe(document), end="\n\n")
        print(speed.step_table(steps, chosen.format))
    for backend, document in rates.items():
        _print_heading(
            f"Dropped, in percent, on {speed.BACKEND_LABELS[backend]}", document
        )
        print(speed.rate_table(document, chosen.format))
        _print_reasons(document)
    if chosen.plots:
        _draw(chosen.plots, layers, rates)


def _print_heading(title, document):
    print(f"## {title}\n\n{describe(document)}\n")
    if document["settings"]["smoke"]:
        print("A smoke run: these numbers mean nothing.\n")


def _print_reasons(document):
    """Prints why something is missing or not compiled, each reason once."""
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
    for name, documents, plot in (
        ("layer-speed", layers, plots.layer_speed),
        ("peer-rates", rates, plots.peer_rates),
    ):
        rows = [row for document in documents.values() for row in document["rows"]]
        for block in sorted({row["block_size"] for row in rows}):
            path = folder / f"{name}-{block}.svg"
            plot(documents, block).savefig(path, bbox_inches="tight")
            print(path)


def _parser():
    parser = argparse.ArgumentParser(description="Tables and plots of the benchmarks.")
    parser.add_argument("--input", type=Path, default=default_benchmarks_directory(),
                        help="folder of the JSON files")  # fmt: skip
    parser.add_argument("--format", choices=speed.FORMATS, default="text")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw as well")
    return parser


if __name__ == "__main__":
    main()
