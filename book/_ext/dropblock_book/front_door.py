"""Leads from the site's bare address to the first page.

Jupyter Book leaves a redirection there without a title; this one has a preview card.
"""


def open_front_door(app):
    leads_to = app.builder.get_target_uri(app.config.root_doc)
    context = {"page_address": f"{app.config.html_baseurl}{leads_to}"}
    yield "index", context, "front-door.html"


def setup(app):
    app.connect("html-collect-pages", open_front_door)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
