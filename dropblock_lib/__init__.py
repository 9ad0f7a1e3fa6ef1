"""DropBlock for Keras 3, and the experiments of the DropBlock Book."""

from dropblock_lib import models
from dropblock_lib.data import load_dataset
from dropblock_lib.insertion import insert_after
from dropblock_lib.inspection import inspect
from dropblock_lib.keep_prob_scheduler import (
    KeepProbScheduler,
    decrement_schedule,
    find_drop_block_layers,
    linear_schedule,
)
from dropblock_lib.layers import DropBlock1D, DropBlock2D, DropBlock3D
from dropblock_lib.masks import (
    cover_counts,
    drop_block,
    exact_gamma,
    expand_seeds,
    expected_drop_rate,
    gamma,
    seed_shape,
)
from dropblock_lib.variants import VARIANTS

__all__ = [
    "VARIANTS",
    "DropBlock1D",
    "DropBlock2D",
    "DropBlock3D",
    "KeepProbScheduler",
    "cover_counts",
    "decrement_schedule",
    "drop_block",
    "exact_gamma",
    "expand_seeds",
    "expected_drop_rate",
    "find_drop_block_layers",
    "gamma",
    "insert_after",
    "inspect",
    "linear_schedule",
    "load_dataset",
    "models",
    "seed_shape",
]


def __getattr__(name):
    if name == "__version__":
        return _version()
    # Imported late: anywidget is optional.
    if name == "MaskExplorer":
        from dropblock_lib.explorer import MaskExplorer

        return MaskExplorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version():
    import importlib.metadata
    import pathlib
    import tomllib

    try:
        return importlib.metadata.version("dropblock-lib")
    except importlib.metadata.PackageNotFoundError:
        # The source tree is on the path, but not installed.
        file = pathlib.Path(__file__).parents[1] / "pyproject.toml"
        if not file.is_file():
            return "unknown"
        return tomllib.loads(file.read_text())["project"]["version"]
