"""Gives every page one style sheet with those rules of the theme's that can apply.

The theme, its icons and the other extensions bring ten sheets of 550 KB, and a page
waits for all of them before it shows a word. When the pages are written, the rules
whose classes and elements occur on some page, or in some script, are gathered into
one file. The book's own sheets stay as they are.
"""

import re
from fnmatch import fnmatch
from html.parser import HTMLParser
from pathlib import Path

import tinycss2

from dropblock_book import paper
from dropblock_book.icons import icon_fonts

# In the order in which the pages would load them.
SHEETS = (
    "basic.css",
    "styles/bootstrap.css",
    "styles/pydata-sphinx-theme.css",
    "vendor/fontawesome/*/css/all.min.css",
    "pygments.css",
    "styles/sphinx-book-theme.css",
    "togglebutton.css",
    "copybutton.css",
    "mystnb.*.css",
    "sphinx-design.min.css",
)
RESULT = "theme-in-use.css"
WORD = re.compile(r"[A-Za-z_][\w-]*")


class Names(HTMLParser):
    """Collects what selectors can name: elements, classes, ids, and scripts' words."""

    def __init__(self):
        super().__init__()
        self.found, self.in_script = set(), False

    def handle_starttag(self, tag, attributes):
        self.found.add(tag)
        self.in_script = tag == "script"
        for name, value in attributes:
            if name in ("class", "id"):
                self.found.update((value or "").split())

    def handle_endtag(self, tag):
        self.in_script = False

    def handle_data(self, data):
        # Scripts write elements and switch classes.
        if self.in_script:
            self.found.update(WORD.findall(data))


def names_in_use(outdir):
    """Returns all names in the pages and in their scripts."""
    names = Names()
    for page in outdir.rglob("*.html"):
        if "_static" not in page.relative_to(outdir).parts:
            names.feed(page.read_text())
    for script in (outdir / "_static").rglob("*.js"):
        if "mathjax" not in script.parts:
            names.found.update(WORD.findall(script.read_text()))
    return names.found


def alternatives(tokens):
    """Splits a rule's list of selectors at its commas."""
    found = [[]]
    for token in tokens:
        if token.type == "literal" and token.value == ",":
            found.append([])
        else:
            found[-1].append(token)
    return found


def can_apply(selector, names):
    """Tells whether all that a selector names exists; what it excludes is not asked."""
    before = ""
    for token in selector:
        if token.type == "hash" and token.value not in names:
            return False
        if token.type == "ident" and before != ":" and token.value not in names:
            return False
        before = token.value if token.type == "literal" else ""
    return True


def usable_rules(rules, names):
    """Yields the text of the rules that can apply."""
    for rule in rules:
        if rule.type == "qualified-rule":
            selectors = [
                tinycss2.serialize(selector).strip()
                for selector in alternatives(rule.prelude)
                if can_apply(selector, names)
            ]
            body = tinycss2.serialize(rule.content).strip()
            if selectors and body:
                yield from paper.rules(selectors, body)
        elif rule.type == "at-rule" and rule.lower_at_keyword in ("media", "supports"):
            nested = tinycss2.parse_rule_list(rule.content, True, True)
            if inside := "\n".join(usable_rules(nested, names)):
                condition = tinycss2.serialize(rule.prelude).strip()
                yield f"@{rule.at_keyword} {condition}{{{inside}}}"
        # The icons' fonts are replaced, and the one sheet imported is listed above.
        elif rule.type == "at-rule" and rule.at_keyword not in ("font-face", "import"):
            yield rule.serialize()
        elif rule.type == "error":
            raise ValueError(f"A style sheet of the theme's does not parse: {rule}")


def write_stylesheet(app, exception):
    if exception or app.builder.format != "html":
        return
    outdir = Path(app.outdir)
    static = outdir / "_static"
    names = names_in_use(outdir)
    rules = []
    for pattern in SHEETS:
        for sheet in sorted(static.glob(pattern)):
            parsed = tinycss2.parse_stylesheet(sheet.read_text(), True, True)
            rules.append(f"/* {sheet.name} */")
            rules += usable_rules(parsed, names)
    css = "\n".join(rules)
    fonts = icon_fonts(css, static)
    (static / RESULT).write_text(f'@charset "utf-8";\n{fonts}\n{css}\n')


def link_one_sheet(app, pagename, templatename, context, doctree):
    context["css_files"] = [
        sheet
        for sheet in context["css_files"]
        if not any(fnmatch(sheet.filename, f"_static/{name}") for name in SHEETS)
    ]


def setup(app):
    # After every extension has added its own.
    app.connect("html-page-context", link_one_sheet, priority=950)
    # After the theme has written its colors of code.
    app.connect("build-finished", write_stylesheet, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
