"""The recipes of CONTRIBUTING.md work, and the paths that pages name exist."""

import copy
import json
import re
import runpy
import shlex
import shutil
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from matplotlib.figure import Figure
from PIL import Image
from tiny_detector import tiny_detector

import dropblock_lib as dbl
from dropblock_lib.data import load_dataset
from dropblock_lib.data.load import BUILT_IN
from dropblock_lib.experiments import compare, load_records
from dropblock_lib.experiments.__main__ import main
from dropblock_lib.experiments.tasks import Classification, Detection
from dropblock_lib.models import DETECTORS, NETWORKS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md")


def fenced(language, section):
    """The contents of a section's fenced blocks in one language."""
    text = re.split(r"^## ", PAGE, flags=re.M)
    (text,) = (part for part in text if part.startswith(f"{section}\n"))
    blocks = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.M | re.S)
    return [textwrap.dedent(block) for _, block in blocks]


def test_the_floors_are_those_of_the_imports():
    imports = runpy.run_path(str(ROOT / "tests" / "test_imports.py"))
    stated = [
        tuple(tuple(line.partition("#")[0].split()) for line in block.splitlines())
        for block in fenced("text", "Code structure")
    ]
    assert stated == [imports["FLOORS"][::-1], imports["EXPERIMENTS"][::-1]]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder on the import path, with the module and the grid of the recipes."""
    blocks = fenced("python", "Add a network or a variant")
    blocks += fenced("python", "Add a data set") + fenced("toml", "Add a grid")
    for block in blocks:
        (tmp_path / re.match(r"# (\S+)\n", block)[1]).write_text(block)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    tasks = Classification.datasets, Detection.datasets
    registries = NETWORKS, dbl.VARIANTS, BUILT_IN, *tasks
    known = [dict(registry) for registry in registries]
    yield tmp_path
    for registry, before in zip(registries, known, strict=True):
        registry.clear()
        registry.update(before)


def test_a_grid_runs_a_custom_network_and_variant(own, capsys):
    (block,) = fenced("sh", "Add a grid")
    program = ["python", "-m", "dropblock_lib.experiments"]
    for line in block.splitlines():
        words = shlex.split(line)
        assert words[:3] == program
        assert main(words[3:]) == 0
    table = capsys.readouterr().out
    assert "two_layers" in table and "gaussian" in table
    accuracies = compare.by_variant(load_records(own / "records"))
    assert set(accuracies) == {"none", "gaussian"}
    assert {len(seeds) for seeds in accuracies.values()} == {2}


def test_a_grid_runs_on_a_custom_data_set(own, capsys):
    grid = own / "striped.toml"
    grid.write_text((own / "mine.toml").read_text().replace('"shapes"', '"stripes"'))
    modules = ["--import", "mine", "stripes", "--results", "."]
    chosen = ["--grid", str(grid), "--variant", "none", "--seeds", "0"]
    for command, options in (("run", chosen), ("list", chosen), ("table", [])):
        assert main([command, *options, *modules]) == 0
        assert "stripes" in capsys.readouterr().out
    assert main(["status", *modules]) == 0
    [record] = load_records(own / "records")
    assert (record.data.source, record.data.train) == ("stripes", 60)


def write_coco(folder):
    """Writes drawn scenes as photographs, in COCO's format."""
    scenes = load_dataset("scenes")
    (folder / "annotations").mkdir(parents=True)
    for name, split in (("train", scenes.train), ("val", scenes.validation)):
        split = split.take(8)
        (folder / name).mkdir()
        annotations = copy.deepcopy(split.annotations)
        for index, image in enumerate(annotations["images"]):
            image["file_name"] = f"{image['id']}.png"
            path = folder / name / image["file_name"]
            Image.fromarray(split.image(index)).save(path)
        path = folder / "annotations" / f"instances_{name}.json"
        path.write_text(json.dumps(annotations))


GRID_OF_PHOTOGRAPHS = """
[mine]
network = "tiny_detector"
dataset = "my-images"
variant = "dropblock-3-0.9"
image_size = 64
train_size = "none"
validation_size = 8
epochs = 1
batch_size = 4
probes = false
"""


def test_a_grid_runs_on_photographs_in_a_folder(own, monkeypatch, capsys):
    monkeypatch.setitem(DETECTORS, "tiny_detector", tiny_detector)
    write_coco(own / "my-images")
    (own / "detect.toml").write_text(GRID_OF_PHOTOGRAPHS)
    modules = ["--import", "photographs", "--results", "."]
    chosen = ["--grid", "detect.toml"]
    for command, options in (("run", chosen), ("list", chosen), ("table", [])):
        assert main([command, *options, *modules]) == 0
        assert "my-images" in capsys.readouterr().out
    [record] = load_records(own / "records")
    assert record.name == "tiny_detector-my-images-dropblock-3-0.9-mine-seed0"
    assert (record.data.train, record.data.validation) == (8, 8)
    assert 0 <= record.final["AP"] <= record.final["AP50"] <= 1


def test_a_chapter_is_set_up_and_runs(tmp_path, monkeypatch):
    (drawing,) = fenced("python", "Add a chapter")
    (metadata,) = fenced("json", "Add a chapter")
    v4 = nbformat.v4
    cells = [
        v4.new_markdown_cell("# A chapter"),
        v4.new_code_cell(drawing.strip(), metadata=json.loads(metadata)),
    ]
    path = tmp_path / "book" / "99-chapter.ipynb"
    path.parent.mkdir()
    nbformat.write(v4.new_notebook(cells=cells), path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    script = shutil.copy(ROOT / "book" / "setup_cell.py", path.parent)

    for options, code in ((["--check"], 1), (["--write"], 0), (["--check"], 0)):
        monkeypatch.setattr(sys, "argv", [script, *options])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(script, run_name="__main__")
        assert ended.value.code == code

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    title, setup, drawn = notebook.cells
    assert title.source == "# A chapter"
    assert drawn.metadata["mystnb"]["figure"]["caption"]
    namespace = {}
    to_python = TransformerManager().transform_cell
    exec(to_python(setup.source), namespace)
    assert namespace["dbl"] is dbl
    *lines, last = drawn.source.splitlines()
    exec("\n".join(lines), namespace)
    assert isinstance(eval(last, namespace), Figure)


@pytest.mark.parametrize("page", PAGES)
def test_paths_on_a_page_exist(page):
    here = (ROOT / page).parent
    text = (ROOT / page).read_text()
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)
    links = set(re.findall(r"\]\((?!https?:)([^)#\s]+)", prose))
    missing = {link for link in links if not (here / link).exists()}
    folders = (here, ROOT, *(ROOT / name for name in ("dropblock_lib", "results")))
    for named in re.findall(r"`([^`\s]+)`", prose):
        is_path = re.search(r"/|\.(py|md|toml|json|js|css|yml|txt)$", named)
        # Skips placeholders, files made at run time, and other text with a slash.
        if not is_path or re.search(r"NN|BACKEND|[{}()=*]|^\.venv|^_build|part", named):
            continue
        if not any((folder / named).exists() for folder in folders):
            missing.add(named)
    assert missing == set()
