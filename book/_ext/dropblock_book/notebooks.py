"""Shows each notebook as run by the Makefile, with outputs and run time."""

from datetime import datetime
from pathlib import Path

import nbformat
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.errors import ExtensionError


def seconds(notebook):
    """Returns the wall time between a notebook's first cell and its last."""
    times = [
        datetime.fromisoformat(time)
        for cell in notebook.cells
        for time in cell.metadata.get("execution", {}).values()
    ]
    return (max(times) - min(times)).total_seconds()


def read_executed(app, docname, content):
    folder = Path(app.srcdir) / "_build" / "executed"
    if docname == app.config.root_doc:
        # The first page has code, but is not a notebook. It depends on all notebooks.
        for path in folder.rglob("*.ipynb"):
            app.env.note_dependency(str(path))
    if not app.env.doc2path(docname, base=False).endswith(".ipynb"):
        return
    path = folder / f"{docname}.ipynb"
    if not path.is_file():
        raise ExtensionError(f"{docname} has not been run. To run it: make book")
    app.env.note_dependency(str(path))
    content[0] = path.read_text()
    run = {
        "mtime": path.stat().st_mtime,
        "runtime": seconds(nbformat.reads(content[0], as_version=4)),
        "method": "nbmake",
        "succeeded": True,
        "error": None,
        "traceback": None,
    }
    # The directive `nb-exec-table` shows this data.
    NbMetadataCollector.set_exec_data(app.env, docname, run)


def setup(app):
    app.connect("source-read", read_executed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
