"""The repository's address, from the one place where it stands: pyproject.toml."""

import tomllib
from pathlib import Path


def read_project(root):
    """Returns the project's own table of the `pyproject.toml` below `root`."""
    return tomllib.loads((Path(root) / "pyproject.toml").read_text())["project"]


def tell_theme(app, config):
    config.html_theme_options |= {
        "repository_url": read_project(app.confdir)["urls"]["Repository"],
        "repository_branch": "main",
        "path_to_docs": "",
        "use_repository_button": True,
        "use_issues_button": True,
    }


def setup(app):
    app.connect("config-inited", tell_theme)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
