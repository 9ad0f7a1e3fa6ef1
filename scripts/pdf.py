"""Prints the built book as one PDF, and a handout for each lecture: `make pdf`.

    python scripts/pdf.py _build/html _build/html/the-dropblock-book.pdf

Chromium prints all chapters as one document, so that links between them work. It does
so twice: the first copy shows on which page each chapter begins, and the second has
these numbers in its table of contents. Handouts are written to the same folder. If that
is the folder of the built pages, the page for teachers gets links to all PDFs.
"""

import argparse
import datetime
import html
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pypdf
import yaml
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from scripts.chromium import FLAGS, find_chromium, serve  # noqa: E402

COMBINED = "whole-book.html"

# Prepares a page for print and returns its article, in which each id begins with the
# name of the page.
EXTRACT = """async ([name, pages, home]) => {
    if (window.MathJax?.startup) await MathJax.startup.promise;
    const article = document.querySelector(".bd-article").cloneNode(true);
    const canvases = document.querySelectorAll(".bd-article canvas");
    article.querySelectorAll("canvas").forEach((canvas, i) => {
        const image = new Image();
        image.src = canvases[i].toDataURL();
        image.style.cssText = canvases[i].style.cssText;
        canvas.replaceWith(image);
    });
    const unwanted = ".headerlink, button, script, noscript, .only-dark, .facts";
    article.querySelectorAll(unwanted).forEach(element => element.remove());
    for (const cell of article.querySelectorAll(".cell"))
        if (cell.textContent.includes("%pip install -q")) cell.remove();
    article.querySelectorAll("details").forEach(element => element.open = true);
    for (const element of article.querySelectorAll("[id]"))
        element.id = `${name}--${element.id}`;
    for (const image of article.querySelectorAll("img")) {
        image.src = new URL(image.getAttribute("src"), location.href).href;
        image.loading = "eager";
    }
    const base = new URL("..", location.href);
    for (const link of article.querySelectorAll("a[href]")) {
        const target = new URL(link.getAttribute("href"), location.href);
        if (target.origin !== base.origin) continue;
        const page = target.pathname.replace(/^.*[/]/, "").replace(".html", "");
        const place = decodeURIComponent(target.hash.slice(1));
        if (!pages.includes(page) || place.includes("="))
            link.href = home + target.pathname.slice(1) + target.hash;
        else link.href = `#${page}` + (place && `--${place}`);
    }
    for (const level of [5, 4, 3, 2, 1])
        for (const old of article.querySelectorAll(`h${level}`)) {
            const heading = document.createElement(`h${level + 1}`);
            heading.append(...old.childNodes);
            old.replaceWith(heading);
        }
    const style = document.querySelector("#MJX-CHTML-styles");
    return {article: article.innerHTML, style: style ? style.textContent : ""};
}"""

TITLE = """[...document.querySelector("h1").childNodes]
    .filter(node => !node.matches?.(".headerlink"))
    .map(node => node.textContent).join("")"""

STYLES = """[...document.head.querySelectorAll("link[rel=stylesheet], style")]
    .filter(element => element.id !== "MJX-CHTML-styles")
    .map(element => {
        if (element.href) element.setAttribute("href", element.href);
        return element.outerHTML;
    })"""

# The reference is for searching, not for paper, and the figures are in the chapters.
LEFT_OUT = ("API", "book/figures")

STYLE = """
.whole-book h1 { break-before: page; margin: 90mm 0 0; font-size: 30pt; }
.whole-book .chapter { break-before: page; }
.whole-book .bd-article h2:first-of-type { font-size: 22pt; margin-top: 0; }
.whole-book h3 { font-size: 15pt; }
.whole-book h4 { font-size: 12pt; }
.whole-book .cover { height: 240mm; display: flex; flex-direction: column; }
.whole-book .cover p.title { margin-top: 80mm; font-size: 34pt; font-weight: 700; }
.whole-book .contents p { display: flex; margin: 0.5mm 0; font-size: 10.5pt; }
.whole-book .contents p.part { font-weight: 700; margin-top: 2.5mm; }
.whole-book .contents span { flex: 1; border-bottom: 1px dotted; margin: 0 2mm 1mm; }
"""

