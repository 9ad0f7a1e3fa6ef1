"""The package's palette, for pages."""

import runpy
from pathlib import Path
from types import SimpleNamespace


def read_palette(root):
    """Returns what `dropblock_lib/palette.py` defines."""
    # Read by path: importing the package would start Keras for seven colors.
    path = Path(root) / "dropblock_lib" / "palette.py"
    return SimpleNamespace(**runpy.run_path(str(path)))
