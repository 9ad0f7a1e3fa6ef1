"""The book's sources and its built pages, without a browser."""

import json
import re
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree

import nbformat
import pytest
import yaml
from PIL import Image
from sphinx_external_toc.parsing import parse_toc_yaml

from dropblock_lib.explorer.state import CHECKS, PRESETS
from dropblock_lib.explorer.texts import TEXTS
from dropblock_lib.palette import TWINS

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(ROOT.glob("book/*.ipynb"))
CODE_LINE = 72
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
# The published branch, below the key `on`, which YAML reads as true.
(PUBLISHED,) = WORKFLOW[True]["push"]["branches"]
LOADS = {"img": "src", "script": "src", "link": "href", "iframe": "src"}

sys.path.insert(0, str(ROOT / "book"))
import setup_cell  # noqa: E402

# The pages are parsed once, in one worker.
pytestmark = pytest.mark.xdist_group("files")
every_notebook = pytest.mark.parametrize(
    "notebook",
    [nbformat.read(path, as_version=4) for path in NOTEBOOKS],
    ids=[path.name for path in NOTEBOOKS],
)


def test_the_table_of_contents_lists_every_page_and_no_other():
    listed = set(parse_toc_yaml(ROOT / "_toc.yml"))
    pages = [*NOTEBOOKS, *ROOT.glob("book/*.md")]
    assert listed == {f"book/{page.stem}" for page in pages}


# Chapters of version 0.1 whose address has changed.
EARLIER_PAGES = (
    "02-gamma",
    "03-masks",
    "06-data-sets",
    "10-mnist",
    "11-what-the-tables-say",
    "12-retinanet",
    "13-seven-detectors",
    "14-fast-and-right",
    "run-times",
)


def test_slides_show_figures_of_chapters():
    notebooks = [nbformat.read(path, as_version=4) for path in NOTEBOOKS]
    options = [cell.metadata.get("mystnb", {}) for n in notebooks for cell in n.cells]
    names = {option["figure"]["name"] for option in options if "figure" in option}
    for lecture in ROOT.glob("book/slides/*.md"):
        shown = set(re.findall(r"!\[(.+?)\]", lecture.read_text()))
        assert shown and shown <= names


@pytest.mark.parametrize("lecture", ["lecture-1", "lecture-2"])
def test_slides_are_one_file_with_figures_in_it(book, lecture):
    page = Page(book / "_static" / f"{lecture}.html")
    assert page.images and not page.unnamed_images
    assert all(source.startswith("data:") for source in page.loads)
    for link in map(urlsplit, page.links):
        assert (book / "_static" / link.path).resolve().is_file()


@every_notebook
def test_a_notebook_starts_with_the_setup_cell(notebook):
    assert setup_cell.is_set_up(notebook)


@every_notebook
def test_a_notebook_contains_no_outputs(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell for cell in code if cell.outputs or cell.execution_count] == []


@every_notebook
def test_lines_of_code_are_short(notebook):
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    lines = [line for source in code for line in source.splitlines()]
    assert [line for line in lines if len(line) > CODE_LINE] == []


@every_notebook
def test_figures_have_a_caption_and_a_description(notebook):
    """A cell that draws has a caption, and a text for readers who cannot see it."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and "plots." in cell.source:
            options = cell.metadata.get("mystnb", {})
            assert options.get("figure", {}).get("caption"), cell.source
            assert options.get("image", {}).get("alt"), cell.source


class Page(HTMLParser):
    """What a built page links to, loads and shows, and its metadata."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.loads, self.unnamed_images = [], set(), [], []
        self.images, self.about, self.canonical = [], {}, None
        self.anchor_tags = []
        self.title, self.open_tag = "", None
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
            self.anchor_tags.append(attributes)
        self.open_tag = tag
        if tag == "link" and attributes.get("rel") == "canonical":
            # Names the page's own address; a browser loads nothing from it.
            self.canonical = attributes["href"]
        elif tag in LOADS and attributes.get(LOADS[tag]):
            self.loads.append(attributes[LOADS[tag]])
        if tag == "meta":
            name = attributes.get("name") or attributes.get("property")
            self.about[name] = attributes.get("content")
        if tag == "img":
            self.images.append(attributes)
        # An empty description is allowed: the image is decoration.
        if tag == "img" and "alt" not in attributes:
            self.unnamed_images.append(attributes.get("src"))

    def handle_data(self, data):
        if self.open_tag == "title":
            self.title += data

    def handle_endtag(self, tag):
        self.open_tag = None


