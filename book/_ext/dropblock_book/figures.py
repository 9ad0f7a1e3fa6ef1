"""Offers every figure of the book as SVG, on one page and in an archive per chapter."""

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from docutils import nodes

from dropblock_book.metadata import SENTENCE_END

PAGE = "book/figures"
# Replaced on the page.
PLACE = '<div id="all-figures"></div>'
ARCHIVES = "_static/figures"
TERMS = """\
Figures of The DropBlock Book, by The DropBlock Book authors, CC BY 4.0.

Photographs in them keep their own licenses. Chelsea the cat: Stefan van der Walt, CC0.
Astronaut: NASA, public domain. Coffee: Rachel Michetti, CC0. Rocket: SpaceX, CC0.
Motorcycle: Middlebury Stereo Dataset, Daniel Scharstein and others.
"""


@dataclass(frozen=True)
class Figure:
    """A figure that a notebook drew; `path` is its SVG file."""

    page: str
    name: str
    number: str
    caption: str
    alt: str
    path: Path
    uri: str

    @property
    def title(self) -> str:
        return f"Fig. {self.number}"

    @property
    def file(self) -> str:
        """Its name in archives and downloads, such as fig-3-2-shortfall.svg."""
        number = self.number.replace(".", "-")
        return f"fig-{number}-{self.name.removeprefix('fig-')}.svg"


def read_figures(app) -> list[Figure]:
    """Returns the figures of all pages in the book's order."""
    found = []
    numbered = app.env.toc_fignumbers
    for page in sorted(name for name in numbered if "figure" in numbered[name]):
        numbers = numbered[page]["figure"]
        for figure in app.env.get_doctree(page).findall(nodes.figure):
            caption = next(figure.findall(nodes.caption))
            for image in figure.findall(nodes.image):
                if image["uri"].endswith(".svg"):
                    name = figure["ids"][0]
                    number = ".".join(map(str, numbers[name]))
                    text = caption.astext()
                    path = Path(app.srcdir) / image["uri"]
                    description = page, name, number, text, image.get("alt", "")
                    found.append(Figure(*description, path, image["uri"]))
    return found


def by_page(figures: Iterable[Figure]):
    """Yields each page's name, without its folder, and its figures."""
    for page, own in groupby(figures, attrgetter("page")):
        yield page.rpartition("/")[2], list(own)


def show(figure, source):
    """Returns a figure's HTML on the page of all figures."""
    address = f"{figure.page.rpartition('/')[2]}.html#{figure.name}"
    title = figure.title
    return (
        f'<figure><img loading="lazy" alt="{escape(figure.alt)}" src="{source}">'
        f'<figcaption><p><a href="{address}">{title}</a> · '
        f'<a href="{source}" download="{figure.file}" aria-label="SVG of {title}">SVG'
        f"</a></p><p>{escape(SENTENCE_END.split(figure.caption)[0])}</p></figcaption>"
        "</figure>"
    )


def show_figures(app, pagename, templatename, context, doctree):
    """Fills the page of all figures, after Sphinx has numbered them."""
    if pagename != PAGE:
        return
    sections = []
    for page, figures in by_page(read_figures(app)):
        shown = []
        for figure in figures:
            name = app.env.images[figure.uri][1]
            app.builder.images[figure.uri] = name
            shown.append(show(figure, f"../_images/{name}"))
        title = escape(app.env.titles[figures[0].page].astext())
        files = "the figure" if len(figures) == 1 else f"all {len(figures)} figures"
        sections.append(
            f'<section id="{page}"><h2><a href="{page}.html">{title}</a></h2>'
            f'<p><a href="../{ARCHIVES}/{page}.zip">Download {files} of '
            f"<em>{title}</em></a></p>"
            f'<div class="all-figures">{"".join(shown)}</div></section>'
        )
    context["body"] = context["body"].replace(PLACE, "\n".join(sections))


def write_archive(path: Path, figures: list[Figure], home: str) -> None:
    """Writes figures and their captions to a ZIP file, the same file in every build."""
    captions = [TERMS]
    files = {}
    for figure in figures:
        address = f"{home}{figure.page}.html#{figure.name}"
        captions.append(f"{figure.file}\n{figure.title}. {figure.caption}\n{address}\n")
        files[figure.file] = figure.path.read_text()
    files["captions.txt"] = "\n".join(captions)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            # `ZipInfo` has a fixed date by default.
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)


def write_archives(app, exception):
    if exception or app.builder.format != "html":
        return
    folder = Path(app.outdir) / ARCHIVES
    folder.mkdir(parents=True, exist_ok=True)
    for page, figures in by_page(read_figures(app)):
        write_archive(folder / f"{page}.zip", figures, app.config.html_baseurl)


def depend_on_notebooks(app, docname, content):
    if docname == PAGE:
        for path in (Path(app.srcdir) / "_build" / "executed").rglob("*.ipynb"):
            app.env.note_dependency(str(path))


def setup(app):
    app.connect("source-read", depend_on_notebooks)
    # Before the images on the page get their sizes and their dark twins.
    app.connect("html-page-context", show_figures, priority=400)
    app.connect("build-finished", write_archives)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
