"""Command-line options that the benchmarks share."""

import argparse
from pathlib import Path

from dropblock_lib.experiments.records.benchmark import default_benchmarks_directory


def parser(description):
    """Makes a parser with `--output` and `--smoke`."""
    made = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument(
        "--output",
        type=Path,
        default=default_benchmarks_directory(),
        help="folder of the JSON file",
    )
    made.add_argument(
        "--smoke",
        action="store_true",
        help="a quick check that it runs; its times mean nothing",
    )
    return made


def positive(text, minimum=1):
    """Parses an integer that is at least `minimum`."""
    value = int(text)
    if value < minimum:
        raise argparse.ArgumentTypeError(f"{text} is less than {minimum}")
    return value


def shape(*ranks):
    """Makes a parser of "x"-separated positive integers, as many as one of `ranks`."""

    def parse(text):
        sides = tuple(positive(side) for side in text.split("x"))
        if len(sides) not in ranks:
            counts = " or ".join(map(str, ranks))
            raise argparse.ArgumentTypeError(f"{text} is not {counts} numbers")
        return sides

    return parse
