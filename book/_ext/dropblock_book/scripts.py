"""Defers each page's scripts, and removes those that the page does not need."""

import re

from sphinx.builders.html._assets import _JavaScript

# What a page's text must contain if a script is needed.
WORKS_ON = {
    # Sphinx counts the formulas of subpages as the page's own.
    "startup.js": re.compile(r'class="math\b'),
    "togglebutton.js": re.compile(r'class="[^"]*\b(toggle|dropdown)\b'),
    "design-tabs.js": re.compile(r'class="[^"]*\bsd-tab-set\b'),
    "schemes.js": re.compile(r'class="only-dark"'),
    "clipboard.min.js": re.compile(r'class="highlight"'),
    "copybutton.js": re.compile(r'class="highlight"'),
}
# The file that an inline script belongs to; `None` for the version switcher, which this
# book does not have.
INLINE = {
    "window.MathJax": "startup.js",
    "toggleHint": "togglebutton.js",
    "toggleOpenOnPrint": "togglebutton.js",
    "togglebuttonSelector": "togglebutton.js",
    "DOCUMENTATION_OPTIONS.pagename": None,
}


def is_of_use(script, body):
    name = str(script.filename or "").rpartition("/")[2]
    if not name:
        text = script.attributes.get("body", "")
        for word, file in INLINE.items():
            if word in text:
                name = file
    if name is None:
        return False
    return name not in WORKS_ON or bool(WORKS_ON[name].search(body))


def deferred(script):
    """Returns `script` as one that runs in order once the page has been parsed."""
    if not script.filename or "type" in script.attributes:
        return script
    attributes = {**script.attributes, "defer": "defer"}
    return _JavaScript(script.filename, priority=script.priority, **attributes)


def lighten(app, pagename, templatename, context, doctree):
    body = context.get("body", "")
    useful = [script for script in context["script_files"] if is_of_use(script, body)]
    # The search page's template adds scripts that need these to have run.
    if pagename != "search":
        useful = [deferred(script) for script in useful]
    context["script_files"] = useful


def setup(app):
    # After every other extension.
    app.connect("html-page-context", lighten, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
