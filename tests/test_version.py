"""The version has one source, pyproject.toml."""

import importlib.metadata
import tomllib
from pathlib import Path

import dropblock_lib

ROOT = Path(__file__).resolve().parents[1]


def test_the_version_is_that_of_the_project(monkeypatch):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert dropblock_lib.__version__ == project["version"]

    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert dropblock_lib.__version__ == project["version"]
