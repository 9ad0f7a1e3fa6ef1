"""The first code cell of every notebook, from one template.

    python book/setup_cell.py --write    writes it into every notebook of the book
    python book/setup_cell.py --check    fails if a notebook differs

The cell imports the package, and installs it first if it is missing, as in Colab.
"""

import argparse
import sys
import tomllib
from pathlib import Path

import nbformat

BOOK = Path(__file__).resolve().parent
TAG = "hide-cell"
PROMPTS = {
    "code_prompt_show": "Show the setup",
    "code_prompt_hide": "Hide the setup",
}
TEMPLATE = """\
try:
    import dropblock_lib as dbl
except ImportError:
    home = "{repository}"
    extras = "detection,experiments,explorer"
    %pip install -q "dropblock-lib[{{extras}}] @ git+{{home}}"
    import dropblock_lib as dbl"""


def repository():
    pyproject = tomllib.loads((BOOK.parent / "pyproject.toml").read_text())
    return pyproject["project"]["urls"]["Repository"]


def setup_source():
    return TEMPLATE.format(repository=repository())


def notebooks():
    return sorted(BOOK.glob("*.ipynb"))


def first_code_cell(notebook):
    return next((cell for cell in notebook.cells if cell.cell_type == "code"), None)


def is_set_up(notebook):
    cell = first_code_cell(notebook)
    return (
        cell is not None
        and cell.source == setup_source()
        and TAG in cell.metadata.get("tags", [])
        and cell.metadata.get("mystnb") == PROMPTS
    )


def set_up(notebook):
    """Replaces the setup cell, or inserts one below the title."""
    cell = first_code_cell(notebook)
    if cell is None or not cell.source.startswith(TEMPLATE.partition("\n")[0]):
        cell = nbformat.v4.new_code_cell()
        notebook.cells.insert(1, cell)
    cell.source = setup_source()
    tags = cell.metadata.get("tags", [])
    cell.metadata.tags = [*tags, *([] if TAG in tags else [TAG])]
    cell.metadata.mystnb = PROMPTS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--write", action="store_true")
    choice.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    wrong = []
    for path in notebooks():
        notebook = nbformat.read(path, as_version=4)
        if is_set_up(notebook):
            continue
        wrong.append(path.name)
        if arguments.write:
            set_up(notebook)
            nbformat.write(notebook, path)
    if wrong:
        print("written:" if arguments.write else "differ:", ", ".join(wrong))
    return bool(wrong) and arguments.check


if __name__ == "__main__":
    sys.exit(main())
