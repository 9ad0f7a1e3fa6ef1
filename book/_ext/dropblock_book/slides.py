"""Writes each lecture in book/slides as one HTML file with the book's figures in it.

Slides are Markdown, separated by `---`. A line `![fig-name]` is replaced by the figure
of that name from a chapter.
"""

import base64
import re
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt
from sphinx.util import logging

from dropblock_book.figures import read_figures
from dropblock_book.theme import read_palette

FIGURE = re.compile(r"!\[(fig-[\w-]+)\]")
STYLE = """\
* { box-sizing: border-box }
html { font: 4vmin/1.4 system-ui, sans-serif }
body { margin: 0; color: var(--ink); background: var(--paper) }
section { display: flex; flex-direction: column; justify-content: center;
  min-height: 100vh; padding: 6vmin 10vmin; break-after: page }
section[hidden] { display: none }
h1, h2 { margin: 0 0 .6em; line-height: 1.15 }
h1 { font-size: 2.2em } h2 { font-size: 1.5em }
p, ul, ol { margin: 0 0 .6em } a { color: var(--kept) }
img { display: block; max-width: 100%; height: 66vh; margin: 0 auto;
  background: #fff }
nav { position: fixed; right: 2vmin; bottom: 2vmin; font-size: .6em }
nav button { font: inherit; padding: .2em .8em }
@media print {
  html { font-size: 18pt } nav { display: none }
  section, section[hidden] { display: flex; min-height: 95vh }
}
"""
SCRIPT = """\
const slides = [...document.querySelectorAll("section")];
const count = document.querySelector("output");
const last = slides.length - 1;
let at;
function show(number) {
  at = Math.min(Math.max(number, 0), last);
  slides.forEach((slide, i) => { slide.hidden = i !== at; });
  count.textContent = `${at + 1} / ${slides.length}`;
  history.replaceState(null, "", `#${at + 1}`);
}
const keys = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1,
  ArrowLeft: -1, ArrowUp: -1, PageUp: -1, Home: -last, End: last };
addEventListener("keydown", (event) => {
  if (!(event.key in keys) || event.altKey || event.ctrlKey || event.metaKey) return;
  // The space bar presses a button that has the focus.
  if (event.key === " " && event.target.closest("a, button")) return;
  event.preventDefault();
  show(at + keys[event.key]);
});
const [back, on] = document.querySelectorAll("button");
back.onclick = () => show(at - 1);
on.onclick = () => show(at + 1);
const asked = () => (parseInt(location.hash.slice(1)) || 1) - 1;
addEventListener("hashchange", () => show(asked()));
document.querySelector("nav").hidden = false;
show(asked());
"""
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{slides}
</main>
<nav hidden><button aria-label="Back">&larr;</button> <output></output>
<button aria-label="Next">&rarr;</button></nav>
<script>
{script}</script>
</body>
</html>
"""


def render(text, picture):
    """Returns a lecture's title and HTML; `picture` returns the HTML of a figure."""
    text = FIGURE.sub(lambda match: picture(match[1]), text)
    markdown = MarkdownIt("commonmark", {"html": True})
    parts = re.split(r"^---$", text, flags=re.MULTILINE)
    slides = "\n".join(f"<section>{markdown.render(part)}</section>" for part in parts)
    return escape(text.partition("\n")[0].lstrip("# ")), slides


def write_slides(app, exception):
    if exception or app.builder.format != "html":
        return
    figures = {figure.name: figure for figure in read_figures(app)}
    palette = read_palette(app.confdir)

    def picture(name):
        if name not in figures:
            logging.getLogger(__name__).warning("no figure %s for the slides", name)
            return ""
        data = base64.b64encode(figures[name].path.read_bytes()).decode()
        source = f"data:image/svg+xml;base64,{data}"
        return f'<img src="{source}" alt="{escape(figures[name].alt)}">'

    for source in sorted(Path(app.srcdir, "book", "slides").glob("*.md")):
        title, slides = render(source.read_text(), picture)
        page = PAGE.format(
            title=title, style=palette.css() + STYLE, slides=slides, script=SCRIPT
        )
        (Path(app.outdir) / "_static" / f"{source.stem}.html").write_text(page)


def setup(app):
    app.connect("build-finished", write_slides)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
