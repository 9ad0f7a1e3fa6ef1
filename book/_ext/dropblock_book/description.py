"""Gives every page a description for search engines and preview cards.

It is the page's own `description`, from its front matter, or else the sentences with
which its text begins.
"""

import re
import textwrap

from docutils import nodes

from dropblock_book.repository import read_project

LONGEST = 160
# A page that begins with one short sentence is described by the next ones, too.
ENOUGH = 90
SENTENCE_END = re.compile(r"(?<=[.?!])\s+")


def paragraphs(doctree):
    """Yields the page's text: neither lists and captions nor their announcements."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if isinstance(paragraph.parent, nodes.section) and text.endswith(
            (".", "?", "!")
        ):
            yield text


def beginning(doctree):
    """Returns the first sentences, as many as fit."""
    found = ""
    for text in paragraphs(doctree):
        for sentence in SENTENCE_END.split(text):
            longer = f"{found} {sentence}".strip()
            if len(longer) > LONGEST:
                cut = textwrap.shorten(longer, LONGEST, placeholder=" …")
                return found if len(found) >= ENOUGH else cut
            found = longer
        if len(found) >= ENOUGH:
            break
    return found


def describe(app, pagename, templatename, context, doctree):
    if pagename == "index":
        # The way in is described as what it leads to.
        doctree = app.env.get_doctree(app.config.root_doc)
    own = app.env.metadata.get(pagename, {}).get("description")
    text = own or (beginning(doctree) if doctree else "")
    context["page_description"] = text or read_project(app.confdir)["description"]


def setup(app):
    # After the theme, which fills in the page's whole text, headings and all.
    app.connect("html-page-context", describe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
