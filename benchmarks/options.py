"""What the command lines of all benchmarks have in common."""

import argparse
from pathlib import Path

from dropblock_lib.experiments.records.benchmark import default_benchmarks_directory


def parser(description, **kwargs):
    """A parser with `--output` and `--smoke`."""
    made = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        **kwargs,
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
        help="only show that it runs, in seconds; says nothing about speed",
    )
    return made


def at_least(least):
    """A reader of integers that are not smaller."""

    def read(text):
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return value

    return read


positive = at_least(1)


def sides(count):
    """A reader of so many positive integers with an x between them."""

    def read(text):
        found = tuple(positive(part) for part in text.split("x"))
        if len(found) != count:
            raise argparse.ArgumentTypeError(f"{text} is not {count} numbers")
        return found

    return read