# Puts each slide of a lecture next to lines for notes, and makes its links lead to the
# published pages.
LAY_OUT = """home => {
    document.querySelectorAll("nav, script").forEach(element => element.remove());
    for (const slide of document.querySelectorAll("section")) {
        slide.hidden = false;
        const [row, notes] = ["row", "notes"].map(name => {
            const element = document.createElement("div");
            element.className = name;
            return element;
        });
        slide.replaceWith(row);
        row.append(slide, notes);
    }
    for (const link of document.querySelectorAll("a[href]"))
        link.href = home + link.pathname.slice(1) + link.hash;
}"""

HANDOUT_STYLE = """
html { font-size: 10.5pt; }
.row { display: grid; grid-template-columns: 108mm 1fr; gap: 8mm; height: 81mm;
  margin-bottom: 6mm; break-inside: avoid; }
.row section { display: flex; min-height: 0; height: 81mm; padding: 4mm 8mm;
  break-after: auto; border: 0.3mm solid #59636e; border-radius: 2mm; }
.row h1 { font-size: 1.8em; }
/* Takes the height that the text leaves. */
.row img { flex: 0 1 auto; min-height: 0; height: 66mm; object-fit: contain; }
.notes { background:
  repeating-linear-gradient(transparent 0 8.7mm, #b4bac0 8.7mm 9mm); }
"""

# Between these comments, the page for teachers says how to make the PDFs. Links to the
# PDFs replace that text.
TEACHERS = "book/teach.html"
PRINTED = re.compile("(?<=<!-- printed -->).*(?=<!-- /printed -->)", re.DOTALL)

FOOTER = """<div style="width: 100%; font: 8pt sans-serif; text-align: center">
<span class="pageNumber"></span></div>"""


def read_parts():
    """Returns the book's parts: pairs of a title and the names of its pages."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    parts = [("", [toc["root"]])]
    for part in toc["parts"]:
        if part["caption"] in LEFT_OUT:
            continue
        names = [page["file"] for page in part["chapters"]]
        parts.append((part["caption"], [n for n in names if n not in LEFT_OUT]))
    return parts


def contents(parts, titles, pages):
    lines = ['<div class="chapter contents"><h2>Contents</h2>']
    for caption, names in parts:
        if caption:
            lines.append(f'<p class="part">{html.escape(caption)}</p>')
        for name in names:
            short = name.rpartition("/")[2]
            number = pages.get(short, "")
            lines.append(
                f'<p><a href="#{short}">{html.escape(titles[name])}</a>'
                f"<span></span>{number}</p>"
            )
    return "\n".join([*lines, "</div>"])


def combine(head, parts, articles, titles, pages):
    """Returns the whole book as one HTML page."""
    version = yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    today = datetime.date.today()
    cover = (
        '<div class="cover"><p class="title">The DropBlock Book</p>'
        "<p>The DropBlock Book authors</p>"
        f"<p>Version {version}, {today:%B} {today.day}, {today.year}</p>"
        "<p>Text: CC BY 4.0. Code: MIT.</p></div>"
    )
    body = [cover, contents(parts, titles, pages)]
    for caption, names in parts:
        if caption:
            body.append(f"<h1>{html.escape(caption)}</h1>")
        for name in names:
            short = name.rpartition("/")[2]
            body.append(
                f'<div class="chapter" id="{short}"><article class="bd-article">'
                f"{articles[name]['article']}</article></div>"
            )
    styles = "\n".join(article["style"] for article in articles.values())
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light"><head>'
        f'<meta charset="utf-8"><title>The DropBlock Book</title>{head}'
        f"<style>{styles}\n{STYLE}</style></head>"
        '<body class="whole-book"><main class="bd-main">'
        + "\n".join(body)
        + "</main></body></html>"
    )


def print_pdf(page, path, **options):
    page.evaluate(
        "Promise.all([...document.images].map(image => image.decode().catch(() => 0)))"
    )
    page.pdf(
        path=path,
        format="A4",
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=FOOTER,
        margin={"top": "16mm", "bottom": "18mm", "left": "17mm", "right": "17mm"},
        print_background=True,
        tagged=True,
        **options,
    )


def first_pages(path, names):
    """Returns the page number, from 1, at which each chapter begins."""
    reader = pypdf.PdfReader(path)
    found = {}
    for name, place in reader.named_destinations.items():
        if name.lstrip("/") in names:
            found[name.lstrip("/")] = reader.get_destination_page_number(place) + 1
    return found


def print_handouts(page, built, address, home, folder):
    """Prints each lecture's slides, three to a page, and returns the files."""
    found = []
    for lecture in sorted((built / "_static").glob("lecture-*.html")):
        page.goto(f"{address}/_static/{lecture.name}")
        page.add_style_tag(content=HANDOUT_STYLE)
        page.evaluate(LAY_OUT, home)
        found.append(folder / f"{lecture.stem}-handout.pdf")
        print_pdf(page, found[-1])
    return found