@pytest.fixture(scope="module")
def pages(book):
    moved = {book / f"{name}.html" for name in redirects()}
    found = sorted(set(book.rglob("*.html")) - moved)
    return {path: Page(path) for path in found if "_static" not in path.parts}


def redirects():
    """Returns where the addresses of earlier versions lead."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    return config["sphinx"]["config"]["redirects"]


def is_internal(link):
    parts = urlsplit(link)
    return not parts.scheme and not parts.netloc


def test_links_and_anchors_lead_somewhere(pages):
    broken = []
    for path, page in pages.items():
        for link in filter(is_internal, [*page.links, *page.loads]):
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve()
            target = path if not parts.path else target
            anchor = unquote(parts.fragment)
            known = pages[target].anchors if target in pages else {anchor}
            # Such an anchor sets the explorer on the page.
            if anchor.startswith("explorer="):
                anchor = None
            if not target.is_file() or (anchor and anchor not in known):
                broken.append(f"{path.name}: {link}")
    assert broken == []


def test_links_to_the_explorer_set_valid_values(pages):
    for path, page in pages.items():
        links = [urlsplit(link) for link in page.links if "#explorer=" in link]
        for link in links:
            target = path.parent / link.path if link.path else path
            assert "data-mask-explorer=" in target.read_text()
            asked = dict(parse_qsl(link.fragment, keep_blank_values=True))
            assert asked.pop("explorer") in {"", "start", *PRESETS}
            for name, text in asked.items():
                # Numbers and truth values are written as in JSON.
                value = text if name in TEXTS else json.loads(text)
                CHECKS[name](name, value)


def test_nothing_is_loaded_from_another_host(pages):
    loads = [load for page in pages.values() for load in page.loads]
    assert [load for load in loads if not is_internal(load)] == []


def test_images_are_described(pages):
    assert [image for page in pages.values() for image in page.unnamed_images] == []
    sources = "".join(path.read_text() for path in pages)
    # MyST-NB's description of an output that has none.
    assert not re.search(r'alt="\.\./_images/', sources)


def test_images_have_their_size_before_they_are_loaded(pages):
    """Otherwise the text below moves while it is being read."""
    figures = [
        image
        for page in pages.values()
        for image in page.images
        if "_images/" in image["src"]
    ]
    assert figures
    assert [image["src"] for image in figures if "width" not in image] == []


def drawn_figures(page):
    """Returns the drawings on a page, each with its dark twin."""
    drawn = [image for image in page.images if image["src"].endswith(".svg")]
    drawn = [image for image in drawn if "_images/" in image["src"]]
    return list(zip(drawn[::2], drawn[1::2], strict=True))


def test_every_figure_is_drawn_for_light_and_for_dark(book, pages):
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        captions = [c for c in cells if "figure" in c.metadata.get("mystnb", {})]
        figures = drawn_figures(pages[book / "book" / f"{path.stem}.html"])
        assert len(figures) == len(captions)
        for light, dark in figures:
            assert dark["src"] == light["src"].replace(".svg", "-dark.svg")
            assert (light["class"], dark["class"]) == ("only-light", "only-dark")
            for name in ("alt", "width", "height"):
                assert light[name] == dark[name]


def colors_of(drawing):
    """Returns all colors of a drawing's shapes; a shape without a color is black."""
    found = set()

    def visit(element, fill, stroke):
        tag = element.tag.rpartition("}")[2]
        if tag == "defs":
            # A definition has its own colors or those of the place of use.
            fill = stroke = "none"
        style = dict(re.findall(r"([\w-]+): *([^;]+)", element.get("style", "")))
        fill, stroke = style.get("fill", fill), style.get("stroke", stroke)
        if tag in ("path", "use", "rect", "circle", "polygon", "text"):
            found.update((fill.upper(), stroke.upper()))
        for child in element:
            visit(child, fill, stroke)

    visit(ElementTree.fromstring(drawing), "black", "none")
    return found - {"NONE"}


def test_a_shape_that_names_no_color_counts_as_black():
    inner = '<defs><path id="x"/></defs><g style="fill: #1f2328"><use/></g>'
    assert colors_of(f"<svg>{inner}</svg>") == {"#1F2328"}
    assert colors_of(f"<svg>{inner}<use/></svg>") == {"#1F2328", "BLACK"}


