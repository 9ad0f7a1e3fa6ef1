"""Files the pages need that are written at build time, not kept in the tree.

The palette's style sheet and the book's mark come from `dropblock_lib.palette`,
MathJax from the package index, so that no page asks another host for anything.
"""

import shutil
from importlib.metadata import distribution
from pathlib import Path

from dropblock_book.mark import mark_svg
from dropblock_book.palette import read_palette

# What one page with formulas loads, out of the 24 MB that MathJax ships. In pieces,
# because its combined file has a menu of 430 KB, and holds the page up in one go.
MATHJAX_COMPONENTS = ("input/tex", "output/chtml", "a11y/assistive-mml")
MATHJAX_PARTS = (
    "startup.js",
    "core.js",
    *(f"{component}.js" for component in MATHJAX_COMPONENTS),
    "output/chtml/fonts/tex.js",
    "output/chtml/fonts/woff-v2",
)


def copy_mathjax(target):
    package = distribution("sphinx-mathjax-offline")
    source = Path(package.locate_file("sphinx-mathjax-offline/static/mathjax"))
    for part in MATHJAX_PARTS:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        else:
            shutil.copy2(source / part, target / part)


def write_assets(app, config):
    folder = Path(app.outdir).parent / "static"
    folder.mkdir(parents=True, exist_ok=True)
    palette = read_palette(app.confdir)
    (folder / "palette.css").write_text(palette.css())
    (folder / "mark.svg").write_text(mark_svg(palette.PALETTE))
    copy_mathjax(folder / "mathjax")
    config.html_static_path = [*config.html_static_path, str(folder)]
    config.html_css_files = ["palette.css", *config.html_css_files]
    config.mathjax_path = "mathjax/startup.js"
    config.mathjax3_config = {
        "loader": {"load": [*MATHJAX_COMPONENTS]},
        # Screen readers get MathML.
        "options": {"enableAssistiveMml": True},
    }


def setup(app):
    app.connect("config-inited", write_assets)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
