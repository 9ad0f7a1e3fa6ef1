"""Running recipes that have no record yet."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

import keras

from dropblock_lib.arguments import check_integer, invalid
from dropblock_lib.experiments.recipes.recipe import Recipe
from dropblock_lib.experiments.records.checkpoint import BusyError, PartialRun
from dropblock_lib.experiments.records.json_files import (
    check_writable,
    remove_leftovers,
)
from dropblock_lib.experiments.records.record import (
    Record,
    RecordError,
    default_records_directory,
    default_results_directory,
    find_records,
)
from dropblock_lib.experiments.running.progress import open_progress
from dropblock_lib.experiments.running.train import train


class RunsFailed(RuntimeError):
    """Some of several runs failed; the message names them."""

    def __init__(self, reasons: dict[str, str], total: int):
        lines = [f"{name}: {why}" for name, why in reasons.items()]
        super().__init__(f"{len(lines)} of {total} runs failed.\n" + "\n".join(lines))


def run(
    recipe: Recipe,
    *,
    results_dir: Path | str | None = None,
    data_dir: Path | str | None = None,
    data=None,
    progress=None,
    devices: int = 1,
) -> Record:
    """Trains a recipe unless it has a record.

    Args:
        recipe: The recipe.
        results_dir: Folder for `records/NAME.json` and, during the run,
            `.partial/NAME/`. By default the source tree's `results`, or
            `./results` if the package is installed without its tree.
        data_dir: Folder of real data files, as for `load_dataset`.
        data: The recipe's data set if it is loaded, to avoid loading it again.
        progress: From `open_progress`; by default one for this run.
        devices: Number of devices of this machine over which each batch is spread.
            The numbers are those of one device, up to the order of sums.

    Returns:
        The new `Record`, or the one that the recipe already had.

    Raises:
        RecordError: If the record's file exists and is not a record of this recipe.
        ValueError: If that many devices cannot share the work, or `data` is not the
            recipe's data set or a stand-in for it.
        OSError: If nothing can be written to `results_dir`, or another process is
            training the run. Nothing was trained.
    """
    check_integer("devices", devices)
    results_dir = Path(results_dir or default_results_directory())
    if data is not None and data.requested != recipe.dataset:
        # Its record would be taken for one of the recipe's data set.
        expected = f"the data set of the recipe, {recipe.dataset!r}"
        raise invalid("data", expected, received=repr(data.requested))
    with contextlib.ExitStack() as stack:
        if progress is None:
            progress = stack.enter_context(open_progress(1))
        if data is None:
            data = _load(recipe.dataset, data_dir)
        records = results_dir / "records"
        done, why = _existing(recipe, data, records)
        if done is not None:
            progress.skip_run(done.name, why)
            unused = PartialRun(results_dir / ".partial" / done.name)
            unused.remove_if_unused(records / f"{done.name}.json")
            return done
        name = recipe.name_on(data.label)
        partial = PartialRun(results_dir / ".partial" / name)
        check_writable(records, partial.directory)
        stack.enter_context(partial.locked())
        remove_leftovers(records / f"{name}.json")
        # Another process may have finished the run while this one waited.
        done, why = _existing(recipe, data, records)
        if done is not None:
            partial.remove()
            progress.skip_run(done.name, why)
            return done
        done = train(recipe, name, data, partial, progress, devices)
        done.write(records)
        partial.remove()
        reached = recipe.task.metrics.describe(done.final)
        progress.end_run(f"{reached}, {done.seconds:.0f} s")
        return done


def run_all(
    recipes: Iterable[Recipe],
    *,
    results_dir: Path | str | None = None,
    data_dir: Path | str | None = None,
    progress=None,
    devices: int = 1,
    keep_going: bool = False,
) -> list[Record]:
    """Trains recipes one after another; those with a record are skipped.

    Args:
        recipes: The recipes.
        results_dir, data_dir, devices: As for `run`.
        progress: From `open_progress`; by default one for these runs.
        keep_going: Whether to continue with the other recipes if a run fails or
            another process is training it.

    Returns:
        The records, in the order of the recipes; those that another process has
        written in the meantime come last.

    Raises:
        RunsFailed: With `keep_going`, if any run left no record. Raised after all
            others are done.
    """
    recipes = list(recipes)
    results_dir = Path(results_dir or default_results_directory())
    loaded = {}
    records, failures, busy = [], {}, []
    with contextlib.ExitStack() as stack:
        if progress is None:
            progress = stack.enter_context(open_progress(len(recipes)))
        for recipe in recipes:
            index = progress.run_index
            try:
                if recipe.dataset not in loaded:
                    loaded = {recipe.dataset: _load(recipe.dataset, data_dir)}
                records.append(
                    run(
                        recipe,
                        results_dir=results_dir,
                        data=loaded[recipe.dataset],
                        progress=progress,
                        devices=devices,
                    )
                )
            # A backend that runs out of memory raises an error of its own.
            except Exception as error:
                if not keep_going:
                    raise
                failures[recipe.name] = str(error) or repr(error)
                if isinstance(error, BusyError):
                    busy.append(recipe)
                    name = recipe.name_on(loaded[recipe.dataset].label)
                    progress.skip_run(name, "another process is training it")
                elif progress.run_index == index:
                    progress.skip_run(recipe.name, f"it cannot start: {error}")
                else:
                    progress.say(f"{recipe.name}: {error}")
            # Frees the memory of the model.
            keras.utils.clear_session()
    for recipe in busy:
        # The other process may have finished it in the meantime.
        done = next(iter(find_records(recipe, results_dir / "records")), None)
        if done is not None:
            records.append(done)
            del failures[recipe.name]
    if failures:
        raise RunsFailed(failures, len(recipes))
    return records


def run_or_load(
    recipe: Recipe,
    *,
    results_dir: Path | str | None = None,
    data_dir: Path | str | None = None,
) -> Record:
    """Reads the record of a recipe, or trains the recipe, and prints which.

    Looks in `results_dir` and among the records that come with the package.

    Args:
        recipe: The recipe.
        results_dir, data_dir: As for `run`.

    Returns:
        The `Record`.
    """
    results_dir = Path(results_dir or default_results_directory())
    for directory in (results_dir / "records", default_records_directory()):
        for done in find_records(recipe, directory):
            print(
                f"Read the record {done.name}: {done.date[:10]}, "
                f"{done.seconds:.0f} s on {done.hardware['cpu']}."
            )
            return done
    print(f"No record of {recipe.name} yet: training it now.")
    return run(recipe, results_dir=results_dir, data_dir=data_dir)


def _load(name, data_dir):
    # Imported late: a machine that only reads records needs no data.
    from dropblock_lib.data import load_dataset

    return load_dataset(name, data_dir=data_dir)


def _existing(recipe, data, directory):
    """The record that makes a run unnecessary, and why; or (None, None)."""
    path = directory / f"{recipe.name_on(data.label)}.json"
    if path.exists():
        done = Record.read(path)
        if done.recipe != recipe:
            raise RecordError(
                f"{path} is a record of another recipe: "
                f"{_difference(done.recipe, recipe)}. Give this recipe its "
                "own `profile`, or remove the record."
            )
        return done, "its record exists"
    for done in find_records(recipe, directory):
        if data.label != data.source:
            return done, f"because only the stand-in {data.source} is available here"
        if not done.is_stand_in:
            return done, f"its record on {done.data.source} exists"
    return None, None


def _difference(theirs, ours):
    theirs, ours = vars(theirs), vars(ours)
    return ", ".join(
        f"{field} is {theirs[field]!r} there and {ours[field]!r} here"
        for field in ours
        if theirs[field] != ours[field]
    )
