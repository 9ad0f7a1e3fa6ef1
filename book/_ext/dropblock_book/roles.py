"""Gives the bibliography's entries the role that assistive technology expects.

Docutils still writes doc-biblioentry, which ARIA has deprecated.
"""


def modernize(app, pagename, templatename, context, doctree):
    if "body" in context:
        context["body"] = context["body"].replace("doc-biblioentry", "listitem")


def setup(app):
    app.connect("html-page-context", modernize)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
