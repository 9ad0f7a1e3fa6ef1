"""The command `python -m dropblock_lib.experiments run | table | list | status`."""

import argparse
import difflib
import fnmatch
import sys
from pathlib import Path

from dropblock_lib.arguments import invalid
from dropblock_lib.experiments import PROFILES, make_recipes, run_all
from dropblock_lib.experiments.engines.on_ray import run_on_ray
from dropblock_lib.experiments.engines.orders import import_modules
from dropblock_lib.experiments.engines.side_by_side import run_side_by_side
from dropblock_lib.experiments.recipes.grids import read_grid
from dropblock_lib.experiments.recipes.profiles import datasets_of
from dropblock_lib.experiments.records.record import (
    RecordError,
    default_records_directory,
    default_results_directory,
    load_records,
    read_all,
)
from dropblock_lib.experiments.reports.columns import FORMATS
from dropblock_lib.experiments.reports.listing import format_runs, list_runs
from dropblock_lib.experiments.reports.queue import (
    DEFAULT,
    format_status,
    passes,
    read_queue,
    recipes_of,
    status,
)
from dropblock_lib.experiments.reports.tables import format_table, summarize
from dropblock_lib.experiments.running.run import RunsFailed

# Exit code after Ctrl-C.
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Runs the command in `arguments`, by default the process's own.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    try:
        import_modules(options.modules)
        return options.command(options)
    except KeyboardInterrupt:
        print(
            "\nInterrupted. Finished runs have their records; the same command "
            "resumes the unfinished one after its last whole epoch.",
            file=sys.stderr,
        )
        return INTERRUPTED
    except (ValueError, OSError, ImportError, RunsFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(options):
    recipes = _chosen(options)
    results = options.results or default_results_directory()
    _, errors = read_all(results / "records")
    if errors:
        raise RecordError(
            "\n".join(str(error) for error in errors.values())
            + "\nNothing was trained. Restore the file, or move it elsewhere: a run "
            "without a record is trained again."
        )
    where = {
        "results_dir": results,
        "data_dir": options.data_dir,
        "devices": options.devices,
    }
    if options.engine == "ray":
        if options.jobs != 1:
            raise ValueError("--jobs is for one machine; with --engine ray use --cpus.")
        run_on_ray(
            recipes,
            address=options.address,
            cpus=1 if options.cpus is None else options.cpus,
            gpus=options.gpus,
            modules=options.modules,
            **where,
        )
    elif options.address or options.cpus is not None or options.gpus is not None:
        raise ValueError("--address, --cpus and --gpus are for --engine ray.")
    elif options.jobs == 1:
        run_all(recipes, keep_going=options.queue is not None, **where)
    else:
        run_side_by_side(recipes, options.jobs, modules=options.modules, **where)
    return 0


def _list(options):
    results = options.results or default_results_directory()
    rows, errors = list_runs(_chosen(options), results)
    return _print(format_runs(rows, options.format), errors)


def _status(options):
    results = options.results or default_results_directory()
    rows, errors = status(read_queue(options.queue), results)
    return _print(format_status(rows, options.format), errors)


def _print(text, errors):
    print(text, end="")
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    return 1 if errors else 0


def _table(options):
    directory = (options.results or default_results_directory()) / "records"
    if not options.results and not directory.is_dir():
        # Records of the book, which come with the package.
        directory = default_records_directory()
    if not directory.is_dir():
        raise RecordError(f"{directory} does not exist: there are no records.")
    records = load_records(directory)
    if records:
        recipes = _filtered([record.recipe for record in records], _filters(options))
        records = [record for record in records if record.recipe in recipes]
    return _print(format_table(summarize(records), options.format), [])


def _chosen(options):
    """The recipes that the options select."""
    if options.queue is not None:
        if options.grid is not None:
            raise ValueError("--queue and --grid exclude each other.")
        recipes = recipes_of(read_queue(options.queue))
    elif options.grid is not None:
        recipes = read_grid(options.grid)
    else:
        return _named(_of_profiles(options), options.names)
    return _named(_filtered(recipes, _filters(options)), options.names)


def _filtered(recipes, wanted):
    """The recipes that pass all filters. A value that no recipe has is an error."""
    for field, choices in wanted.items():
        option = "seeds" if field == "seed" else field
        for choice in choices or []:
            if not any(passes(recipe, {field: [choice]}) for recipe in recipes):
                known = dict.fromkeys(str(getattr(r, field)) for r in recipes)
                expected = f"one of {', '.join(known)}"
                raise invalid(option, expected, received=f"--{option} {choice}")
    found = [recipe for recipe in recipes if passes(recipe, wanted)]
    if not found:
        raise ValueError("No run has all of these values: " + _in_words(wanted))
    return found


def _in_words(wanted):
    chosen = {field: choices for field, choices in wanted.items() if choices}
    return ", ".join(
        f"{field} {' or '.join(map(str, choices))}" for field, choices in chosen.items()
    )


def _of_profiles(options):
    profiles = options.profile or (PROFILES if options.names else ["quick"])
    recipes = []
    for profile in profiles:
        datasets = options.dataset
        if datasets is not None and len(profiles) > 1:
            # Each profile runs only on the data sets that it has.
            datasets = [name for name in datasets if name in datasets_of(profile)]
        recipes += make_recipes(
            profile, options.network, datasets, options.variant, options.seeds
        )
    return recipes


def _filters(options):
    return {
        "network": options.network,
        "dataset": options.dataset,
        "variant": options.variant,
        "profile": options.profile,
        "seed": options.seeds,
    }


def _named(recipes, names):
    """The recipes that match a name or pattern; all recipes if there are no names."""
    if not names:
        return recipes
    chosen = {}
    for name in names:
        found = [r for r in recipes if fnmatch.fnmatchcase(r.name, name)]
        if not found:
            close = difflib.get_close_matches(name, [r.name for r in recipes], n=3)
            hint = f" Did you mean {', '.join(close)}?" if close else ""
            raise ValueError(
                f"There is no run named {name!r}.{hint} "
                "`python -m dropblock_lib.experiments list` shows all runs."
            )
        chosen |= {recipe.name: recipe for recipe in found}
    return list(chosen.values())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dropblock_lib.experiments",
        description="Train the networks of the book and compare the regularizers.",
    )
    commands = parser.add_subparsers(
        required=True, metavar="run | table | list | status"
    )

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--results",
        type=_folder,
        metavar="DIR",
        help="folder that contains records/ (default: results of the source tree, "
        "or ./results)",
    )
    common.add_argument(
        "--import",
        dest="modules",
        nargs="+",
        default=[],
        metavar="MODULE",
        help="modules to import first, which add networks or variants of your own",
    )
    filters = argparse.ArgumentParser(add_help=False, parents=[common])
    for field in ("network", "dataset", "variant", "profile"):
        filters.add_argument(f"--{field}", nargs="+", metavar="NAME")
    filters.add_argument("--seeds", nargs="+", type=int, metavar="SEED")
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument("--format", choices=FORMATS, default="text")
    names = argparse.ArgumentParser(add_help=False)
    names.add_argument(
        "--grid",
        metavar="FILE",
        help="recipes of a TOML file or of a grid of the book, such as slides",
    )
    names.add_argument(
        "--queue",
        nargs="?",
        const=DEFAULT,
        metavar="FILE",
        help="recipes of a queue, in its order (default: the book's)",
    )
    names.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="names or patterns (quoted) from `list`; default: the profile quick",
    )

    run = commands.add_parser(
        "run", parents=[names, filters], help="train the runs that have no record"
    )
    run.add_argument(
        "--data-dir",
        metavar="DIR",
        help="folder with mnist.npz, cifar10.npz, coco2017-mini "
        "(default: $DROPBLOCK_DATA)",
    )
    run.add_argument(
        "--jobs",
        type=_at_least_one,
        default=1,
        metavar="N",
        help="train N runs at a time, each in its own process (default: 1)",
    )
    run.add_argument(
        "--devices",
        type=_at_least_one,
        default=1,
        metavar="N",
        help="spread each batch of a run over N devices (default: 1)",
    )
    run.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="run on this machine, or on a Ray cluster (extra `cluster`)",
    )
    run.add_argument(
        "--address",
        help="address of the Ray cluster, such as auto (default: this machine alone)",
    )
    run.add_argument(
        "--cpus",
        type=float,
        metavar="N",
        help="processors per run on a Ray cluster (default: 1)",
    )
    run.add_argument(
        "--gpus",
        type=float,
        metavar="N",
        help="GPUs per run on a Ray cluster; with 0.25, four runs share one "
        "(default: 1 if the cluster has any)",
    )
    run.set_defaults(command=_run)

    commands.add_parser(
        "table", parents=[filters, output], help="mean and spread over the seeds"
    ).set_defaults(command=_table)
    commands.add_parser(
        "list", parents=[names, filters, output], help="all runs and their state"
    ).set_defaults(command=_list)

    state = commands.add_parser(
        "status", parents=[common], help="progress of the queue, and the time left"
    )
    state.add_argument("--queue", default=DEFAULT, metavar="FILE")
    state.add_argument("--format", choices=("text", "json"), default="text")
    state.set_defaults(command=_status)
    return parser


def _at_least_one(text: str) -> int:
    # argparse would show the name of this function.
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"expected a positive integer. Received: {text}"
        )
    return int(text)


def _folder(text: str) -> Path:
    """A folder, which need not exist yet."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"expected a folder. Received a file: {text}")
    return path


if __name__ == "__main__":
    sys.exit(main())
