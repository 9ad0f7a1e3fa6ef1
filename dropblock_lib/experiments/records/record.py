"""Records: the recipe and the results of a run, one JSON file each."""

import dataclasses
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from dropblock_lib.arguments import is_whole
from dropblock_lib.data.dataset import label_of
from dropblock_lib.experiments.recipes.recipe import Recipe
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
    """A file is not a valid record."""


@dataclasses.dataclass(frozen=True)
class DataAccount:
    """Which data a run used.

    Attributes:
        requested: Name of the data set in the recipe.
        source: What exactly was used, as in `Dataset.source`.
        origin: Where it was found, as in `Dataset.origin`.
        sha256: Hash of all images and labels; for detection, of all annotations.
        train, validation, test: Numbers of images.
        skipped: For detection, counts of the problems found in each part.
        too_small: For detection, the number of training boxes with a side shorter than
            a pixel in the resized image.
    """

    requested: str
    source: str
    origin: str
    sha256: str
    train: int
    validation: int
    test: int
    skipped: dict[str, dict[str, int]] | None = None
    too_small: int | None = None


@dataclasses.dataclass(frozen=True)
class Record:
    """The recipe and the results of one run.

    Attributes:
        recipe: The `Recipe`.
        data: A `DataAccount`.
        history: Metric -> list of its values, one per epoch; `None` where an epoch
            had no validation or a value is not finite.
        final: Metric -> result of the finished network, and its probes.
        best: The epoch that did best on the validation images.
        parameters: Numbers of weights, "total" and "trainable".
        seconds: Duration of the run.
        hardware: "cpu", "cores", "gpus" and the number of "devices" used.
        backend: The Keras backend.
        versions: Package -> version.
        git: "commit", and whether the source tree was "clean"; `None` outside git.
        resumes: One entry for each time the run was resumed.
        date: When the run ended, in ISO format.
        detections: For detection, "before" and "after" training, on a few images,
            and on "photographs" if the data has persons.
        weights: Name ("file") and "sha256" of the file with the initial weights, if
            the recipe asks for some. Earlier records lack it.
    """

    recipe: Recipe
    data: DataAccount
    history: dict[str, list]
    final: dict[str, Any]
    best: dict[str, Any]
    parameters: dict[str, int]
    seconds: float
    hardware: dict[str, Any]
    backend: str
    versions: dict[str, str]
    git: dict[str, Any] | None
    resumes: list[dict[str, Any]]
    date: str
    detections: dict[str, Any] | None = None
    weights: dict[str, str] | None = None

    @property
    def label(self) -> str:
        """The data's part of the names of runs, see `Dataset.label`."""
        return label_of(self.data.requested, self.data.source)

    @property
    def is_stand_in(self) -> bool:
        """Whether a stand-in was used instead of the requested data."""
        return self.label != self.data.source

    @property
    def name(self) -> str:
        """The name of the run and of its file."""
        return self.recipe.name_on(self.label)

    @property
    def setting(self) -> str:
        """What comparable records have in common, as text.

        It includes data and backend, and everything in the recipe but variant and seed.
        """
        recipe = self.recipe.to_dict()
        for field in ("variant", "regularizer", "seed"):
            del recipe[field]
        common = [recipe, self.data.source, self.data.sha256, self.backend]
        return json.dumps(common, sort_keys=True)

    def to_dict(self) -> dict[str, Any]:
        """The record as plain values, in the order of the file."""
        recipe, data = self.recipe, vars(self.data)
        document = {
            "schema": SCHEMA,
            "name": self.name,
            "recipe": recipe.to_dict(),
            "recipe_hash": recipe.hash,
            "data": {key: data[key] for key in data if data[key] is not None},
            **({"weights": self.weights} if self.weights else {}),
            "history": self.history,
            "final": self.final,
            "best": self.best,
        }
        if self.detections is not None:
            document["detections"] = self.detections
        rest = [key for key in _SECTIONS if key not in document]
        return document | {key: getattr(self, key) for key in rest}

    @classmethod
    def from_dict(cls, document: Any, path: Path | str) -> "Record":
        """Makes a record from the values of `to_dict`, or from the first layout.

        Raises:
            RecordError: If it is not a valid record; the message names the file.
        """
        path = Path(path)

        def reject(why) -> NoReturn:
            raise RecordError(f"{path} is not a record: {why}.")

        try:
            document = upgrade(document)
        except (KeyError, TypeError, ValueError) as error:
            reject(repr(error))
        check_sections(document, SCHEMA, _SECTIONS, path.stem, reject)
        try:
            recipe = Recipe.from_dict(document["recipe"])
        except ValueError as error:
            reject(f"its recipe is not valid ({error})")
        if recipe.hash != document["recipe_hash"]:
            reject("its recipe does not match its `recipe_hash`")
        try:
            data = DataAccount(**document["data"])
        except TypeError as error:
            reject(f"`data` is not valid ({error})")
        for key in ("requested", "source", "origin", "sha256"):
            if not isinstance(getattr(data, key), str):
                reject(f"`data` is not valid ({key} is {getattr(data, key)!r})")
        for key in ("train", "validation", "test"):
            if not is_whole(getattr(data, key), 0):
                reject(f"`data` is not valid ({key} is {getattr(data, key)!r})")
        fields = [field.name for field in dataclasses.fields(cls)[2:]]
        found = {field: document[field] for field in fields if field in document}
        record = cls(recipe, data, **found)
        if document["name"] != record.name:
            reject(f"its recipe and data are those of the run {record.name!r}")
        if "weights" in document:
            named = document["weights"]
            if not isinstance(named, dict) or set(named) != {"file", "sha256"}:
                reject(f"`weights` is {named!r}")
        _check_metrics(record, reject)
        return record

    @classmethod
    def read(cls, path: Path | str) -> "Record":
        """Reads and checks a record.

        Args:
            path: A file that `write` wrote, or one of the first layout.

        Raises:
            RecordError: If the file is not a valid record; the message names it.

        Example:

        >>> Record.read("results/records/NAME.json").final["test_accuracy"]
        """
        path = Path(path)
        return cls.from_dict(read_json(path, "record", RecordError), path)

    def write(self, directory: Path | str) -> Path:
        """Checks the record and writes it to `directory/NAME.json`, atomically.

        Returns:
            The path of the file.

        Raises:
            RecordError: If the record is not valid, or the file exists.
            OSError: If it cannot be written, for example because the disk is full.
        """
        document = self.to_dict()
        path = Path(directory) / f"{self.name}.json"
        self.from_dict(document, path)
        text = json.dumps(document, indent=2, allow_nan=False) + "\n"
        try:
            write_atomically(path, text, replace=False)
        except OSError as error:
            if isinstance(error, FileExistsError) and path.exists():
                message = f"{path} exists, and records are never overwritten."
                raise RecordError(message) from None
            raise OSError(
                f"Cannot write {path} ({error.strerror}). The trained run is saved. "
                "Once the file can be written, the same command writes it without "
                "training."
            ) from error
        return path


