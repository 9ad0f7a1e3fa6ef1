"""An imitation of Colab: its Python, its packages and how it installs ours.

`requirements.txt` describes the image, which is installed once. Every test gets a
runtime on top of it, in which only new packages are installed, so that its contents are
what a cell has installed.

The setup cell runs unchanged: git is configured to redirect the repository's address to
a local repository with the current tree, committed or not.

The imitation has no front end, no `google.colab` package, no GPU or TPU, no packages
that the book does not use, and no access to GitHub or to the data sets. Without a
network, notebooks run on the built-in stand-ins.

`COLAB_NOTEBOOKS=due` runs the notebooks that changed since `make colab` last passed in
this folder, and two more, which depend on the day. In a new clone, it runs
only those two.
"""

import datetime
import functools
import os
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
VERSIONS = ("3.13", "3.12")
# IPython asks pip for jedi, which Colab leaves out, and jedi for a newer parso.
TOLERATED = {"jedi", "parso"}
# Environment variables that a developer may have set, but Colab has not.
FOREIGN = ("PYTHON", "VIRTUAL_ENV", "KERAS", "TF_", "MPL", "DROPBLOCK")
PASSED = ROOT / "_build" / "colab-passed"
IN_TURN = 2

sys.path.insert(0, str(ROOT / "book"))
import setup_cell  # noqa: E402


def run(*command, **options):
    """Runs a command and returns its output, which is in the error if it fails."""
    __tracebackhide__ = True
    options = {"text": True, "capture_output": True, "timeout": 900, **options}
    done = subprocess.run([str(part) for part in command], **options)
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def candidates():
    for version in VERSIONS:
        yield f"python{version}"
        pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
        yield from sorted(pyenv.glob(f"versions/{version}*/bin/python"), reverse=True)


@functools.cache
def find_python():
    """Returns a Python of one of Colab's versions, or `None` and the reason."""
    wanted = " or ".join(VERSIONS)
    code = f"import sys, venv; assert '%d.%d' % sys.version_info[:2] in {VERSIONS}"
    named = os.environ.get("COLAB_PYTHON")
    for candidate in [named] if named else candidates():
        try:
            run(candidate, "-c", code)
            return candidate, None
        except (AssertionError, OSError):
            continue
    if named:
        return None, f"COLAB_PYTHON={named} is not Python {wanted}"
    return None, f"there is no Python {wanted} here; COLAB_PYTHON=... can name one"


def pytest_report_header():
    python, reason = find_python()
    if reason:
        return f"Colab cannot be imitated: {reason}"
    first_paragraph = REQUIREMENTS.read_text().split("\n\n")[1]
    return [f"Colab is imitated with {python} and", *first_paragraph.splitlines()[1:]]


def pytest_sessionfinish(session, exitstatus):
    # Set by make, which runs all tests of this folder.
    if exitstatus == 0 and os.environ.get("COLAB_ALL_TESTS") and find_python()[0]:
        PASSED.parent.mkdir(exist_ok=True)
        PASSED.touch()


def notebooks_to_run():
    notebooks = setup_cell.notebooks()
    if os.environ.get("COLAB_NOTEBOOKS") != "due":
        return notebooks
    day = datetime.date.today().toordinal()
    due = {notebooks[(IN_TURN * day + i) % len(notebooks)] for i in range(IN_TURN)}
    if PASSED.exists():
        since = PASSED.stat().st_mtime
        due |= {path for path in notebooks if path.stat().st_mtime > since}
    return sorted(due)


def pytest_generate_tests(metafunc):
    if "path" in metafunc.fixturenames:
        paths = notebooks_to_run()
        metafunc.parametrize("path", paths, ids=[path.name for path in paths])


class Runtime:
    """A virtual environment on top of the image, and the variables to run it with."""

    def __init__(self, folder, image, home):
        run(image, "-m", "venv", "--without-pip", folder)
        self.python = folder / "bin" / "python"
        self.site = Path(site_packages(self.python))
        (self.site / "colab.pth").write_text(site_packages(image))
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(FOREIGN)
        }
        self.environment = {
            **kept,
            "PATH": f"{self.python.parent}{os.pathsep}{kept['PATH']}",
            "KERAS_HOME": str(folder / "keras"),
            "IPYTHONDIR": str(folder / "ipython"),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{home.as_uri()}.insteadOf",
            "GIT_CONFIG_VALUE_0": setup_cell.repository(),
        }

    def run(self, *arguments, **options):
        return run(self.python, *arguments, env=self.environment, **options)

    def added(self):
        """Returns the packages installed on top of the image, new or upgraded."""
        return {found.name for found in distributions(path=[self.site])} - TOLERATED


def site_packages(python):
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return run(python, "-c", code).strip()


@pytest.fixture(scope="session")
def image():
    """The Python of a fresh environment with the packages of `requirements.txt`."""
    python, reason = find_python()
    if reason:
        if os.environ.get("COLAB_PYTHON"):
            pytest.exit(reason, returncode=2)
        pytest.skip(reason)
    # Two gigabytes, too much for the temporary folder of some machines.
    folder = ROOT / ".venv-colab"
    run(python, "-m", "venv", "--clear", "--without-pip", folder)
    created = folder / "bin" / "python"
    options = ["install", "--quiet", "--no-deps", "--requirement", REQUIREMENTS]
    uv = Path(sys.executable).with_name("uv")
    if uv.is_file():
        run(uv, "pip", *options, "--python", created)
    else:
        run(sys.executable, "-m", "pip", "--python", created, *options)
    yield created
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A repository with the current tree, found at the repository's address."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listing = run(*command, cwd=ROOT)
    except (AssertionError, OSError) as reason:
        pytest.skip(f"the tree is not a git checkout: {reason}")
    folder = tmp_path_factory.mktemp("home")
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test"]
    nobody = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    for step in (["init", "-q"], ["add", "-Af"], ["commit", "-qm", "."]):
        run(*git, *step, cwd=folder, env=nobody)
    return folder


@pytest.fixture
def runtime(image, home, tmp_path):
    """A fresh runtime without the package."""
    fresh = Runtime(tmp_path / "runtime", image, home)
    assert fresh.added() == set()
    missing = "import importlib.util as i; print(i.find_spec('dropblock_lib'))"
    assert fresh.run("-c", missing, cwd=tmp_path).strip() == "None"
    return fresh
