"""What implementations of DropBlock can do, as a table made from benchmarks."""

import dataclasses

from dropblock_lib.experiments.reports.columns import markdown
from dropblock_lib.experiments.reports.speed import BACKEND_LABELS, select

# Heading -> name in the benchmarks.
IMPLEMENTATIONS = {
    "ours": "DropBlock2D",
    "torchvision": "torchvision",
    "timm": "timm",
    "KerasCV": "KerasCV",
    "authors": "authors' code",
}
OURS = "DropBlock2D"
# Narrow screens break long words of the table here.
_SOFT_HYPHEN = "\N{SOFT HYPHEN}"
_LONG_WORDS = [
    word.replace("-", _SOFT_HYPHEN)
    for word in (
        "torch-vision",
        "Keras-CV",
        "inspec-tion",
        "re-com-piles",
        "sched-ule",
        "au-thors",
        "chan-nels",
    )
]

# Largest accepted difference between a dropped fraction and the expected one: half a
# percentage point, at least three of the benchmark's standard errors.
_TOLERANCE = 0.005


@dataclasses.dataclass(frozen=True)
class Cell:
    """How an implementation supports a feature.

    Attributes:
        short: Two words at most, for a table.
        found: What was found, in a line of Markdown.
    """

    short: str
    found: str


_UNKNOWN = Cell("-", "not measured")


def feature_cells(
    features: dict[str, dict], rates: dict[str, dict], layers: dict[str, dict]
) -> dict[str, dict[str, Cell]]:
    """How each implementation supports each feature.

    Args:
        features: "features" on all backends, from `load_benchmarks`.
        rates: "peer_rates" on all backends.
        layers: "layer_speed" on all backends.

    Returns:
        Dictionary of feature -> implementation -> `Cell`.
    """
    names = IMPLEMENTATIONS.values()

    def checked(feature):
        return {name: _checked(features, name, feature) for name in names}

    def counted(feature, cell):
        found = checked(feature)
        return found | {
            name: cell(_rows(rates, name)) for name in names if _rows(rates, name)
        }

    backends = {name: _backends(rates, name) for name in names if _rows(rates, name)}
    speeds = {name: _speed(layers, name) for name in names}
    exact = counted("exact rate", _exact_rate)
    exact[OURS] = _exact_rate(_rows(rates, f"{OURS}, exact"))
    return {
        "ranks": checked("ranks"),
        "even blocks": counted("even blocks", _even_blocks),
        "non-square blocks": checked("non-square blocks"),
        "non-square maps": counted("non-square maps", _non_square_maps),
        "block larger than the map": counted("small maps", _small_maps),
        "exact rate": exact,
        "schedule in compiled code": checked("schedule"),
        "one mask for all channels": checked("masks"),
        "float16": checked("float16"),
        "bfloat16": checked("bfloat16"),
        "backends": checked("backends") | backends,
        "inspection": checked("inspection")
        | {OURS: Cell("yes", "`inspect` measures what each layer drops, and warns")},
        "time / Dropout's": speeds,
    }


def feature_table(cells: dict[str, dict[str, Cell]]) -> str:
    """The cells of `feature_cells` as a table in Markdown."""
    lines = [
        [feature, *(row[name].short for name in IMPLEMENTATIONS.values())]
        for feature, row in cells.items()
    ]
    table = markdown(["feature", *IMPLEMENTATIONS], lines)
    for word in _LONG_WORDS:
        table = table.replace(word.replace(_SOFT_HYPHEN, ""), word)
    return table


def feature_list(cells: dict[str, dict[str, Cell]]) -> str:
    """What was found for each cell, as a list in Markdown."""
    parts = []
    for feature, row in cells.items():
        parts.append(f"**{feature}**\n")
        parts += [
            f"- {label}: {row[name].found}" for label, name in IMPLEMENTATIONS.items()
        ]
        parts.append("")
    return "\n".join(parts)


def _rows(documents, contestant):
    """Rows of the backend with the fewest errors; PyTorch's if several have as few."""
    found = [
        select(documents[backend], contestant=contestant)
        for backend in ("torch", "tensorflow", "jax")
        if backend in documents
    ]
    return min(found, key=lambda rows: _errors(rows) if rows else 1.1, default=[])


def _errors(rows):
    return sum("error" in row for row in rows) / len(rows)


