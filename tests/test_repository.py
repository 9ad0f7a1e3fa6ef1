"""The repository as a whole: what is tracked, what is shipped, what is imported."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

import dropblock_lib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ADDRESS = PROJECT["urls"]["Repository"]
# Files that repeat the address, because people read them on their own.
COPIES = {"pyproject.toml", "CITATION.cff", "README.md"}


def run_python(code, *, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def texts():
    """Path and content of every text file that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as reason:
        pytest.skip(f"the tree is not a git checkout: {reason}")
    found = {}
    for name in filter(None, listing.stdout.decode().split("\0")):
        try:
            found[name] = (ROOT / name).read_text()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
    return found


def test_no_file_contains_a_path_on_somebodys_machine(texts):
    private = re.compile(r"(?<![\w.])/(home|root|Users|work|tmp|var|mnt)/\w+")
    own = Path(__file__).name
    found = {
        f"{name}: {match[0]}"
        for name, text in texts.items()
        for match in private.finditer(text)
        if not name.endswith(own)
    }
    assert found == set()


def test_no_other_file_repeats_the_address(texts):
    repeated = {name for name, text in texts.items() if ADDRESS in text}
    notebooks = {name for name in repeated if name.endswith(".ipynb")}
    assert repeated - notebooks <= COPIES
    name = ADDRESS.rpartition("/")[2]
    for notebook in notebooks:
        found = re.findall(rf"https://github\.com/[\w-]+/{name}\b", texts[notebook])
        assert set(found) == {ADDRESS}, notebook


def test_the_books_address_follows_from_that_of_the_repository():
    owner, name = urlsplit(ADDRESS).path.strip("/").split("/")
    published = f"https://{owner}.github.io/{name}/"
    assert PROJECT["urls"]["Documentation"] == published
    assert PROJECT["urls"]["Changelog"] == f"{ADDRESS}/blob/main/CHANGELOG.md"
    readme = (ROOT / "README.md").read_text()
    _, first, *_ = readme.split("\n\n")
    assert f"<{published}>" in first
    assert re.findall(r"https://[^/\s]*github\.io[^\s>)]*", readme) == [published]
    assert re.findall(r"git\+(https:[^\s\"]+)", readme) == [ADDRESS]


def test_the_citation_agrees_with_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["repository-code"] == ADDRESS
    assert citation["url"] == PROJECT["urls"]["Documentation"]
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    page = (ROOT / "book" / "teach.md").read_text()
    assert re.search(r"version = {(.*)}", page)[1] == PROJECT["version"]
    assert re.search(r"url     = {(.*)}", page)[1] == citation["url"]
    changes = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## \[\d.*\] - (\S+)", changes, re.M)
    if released:
        assert str(citation["date-released"]) == released[0]
    else:
        assert "date-released" not in citation
        assert "has not been released yet" in page


def test_the_package_has_the_version_of_the_project():
    assert dropblock_lib.__version__ == PROJECT["version"]
    released = re.findall(r"^## \[(\d.*)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert released[:1] in ([], [PROJECT["version"]])


def test_requirements_name_exact_versions_and_no_host():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    stated = [line for line in lines if line and not line.startswith("#")]
    assert len(stated) > 100
    assert [
        line for line in stated if not re.match(r"[\w.-]+==[\w.]+( ;|$)", line)
    ] == []


def test_only_files_named_after_a_backend_import_it():
    backends = {"tensorflow", "jax", "torch"}
    found = set()
    for path in ROOT.glob("dropblock_lib/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for backend in {name.partition(".")[0] for name in names} & backends:
                if backend not in path.name:
                    found.add(f"{path.name}: {backend}")
    assert found == set()


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_on_jax_the_package_imports_no_tensorflow(tmp_path):
    code = "import sys, dropblock_lib; print('tensorflow' in sys.modules)"
    ran = run_python(code, cwd=tmp_path, KERAS_BACKEND="jax")
    assert ran.stdout.strip() == "False", ran.stderr


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_on_jax_a_network_needs_no_tensorflow(tmp_path):
    code = """
import sys
class NoTensorFlow:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            raise ImportError("not installed")
sys.meta_path.insert(0, NoTensorFlow())
import keras, numpy as np
loaded = set(sys.modules)
import dropblock_lib as dbl
added = {name.partition(".")[0] for name in set(sys.modules) - loaded}
print(*(added - sys.stdlib_module_names))
network = dbl.models.custom_net("dropblock-3-0.9-exact", (8, 8, 3))
print(network(np.ones((2, 8, 8, 3)), training=True).shape)
print("dropblock_lib.models.tensorflow_normalization" in sys.modules)
"""
    ran = run_python(code, cwd=tmp_path, KERAS_BACKEND="jax")
    # Importing the package loads no package that Keras does not load.
    assert ran.stdout.splitlines() == ["dropblock_lib", "(2, 10)", "False"], ran.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = "from build.__main__ import main; import sys; main(sys.argv[1:])"
    command = ["--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(
        [sys.executable, "-c", build, *command], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_contains_the_package_and_its_records(wheel):
    shipped = set(zipfile.ZipFile(wheel).namelist())
    records = {path.name for path in ROOT.glob("results/records/*.json")}
    modules = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("dropblock_lib/**/*")
        if path.suffix in (".py", ".js", ".css", ".toml", ".typed")
    }
    assert modules <= shipped
    assert {f"dropblock_lib/results/records/{name}" for name in records} <= shipped
    measured = {path.name for path in ROOT.glob("results/benchmarks/*.json")}
    assert measured
    assert {f"dropblock_lib/results/benchmarks/{name}" for name in measured} <= shipped


def test_the_layer_works_from_the_wheel(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    code = """
import numpy as np, dropblock_lib as dbl
out = dbl.DropBlock2D(3, keep_prob=0.7, seed=1)(np.ones((4, 8, 8, 2)), training=True)
print(dbl.__file__)
print(0 < float((np.asarray(out) == 0).mean()) < 1)
"""
    installed = str(tmp_path / "installed")
    ran = run_python(code, cwd=tmp_path, PYTHONPATH=installed)
    origin, dropped = ran.stdout.split()[-2:]
    assert origin.startswith(installed), ran.stderr
    assert dropped == "True"
