"""The library's own tests, on a wheel, with Colab's versions."""

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

# Tests that need the repository, its book and benchmarks, or several machines, none of
# which Colab has.
OF_THE_REPOSITORY = (
    "browser",
    "cluster",
    "colab",
    "test_benchmarks.py",
    "test_book.py",
    "test_contributing.py",
    "test_gpu_script.py",
    "test_imports.py",
    "test_readme.py",
    "test_repository.py",
    "test_version.py",
)
# Tests of commands, processes and files, which take long and depend on few versions.
OF_THE_ENGINE = ("test_command_line.py", "test_killed.py", "test_registered.py")
TOOLS = ("hypothesis", "pytest-xdist")


@pytest.fixture
def wheel(home, tmp_path):
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    subprocess.run([*command, "--outdir", tmp_path, home], check=True)
    (path,) = tmp_path.glob("*.whl")
    return path


def test_the_library_passes_its_tests_on_colabs_versions(
    wheel, home, image, runtime, tmp_path, capfd
):
    install = ["-m", "pip", "install", "--quiet"]
    extras = "[detection,experiments,explorer,tensorflow]"
    runtime.run(*install, f"dropblock-lib{extras} @ {wheel.as_uri()}")
    assert runtime.added() == {"dropblock-lib"}
    runtime.run(*install, *(f"{tool}=={version(tool)}" for tool in TOOLS))
    folder = tmp_path / "content"
    ignored = shutil.ignore_patterns(*OF_THE_REPOSITORY, *OF_THE_ENGINE)
    shutil.copytree(home / "tests", folder / "tests", ignore=ignored)
    shutil.copy(home / "pyproject.toml", folder)  # for pytest's settings
    code = "import dropblock_lib; print(dropblock_lib.__file__)"
    where = runtime.run("-c", code, cwd=folder)
    assert Path(where).is_relative_to(runtime.site)
    command = [runtime.python, "-m", "pytest", "--numprocesses=2", "--dist=loadfile"]
    with capfd.disabled():
        print(f"\nThe library's tests, on {where}")
        done = subprocess.run(command, cwd=folder, env=runtime.environment)
    assert done.returncode == 0, "the library's tests fail, see above"
