"""Runs notebooks with this Python, and again whenever what they show has changed.

Jupyter's cache looks at a notebook's code alone. A page also shows what the
package does and what the records say, so these are part of the cache's key.

Figures come as drawings, whose colors `schemes.py` can change. Elsewhere notebooks
show images as ever.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

CONTENT = (
    "dropblock_lib/**/*.py",
    "results/benchmarks/*.json",
    "results/records/**/*.json",
    "requirements.txt",
)
SURROUNDINGS = ("KERAS_BACKEND", "DROPBLOCK_DATA")
# Without a date or random names, the same figure is the same file. Nor does it bring
# paper of its own: it lies on the page's.
MATPLOTLIB = "svg.hashsalt: dropblock\n"
PROFILE = """\
c.InlineBackend.figure_formats = {"svg"}
c.InlineBackend.print_figure_kwargs = {
    "bbox_inches": "tight",
    "facecolor": "none",
    "metadata": {"Date": None},
}
"""


def content_key(root):
    """Returns a short key of all that a notebook's outputs depend on."""
    digest = hashlib.sha256(repr(sys.version_info[:3]).encode())
    digest.update((MATPLOTLIB + PROFILE).encode())
    for name in SURROUNDINGS:
        digest.update(f"{name}={os.environ.get(name)}".encode())
    for pattern in CONTENT:
        for path in sorted(Path(root).glob(pattern)):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def prefer_own_kernel():
    # A kernel specification of the user's, named python3 as well, would win.
    own = str(Path(sys.prefix) / "share" / "jupyter")
    inherited = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [own, inherited]))


def draw_figures_as_svg(build):
    # Settings of the user's would change what pages show, so these are the only ones.
    folder = build / "ipython" / "profile_default"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ipython_kernel_config.py").write_text(PROFILE)
    os.environ["IPYTHONDIR"] = str(folder.parent)
    # Not among the profile's: IPython sets those while a figure is being styled, and
    # Matplotlib forgets them afterwards.
    settings = build / "matplotlibrc"
    settings.write_text(MATPLOTLIB)
    os.environ["MATPLOTLIBRC"] = str(settings)


def key_cache_on_content(app, config):
    prefer_own_kernel()
    draw_figures_as_svg(Path(app.outdir).parent)
    key = content_key(app.confdir)
    caches = Path(app.outdir).parent / ".jupyter_cache"
    if caches.is_dir():
        for outdated in caches.iterdir():
            if outdated.name != key and outdated.is_dir():
                shutil.rmtree(outdated)
    config.nb_execution_cache_path = str(caches / key)
    config.book_content_key = key


def setup(app):
    # "env": when the key changes, every page is read and its notebook run again.
    app.add_config_value("book_content_key", "", "env")
    app.connect("config-inited", key_cache_on_content)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
