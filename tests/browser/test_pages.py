"""Every page of the book, opened offline as a reader would."""

import io
import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from sphinx_external_toc.parsing import parse_toc_yaml

from dropblock_lib.palette import PALETTE, PALETTE_DARK

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted(parse_toc_yaml(ROOT / "_toc.yml"))
PAGES = [f"{name}.html" for name in [*CHAPTERS, "search", "genindex"]]
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
# Pixels, about sixteen screens.
LONGEST = 15_000
# Rules that later versions of axe and Lighthouse check by default.
ALSO_CHECKED = ("label-content-name-mismatch", "target-size")


# All tests of a page run in one worker.
in_groups = [pytest.param(page, marks=pytest.mark.xdist_group(page)) for page in PAGES]


@pytest.fixture(scope="module", params=in_groups)
def opened(request, visit):
    """A loaded page, shared by its tests."""
    with visit(request.param, **DESKTOP) as opened:
        yield opened


def violations(page):
    more = {name: {"enabled": True} for name in ALSO_CHECKED}
    # No preload: axe would fetch style sheets from wrong addresses.
    options = {"resultTypes": ["violations"], "preload": False, "rules": more}
    return "\n".join(
        f"{fault['id']}: {node['html'][:200]}"
        for fault in Axe().run(page, options=options).response["violations"]
        for node in fault["nodes"]
    )


def resize(page, size):
    if page.viewport_size != size:
        page.set_viewport_size(size)
        # The theme looks for scrolling elements a moment after the last resize.
        page.wait_for_timeout(500)


def switch_theme(page, theme):
    # Without transitions, because axe would measure a color while it changes.
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
    if found:
        # On a busy machine, the theme takes longer than `resize` waits.
        opened.page.wait_for_timeout(3000)
        found = violations(opened.page)
    assert not found, found


def test_page_does_not_scroll_sideways_on_a_phone(opened):
    resize(opened.page, PHONE)
    width = opened.page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]


def test_page_is_not_too_long(opened):
    resize(opened.page, DESKTOP)
    height = opened.page.evaluate("document.documentElement.scrollHeight")
    assert height <= LONGEST


def test_every_formula_is_set(opened):
    formulas = opened.page.locator(".bd-article .math").count()
    assert opened.page.locator(".bd-article .math mjx-container").count() >= formulas
    assert opened.page.locator("mjx-merror").count() == 0


def test_the_root_page_redirects_to_the_first_page(visit):
    with visit("index.html") as opened:
        opened.page.wait_for_url("**/book/index.html")
    with visit("index.html#explorer=star") as opened:
        opened.page.wait_for_url("**/book/index.html#explorer=*")


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


def visible_drawings(page):
    """Returns the visible images in figures, all of them loaded."""
    drawings = page.locator("figure img:visible").all()
    for drawing in drawings:
        drawing.scroll_into_view_if_needed()
        drawing.evaluate("image => image.decode()")
    return drawings


def paper_of(drawing):
    """Returns the color in the corner of an image as it is displayed."""
    seen = Image.open(io.BytesIO(drawing.screenshot())).convert("RGB")
    return "#{:02X}{:02X}{:02X}".format(*seen.getpixel((1, 1)))


def test_figures_have_the_colors_of_the_page(visit):
    with visit("book/03-gamma.html", **DESKTOP) as opened:
        page = opened.page
        number = page.locator("figure:has(img)").count()
        assert number
        for theme, palette in {"light": PALETTE, "dark": PALETTE_DARK}.items():
            switch_theme(page, theme)
            drawings = visible_drawings(page)
            assert len(drawings) == number
            for drawing in drawings:
                assert drawing.get_attribute("class") == f"only-{theme}"
                assert paper_of(drawing) == palette["paper"]
            captions = page.locator("figure:has(img) figcaption:visible")
            assert captions.count() == number


def test_text_does_not_move_when_a_figure_loads(browser, address):
    context = browser.new_context(viewport=PHONE)
    page = context.new_page()
    held = []
    page.route("**/_images/*", lambda route: held.append(route))
    page.goto(f"{address}/book/03-gamma.html", wait_until="domcontentloaded")
    last = page.locator("figure:has(img)").last
    drawing = last.locator("img.only-light")
    page.wait_for_timeout(500)
    assert not drawing.evaluate("image => image.complete")
    before = last.bounding_box()["height"]
    for route in held:
        route.continue_()
    drawing.evaluate("image => image.decode()")
    assert last.bounding_box()["height"] == pytest.approx(before, abs=2)
    context.close()


def test_a_dark_page_has_all_figures_without_scrolling(visit):
    with visit("book/03-gamma.html", **DESKTOP) as opened:
        opened.page.evaluate("document.documentElement.dataset.theme = 'dark'")
        opened.page.wait_for_function(
            """() => {
                const figures = [...document.querySelectorAll("img.only-dark")];
                return figures.length && figures.every(figure => figure.naturalWidth);
            }""",
            timeout=20_000,
        )


def test_a_figure_that_is_not_shown_is_not_loaded(visit):
    with visit("book/03-gamma.html", **DESKTOP) as opened:
        page = opened.page
        visible_drawings(page)
        loaded = page.evaluate(
            "performance.getEntriesByType('resource').map(entry => entry.name)"
        )
        drawn = [name for name in loaded if "_images/" in name]
        assert drawn
        assert [name for name in drawn if name.endswith("-dark.svg")] == []