def test_figures_have_the_colors_of_the_palette_and_no_other(book, pages):
    for path, page in pages.items():
        for light, dark in drawn_figures(page):
            in_light, in_dark = (
                colors_of((path.parent / image["src"]).read_text())
                for image in (light, dark)
            )
            assert in_light - TWINS.keys() == set(), light["alt"]
            assert in_dark == {TWINS[color] for color in in_light}


def test_a_figure_is_the_same_file_in_every_build(book, pages):
    """Names within a drawing are random unless Matplotlib is given a salt."""
    ids = re.compile(r'<path id="(m\w+)" (d="[^"]+" style="[^"]+")')
    # Open and filled dots have one outline.
    uses = re.compile(r'<use xlink:href="#(m\w+)" [^>]*style="([^"]+)"')
    names = {}
    for path, page in pages.items():
        for light, _ in drawn_figures(page):
            drawing = (path.parent / light["src"]).read_text()
            assert "<dc:date>" not in drawing
            fills = dict(uses.findall(drawing))
            for name, mark in ids.findall(drawing):
                names.setdefault((mark, fills[name]), set()).add(name)
    # The same mark has the same name in figures of different notebooks.
    assert max(map(len, names.values())) == 1


def test_figures_load_fast(book, pages):
    sizes = {
        light["alt"]: (path.parent / light["src"]).stat().st_size
        for path, page in pages.items()
        for light, dark in drawn_figures(page)
    }
    assert sizes
    assert [alt for alt, size in sizes.items() if size > 200_000] == []


def test_the_first_figure_does_not_wait_for_the_others(pages):
    pages_with_figures = [
        figures for page in pages.values() if (figures := drawn_figures(page))
    ]
    assert any(len(figures) > 1 for figures in pages_with_figures)
    for figures in pages_with_figures:
        (first, *_), *others = figures
        assert "fetchpriority" not in first
        assert {light["fetchpriority"] for light, _ in others} <= {"low"}


def test_every_figure_can_be_downloaded(book, pages):
    offered = {}
    page = book / "book" / "figures.html"
    for attributes in pages[page].anchor_tags:
        if name := attributes.get("download"):
            assert name not in offered
            offered[name] = (page.parent / attributes["href"]).read_bytes()
    in_archives = {}
    for path in (book / "_static" / "figures").glob("*.zip"):
        shown = drawn_figures(pages[book / "book" / f"{path.stem}.html"])
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        captions = files.pop("captions.txt").decode()
        assert [name for name in files if f"{name}\nFig. " not in captions] == []
        assert list(files.values()) == [
            (book / "book" / light["src"]).read_bytes() for light, dark in shown
        ]
        in_archives |= files
    notebooks = [nbformat.read(path, as_version=4) for path in NOTEBOOKS]
    cells = [cell for notebook in notebooks for cell in notebook.cells]
    assert len(offered) == sum("figure" in c.metadata.get("mystnb", {}) for c in cells)
    assert in_archives == offered


def test_titles_tell_pages_apart(book, pages):
    titles = {
        path: page.title.strip()
        for path, page in pages.items()
        # The redirect has the title of its target.
        if path != book / "index.html"
    }
    assert all("The DropBlock Book" in title for title in titles.values())
    assert len(set(titles.values())) == len(titles)


def published_at(repository):
    owner, name = urlsplit(repository).path.strip("/").split("/")
    return f"https://{owner}.github.io/{name}/"


def test_every_page_has_a_preview_card(book, pages):
    home = published_at(setup_cell.repository())
    for path, page in pages.items():
        about = page.about
        own = home + path.relative_to(book).as_posix()
        front = home + "book/index.html"
        expected = front if path == book / "index.html" else own
        assert page.canonical == about["og:url"] == expected
        assert about["og:title"] in page.title
        assert about["og:description"] == about["description"]
        assert about["twitter:card"] == "summary_large_image"
        assert about["og:image"].startswith(home)
        with Image.open(book / about["og:image"].removeprefix(home)) as card:
            assert card.size == (1200, 630)


def test_descriptions_of_chapters_are_distinct(book, pages):
    written = [
        pages[book / f"{name}.html"].about["description"]
        for name in parse_toc_yaml(ROOT / "_toc.yml")
    ]
    assert len(set(written)) == len(written)
    # Each ends with a complete sentence, or with an ellipsis.
    assert [text for text in written if not text.endswith((".", "?", "!", "…"))] == []


