"""The book's own Sphinx extension: what Jupyter Book and the theme leave open.

Each module here is one small extension with its own `setup`.
"""

MODULES = (
    "repository",
    "assets",
    "execution",
    "side_by_side",
    "description",
    "card",
    "docstrings",
    "accessibility",
    "images",
    "schemes",
    "listings",
    "explorer",
    "scripts",
    "stylesheet",
    "signatures",
    "versions",
    "front_door",
    "sitemap",
)


def setup(app):
    for module in MODULES:
        app.setup_extension(f"dropblock_book.{module}")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
