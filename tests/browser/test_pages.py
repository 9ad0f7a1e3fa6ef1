"""Every page of the book, opened offline as a reader would."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted(parse_toc_yaml(ROOT / "_toc.yml"))
PAGES = [f"{name}.html" for name in [*CHAPTERS, "search", "genindex"]]
PHONE = {"width": 390, "height": 844}


@pytest.mark.parametrize("path", PAGES)
def test_page_loads_without_errors_and_without_other_hosts(visit, path):
    opened = visit(path)
    assert opened.foreign == []
    assert opened.errors == []


def switch_theme(page, theme):
    page.evaluate(
        """theme => {
            document.documentElement.dataset.mode = theme;
            document.documentElement.dataset.theme = theme;
        }""",
        theme,
    )
    # Colors fade over; axe would measure one in between.
    page.wait_for_timeout(400)


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_is_accessible(visit, path, theme):
    page = visit(path).page
    switch_theme(page, theme)
    violations = Axe().run(page).response["violations"]
    found = [
        (fault["id"], node["target"], node["html"][:160])
        for fault in violations
        for node in fault["nodes"]
    ]
    assert found == []


@pytest.mark.parametrize("path", PAGES)
def test_page_does_not_scroll_sideways_on_a_phone(visit, path):
    page = visit(path, **PHONE).page
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]


def test_the_front_door_leads_to_the_first_page(visit):
    page = visit("index.html").page
    page.wait_for_url("**/book/index.html")
    assert page.title()


def test_search_finds_gamma(visit):
    page = visit("search.html?q=gamma").page
    page.wait_for_selector("#search-results ul.search li")
    results = page.locator("#search-results ul.search li a").all_inner_texts()
    assert any("gamma" in text.lower() for text in results)


def test_the_theme_button_switches_to_dark_and_back(visit):
    page = visit(PAGES[0]).page
    seen = set()
    for _ in range(3):
        page.locator(".theme-switch-button").first.click()
        seen.add(page.evaluate("document.documentElement.dataset.theme"))
    assert seen == {"light", "dark"}