def link_printed(text, book, handouts):
    """Returns the HTML of the page for teachers with links to the PDFs."""
    links = [
        f'<a href="../{name}">lecture {number}</a>'
        for number, name in enumerate(handouts, start=1)
    ]
    printed = (
        f"Print the handouts, three slides to a page next to lines for notes: "
        f"{' and '.join(links)}. "
        f'The whole book is also available as <a href="../{book}">a PDF</a>.'
    )
    return PRINTED.sub(printed, text)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description="Print the built book as one PDF, and a handout for each lecture."
    )
    parser.add_argument("built", type=Path, help="folder of the built pages")
    parser.add_argument("target", type=Path, help="the book's PDF to write")
    options = parser.parse_args(argv)
    if not (options.built / "book" / "index.html").is_file():
        sys.exit(f"No built book in {options.built}. To build it: make book")
    parts = read_parts()
    names = [name for _, chapters in parts for name in chapters]
    short = [name.rpartition("/")[2] for name in names]
    with serve(options.built) as address, sync_playwright() as playwright:
        path = find_chromium(playwright)
        if path is None:
            sys.exit("No Chromium found. CHROMIUM=/path/to/chromium names one.")
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page()
        page.emulate_media(media="print")
        articles, titles, styles, home = {}, {}, {}, None
        for name in names:
            page.goto(f"{address}/{name}.html")
            if home is None:
                link = page.locator("link[rel=canonical]").get_attribute("href")
                home = link.removesuffix(urlsplit(f"/{name}.html").path.lstrip("/"))
            own = name.rpartition("/")[2]
            articles[name] = page.evaluate(EXTRACT, [own, short, home])
            titles[name] = page.evaluate(TITLE)
            styles |= dict.fromkeys(page.evaluate(STYLES))
        head = "".join(styles)
        combined = options.built / COMBINED
        pages = {}
        try:
            for _ in range(2):
                text = combine(head, parts, articles, titles, pages)
                combined.write_text(text)
                page.goto(f"{address}/{COMBINED}")
                print_pdf(page, options.target, outline=True)
                pages = first_pages(options.target, short)
        finally:
            combined.unlink(missing_ok=True)
        folder = options.target.parent
        handouts = print_handouts(page, options.built, address, home, folder)
        browser.close()
    if folder.resolve() == options.built.resolve():
        teachers = options.built / TEACHERS
        names = [path.name for path in handouts]
        text = link_printed(teachers.read_text(), options.target.name, names)
        teachers.write_text(text)
    for path in (options.target, *handouts):
        print(f"{len(pypdf.PdfReader(path).pages)} pages in {path}")


if __name__ == "__main__":
    main()
