"""Improves the HTML of each page's text: roles, images, listings and terms."""

import html
import itertools
import os
import re
from pathlib import Path

from docutils import nodes
from PIL import Image, UnidentifiedImageError

from dropblock_book.metadata import SENTENCE_END
from dropblock_book.theme import read_palette

# Screen readers would announce an empty header.
EMPTY_HEADER = re.compile(r'<th( class="head[^"]*")>\s*(?:<p>\s*</p>)?\s*</th>')
# Removed, because voice control needs a control's visible text as its name.
LABEL = '<summary aria-label="Toggle hidden content">'
SCROLLS = 'class="pst-scrollable-table-container"'
IMAGE = re.compile(r'<img (?P<rest>[^>]*src="(?:\.\./)*_images/(?P<name>[^"]+)"[^>]*)>')
# Matplotlib states a drawing's size in points.
DRAWN_SIZE = re.compile(r'<svg [^>]*?width="([\d.]+)pt" height="([\d.]+)pt"')
PIXELS_PER_POINT = 96 / 72
# The code of a cell, unless it is folded.
CODE = re.compile(
    r'(?<=<div class="cell docutils container">\n)'
    r'<div class="cell_input docutils container">\n.*?</pre></div>\n</div>\n</div>\n',
    re.DOTALL,
)
LISTING = re.compile(r'(?<=<div class="highlight">)<pre>.*?</pre>', re.DOTALL)
TERM = re.compile(r'<a (?=[^>]*href="[^"]*#(?P<anchor>term-[^"]+)")(?![^>]*title=)')
PLAIN = re.compile(r'<span(?: class="(?:n|nn|p|w)")?>([^<]*)</span>')


def mend_roles(body):
    # Docutils writes doc-biblioentry, which ARIA has deprecated. On a phone, a wide
    # table scrolls within its container, which must be reachable by keyboard.
    body = body.replace("doc-biblioentry", "listitem")
    body = body.replace(LABEL, "<summary>")
    body = EMPTY_HEADER.sub(r"<td\1></td>", body)
    return body.replace(SCROLLS, f'{SCROLLS} tabindex="0"')


def size_of(path):
    if path.suffix == ".svg":
        found = DRAWN_SIZE.search(path.read_text())
        return found and tuple(
            round(float(side) * PIXELS_PER_POINT) for side in found.groups()
        )
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, UnidentifiedImageError):
        return None


def mend_images(app, body):
    """States each image's size, and gives each drawing a twin for dark pages.

    With the size, text does not move when an image loads. The theme's classes show one
    of the two drawings: the light one if there are no scripts, and on paper. The first
    image does not wait for those below it.
    """
    images = itertools.count()
    # Sphinx copies the files only at the end of a build, so the sources are read here.
    sources = {name: source for source, name in app.builder.images.items()}
    darken = read_palette(app.confdir).darken
    target = Path(app.outdir) / "_images"

    def mend(match):
        rest, name = match["rest"], match["name"]
        source = Path(app.srcdir) / os.fspath(sources.get(name, ""))
        size = size_of(source)
        if size and "width=" not in rest:
            rest = f'width="{size[0]}" height="{size[1]}" {rest}'
        if next(images):
            rest = f'fetchpriority="low" {rest}'
        if source.suffix != ".svg":
            return f"<img {rest}>"
        dark_name = name.replace(".svg", "-dark.svg")
        target.mkdir(exist_ok=True)
        (target / dark_name).write_text(darken(source.read_text()))
        # Browsers do not load a hidden lazy image; schemes.js makes them load it.
        lazy = "" if "loading=" in rest else 'loading="lazy" '
        dark = lazy + rest.replace(name, dark_name)
        # Both are inside an extra element, because the theme also hides a caption next
        # to an image that it hides.
        return (
            f'<span class="both-schemes"><img class="only-light" {rest}>'
            f'<img class="only-dark" {dark}></span>'
        )

    return IMAGE.sub(mend, body)


def mend_listings(body):
    """Removes the markup of names, punctuation and space, which have no style.

    They are two thirds of a listing's elements, each of which a phone lays out.
    """
    return LISTING.sub(lambda listing: PLAIN.sub(r"\1", listing[0]), body)


def fold_code(body):
    """Puts the code of cells into elements that are open on wide screens."""
    start = '<details class="folded-on-phones"><summary>Code</summary>\n'
    return CODE.sub(lambda code: f"{start}{code[0]}</details>\n", body)


def read_glossary(app):
    """Returns the first sentence of each definition, by the anchor of its term."""
    terms = app.env.domains["std"].objects.items()
    pages = {page for (kind, _), (page, _) in terms if kind == "term"}
    found = {}
    for page in sorted(pages):
        for item in app.env.get_doctree(page).findall(nodes.definition_list_item):
            text = " ".join(item[-1].astext().split())
            for term in item.findall(nodes.term):
                found |= dict.fromkeys(term["ids"], SENTENCE_END.split(text)[0])
    return found


def explain_terms(body, glossary):
    """Gives each link to a term a tooltip."""

    def explain(match):
        text = html.escape(glossary.get(match["anchor"], ""))
        return f'<a title="{text}" ' if text else match[0]

    return TERM.sub(explain, body)


def mend_body(app, pagename, templatename, context, doctree):
    if "body" in context:
        body = mend_images(app, mend_roles(context["body"]))
        body = mend_listings(fold_code(body))
        if "#term-" in body:
            body = explain_terms(body, read_glossary(app))
        context["body"] = body


def setup(app):
    app.connect("html-page-context", mend_body)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
