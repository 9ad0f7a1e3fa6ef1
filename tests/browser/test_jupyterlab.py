"""The mask explorer in JupyterLab, from the page to Python and back."""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import nbformat
import pytest

import dropblock_lib as dbl

CELLS = [
    "import dropblock_lib as dbl\nexplorer = dbl.MaskExplorer('slides')\nexplorer",
    "explorer.keep_prob = 0.5",
    "print('seen', explorer.keep_prob, explorer.keep_mask.sum())",
]
# The first import of Keras takes a long time on a busy machine.
PATIENCE = 120_000


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab that has one notebook of CELLS open."""
    folder = tmp_path_factory.mktemp("lab")
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in CELLS],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, folder / "explorer.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex()
    home = {
        name: str(folder / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *(f"--ServerApp.port={port}", f"--IdentityProvider.token={token}"),
            *(f"--ServerApp.root_dir={folder}", "--LabApp.news_url="),
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ],
        env={**os.environ, **home},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            if server.poll() is not None:
                pytest.fail(f"JupyterLab ended:\n{server.stdout.read()}", False)
            try:
                urllib.request.urlopen(f"{address}/api/status?token={token}")
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.5)
        yield f"{address}/lab/tree/explorer.ipynb?token={token}&reset"
    finally:
        server.terminate()
        server.wait(timeout=30)


def run_cell(page, number):
    """Runs a cell, and repeats the key until JupyterLab reacts.

    It ignores the key while the kernel starts, even after the kernel is shown as idle.
    """
    cell = page.locator(".jp-CodeCell").nth(number)
    prompt = cell.locator(".jp-InputPrompt")
    for _ in range(30):
        cell.locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        page.wait_for_timeout(1000)
        if prompt.inner_text().strip() != "[ ]:":
            return
    pytest.fail(f"JupyterLab does not run cell {number}", False)


def test_the_widget_is_live_in_both_directions(browser, lab):
    context = browser.new_context(viewport={"width": 1280, "height": 1400})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    # On a busy machine JupyterLab may ask about the kernel before it has started.
    page.add_locator_handler(
        page.locator(".jp-Dialog"),
        lambda dialog: dialog.locator(".jp-mod-accept").first.click(),
    )
    page.goto(lab)
    page.locator(".jp-Notebook .cm-content").first.wait_for()
    run_cell(page, 0)
    root = page.locator(".mask-explorer").first
    keep_prob = root.locator('[data-control="keep_prob"]')
    keep_prob.wait_for()
    assert page.locator(".mask-explorer-still").count() == 0
    twin = dbl.MaskExplorer("slides")

    def realized():
        value = root.locator('[data-readout="realized"]').get_attribute("value")
        return float(value)

    assert realized() == pytest.approx(12 / 25)

    # From Python to the page.
    run_cell(page, 1)
    nominal = root.locator('[data-readout="nominal"][value="0.5"]')
    nominal.wait_for()
    twin.keep_prob = 0.5
    assert realized() == pytest.approx(twin.readouts["realized"])

    # From the page to Python.
    keep_prob.fill("0.75")
    run_cell(page, 2)
    twin.keep_prob = 0.75
    printed = page.locator(".jp-OutputArea-output", has_text="seen 0.75")
    printed.wait_for()
    assert printed.inner_text().split() == ["seen", "0.75", str(twin.keep_mask.sum())]
    context.close()