def test_links_to_terms_show_the_first_sentence_of_the_definition(book):
    link = re.compile(r"<a ([^>]*)><span class=\"xref std std-term\">([^<]*)<")
    titles = {}
    for path in book.rglob("*.html"):
        for attributes, term in link.findall(path.read_text()):
            titles.setdefault(term, []).append(re.search('title="(.+?)"', attributes))
    assert titles and all(map(all, titles.values())), titles
    channel = "One of the maps that a convolutional layer outputs"
    assert all(title[1].startswith(channel) for title in titles["channel"])


def test_the_site_map_lists_every_page(book):
    home = published_at(setup_cell.repository())
    listed = re.findall("<loc>(.*)</loc>", (book / "sitemap.xml").read_text())
    chapters = parse_toc_yaml(ROOT / "_toc.yml")
    assert set(listed) == {f"{home}{name}.html" for name in chapters}


def test_pages_wait_for_one_style_sheet(book, pages):
    for path, page in pages.items():
        loads = [urlsplit(load).path for load in page.loads]
        sheets = {load.rpartition("/")[2] for load in loads if load.endswith(".css")}
        expected = {"theme-in-use.css"} if path != book / "index.html" else set()
        if "data-mask-explorer=" in path.read_text():
            expected.add("explorer.css")
        assert sheets == expected, path


def test_the_style_sheet_contains_only_what_pages_can_use(book):
    css = (book / "_static" / "theme-in-use.css").read_text()
    # The theme has 550 KB, with hundreds of icons and grid columns.
    assert len(css) < 200_000
    assert ".fa-rocket" in css
    # The arrow of a tooltip.
    assert ".bs-tooltip-auto" in css
    assert ".fa-dragon" not in css
    # The book's own rules come last and are not cut.
    assert css.rstrip().endswith((ROOT / "book/_static/book.css").read_text().rstrip())


def test_run_times_are_those_of_the_notebooks_that_make_ran(book):
    rows = ElementTree.fromstring(
        re.search(
            "<tbody>.*?</tbody>",
            (book / "book/about-this-build.html").read_text(),
            re.S,
        )[0]
    )
    cells = [["".join(cell.itertext()).strip() for cell in row] for row in rows]
    seconds = {name: float(time) for name, _, _, time, _ in cells}
    assert {f"book/{path.stem}" for path in NOTEBOOKS} <= seconds.keys()
    assert min(seconds.values()) > 0


def test_a_notebooks_page_opens_that_notebook_in_colab(book, pages):
    repository = setup_cell.repository()
    owner = urlsplit(repository).path
    for path in NOTEBOOKS:
        expected = (
            f"https://colab.research.google.com/github{owner}/blob/{PUBLISHED}/"
            f"book/{path.name}"
        )
        links = pages[book / "book" / f"{path.stem}.html"].links
        # The theme's button and the line under the title.
        assert [link for link in links if "colab.research" in link] == [expected] * 2


def test_addresses_of_earlier_versions_lead_to_pages(book):
    assert {f"book/{name}" for name in EARLIER_PAGES} <= redirects().keys()
    for old, new in redirects().items():
        target = (book / old).parent / new
        assert 'http-equiv="refresh"' not in target.read_text()
        assert f'url={new}"' in (book / f"{old}.html").read_text()


def test_the_notebooks_that_colab_opens_are_in_the_repository():
    command = ["git", "ls-files", "-z", "book/*.ipynb"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as reason:
        pytest.skip(f"the tree is not a git checkout: {reason}")
    tracked = set(filter(None, listing.stdout.decode().split("\0")))
    assert {f"book/{path.name}" for path in NOTEBOOKS} <= tracked


def test_every_public_name_is_on_an_api_page(book, pages):
    import dropblock_lib

    classes_and_functions = {
        f"dropblock_lib.{name}"
        for name in dropblock_lib.__all__
        if callable(getattr(dropblock_lib, name))
    }
    described = [pages[path].anchors for path in (book / "book").glob("api*.html")]
    assert classes_and_functions - set().union(*described) == set()


def test_a_layer_is_shown_with_its_own_arguments(book):
    text = re.sub(r"<[^>]+>", "", (book / "book" / "api-layers.html").read_text())
    signature = re.search(r"DropBlock2D\(([^)]*)\)", text)[1]
    assert "block_size" in signature
    assert "*args" not in signature