# Compares each icon with a character that no font has.
ICONS_NOT_DRAWN = """() => {
    const draw = (text, font) => {
        const canvas = document.createElement("canvas");
        canvas.width = canvas.height = 40;
        const pen = canvas.getContext("2d");
        pen.font = font;
        pen.fillText(text, 5, 30);
        return canvas.toDataURL();
    };
    return [...document.querySelectorAll("[class*='fa-']")].filter(icon => {
        const style = getComputedStyle(icon, "::before");
        const font = `${style.fontWeight} 24px ${style.fontFamily}`;
        const text = style.content.replaceAll('"', "");
        return draw(text, font) === draw("\\ue9ff", font);
    }).map(icon => icon.className);
}"""


def test_every_icon_is_drawn(opened):
    assert opened.page.locator("[class*='fa-']").count() > 3
    assert opened.page.evaluate(ICONS_NOT_DRAWN) == []


def test_elements_that_open_on_a_click_still_do(visit):
    """The style sheet keeps its rules for elements that only scripts show."""
    with visit("book/03-gamma.html", **DESKTOP) as opened:
        page = opened.page
        colab = page.locator(".dropdown-launch-buttons").get_by_text("Colab")
        assert not colab.is_visible()
        page.get_by_label("Launch interactive content").click()
        colab.wait_for(state="visible")
        page.get_by_label("Fullscreen mode").hover()
        page.locator(".tooltip.show").wait_for(state="visible")
        page.locator(".bd-sidebar-primary .search-button__button").click()
        page.locator("#search-input").wait_for(state="visible")


def test_sidebars_slide_in_on_a_phone(visit):
    with visit("book/03-gamma.html", **PHONE) as opened:
        page = opened.page
        link = page.locator(".bd-sidebar-primary").get_by_text("CustomNet")
        assert link.bounding_box()["x"] < 0
        page.locator(".primary-toggle").click()
        page.wait_for_function(
            "link => link.getBoundingClientRect().x >= 0", arg=link.element_handle()
        )


def test_code_is_folded_on_a_phone_and_keeps_its_lines(visit):
    with visit("book/03-gamma.html", **DESKTOP) as opened:
        page = opened.page
        folded = page.locator("details.folded-on-phones")
        assert folded.count()
        assert folded.first.locator("pre").is_visible()
        assert not folded.first.locator("summary").is_visible()
        resize(page, PHONE)
        assert not folded.first.locator("pre").is_visible()
        folded.first.locator("summary").click()
        code = folded.first.locator("pre")
        assert code.is_visible()
        assert code.evaluate("element => getComputedStyle(element).whiteSpace") == "pre"


def test_a_page_can_be_read_without_scripts(visit):
    with visit("book/03-gamma.html", **PHONE, java_script_enabled=False) as opened:
        page = opened.page
        assert page.get_by_role("heading", level=1).is_visible()
        assert r"\gamma" in page.locator(".math").first.inner_text()
        # No button is left that does nothing.
        assert page.locator("button:visible").count() == 0
        shown = [d.get_attribute("class") for d in visible_drawings(page)]
        assert set(shown) == {"only-light"}
        solution = page.locator("details").last
        code = solution.locator("pre").first
        assert not code.is_visible()
        solution.locator("summary").click()
        assert code.is_visible()


def test_the_printed_page_is_white_and_complete(visit):
    with visit("book/03-gamma.html", **DESKTOP) as opened:
        page = opened.page
        switch_theme(page, "dark")
        page.emulate_media(media="print")
        for hidden in (".bd-sidebar-primary", ".bd-header-article", "button"):
            assert page.locator(f"{hidden}:visible").count() == 0
        assert page.get_by_role("heading", level=1).is_visible()
        style = "element => getComputedStyle(element)"
        background = page.locator("body").evaluate(f"{style}.backgroundColor")
        assert background in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)")
        drawings = visible_drawings(page)
        shown = [drawing.get_attribute("class") for drawing in drawings]
        assert set(shown) == {"only-light"}
        assert {paper_of(drawing) for drawing in drawings} == {PALETTE["paper"]}
        text = page.locator(".bd-article p").first.evaluate(f"{style}.color")
        assert max(map(int, re.findall(r"\d+", text)[:3])) < 80
        for code in page.locator("details pre").all():
            assert code.evaluate("element => element.checkVisibility()")


def test_keys_turn_slides_even_after_a_click(visit):
    with visit("_static/lecture-1.html") as opened:
        page = opened.page
        shown = page.locator("output")
        page.get_by_role("button", name="Next").click()
        assert shown.inner_text().startswith("2 /")
        page.keyboard.press("PageDown")
        assert shown.inner_text().startswith("3 /")
        # The space bar presses the button, once.
        page.keyboard.press("Space")
        assert shown.inner_text().startswith("4 /")
        # With Alt it is the browser's key.
        page.keyboard.press("Alt+ArrowUp")
        assert shown.inner_text().startswith("4 /")
        # Not the number of a slide.
        page.evaluate("() => { location.hash = '#x' }")
        page.wait_for_function("() => location.hash === '#1'")
        assert page.locator("section:visible").count() == 1
