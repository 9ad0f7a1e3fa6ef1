"""The whole book as one PDF, and the handouts."""

import html
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pypdf
import pytest

from scripts.pdf import link_printed, read_parts

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "pdf.py"

pytestmark = pytest.mark.xdist_group("pdf")


@pytest.fixture(scope="module")
def printed(book, tmp_path_factory):
    """The folder in which the book and the handouts were printed."""
    path = tmp_path_factory.mktemp("pdf") / "book.pdf"
    # In a separate process, because a process can have only one Playwright.
    command = [sys.executable, SCRIPT, book, path]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if "No Chromium found" in printed.stderr:
        pytest.skip(printed.stderr.strip())
    assert printed.returncode == 0, printed.stderr
    return path.parent


@pytest.fixture(scope="module")
def pdf(printed):
    return pypdf.PdfReader(printed / "book.pdf")


def squeezed(text):
    """Returns `text` without space and without ligatures."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text))


def flattened(outline):
    for item in outline:
        if isinstance(item, list):
            yield from flattened(item)
        else:
            yield item


def test_the_contents_list_the_page_on_which_each_chapter_begins(pdf):
    rows = re.findall(r"^(\S.*?) (\d+)$", pdf.pages[1].extract_text(), re.MULTILINE)
    chapters = [name for _, names in read_parts() for name in names]
    assert len(rows) == len(chapters)
    begins = {
        squeezed(item.title): pdf.get_destination_page_number(item) + 1
        for item in flattened(pdf.outline)
    }
    assert [int(page) for _, page in rows] == [
        begins[squeezed(title)] for title, _ in rows
    ]


def links_of(pdf):
    """Returns the addresses and the places in the document that links lead to."""
    addresses, places = set(), set()
    for page in pdf.pages:
        for annotation in page.get("/Annots") or []:
            link = annotation.get_object()
            if "/A" in link:
                addresses.add(link["/A"]["/URI"])
            elif "/Dest" in link:
                places.add(link["/Dest"])
    return addresses, places


def test_links_lead_to_places_in_the_document_or_to_published_pages(pdf):
    addresses, places = links_of(pdf)
    assert len(places) > len(read_parts())
    assert places <= pdf.named_destinations.keys()
    assert [a for a in addresses if "127.0.0.1" in a or a.startswith("file:")] == []


def test_the_outline_has_the_parts_and_their_chapters(pdf):
    parts = [item.title for item in pdf.outline if not isinstance(item, list)]
    assert parts[-4:] == [caption for caption, _ in read_parts()][-4:]


@pytest.mark.parametrize("lecture", ["lecture-1", "lecture-2"])
def test_a_handout_has_three_slides_to_a_page(book, printed, lecture):
    slides = (book / "_static" / f"{lecture}.html").read_text()
    titles = re.findall("<section><h.>(.+?)</h.>", slides)
    handout = pypdf.PdfReader(printed / f"{lecture}-handout.pdf")
    assert len(handout.pages) == -(-len(titles) // 3)
    for number, page in enumerate(handout.pages):
        text = squeezed(page.extract_text())
        for title in titles[3 * number : 3 * number + 3]:
            assert squeezed(html.unescape(title)) in text
    addresses, _ = links_of(handout)
    assert addresses
    assert all(address.startswith("https://") for address in addresses)


def test_the_page_for_teachers_links_to_what_was_printed(book):
    text = (book / "book" / "teach.html").read_text()
    handouts = ["lecture-1-handout.pdf", "lecture-2-handout.pdf"]
    linked = link_printed(text, "book.pdf", handouts)
    for name in ("book.pdf", *handouts):
        assert f'href="../{name}"' in linked
    # Printing again changes nothing.
    assert link_printed(linked, "book.pdf", handouts) == linked
