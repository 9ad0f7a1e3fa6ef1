"""Leaves names, punctuation and space in code unmarked: they look like the rest.

Two of three marks are theirs, and a phone lays out every one.
"""

import re

LISTING = re.compile(r'(?<=<div class="highlight">)<pre>.*?</pre>', re.DOTALL)
PLAIN = re.compile(r'<span(?: class="(?:n|nn|p|w)")?>([^<]*)</span>')


def unmark(app, pagename, templatename, context, doctree):
    if "body" in context:
        context["body"] = LISTING.sub(
            lambda listing: PLAIN.sub(r"\1", listing[0]), context["body"]
        )


def setup(app):
    app.connect("html-page-context", unmark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
