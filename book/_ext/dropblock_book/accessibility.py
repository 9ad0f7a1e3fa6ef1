"""Mends roles and focus, as assistive technology expects them.

Docutils still writes doc-biblioentry, which ARIA has deprecated.

A wide table scrolls within its box on a phone, which the keyboard must reach.
"""

SCROLLS = 'class="pst-scrollable-table-container"'


def modernize(app, pagename, templatename, context, doctree):
    if "body" in context:
        body = context["body"].replace("doc-biblioentry", "listitem")
        context["body"] = body.replace(SCROLLS, f'{SCROLLS} tabindex="0"')


def setup(app):
    app.connect("html-page-context", modernize)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
