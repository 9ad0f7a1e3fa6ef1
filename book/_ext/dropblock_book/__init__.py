"""The book's Sphinx extension: what Jupyter Book and its theme do not do.

Each module is a small extension with its own `setup`.
"""

MODULES = (
    "notebooks",
    "facts",
    "metadata",
    "theme",
    "body",
    "autodoc",
    "explorer",
    "scripts",
    "stylesheet",
    "versions",
    "figures",
    "slides",
)


def setup(app):
    for module in MODULES:
        app.setup_extension(f"dropblock_book.{module}")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