def _checked(features, name, feature):
    rows = {
        backend: row
        for backend, document in features.items()
        for row in select(document, contestant=name, feature=feature)
    }
    if not rows:
        return _UNKNOWN
    # What fails on one backend may work on another. KerasCV runs on one only.
    working = {backend: row for backend, row in rows.items() if row["works"]}
    if not working and feature != "ranks":
        runs = [b for b in rows if _works(features[b], name, "ranks")]
        working = {backend: rows[backend] for backend in runs}
    working = working or rows
    texts = {}
    for backend, row in working.items():
        text = row.get("found") or _code(row["error"])
        if "source" in row:
            text = f"{text} ([source]({row['source']}))"
        texts.setdefault(text, []).append(BACKEND_LABELS[backend])
    found = "; ".join(
        text if len(texts) == 1 else f"{text} on {', '.join(labels)}"
        for text, labels in texts.items()
    )
    works = all(row["works"] for row in working.values())
    short = "yes" if works else "no"
    if feature == "masks":
        short = "yes" if "shared" in found else "no"
    if works and feature in ("ranks", "backends"):
        short = next(iter(working.values()))["found"].replace("TensorFlow", "TF")
    if works and "compilations" in found:
        short = "recompiles"
    return Cell(short, found)


def _works(document, name, feature):
    rows = select(document, contestant=name, feature=feature)
    return any(row["works"] for row in rows)


def _code(text):
    # Errors may contain backticks of their own.
    return f"``{text}``"


def _near(row, expected="expected"):
    return "dropped" in row and abs(row["dropped"] - row[expected]) < _TOLERANCE


def _say(row):
    sides = "x".join(map(str, row["size"]))
    where = f"on {sides} with blocks of {row['block_size']}"
    if "error" in row:
        return f"{where}: {_code(row['error'])}"
    text = f"{where} it drops {row['dropped']:.1%}"
    if row["not_finite"]:
        calls = f"{row['not_finite']} of {row['single_calls']}"
        text += f" ({calls} calls on a single map give NaN or infinity)"
    return text


def _judged(rows, expected="expected"):
    """Says yes if all rows are as expected, or else no, with the first two others."""
    wrong = [row for row in rows if not _near(row, expected) or row["not_finite"]]
    if not wrong:
        points = 100 * max(abs(row["dropped"] - row[expected]) for row in rows)
        return Cell("yes", f"drops what is expected, within {points:.2f} points")
    texts = "; ".join(
        _say(row)
        + ("" if "error" in row else f", where {row[expected]:.1%} is expected")
        for row in wrong[:2]
    )
    return Cell("no", texts)


def _even_blocks(rows):
    # The first such row is of the largest map. Its rate is judged by other features.
    row = next(row for row in rows if row["block_size"] == 4)
    expected = f", where {row['expected']:.1%} is expected"
    return Cell(
        "no" if "error" in row else "yes", _say(row) + expected * ("dropped" in row)
    )


def _non_square_maps(rows):
    # Odd blocks, which every implementation accepts.
    return _judged(
        [r for r in rows if r["size"][0] != r["size"][1] and r["block_size"] == 7]
    )


def _small_maps(rows):
    return _judged([row for row in rows if row["block_size"] > min(row["size"])])


def _exact_rate(rows):
    return _judged(
        [row for row in rows if row["block_size"] == 7 and min(row["size"]) >= 7],
        "nominal",
    )


def _backends(rates, name):
    labels, errors = [], []
    for backend, label in BACKEND_LABELS.items():
        rows = select(rates[backend], contestant=name) if backend in rates else []
        if any("dropped" in row for row in rows):
            labels.append(label)
        elif rows:
            errors.append(f"on {label}: {_code(rows[0]['error'])}")
    found = ", ".join(labels) + "".join(f"; {error}" for error in errors)
    return Cell(f"{len(labels)} of {len(BACKEND_LABELS)}", found)


def _speed(layers, name):
    """The range of times at keep_prob 0.9 on 2D maps, as multiples of Dropout's."""
    ranges, texts = {}, []
    for backend, document in layers.items():
        for contestant, kind in ((name, ""), (f"{name}, shared", " with one mask")):
            rows = select(document, contestant=contestant, keep_prob=0.9)
            rows = [row for row in rows if len(row["shape"]) == 4]
            ratios = [row["ratio"] for row in rows if "ratio" in row]
            if not ratios:
                continue
            text = f"{min(ratios):.1f} to {max(ratios):.1f}"
            if not kind:
                ranges[backend] = text
            eager = ", not compiled" if any("not_compiled" in r for r in rows) else ""
            texts.append(f"{text}{kind} on {BACKEND_LABELS[backend]}{eager}")
    if not texts:
        return _UNKNOWN
    # Most of the other implementations run on PyTorch.
    short = ranges.get("torch") or next(iter(ranges.values()))
    return Cell(short, "; ".join(texts))
