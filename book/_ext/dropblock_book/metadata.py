"""Adds metadata for search engines, chats and feeds.

Each page gets a description and a preview card. The site gets a map of its pages, and
its bare address gets its own card.

Two libraries come close. sphinx-sitemap lists only the pages that the last build wrote.
sphinxext-opengraph cuts descriptions in the middle of a word, includes lists and
captions in them, and gives no card to the bare address, which readers share most.
"""

import re
import textwrap
import tomllib
from pathlib import Path
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import matplotlib
from docutils import nodes
from PIL import Image, ImageDraw, ImageFont

from dropblock_book.theme import MARK_SIZE, mark_cells, read_palette

# === The project's address, which only pyproject.toml states ===


def read_project(root):
    """Returns the table `project` of the `pyproject.toml` in `root`."""
    return tomllib.loads((Path(root) / "pyproject.toml").read_text())["project"]


def published_at(repository):
    """Returns the address at which GitHub Pages publishes a repository."""
    owner, name = urlsplit(repository).path.strip("/").split("/")
    host = f"{owner.lower()}.github.io"
    return f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"


def set_addresses(app, config):
    repository = read_project(app.confdir)["urls"]["Repository"]
    config.html_baseurl = published_at(repository)
    config.html_theme_options |= {
        "repository_url": repository,
        "repository_branch": "main",
        "path_to_docs": "",
        "use_repository_button": True,
        "use_issues_button": True,
    }


# === Descriptions ===

LONGEST = 160
# A description shorter than this continues with the next paragraph.
ENOUGH = 90
SENTENCE_END = re.compile(r"(?<=[.?!])\s+")


def paragraphs(doctree):
    """Yields the page's paragraphs, except lists, captions and their introductions."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if isinstance(paragraph.parent, nodes.section) and text[-1:] in (".", "?", "!"):
            yield text


def opening(doctree):
    """Returns the page's first sentences, as many as fit."""
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


# === Preview cards ===

# The size that Open Graph recommends.
CARD_SIZE = WIDTH, HEIGHT = 1200, 630
MARGIN = 80
CELL, GAP = 64, 10


def font(name, size):
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / f"{name}.ttf"), size)


def wrap(text, face, width):
    """Breaks `text` into lines no wider than `width`."""
    lines = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and face.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def draw_card(heading, below, palette):
    card = Image.new("RGB", CARD_SIZE, palette["paper"])
    pen = ImageDraw.Draw(card)
    pen.rectangle((0, HEIGHT - 16, WIDTH, HEIGHT), fill=palette["kept"])
    side = MARK_SIZE * (CELL + GAP) - GAP
    left, top = WIDTH - MARGIN - side, (HEIGHT - side) // 2 - 8
    for row, column, name in mark_cells():
        x, y = left + column * (CELL + GAP), top + row * (CELL + GAP)
        pen.rectangle((x, y, x + CELL - 1, y + CELL - 1), fill=palette[name])
    large, small = font("STIXGeneralBol", 76), font("STIXGeneral", 36)
    lines = wrap(heading, large, left - MARGIN - 50)
    pen.multiline_text((MARGIN, top), lines, palette["ink"], large, spacing=12)
    pen.text((MARGIN, HEIGHT - 84), below, palette["muted"], small, anchor="ls")
    return card


# === Pages and site ===


def describe_page(app, pagename, templatename, context, doctree):
    root = app.config.root_doc
    # Generated pages, such as the search, have the heading and card of the first page.
    owner = pagename if doctree else root
    if pagename == "index":
        doctree = app.env.get_doctree(root)
    own = app.env.metadata.get(pagename, {}).get("description")
    text = own or (opening(doctree) if doctree else "")
    context["page_description"] = text or read_project(app.confdir)["description"]

    book = app.config.html_title or app.config.project
    heading = app.env.titles[owner].astext()
    tagline = app.config.html_context["tagline"]
    below = tagline[0].upper() + tagline[1:] if owner == root else book
    name = f"_static/cards/{owner.rpartition('/')[2]}.png"
    path = Path(app.outdir) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if pagename == owner:
        palette = read_palette(app.confdir).PALETTE
        draw_card(heading, below, palette).save(path, optimize=True)
    context["page_card"] = f"{app.config.html_baseurl}{name}"
    context["page_card_text"] = f"{heading}. {below}."


def redirect_bare_address(app):
    """Yields the page at the site's bare address, which leads to the first page.

    Jupyter Book's own has no title and no card.
    """
    leads_to = app.builder.get_target_uri(app.config.root_doc)
    context = {"page_address": f"{app.config.html_baseurl}{leads_to}"}
    yield "index", context, "front-door.html"


def write_sitemap(app, exception):
    if exception or app.builder.format != "html":
        return
    addresses = (
        f"{app.config.html_baseurl}{app.builder.get_target_uri(name)}"
        for name in sorted(app.env.found_docs)
    )
    lines = (f"  <url><loc>{escape(address)}</loc></url>\n" for address in addresses)
    (Path(app.outdir) / "sitemap.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
        f"{''.join(lines)}</urlset>\n"
    )


def setup(app):
    app.connect("config-inited", set_addresses)
    # After the theme, whose description is the page's whole text.
    app.connect("html-page-context", describe_page, priority=900)
    app.connect("html-collect-pages", redirect_bare_address)
    app.connect("build-finished", write_sitemap)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
