"""The repository's address, from the one place where it stands: pyproject.toml."""

import tomllib
from pathlib import Path
from urllib.parse import urlsplit


def read_project(root):
    """Returns the project's own table of the `pyproject.toml` below `root`."""
    return tomllib.loads((Path(root) / "pyproject.toml").read_text())["project"]


def published_at(repository):
    """Returns where GitHub Pages shows what a repository's workflow publishes."""
    owner, name = urlsplit(repository).path.strip("/").split("/")
    host = f"{owner.lower()}.github.io"
    return f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"


def tell_theme(app, config):
    repository = read_project(app.confdir)["urls"]["Repository"]
    config.html_baseurl = published_at(repository)
    config.html_theme_options |= {
        "repository_url": repository,
        "repository_branch": "main",
        "path_to_docs": "",
        "use_repository_button": True,
        "use_issues_button": True,
    }


def setup(app):
    app.connect("config-inited", tell_theme)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
