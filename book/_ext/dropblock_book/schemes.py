"""Shows each drawn figure in the colors of the page: light on light, dark on dark.

Beside a figure of a notebook's lies its dark twin, a translation of its colors; the
theme's classes show one of the two. Without scripts and on paper it is the light one.
"""

import os
import re
from pathlib import Path

from dropblock_book.palette import read_palette

TAG = re.compile(
    r'<img (?P<rest>[^>]*src="(?:\.\./)*_images/(?P<name>[^"]+)\.svg"[^>]*)>'
)


def show_both(app, pagename, templatename, context, doctree):
    if "body" not in context:
        return
    sources = {name: source for source, name in app.builder.images.items()}
    darken = read_palette(app.confdir).darken
    target = Path(app.outdir) / "_images"

    def pair(match):
        name = match["name"]
        light = Path(app.srcdir) / os.fspath(sources[f"{name}.svg"])
        target.mkdir(exist_ok=True)
        (target / f"{name}-dark.svg").write_text(darken(light.read_text()))
        rest = match["rest"]
        # A browser fetches no lazy image that is hidden; schemes.js wakes them.
        dark = 'loading="lazy" ' + rest.replace(f"{name}.svg", f"{name}-dark.svg")
        # In an element of their own: the theme hides the caption beside an image
        # that it hides.
        return (
            f'<span class="both-schemes"><img class="only-light" {rest}>'
            f'<img class="only-dark" {dark}></span>'
        )

    context["body"] = TAG.sub(pair, context["body"])


def setup(app):
    app.connect("html-page-context", show_both)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
