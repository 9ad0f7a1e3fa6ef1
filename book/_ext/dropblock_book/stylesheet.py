"""Gives every page a single style sheet, with the theme's rules that can apply.

The theme, its icons and other extensions bring eleven sheets of 550 KB, and a page
waits for all of them before it shows a word. Once the pages are written, the rules
whose classes and elements occur on some page or in some script are gathered in one
file, with the few icons that pages show and the book's own sheets, which are not cut.
"""

import base64
import io
import re
from fnmatch import fnmatch
from html.parser import HTMLParser
from pathlib import Path

import tinycss2
from fontTools import subset
from fontTools.ttLib import TTFont

# In the order in which pages would load them.
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
    "exercise.css",
)
# Included whole, after the others. The explorer's sheet is separate, because few pages
# need it.
OWN_SHEETS = ("palette.css", "book.css")
RESULT = "theme-in-use.css"
# Names that Bootstrap's script composes from parts.
COMPOSED = {"bs-tooltip-auto"}
WORD = re.compile(r"[A-Za-z_][\w-]*")
DARK = re.compile(r'\[data-theme="?dark"?\]')
LIGHT = re.compile(r'\[data-theme="?light"?\]')
# Each font's file, and the family and weight by which the theme's rules refer to it.
ICON_FONTS = (
    ("fa-solid-900.ttf", "Font Awesome 6 Free", 900),
    ("fa-regular-400.ttf", "Font Awesome 6 Free", 400),
    ("fa-brands-400.ttf", "Font Awesome 6 Brands", 400),
)
# Icons are characters of Unicode's private use area.
ICON = re.compile("[\ue000-\uf8ff]")


class Names(HTMLParser):
    """Collects what selectors can name: elements, classes, ids and words of scripts."""

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
        # Scripts create elements and set classes.
        if self.in_script:
            self.found.update(WORD.findall(data))


def names_in_use(outdir):
    """Returns all names in pages and scripts."""
    names = Names()
    for page in outdir.rglob("*.html"):
        if "_static" not in page.relative_to(outdir).parts:
            names.feed(page.read_text())
    for script in (outdir / "_static").rglob("*.js"):
        if "mathjax" not in script.parts:
            names.found.update(WORD.findall(script.read_text()))
    return names.found | COMPOSED


def alternatives(tokens):
    """Splits a list of selectors at its commas."""
    found = [[]]
    for token in tokens:
        if token.type == "literal" and token.value == ",":
            found.append([])
        else:
            found[-1].append(token)
    return found


def can_apply(selector, names):
    """Returns whether all that a selector names exists, except in `:not(...)`."""
    before = ""
    for token in selector:
        if token.type == "hash" and token.value not in names:
            return False
        if token.type == "ident" and before != ":" and token.value not in names:
            return False
        before = token.value if token.type == "literal" else ""
    return True


def split_by_media(selectors, body):
    """Yields a rule's text, split into screen and print if it depends on the theme.

    A page is printed in light colors, even if its reader has switched to dark. Rules of
    the dark theme therefore apply only on screen, and those of the light one in print.
    """
    dark = [selector for selector in selectors if DARK.search(selector)]
    light = [selector for selector in selectors if LIGHT.search(selector)]
    if both := [selector for selector in selectors if selector not in dark]:
        yield f"{','.join(both)}{{{body}}}"
    if dark:
        yield f"@media screen{{{','.join(dark)}{{{body}}}}}"
    if light:
        # The attribute selector keeps the specificity, so that no other rule wins.
        on_paper = ",".join(LIGHT.sub("[data-theme]", name) for name in light)
        yield f"@media print{{{on_paper}{{{body}}}}}"


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
                yield from split_by_media(selectors, body)
        elif rule.type == "at-rule" and rule.lower_at_keyword in ("media", "supports"):
            nested = tinycss2.parse_rule_list(rule.content, True, True)
            if inside := "\n".join(usable_rules(nested, names)):
                condition = tinycss2.serialize(rule.prelude).strip()
                yield f"@{rule.at_keyword} {condition}{{{inside}}}"
        # Icon fonts are replaced, and the one imported sheet is in SHEETS.
        elif rule.type == "at-rule" and rule.at_keyword not in ("font-face", "import"):
            yield rule.serialize()
        elif rule.type == "error":
            raise ValueError(f"A style sheet of the theme does not parse: {rule}")


def cut_font(path, characters):
    """Returns a font as WOFF with only `characters`, or None if it has none of them."""
    font = TTFont(path)
    kept = characters & font.getBestCmap().keys()
    if not kept:
        return None
    subsetter = subset.Subsetter(subset.Options(hinting=False, layout_features=[]))
    subsetter.populate(unicodes=kept)
    subsetter.subset(font)
    font.flavor = "woff"
    buffer = io.BytesIO()
    font.save(buffer)
    return buffer.getvalue()


def icon_fonts(css, static):
    """Returns `@font-face` rules with the icons that `css` names, out of 300 KB.

    Icons then appear together with the text beside them.
    """
    characters = set(map(ord, ICON.findall(css)))
    rules = []
    for name, family, weight in ICON_FONTS:
        (path,) = static.glob(f"vendor/fontawesome/*/webfonts/{name}")
        if font := cut_font(path, characters):
            data = base64.b64encode(font).decode()
            rules.append(
                f'@font-face{{font-family:"{family}";font-weight:{weight};'
                f'src:url(data:font/woff;base64,{data}) format("woff")}}'
            )
    return "\n".join(rules)


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
    own = [(static / name).read_text() for name in OWN_SHEETS]
    css = "\n".join([*rules, *own])
    fonts = icon_fonts(css, static)
    (static / RESULT).write_text(f'@charset "utf-8";\n{fonts}\n{css}\n')


def link_one_sheet(app, pagename, templatename, context, doctree):
    context["css_files"] = [
        sheet
        for sheet in context["css_files"]
        if not any(
            fnmatch(sheet.filename, f"_static/{name}")
            for name in (*SHEETS, *OWN_SHEETS)
        )
    ]


def setup(app):
    # After every other extension.
    app.connect("html-page-context", link_one_sheet, priority=950)
    # After the theme has written its colors for code.
    app.connect("build-finished", write_stylesheet, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
