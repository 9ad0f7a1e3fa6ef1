"""The book's Sphinx extension: what Jupyter Book and its theme do not do.

Each module is a small extension with its own `setup`.
"""

import hashlib
from pathlib import Path

MODULES = (
    "notebooks",
    "facts",
    "metadata",
    "theme",
    "body",
    "autodoc",
    "explorer",
    "scripts",
    "stylesheet",
    "versions",
    "figures",
    "slides",
)


def source_hash():
    """Returns the sha256 of this package's source."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def setup(app):
    for module in MODULES:
        app.setup_extension(f"dropblock_book.{module}")
    # Sphinx reads and writes all pages again if the version changes.
    return {
        "env_version": source_hash(),
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
