"""Tells the browser each image's size, so that text does not move when it comes."""

import os
import re
from pathlib import Path

from PIL import Image, UnidentifiedImageError

TAG = re.compile(r'<img (?P<rest>[^>]*src="(?:\.\./)*_images/(?P<name>[^"]+)"[^>]*)>')

# Matplotlib gives a drawing's size in points.
DRAWN_SIZE = re.compile(r'<svg [^>]*?width="([\d.]+)pt" height="([\d.]+)pt"')
PIXELS_A_POINT = 96 / 72


def size_of(path):
    if path.suffix == ".svg":
        found = DRAWN_SIZE.search(path.read_text())
        if not found:
            return None
        return tuple(round(float(side) * PIXELS_A_POINT) for side in found.groups())
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, UnidentifiedImageError):
        return None


def describe_images(app, pagename, templatename, context, doctree):
    if "body" not in context:
        return
    # The files are copied at the end of the build; these are where they come from.
    sources = {name: source for source, name in app.builder.images.items()}

    def describe(match):
        size = size_of(Path(app.srcdir) / os.fspath(sources.get(match["name"], "")))
        if not size or "width=" in match["rest"]:
            return match[0]
        return f'<img width="{size[0]}" height="{size[1]}" {match["rest"]}>'

    context["body"] = TAG.sub(describe, context["body"])


def setup(app):
    app.connect("html-page-context", describe_images)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
