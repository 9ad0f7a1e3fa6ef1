"""Rows as tables: aligned text and Markdown for people, CSV and JSON for programs."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from dropblock_lib.arguments import invalid

FORMATS = ("text", "markdown", "csv", "json")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table for people: its heading, and a function row -> cell."""

    heading: str
    cell: Callable[[Any], object]
    is_centered: bool = False  # in Markdown


def format_rows(rows: Sequence, columns: Sequence[Column], format: str) -> str:
    """Rows as a table in one of the `FORMATS`.

    Args:
        rows: The rows that are passed to the columns' functions. For "csv" and
            "json", dictionaries, all keys of which are written.
        columns: The columns of "text" and "markdown".
        format: "text", "markdown", "csv" or "json".

    Returns:
        A string; empty for "csv" without rows.

    Raises:
        ValueError: If the format is not known.
    """
    if format == "json":
        return json.dumps(rows, indent=2) + "\n"
    if format == "csv":
        return comma_separated(rows)
    heading = [column.heading for column in columns]
    lines = [[column.cell(row) for column in columns] for row in rows]
    if format == "markdown":
        alignment = [":-:" if column.is_centered else ":--" for column in columns]
        return markdown(heading, lines, alignment)
    if format == "text":
        return aligned(heading, lines)
    raise invalid("format", f"one of {', '.join(FORMATS)}", format)


def aligned(heading: list[str], rows: Sequence[Sequence]) -> str:
    """Columns as wide as their widest cell, for a terminal."""
    lines = [heading, *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "".join(
        "  ".join(map(str.ljust, cells, widths)).rstrip() + "\n" for cells in lines
    )


def markdown(
    heading: list[str], rows: Sequence[Sequence], alignment: list[str] | None = None
) -> str:
    """A table of a Markdown page.

    `alignment` is ":--" or ":-:" for each column. By default all columns but the first
    are centered.
    """
    alignment = alignment or [":--", *[":-:"] * (len(heading) - 1)]
    lines = [heading, alignment, *rows]
    return "".join(f"| {' | '.join(map(str, cells))} |\n" for cells in lines)


def comma_separated(rows: Sequence[dict]) -> str:
    """CSV whose heading has the keys of all rows; empty if there are no rows."""
    text = io.StringIO()
    if rows:
        keys = dict.fromkeys(key for row in rows for key in row)
        writer = csv.DictWriter(text, fieldnames=list(keys), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            lists = {k: v for k, v in row.items() if isinstance(v, list)}
            joined = {key: " ".join(map(str, value)) for key, value in lists.items()}
            writer.writerow(row | joined)
    return text.getvalue()


def signed(value: float | None, factor: float, digits: int) -> str:
    """A difference with its sign, times `factor`; an empty cell if it is `None`."""
    if value is None:
        return ""
    return f"{round(factor * value, digits) + 0.0:+.{digits}f}"  # never -0.00