def default_results_directory() -> Path:
    """The folder to write to: `results` of the source tree, or else `./results`."""
    root = Path(__file__).resolve().parents[3]
    is_source_tree = (root / "pyproject.toml").is_file()
    return (root if is_source_tree else Path.cwd()) / "results"


def default_records_directory() -> Path:
    """The folder to read from: the package's own, or else the source tree's."""
    shipped = Path(__file__).resolve().parents[2] / "results" / "records"
    return shipped if shipped.is_dir() else default_results_directory() / "records"


def load_records(directory: Path | str | None = None) -> list[Record]:
    """All records of a folder, sorted by name.

    Args:
        directory: Folder with one JSON file per run. By default the records that
            come with the package, or those of the source tree.

    Returns:
        A list of `Record`; empty if the folder has none or does not exist.

    Raises:
        RecordError: If a file is not a valid record; the message names all of them.

    Example:

    >>> {record.name: record.final for record in load_records()}
    """
    records, errors = read_all(directory or default_records_directory())
    if errors:
        raise RecordError("\n".join(str(error) for error in errors.values()))
    return records


def read_all(directory: Path | str) -> tuple[list[Record], dict[Path, RecordError]]:
    """Returns the valid records of a folder, by name, and path -> error for others."""
    records, errors = [], {}
    for path in sorted(Path(directory).glob("*.json")):
        try:
            records.append(Record.read(path))
        except RecordError as error:
            errors[path] = error
        except OSError as error:
            errors[path] = RecordError(f"Cannot read {path} ({error.strerror}).")
    return records, errors


def comparable(records: Iterable[Record]) -> list[Record]:
    """The records that may be compared: of one backend, on the same data.

    If there are several such groups, the largest is returned. A group of stand-ins is
    returned only if there is no other.
    """
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        key = (record.is_stand_in, record.backend, record.data.sha256)
        groups.setdefault(key, []).append(record)
    best = max(groups, key=lambda key: (not key[0], len(groups[key])), default=None)
    return groups[best] if best else []


def find_records(recipe: Recipe, directory: Path | str) -> list[Record]:
    """The records of a recipe in a folder, whatever data they used; real data first."""
    found = [
        Record.read(path)
        for path in sorted(Path(directory).glob("*.json"))
        if recipe.label_in(path.stem) is not None
    ]
    found = [record for record in found if record.recipe == recipe]
    return sorted(found, key=lambda record: record.is_stand_in)


def _check_metrics(record, reject):
    epochs, metrics = record.recipe.epochs, record.recipe.task.metrics
    for key in metrics.history:
        values = record.history.get(key)
        if not isinstance(values, list) or len(values) != epochs:
            reject(f"`history` does not have {epochs} values of `{key}`")
    for key in metrics.fractions:
        value = record.final.get(key, "")
        if not (_is_fraction(value) or (value is None and metrics.may_be_none)):
            reject(f"`final` has no valid `{key}`")
    for key in metrics.final_losses:
        # None stands for a loss that was not finite, because JSON has no such number.
        if not isinstance(record.final.get(key, ""), (float, type(None))):
            reject(f"`final` has no valid `{key}`")
    best = record.best.get(metrics.best, "")
    if not (_is_fraction(best) or (metrics.lowest_is_best and _is_loss(best))):
        reject(f"`best` has no valid `{metrics.best}`")


def _is_fraction(value):
    return isinstance(value, float) and 0 <= value <= 1


def _is_loss(value):
    return value is None or (isinstance(value, float) and math.isfinite(value))
