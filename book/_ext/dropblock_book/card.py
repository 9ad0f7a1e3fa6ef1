"""Draws each page's preview card, which chats and feeds show beside a link to it."""

from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from dropblock_book.mark import SIZE, mark_cells
from dropblock_book.palette import read_palette

# The size that Open Graph's readers ask for.
WIDTH, HEIGHT = 1200, 630
MARGIN = 80
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
SERIF, SERIF_BOLD = "STIXGeneral.ttf", "STIXGeneralBol.ttf"
CELL, GAP = 64, 10


def font(name, size):
    return ImageFont.truetype(str(FONTS / name), size)


def wrap(text, face, width):
    """Breaks `text` into lines that are no wider than `width`."""
    lines = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and face.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def draw_card(heading, below, palette):
    card = Image.new("RGB", (WIDTH, HEIGHT), palette["paper"])
    pen = ImageDraw.Draw(card)
    pen.rectangle((0, HEIGHT - 16, WIDTH, HEIGHT), fill=palette["kept"])
    side = SIZE * (CELL + GAP) - GAP
    left, top = WIDTH - MARGIN - side, (HEIGHT - side) // 2 - 8
    for row, column, name in mark_cells():
        x, y = left + column * (CELL + GAP), top + row * (CELL + GAP)
        pen.rectangle((x, y, x + CELL - 1, y + CELL - 1), fill=palette[name])
    face = font(SERIF_BOLD, 76)
    lines = "\n".join(wrap(heading, face, left - MARGIN - 50))
    pen.multiline_text((MARGIN, top), lines, palette["ink"], face, spacing=12)
    pen.text(
        (MARGIN, HEIGHT - 84), below, palette["muted"], font(SERIF, 36), anchor="ls"
    )
    return card


def show_card(app, pagename, templatename, context, doctree):
    root = app.config.root_doc
    book = app.config.html_title or app.config.project
    owner = pagename if doctree else root
    name = f"_static/cards/{owner.rpartition('/')[2]}.png"
    heading = app.env.titles[owner].astext()
    tagline = app.config.html_context["tagline"]
    below = tagline[0].upper() + tagline[1:] if owner == root else book
    path = Path(app.outdir) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if doctree:
        palette = read_palette(app.confdir).PALETTE
        draw_card(heading, below, palette).save(path, optimize=True)
    context["page_card"] = f"{app.config.html_baseurl}{name}"
    context["page_card_text"] = f"{heading}. {below}."


def setup(app):
    app.connect("html-page-context", show_card)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
