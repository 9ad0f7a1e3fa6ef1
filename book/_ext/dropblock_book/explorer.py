"""Loads and starts the mask explorer, only on the pages that show one."""

import shutil
from pathlib import Path

ATTRIBUTE = "data-mask-explorer="
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
START = """\
import { mount } from "./explorer.js";
document.querySelectorAll("[data-mask-explorer]").forEach(mount);
"""


def write_files(app, config):
    folder = Path(app.outdir).parent / "explorer"
    folder.mkdir(parents=True, exist_ok=True)
    package = Path(app.confdir) / "dropblock_lib" / "explorer"
    for name in ("explorer.js", "explorer.css"):
        shutil.copy2(package / name, folder / name)
    (folder / "explorer_start.js").write_text(START)
    config.html_static_path = [*config.html_static_path, str(folder)]


def add_files(app, pagename, templatename, context, doctree):
    if ATTRIBUTE in context.get("body", ""):
        app.add_css_file("explorer.css")
        app.add_js_file("explorer_start.js", type="module")


def drop_widget_state(app, pagename, templatename, context, doctree):
    """Leaves out the widget's state, which repeats the script and the style."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if script.attributes.get("type") != WIDGET_STATE
    ]


def setup(app):
    app.connect("config-inited", write_files)
    app.connect("html-page-context", add_files)
    # After MyST-NB, which adds the state.
    app.connect("html-page-context", drop_widget_state, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
