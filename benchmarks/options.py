"""Command-line options that the benchmarks share."""

import argparse
from pathlib import Path

from dropblock_lib.experiments.records.benchmark import default_benchmarks_directory
from dropblock_lib.experiments.records.json_files import check_writable


def parser(description):
    """Makes a parser with `--output` and `--smoke`."""
    made = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument(
        "--output",
        type=folder,
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
    # argparse would turn a `ValueError` into a message about this function's name.
    if not text.isdecimal() or int(text) < minimum:
        raise argparse.ArgumentTypeError(
            f"expected an integer of at least {minimum}. Received: {text}"
        )
    return int(text)


def folder(text):
    """A folder that can be written, checked before minutes of measurements."""
    path = Path(text)
    try:
        check_writable(path)
    except OSError:
        expected = f"expected a folder that can be written. Received: {text}"
        raise argparse.ArgumentTypeError(expected) from None
    return path


def shape(*ranks):
    """Makes a parser of "x"-separated positive integers, as many as one of `ranks`."""

    def parse(text):
        sides = tuple(positive(side) for side in text.split("x"))
        if len(sides) not in ranks:
            counts = " or ".join(map(str, ranks))
            raise argparse.ArgumentTypeError(
                f"expected {counts} numbers, such as {'x'.join('8' * ranks[0])}. "
                f"Received: {text}"
            )
        return sides

    return parse
