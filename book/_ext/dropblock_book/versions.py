"""The directive `build-versions`: a table of what the book was built with."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

PACKAGES = ("dropblock-lib", "keras", "tensorflow", "numpy", "matplotlib")


def processor():
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def build_versions():
    return {
        "Python": platform.python_version(),
        "Operating system": f"{platform.system()} {platform.machine()}",
        "Processor": f"{processor()}, {os.cpu_count()} cores",
        "Keras backend": os.environ.get("KERAS_BACKEND", "tensorflow"),
        **{name: version(name) for name in PACKAGES},
    }


def table(head, rows):
    def row(cells):
        entries = [nodes.entry("", nodes.paragraph("", cell)) for cell in cells]
        return nodes.row("", *entries)

    group = nodes.tgroup("", cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    group += nodes.thead("", row(head))
    group += nodes.tbody("", *map(row, rows))
    return nodes.table("", group)


class BuildVersions(SphinxDirective):
    def run(self):
        # The machine may change even if the page does not.
        self.env.note_reread()
        return [table(("What", "Version"), build_versions().items())]


def setup(app):
    app.add_directive("build-versions", BuildVersions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
