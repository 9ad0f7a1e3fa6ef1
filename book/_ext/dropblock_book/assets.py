"""Files the pages need that are written at build time, not kept in the tree.

The palette's style sheet and the book's mark come from `dropblock_lib.palette`,
MathJax from the package index, so that no page asks another host for anything.
"""

import runpy
import shutil
from importlib.metadata import distribution
from pathlib import Path

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


def read_palettes(root):
    # Read by path: importing the package would start Keras for seven colors.
    names = runpy.run_path(str(Path(root) / "dropblock_lib" / "palette.py"))
    return names["PALETTE"], names["PALETTE_DARK"]


def palette_css(light, dark):
    def rule(selector, palette):
        lines = [f"  --{name}: {color};" for name, color in palette.items()]
        return "\n".join([f"{selector} {{", *lines, "}"])

    return "\n".join([rule("html", light), rule('html[data-theme="dark"]', dark), ""])


def mark_svg(palette, size=5, block=3):
    """Draws the book's mark: a block dropped out of a small feature map."""
    start = (size - block) // 2
    cells = []
    for row in range(size):
        for column in range(size):
            in_block = all(start <= i < start + block for i in (row, column))
            name = "dropped" if in_block else "kept"
            if row == column == size // 2:
                name = "seed"
            x, y = 10 * column + 1, 10 * row + 1
            cells.append(
                f'<rect x="{x}" y="{y}" width="8" height="8" fill="{palette[name]}"/>'
            )
    side = 10 * size
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}">'
        f"{''.join(cells)}</svg>\n"
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
    light, dark = read_palettes(app.confdir)
    (folder / "palette.css").write_text(palette_css(light, dark))
    (folder / "mark.svg").write_text(mark_svg(light))
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
