"""Static files written at build time: the palette, the book's mark and MathJax.

The colors are those of `dropblock_lib.palette`. MathJax is installed from the package
index, so that pages load nothing from another host.
"""

import runpy
import shutil
from importlib.metadata import distribution
from pathlib import Path
from types import SimpleNamespace

# The mark: a block dropped out of a small feature map, around its seed.
MARK_SIZE, MARK_BLOCK = 5, 3

# The parts of MathJax (24 MB in all) that a page with formulas loads. The combined file
# would add a menu of 430 KB and block the page while it loads.
MATHJAX_COMPONENTS = ("input/tex", "output/chtml", "a11y/assistive-mml")
MATHJAX_PARTS = (
    "startup.js",
    "core.js",
    *(f"{component}.js" for component in MATHJAX_COMPONENTS),
    "output/chtml/fonts/tex.js",
    "output/chtml/fonts/woff-v2",
)


def read_palette(root):
    """Returns what `dropblock_lib/palette.py` defines."""
    # Run by its path, because importing the package would start Keras.
    path = Path(root) / "dropblock_lib" / "palette.py"
    return SimpleNamespace(**runpy.run_path(str(path)))


def mark_cells():
    """Yields the row, the column and the color's name of each cell of the mark."""
    start = (MARK_SIZE - MARK_BLOCK) // 2
    center = MARK_SIZE // 2
    for row in range(MARK_SIZE):
        for column in range(MARK_SIZE):
            in_block = all(start <= i < start + MARK_BLOCK for i in (row, column))
            name = "dropped" if in_block else "kept"
            yield row, column, "seed" if row == column == center else name


def mark_svg(palette):
    cells = "".join(
        f'<rect x="{10 * column + 1}" y="{10 * row + 1}" width="8" height="8" '
        f'fill="{palette[name]}"/>'
        for row, column, name in mark_cells()
    )
    box = f"0 0 {10 * MARK_SIZE} {10 * MARK_SIZE}"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}">{cells}</svg>\n'


def copy_mathjax(target):
    package = distribution("sphinx-mathjax-offline")
    source = Path(package.locate_file("sphinx-mathjax-offline/static/mathjax"))
    for part in MATHJAX_PARTS:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        else:
            shutil.copy2(source / part, target / part)


def write_static_files(app, config):
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
    app.connect("config-inited", write_static_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
