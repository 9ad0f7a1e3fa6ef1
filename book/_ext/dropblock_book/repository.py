"""The repository's address, from the one place where it stands: pyproject.toml."""

import tomllib
from pathlib import Path


def repository_url(root):
    """Returns the project's home as `pyproject.toml` below `root` names it."""
    project = tomllib.loads((Path(root) / "pyproject.toml").read_text())["project"]
    return project["urls"]["Repository"]


def tell_theme(app, config):
    config.html_theme_options |= {
        "repository_url": repository_url(app.confdir),
        "repository_branch": "main",
        "path_to_docs": "",
        "use_repository_button": True,
        "use_issues_button": True,
    }


def setup(app):
    app.connect("config-inited", tell_theme)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
