"""Each notebook as Colab runs it: alone, in an empty folder, in a fresh runtime."""

import json
import shutil

import nbformat
import pytest
from nbclient import NotebookClient

CELL_TIMEOUT = 600


@pytest.fixture
def kernel(runtime, tmp_path, monkeypatch):
    """The name of a kernel with the runtime's Python."""
    command = [str(runtime.python), "-m", "ipykernel_launcher", "-f"]
    spec = {"argv": [*command, "{connection_file}"], "display_name": "Colab"}
    folder = tmp_path / "jupyter" / "kernels" / "colab"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps({**spec, "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    return folder.name


def test_a_notebook_runs_in_colab(path, runtime, kernel, tmp_path):
    folder = tmp_path / "content"
    folder.mkdir()
    shutil.copy(path, folder)
    NotebookClient(
        nbformat.read(folder / path.name, as_version=4),
        timeout=CELL_TIMEOUT,
        kernel_name=kernel,
        resources={"metadata": {"path": str(folder)}},
    ).execute(env=runtime.environment)
    # Colab has everything that the package needs. If another version of any package had
    # been installed, the reader would have to restart.
    assert runtime.added() == {"dropblock-lib"}
