"""The palette, for pages: read from the package, written as a style sheet."""

import runpy
from pathlib import Path


def read_palettes(root):
    # Read by path: importing the package would start Keras for seven colors.
    names = runpy.run_path(str(Path(root) / "dropblock_lib" / "palette.py"))
    return names["PALETTE"], names["PALETTE_DARK"]


def palette_css(light, dark):
    def rule(selector, palette):
        lines = [f"  --{name}: {color};" for name, color in palette.items()]
        return "\n".join([f"{selector} {{", *lines, "}"])

    on_screen = rule('html[data-theme="dark"]', dark)
    return f"{rule('html', light)}\n@media screen {{\n{on_screen}\n}}\n"
