"""What a record says about the machine and the code."""

import os
import platform
import re
import shutil
import subprocess

import keras
import pytest

from dropblock_lib.experiments.records import environment


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A git tree with a package, in which `environment` is made to look."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    module = tmp_path / "dropblock_lib" / "experiments" / "records" / "environment.py"
    module.parent.mkdir(parents=True)
    module.touch()
    (tmp_path / "dropblock_lib" / "__init__.py").touch()
    monkeypatch.setattr(environment, "__file__", str(module))
    for variable in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(variable)
    return tmp_path


def git(tree, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    return subprocess.run(
        ["git", "-C", tree, *identity, *arguments],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_the_commit_and_whether_the_tree_is_clean(tree):
    git(tree, "init", "--quiet")
    git(tree, "add", ".")
    git(tree, "commit", "--quiet", "--message", "first")
    commit = git(tree, "rev-parse", "HEAD")
    assert environment.git_state() == {"commit": commit, "clean": True}

    (tree / "results").mkdir()
    (tree / "results" / "new.json").touch()
    assert environment.git_state()["clean"], "records do not count as changes"

    (tree / "new.py").touch()
    assert environment.git_state() == {"commit": commit, "clean": False}
    (tree / "new.py").unlink()
    (tree / "dropblock_lib" / "__init__.py").write_text("changed = True")
    assert environment.git_state() == {"commit": commit, "clean": False}


def test_outside_git_there_is_no_commit(tree):
    assert environment.git_state() is None


def test_a_package_installed_in_another_tree_does_not_report_its_commit(tree):
    git(tree, "init", "--quiet")
    (tree / ".gitignore").write_text("dropblock_lib/")
    git(tree, "add", ".gitignore")
    git(tree, "commit", "--quiet", "--message", "another project")
    assert environment.git_state() is None


def test_without_git_there_is_no_commit(tree, monkeypatch):
    git(tree, "init", "--quiet")
    git(tree, "add", ".")
    git(tree, "commit", "--quiet", "--message", "first")
    monkeypatch.setenv("PATH", "")
    assert environment.git_state() is None


def test_machine_and_versions():
    hardware = environment.hardware()
    assert hardware["cpu"] and platform.node() not in hardware["cpu"]
    assert 1 <= hardware["cores"] <= os.cpu_count()
    assert isinstance(hardware["gpus"], list)
    versions = environment.versions()
    assert versions["python"] == platform.python_version()
    assert re.match(r"\d+\.\d+", versions[keras.backend.backend()])
