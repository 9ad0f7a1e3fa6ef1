"""Modules import only from floors below theirs; pages name only what exists."""

import ast
import json
import pydoc
import re
from pathlib import Path

import pytest

import dropblock_lib

ROOT = Path(__file__).resolve().parents[1]

# From the lowest floor up. A module may import from its own floor and those below.
FLOORS = (
    ("arguments", "palette"),
    ("masks",),
    ("kernels",),
    ("layers",),
    (
        "keep_prob_scheduler",
        "placements",
        "insertion",
        "inspection",
        "variants",
        "data",
    ),
    ("detection",),
    ("models",),
    ("experiments",),
    ("plots", "explorer"),
)
# The floors within `experiments`, below its public face and its command.
EXPERIMENTS = (
    ("recipes",),
    ("tasks",),
    ("records",),
    ("running",),
    ("engines",),
    ("reports",),
)
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
INNER = {name: floor for floor, names in enumerate(EXPERIMENTS) for name in names}


def imports_of(path):
    """The modules that a file imports anywhere, such as "dropblock_lib.data.load"."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules():
    package = ROOT / "dropblock_lib"
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        yield path, parts


def test_every_module_has_a_floor():
    tops = {parts[0] for _, parts in modules()} - {"__init__"}
    assert tops == set(FLOOR)


@pytest.mark.parametrize(
    "floors, depth", [(FLOOR, 0), (INNER, 1)], ids=["library", "experiments"]
)
def test_no_module_imports_from_a_floor_above(floors, depth):
    against = set()
    for path, parts in modules():
        above = parts[:depth] if depth else ()
        if parts[:depth] != ("experiments",)[:depth] or parts[depth] not in floors:
            continue
        for module in imports_of(path):
            names = module.split(".")[1:]
            if not module.startswith("dropblock_lib.") or len(names) <= depth:
                continue
            if tuple(names[:depth]) != above:
                continue
            if floors.get(names[depth], -1) > floors[parts[depth]]:
                against.add(f"{'/'.join(parts)} imports {module}")
    assert against == set()


NOTEBOOKS = sorted(ROOT.glob("book/*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_chapter_imports_from_a_face_and_nothing_private(path):
    cells = json.loads(path.read_text())["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    deep = re.findall(r"\bdropblock_lib(?:\.\w+){2,}", code)
    assert deep == []
    private = [
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(
            ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", code, flags=re.M))
        )
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and re.match(r"_[a-z]", node.attr)
    ]
    assert private == []


def test_every_name_on_an_api_page_exists():
    pages = "\n".join(path.read_text() for path in ROOT.glob("book/api*.md"))
    names = re.findall(r"auto(?:class|function|module):: (\S+)", pages)
    assert len(names) > 50
    assert [name for name in names if pydoc.locate(name) is None] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_chapter_names_only_what_the_package_has(path):
    cells = json.loads(path.read_text())["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells)
    names = set(re.findall(r"\bdbl\.([A-Za-z_]\w*)", text))
    assert {name for name in names if not hasattr(dropblock_lib, name)} == set()
