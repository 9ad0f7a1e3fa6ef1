"""Command-line options that the benchmarks share."""

import argparse
from pathlib import Path

from dropblock_lib.experiments.records.benchmark import default_benchmarks_directory
from dropblock_lib.experiments.records.json_files import check_writable

# Where a smoke run writes, so that it does not replace a result.
SMOKE_FOLDER = Path("_build/benchmarks")


class _Parser(argparse.ArgumentParser):
    def parse_known_args(self, *arguments, **options):
        chosen, rest = super().parse_known_args(*arguments, **options)
        if not hasattr(chosen, "output"):
            default = default_benchmarks_directory()
            try:
                chosen.output = folder(str(SMOKE_FOLDER if chosen.smoke else default))
            except argparse.ArgumentTypeError as error:
                self.error(str(error))
        return chosen, rest


def parser(description):
    """Makes a parser with `--output` and `--smoke`."""
    made = _Parser(
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument(
        "--output",
        type=folder,
        default=argparse.SUPPRESS,
        help="folder of the JSON file (default: results/benchmarks, or "
        f"{SMOKE_FOLDER} with --smoke)",
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
