"""Rows of cells as text for people, or as CSV for programs."""

import csv
import io

FORMATS = ("text", "markdown", "csv", "json")


def aligned(heading: list[str], rows: list[list]) -> str:
    """Columns as wide as their widest cell, for a terminal."""
    lines = [heading, *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "".join(
        "  ".join(map(str.ljust, cells, widths)).rstrip() + "\n" for cells in lines
    )


def markdown(heading: list[str], rows: list[list], alignment: list[str]) -> str:
    """A table of a Markdown page; `alignment` is ":--" or ":-:" for each column."""
    lines = [heading, alignment, *rows]
    return "".join(f"| {' | '.join(map(str, cells))} |\n" for cells in lines)


def comma_separated(rows: list[dict]) -> str:
    """CSV with the keys of the rows as its heading; empty without rows."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
