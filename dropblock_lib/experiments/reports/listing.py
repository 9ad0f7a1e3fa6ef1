"""Lists of runs and their progress."""

import json
from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path

from dropblock_lib.experiments.recipes.recipe import Recipe, hash_of
from dropblock_lib.experiments.records.record import Record, RecordError, read_all
from dropblock_lib.experiments.reports.columns import Column, format_rows


def list_runs(
    recipes: Iterable[Recipe],
    results_dir: Path | str,
    found: tuple[list[Record], dict[Path, RecordError]] | None = None,
) -> tuple[list[dict], list[str]]:
    """One row per run, and the errors of files that cannot be read.

    Every record is read once, however many recipes there are.

    Args:
        recipes: The recipes of the runs.
        results_dir: Folder with `records/` and `.partial/`.
        found: The result of `read_all` for `records/`, to avoid reading it again.

    Returns:
        A pair. First a list of rows (dictionaries) with `name` (of the recipe),
        `network`, `data` (the label of the data used, or else the data requested),
        `variant`, `profile`, `seed`, `state` ("done", "unfinished", "to do" or
        "corrupt"), `epoch` (number of finished epochs), `epochs` (of the recipe),
        `test_accuracy`, or for a detector `AP` (`None` until it is done), and
        `recipe_hash`. A recipe with a record of real data and one of a stand-in has
        two rows. Then a list of messages, each of which names a file.
    """
    results_dir = Path(results_dir)
    records, errors = found or read_all(results_dir / "records")
    corrupt = {path.stem for path in errors}
    messages = [str(error) for error in errors.values()]
    done = {}
    for record in records:
        done.setdefault(record.recipe.hash, []).append(record)
    unfinished = {}
    for path in sorted(results_dir.glob(".partial/*/state.json")):
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            epochs_done = len(state["history"]["loss"])
            unfinished[hash_of(state["recipe"])] = path.parent.name, epochs_done
        except (OSError, ValueError, KeyError, TypeError) as error:
            messages.append(f"{path} is not the state of a run ({error!r}).")
            corrupt.add(path.parent.name)

    rows = []
    for recipe in recipes:
        metric = recipe.task.metrics.fractions[0]
        for record in done.get(recipe.hash, []):
            row = _row(recipe, record.label, "done", recipe.epochs)
            rows.append(row | {metric: record.final[metric]})
        if recipe.hash in done:
            continue
        broken = [label for label in map(recipe.label_in, sorted(corrupt)) if label]
        if broken:
            rows += [_row(recipe, label, "corrupt") for label in broken]
        elif recipe.hash in unfinished:
            name, epoch = unfinished[recipe.hash]
            rows.append(_row(recipe, recipe.label_in(name), "unfinished", epoch))
        else:
            rows.append(_row(recipe, recipe.dataset, "to do"))
    return rows, messages


def format_runs(rows: list[dict], format: str = "text") -> str:
    """Rows of `list_runs` as a table; "result" is the test accuracy or the AP."""
    return format_rows(rows, _COLUMNS, format)


def _row(recipe, label, state, epoch=0):
    return {
        # The name for the command `run`, whatever data was used.
        "name": recipe.name,
        "network": recipe.network,
        "data": label,
        "variant": recipe.variant,
        "profile": recipe.profile,
        "seed": recipe.seed,
        "state": state,
        "epoch": epoch,
        "epochs": recipe.epochs,
        "test_accuracy": None,
        "AP": None,
        "recipe_hash": recipe.hash,
    }


def _result(row):
    result = row["AP"] if row["test_accuracy"] is None else row["test_accuracy"]
    return "" if result is None else f"{result:.4f}"


_COLUMNS = (
    *(
        Column(key, itemgetter(key))
        for key in ("name", "network", "data", "variant", "profile", "seed", "state")
    ),
    Column("epoch", lambda row: f"{row['epoch']}/{row['epochs']}"),
    Column("result", _result),
)
