"""Results of `make bench`, one JSON file for each benchmark and backend."""

import json
from datetime import UTC, datetime
from pathlib import Path

import keras

from dropblock_lib.experiments.records import environment
from dropblock_lib.experiments.records.json_files import (
    check_sections,
    read_json,
    write_atomically,
)
from dropblock_lib.experiments.records.record import default_results_directory

SCHEMA = 1

BACKENDS = ("tensorflow", "jax", "torch")
_SECTIONS = {
    "schema": int,
    "name": str,
    "benchmark": str,
    "backend": str,
    "date": str,
    "hardware": dict,
    "versions": dict,
    "git": (dict, type(None)),
    "settings": dict,
    "missing": dict,
    "rows": list,
}


class BenchmarkError(ValueError):
    """A file is not a valid benchmark."""


def default_benchmarks_directory() -> Path:
    """The folder to read from: the package's own, or else the source tree's."""
    shipped = Path(__file__).resolve().parents[2] / "results" / "benchmarks"
    return shipped if shipped.is_dir() else default_results_directory() / "benchmarks"


def make_benchmark(
    benchmark: str, rows: list[dict], settings: dict, missing: dict, versions: dict
) -> dict:
    """Adds machine, versions and commit to the results of a benchmark.

    Args:
        benchmark: Name of the benchmark; the file's name adds the backend.
        rows: One dictionary per measurement.
        settings: How the measurements were made.
        missing: Name of what could not be measured -> the reason.
        versions: Versions of packages other than Keras, its backend and this one.

    Returns:
        A dictionary for `write_benchmark`.
    """
    backend = keras.backend.backend()
    return {
        "schema": SCHEMA,
        "name": f"{benchmark}-{backend}",
        "benchmark": benchmark,
        "backend": backend,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": environment.hardware(),
        "versions": environment.versions() | versions,
        "git": environment.git_state(),
        "settings": settings,
        "missing": missing,
        "rows": rows,
    }


def write_benchmark(document: dict, directory: Path | str) -> Path:
    """Checks a benchmark and writes `directory/NAME.json`; replaces an older file."""
    path = Path(directory) / f"{document.get('name')}.json"
    _check(document, path)
    write_atomically(path, json.dumps(document, indent=1, allow_nan=False) + "\n")
    return path


def read_benchmark(path: Path | str) -> dict:
    """Reads a benchmark; a `BenchmarkError` names the file that is not valid."""
    path = Path(path)
    document = read_json(path, "benchmark", BenchmarkError)
    _check(document, path)
    return document


def load_benchmarks(
    benchmark: str, directory: Path | str | None = None
) -> dict[str, dict]:
    """Reads a benchmark for every backend on which it was run.

    Args:
        benchmark: `"layer_speed"`, `"loaded_speed"`, `"step_speed"`, `"peer_rates"`,
            `"features"`, `"anchor_classes"` or `"versions"`.
        directory: Folder of the files; by default the package's own, or else the
            source tree's.

    Returns:
        Dictionary of backend -> document; empty if there is none.

    Raises:
        BenchmarkError: If a file is not a valid benchmark.

    Example:

    >>> rates = load_benchmarks("peer_rates")["torch"]
    >>> rates["versions"]["timm"], len(rates["rows"])
    """
    directory = Path(directory or default_benchmarks_directory())
    paths = {b: directory / f"{benchmark}-{b}.json" for b in BACKENDS}
    return {b: read_benchmark(path) for b, path in paths.items() if path.is_file()}


def describe(document: dict) -> str:
    """One sentence on the machine and versions of a benchmark, in Markdown."""
    hardware, versions = document["hardware"], dict(document["versions"])
    python, system = versions.pop("python"), versions.pop("system")
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    gpus = "".join(f", {gpu}" for gpu in hardware["gpus"])
    git = document["git"]
    commit = "outside git" if git is None else f"commit {git['commit'][:10]}"
    if git and not git["clean"]:
        commit += " with changes"
    return (
        f"{hardware['cpu']}, {hardware['cores']} cores{gpus}; {system}; "
        f"Python {python}, {packages}; {commit}; {document['date'][:10]}."
    )


def _check(document, path: Path) -> None:
    def reject(why):
        raise BenchmarkError(f"{path} is not a benchmark: {why}.")

    check_sections(document, SCHEMA, _SECTIONS, path.stem, reject)
    if document["name"] != f"{document['benchmark']}-{document['backend']}":
        reject("its name is not that of its benchmark and backend")
    if not document["rows"]:
        reject("it has no rows")
    if not all(isinstance(row, dict) for row in document["rows"]):
        reject("a row is not a JSON object")
