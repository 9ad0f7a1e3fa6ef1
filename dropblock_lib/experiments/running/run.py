"""Train one recipe, or a grid of them, and keep what came out."""

import contextlib
from pathlib import Path

import keras

from dropblock_lib.experiments.records import record
from dropblock_lib.experiments.records.checkpoint import BusyError, PartialRun
from dropblock_lib.experiments.records.json_files import (
    check_writable,
    remove_leftovers,
)
from dropblock_lib.experiments.running.progress import open_progress
from dropblock_lib.experiments.running.train import train


class RunsFailed(RuntimeError):
    """Some of several runs have left no record; the message names them."""

    def __init__(self, reasons: dict[str, str], total: int):
        lines = [f"{name}: {why}" for name, why in reasons.items()]
        super().__init__(f"{len(lines)} of {total} runs failed.\n" + "\n".join(lines))


def run(
    recipe, *, results_dir=None, data_dir=None, data=None, progress=None, devices=1
):
    """Train a recipe, unless there is a record of it already.

    Args:
        recipe: A `Recipe`.
        results_dir: Folder for `records/NAME.json` and, while the run is under
            way, `.partial/NAME/`. By default the source tree's `results`, or
            `./results` if the package is installed without its tree.
        data_dir: Folder of real data files, as for `load_dataset`.
        data: A loaded data set, to save loading it again.
        progress: From `open_progress`; by default one for this run.
        devices: Over how many devices of this machine each batch is spread. The
            numbers are those of one device, but for the order of sums.

    Returns:
        The record, a dictionary: the new one, or the one that was there.

    Raises:
        RecordError: If a file stands in the record's place that is not a record
            of this recipe.
        ValueError: If that many devices cannot share the work.
        OSError: If nothing can be written to `results_dir`. Nothing was trained.
    """
    results_dir = Path(results_dir or record.default_results_directory())
    with contextlib.ExitStack() as stack:
        if progress is None:
            progress = stack.enter_context(open_progress(1))
        if data is None:
            data = _load(recipe.dataset, data_dir)
        records = results_dir / "records"
        done, why = _existing(recipe, data, records)
        if done is not None:
            progress.skip_run(done["name"], why)
            # What a process left that was killed while it removed it.
            PartialRun(results_dir / ".partial" / done["name"]).remove_if_unused()
            return done
        name = recipe.name_on(record.data_label(data.requested, data.source))
        partial = PartialRun(results_dir / ".partial" / name)
        check_writable(records, partial.directory)
        stack.enter_context(partial.locked())
        # Another process may have finished it while this one waited for the lock.
        done, why = _existing(recipe, data, records)
        if done is not None:
            partial.remove()
            progress.skip_run(done["name"], why)
            return done
        remove_leftovers(records / f"{name}.json")
        finished = train(recipe, name, data, partial, progress, devices)
        record.write_record(finished, records)
        partial.remove()
        reached = recipe.task.metrics.describe(finished["final"])
        progress.end_run(f"{reached}, {finished['seconds']:.0f} s")
        return finished


def run_all(
    recipes,
    *,
    results_dir=None,
    data_dir=None,
    progress=None,
    devices=1,
    keep_going=False,
):
    """Train recipes one after another; those with a record are skipped.

    Args:
        recipes: An iterable of `Recipe`.
        results_dir: As for `run`.
        data_dir: As for `run`.
        progress: From `open_progress`; by default one for these runs.
        devices: As for `run`.
        keep_going: Whether a run that fails, or that another process is training,
            leaves the others alone.

    Returns:
        The list of their records.

    Raises:
        RunsFailed: With `keep_going`, if runs have left no record, after all others
            are done.
    """
    recipes = list(recipes)
    loaded = {}
    records, failures = [], {}
    with contextlib.ExitStack() as stack:
        if progress is None:
            progress = stack.enter_context(open_progress(len(recipes)))
        for recipe in recipes:
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
            except (ValueError, OSError, ImportError) as error:
                if not keep_going:
                    raise
                failures[recipe.name] = str(error)
                if isinstance(error, BusyError):
                    progress.skip_run(recipe.name, "another process is training it")
                else:
                    progress.say(f"{recipe.name}: {error}")
            # Or the memory of all earlier models stays taken.
            keras.utils.clear_session()
    if failures:
        raise RunsFailed(failures, len(recipes))
    return records


def run_or_load(recipe, *, results_dir=None, data_dir=None):
    """The record of a recipe: read if there is one, made if not. Says which.

    Looks in `results_dir` and among the records that come with the package.

    Args:
        recipe: A `Recipe`.
        results_dir: As for `run`.
        data_dir: As for `run`.

    Returns:
        The record, a dictionary.
    """
    results_dir = Path(results_dir or record.default_results_directory())
    for directory in (results_dir / "records", record.default_records_directory()):
        found = find_records(recipe, directory)
        if found:
            done = found[0]
            print(
                f"Read the record {done['name']}: {done['date'][:10]}, "
                f"{done['seconds']:.0f} s on {done['hardware']['cpu']}."
            )
            return done
    print(f"No record of {recipe.name} yet: training it now.")
    return run(recipe, results_dir=results_dir, data_dir=data_dir)


def find_records(recipe, directory):
    """The records of a recipe, whatever data they used; real data first."""
    directory = Path(directory)
    prefix, _, suffix = recipe.name_on("\0").partition("\0")
    candidates = (
        record.read_record(path)
        for path in sorted(directory.glob("*.json"))
        if path.stem.startswith(prefix) and path.stem.endswith(suffix)
    )
    found = [done for done in candidates if done["recipe_hash"] == recipe.hash]
    return sorted(
        found,
        key=lambda done: record.is_stand_in(
            done["data"]["requested"], done["data"]["source"]
        ),
    )


def _load(name, data_dir):
    # Here, because a machine that only reads records needs no data.
    from dropblock_lib.data import load_dataset

    return load_dataset(name, data_dir=data_dir)


def _existing(recipe, data, directory):
    """The record that makes a run needless, and why; or (None, None)."""
    name = recipe.name_on(record.data_label(data.requested, data.source))
    path = directory / f"{name}.json"
    if path.exists():
        done = record.read_record(path)
        if done["recipe_hash"] != recipe.hash:
            raise record.RecordError(
                f"{path} is a record of another recipe: "
                f"{_difference(done['recipe'], recipe)}. Give this recipe a "
                "`profile` of its own, or remove the record."
            )
        return done, "its record exists"
    if record.is_stand_in(data.requested, data.source):
        for done in find_records(recipe, directory):
            return done, f"and here there is only the stand-in {data.source}"
    return None, None


def _difference(values, recipe):
    wanted = recipe.to_dict()
    return ", ".join(
        f"{field} is {values[field]!r} there and {wanted[field]!r} here"
        for field in wanted
        if values[field] != wanted[field]
    )
