"""Gives every page a description for search engines: how its text begins."""

import textwrap

from docutils import nodes

from dropblock_book.repository import read_project


def first_paragraph(doctree):
    for paragraph in doctree.findall(nodes.paragraph):
        if text := paragraph.astext().strip():
            return text
    return ""


def describe(app, pagename, templatename, context, doctree):
    text = first_paragraph(doctree) if doctree else ""
    text = text or read_project(app.confdir)["description"]
    context["page_description"] = textwrap.shorten(text, 160, placeholder=" …")


def setup(app):
    # After the theme, which fills in the page's whole text, headings and all.
    app.connect("html-page-context", describe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
