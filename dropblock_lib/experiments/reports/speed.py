"""Benchmarks as tables, and as rows for figures."""

import collections
import re
from collections.abc import Iterable

from dropblock_lib.arguments import invalid
from dropblock_lib.experiments.reports.columns import aligned, markdown
from dropblock_lib.variants import variant_title

FORMATS = ("text", "markdown")
BACKEND_LABELS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


def select(document: dict, **fields) -> list[dict]:
    """Rows of a benchmark with the given values.

    Args:
        document: From `benchmark.load_benchmarks`.
        **fields: Columns and their values, such as `block_size=7`. Shapes and sizes
            may be tuples.

    Example:

    >>> select(load_benchmarks("layer_speed")["jax"], keep_prob=0.9)
    """
    fields = {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}
    return [
        row
        for row in document["rows"]
        if all(row.get(key) == value for key, value in fields.items())
    ]


def layer_table(document: dict, format: str = "text") -> str:
    """Milliseconds of Dropout, and every other layer's time as a multiple of it.

    Args:
        document: "layer_speed" on one backend, from `load_benchmarks`.
        format: "text" or "markdown".
    """
    base = document["settings"]["base"]
    cases = _cases(document, "shape", "block_size", "keep_prob")
    labels = label_ranks(_names(document, "contestant"))
    names = [name for name in dict.fromkeys(labels.values()) if name != base]
    memory = any("temp_memory" in row for row in document["rows"])
    heading = ["input", "block", "keep_prob", f"{base}, ms", *names]
    heading += ["memory"] * memory
    lines = []
    for (shape, block_size, keep_prob), rows in cases.items():
        ours = rows.get(f"DropBlock{len(shape) - 2}D")
        rows = {labels[name]: row for name, row in rows.items()}
        line = [format_sides(shape), block_size, f"{keep_prob:g}"]
        line.append(_milliseconds(rows.get(base)))
        line += [_times(rows.get(name)) for name in names]
        if memory:
            line.append(_times(ours, "temp_memory"))
        lines.append(line)
    return _formatted(heading, lines, format)


def step_table(documents: dict[str, dict], format: str = "text") -> str:
    """Milliseconds of a training step, and the ratio to that of the plain network.

    Args:
        documents: "step_speed" on all backends, from `load_benchmarks`.
        format: "text" or "markdown".
    """
    lines = []
    for backend, document in documents.items():
        for row in document["rows"]:
            title = variant_title(row["variant"])
            line = [BACKEND_LABELS[backend], title, row["layers"]]
            lines.append([*line, _milliseconds(row), _times(row)])
    heading = ["backend", "variant", "layers", "step, ms", "ratio to plain"]
    return _formatted(heading, lines, format)


def rate_table(document: dict, format: str = "text") -> str:
    """The percentage that each DropBlock drops, its errors, and how often it gave NaN.

    Args:
        document: "peer_rates" on one backend, from `load_benchmarks`.
        format: "text" or "markdown".
    """
    names = _names(document, "contestant")
    lines = []
    cases = _cases(document, "nominal", "size", "block_size")
    for (nominal, size, block_size), rows in cases.items():
        line = [format_sides(size), block_size, f"{100 * nominal:g}"]
        lines.append(line + [_percent(rows.get(name)) for name in names])
    return _formatted(["map", "block", "nominal", *names], lines, format)


def label_ranks(names: Iterable[str]) -> dict[str, str]:
    """Maps each layer to a label that it shares with its versions for other ranks.

    Example:

    >>> label_ranks(["DropBlock1D", "DropBlock3D", "SpatialDropout2D"])
    {'DropBlock1D': 'DropBlock', 'DropBlock3D': 'DropBlock',
     'SpatialDropout2D': 'SpatialDropout2D'}
    """
    alike = collections.defaultdict(set)
    for name in names:
        alike[_without_rank(name)].add(name)
    return {
        name: label if len(group) > 1 else name
        for label, group in alike.items()
        for name in group
    }


def _without_rank(name):
    return re.sub(r"[123]D\b", "", name)


def format_sides(sides) -> str:
    """ "14x8" for (14, 8)."""
    return "x".join(map(str, sides))


def worst_ratio(
    document: dict, contestant: str = "DropBlock2D", base: str = "Dropout", **fields
) -> float:
    """The highest ratio of a layer's median time to another's, over all cases.

    Args:
        document: "layer_speed" on one backend, from `benchmark.load_benchmarks`.
        contestant: Name of the layer.
        base: Name of the layer to compare with.
        **fields: As for `select`; only rows with these values count.

    Raises:
        ValueError: If the two were never timed together.
    """
    chosen = document | {"rows": select(document, **fields)}
    medians = [
        (rows[contestant]["median"], rows[base]["median"])
        for rows in _cases(chosen, "shape", "block_size", "keep_prob").values()
        if "median" in rows.get(contestant, {}) and "median" in rows.get(base, {})
    ]
    if not medians:
        raise invalid("fields", f"rows of {contestant} and {base}", fields)
    return max(ours / theirs for ours, theirs in medians)


def _names(document, column):
    return list(dict.fromkeys(row[column] for row in document["rows"]))


def _cases(document, *columns):
    """Rows by contestant, for each combination of the columns' values."""
    found = {}
    for row in document["rows"]:
        values = (row[column] for column in columns)
        key = tuple(tuple(v) if isinstance(v, list) else v for v in values)
        found.setdefault(key, {})[row["contestant"]] = row
    return found


def _milliseconds(row):
    return "" if row is None or "median" not in row else f"{1000 * row['median']:.2f}"


def _times(row, column="ratio"):
    if row is None:
        return ""
    if "error" in row:
        return "error"
    if column not in row:
        return ""
    # Eager times must not be mistaken for compiled ones.
    return f"{row[column]:.2f}" + (" (eager)" if "not_compiled" in row else "")


def _percent(row):
    if row is None:
        return ""
    if "error" in row:
        return "error"
    text = f"{100 * row['dropped']:.1f}"
    if row["not_finite"]:
        text += f" (NaN: {row['not_finite']} of {row['single_calls']})"
    return text


def _formatted(heading, lines, format):
    if format == "markdown":
        return markdown(heading, lines)
    if format == "text":
        return aligned(heading, lines)
    raise invalid("format", f"one of {', '.join(FORMATS)}", format)
