"""Records: what a run was made of and what came out, one JSON file each."""

import json
import math
from pathlib import Path

from dropblock_lib.experiments.recipes.recipe import Recipe, hash_of
from dropblock_lib.experiments.records.json_files import (
    check_sections,
    read_json,
    write_atomically,
)
from dropblock_lib.experiments.records.schema1 import upgrade

SCHEMA = 2

_SECTIONS = {
    "schema": int,
    "name": str,
    "recipe": dict,
    "recipe_hash": str,
    "data": dict,
    "history": dict,
    "final": dict,
    "best": dict,
    "parameters": dict,
    "seconds": float,
    "hardware": dict,
    "backend": str,
    "versions": dict,
    "git": (dict, type(None)),
    "resumes": list,
    "date": str,
}


class RecordError(ValueError):
    """A file that should be a record and is not."""


def default_results_directory() -> Path:
    """Where runs write: the source tree's `results`, or else `./results`."""
    root = Path(__file__).resolve().parents[3]
    is_source_tree = (root / "pyproject.toml").is_file()
    return (root if is_source_tree else Path.cwd()) / "results"


def default_records_directory() -> Path:
    """Where records are read: those shipped in the package, or the source tree's."""
    shipped = Path(__file__).resolve().parents[2] / "results" / "records"
    return shipped if shipped.is_dir() else default_results_directory() / "records"


def is_stand_in(requested: str, source: str) -> bool:
    """Whether other data was used than was asked for: "shapes" for "cifar10".

    "cifar10-jpeg" is CIFAR-10 after JPEG, and no stand-in.
    """
    return source != requested and not source.startswith(f"{requested}-")


def data_label(requested: str, source: str) -> str:
    """How a record's name calls the data: what was used, not what was asked for.

    "cifar10", "cifar10-jpeg", or "shapes-for-cifar10" where a stand-in was used:
    records of real data and of stand-ins never share a name.
    """
    return f"{source}-for-{requested}" if is_stand_in(requested, source) else source


def write_record(record: dict, directory: Path | str) -> Path:
    """Check a record and write it to `directory/NAME.json`, atomically.

    Raises:
        RecordError: If the record is not valid, or a file of that name exists.
        OSError: If it cannot be written, because the disk is full, say.
    """
    path = Path(directory) / f"{record.get('name')}.json"
    _check(record, path)
    if path.exists():
        raise RecordError(f"{path} exists, and records are never overwritten.")
    try:
        write_atomically(path, json.dumps(record, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise OSError(
            f"Cannot write {path} ({error.strerror}). The run is trained and saved: "
            "once it can be written, the same command writes it without training."
        ) from error
    return path


def read_record(path: Path | str) -> dict:
    """Read one record and check it.

    Raises:
        RecordError: If the file is not a valid record; the message names it.
    """
    path = Path(path)
    record = read_json(path, "record", RecordError)
    try:
        record = upgrade(record)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path} is not a record: {error!r}.") from None
    _check(record, path)
    return record


def load_records(directory: Path | str | None = None) -> list[dict]:
    """All records of a directory, sorted by name.

    Args:
        directory: Folder with one JSON file a run. By default the records that
            come with the package, or those of the source tree.

    Returns:
        A list of records (dictionaries); empty if the folder has none or does
        not exist.

    Raises:
        RecordError: If a file is not a valid record; the message names all of them.
    """
    records, errors = read_all(directory or default_records_directory())
    if errors:
        raise RecordError("\n".join(str(error) for error in errors.values()))
    return records


def read_all(directory: Path | str) -> tuple[list[dict], dict[Path, RecordError]]:
    """All valid records of a directory by name, and what is wrong with the others.

    Args:
        directory: Folder with one JSON file a run.

    Returns:
        A pair: a list of records, and a dictionary of path -> `RecordError`.
    """
    records, errors = [], {}
    for path in sorted(Path(directory).glob("*.json")):
        try:
            records.append(read_record(path))
        except RecordError as error:
            errors[path] = error
    return records, errors


def _check(record, path: Path) -> None:
    def refuse(why):
        raise RecordError(f"{path} is not a record: {why}.")

    check_sections(record, SCHEMA, _SECTIONS, path.stem, refuse)
    try:
        recipe = Recipe.from_dict(record["recipe"])
    except ValueError as error:
        refuse(f"its recipe is not valid ({error})")
    if hash_of(record["recipe"]) != record["recipe_hash"]:
        refuse("its recipe does not have the hash that it states")
    for key in ("requested", "source", "origin", "sha256", "train", "test"):
        if key not in record["data"]:
            refuse(f"`data` has no `{key}`")
    label = data_label(record["data"]["requested"], record["data"]["source"])
    if record["name"] != recipe.name_on(label):
        refuse(f"its recipe and data make the run {recipe.name_on(label)!r}")
    metrics = recipe.task.metrics
    for key in metrics.history:
        values = record["history"].get(key)
        if not isinstance(values, list) or len(values) != recipe.epochs:
            refuse(f"`history` does not have {recipe.epochs} values of `{key}`")
    for key in metrics.fractions:
        value = record["final"].get(key, "")
        if not (_is_fraction(value) or (value is None and metrics.may_be_none)):
            refuse(f"`final` has no valid `{key}`")
    for key in metrics.final_losses:
        # None stands for a loss that was not finite, which JSON cannot hold.
        if not isinstance(record["final"].get(key, ""), (float, type(None))):
            refuse(f"`final` has no valid `{key}`")
    best = record["best"].get(metrics.best, "")
    if not (_is_fraction(best) or (metrics.lowest_is_best and _is_loss(best))):
        refuse(f"`best` has no valid `{metrics.best}`")


def _is_fraction(value) -> bool:
    return isinstance(value, float) and math.isfinite(value) and 0 <= value <= 1


def _is_loss(value) -> bool:
    return value is None or (isinstance(value, float) and math.isfinite(value))
