"""Every page of the book, opened offline as a reader would."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted(parse_toc_yaml(ROOT / "_toc.yml"))
PAGES = [f"{name}.html" for name in [*CHAPTERS, "search", "genindex"]]
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module", params=PAGES)
def opened(request, visit):
    """A page as it is when it has loaded; the tests of one page share it."""
    with visit(request.param, **DESKTOP) as opened:
        yield opened


def violations(page):
    # Without preload: axe would fetch style sheets itself, from wrong addresses.
    options = {"resultTypes": ["violations"], "preload": False}
    return "\n".join(
        f"{fault['id']}: {node['html'][:200]}"
        for fault in Axe().run(page, options=options).response["violations"]
        for node in fault["nodes"]
    )


def resize(page, size):
    if page.viewport_size != size:
        page.set_viewport_size(size)
        # The theme looks again for what scrolls, a moment after the last resize.
        page.wait_for_timeout(500)


def switch_theme(page, theme):
    # Colors fade over; axe would measure one in between.
    page.add_style_tag(content="* { transition: none !important; }")
    page.evaluate(
        """theme => {
            document.documentElement.dataset.mode = theme;
            document.documentElement.dataset.theme = theme;
        }""",
        theme,
    )


def test_page_loads_without_an_error_or_another_host(opened):
    assert opened.foreign == []
    assert opened.errors == []


def test_page_names_and_describes_itself(opened):
    description = opened.page.locator("meta[name=description]").get_attribute("content")
    assert opened.page.title()
    assert 20 < len(description) <= 160


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_is_accessible(opened, theme, size):
    resize(opened.page, size)
    switch_theme(opened.page, theme)
    found = violations(opened.page)
    assert not found, found


def test_page_does_not_scroll_sideways_on_a_phone(opened):
    resize(opened.page, PHONE)
    width = opened.page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]


def test_every_formula_is_set(opened):
    formulas = opened.page.locator(".bd-article .math").count()
    assert opened.page.locator(".bd-article .math mjx-container").count() >= formulas
    assert opened.page.locator("mjx-merror").count() == 0


def test_the_front_door_leads_to_the_first_page(visit):
    with visit("index.html") as opened:
        opened.page.wait_for_url("**/book/index.html")


def test_search_finds_gamma(visit):
    with visit("search.html?q=gamma") as opened:
        results = opened.page.locator("#search-results ul.search li a")
        results.first.wait_for()
        assert any("gamma" in text.lower() for text in results.all_inner_texts())


def test_the_theme_button_switches_to_dark_and_back(visit):
    with visit(PAGES[0]) as opened:
        seen = set()
        for _ in range(3):
            opened.page.locator(".theme-switch-button").first.click()
            seen.add(opened.page.evaluate("document.documentElement.dataset.theme"))
        assert seen == {"light", "dark"}
