"""The mask explorer on the book's first page: by mouse, touch and keyboard."""

import json

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

import dropblock_lib as dbl
from dropblock_lib.explorer.state import CHECKS

PAGE = "book/index.html"
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
# Rounding errors of the readouts: half a unit of the last digit shown.
PRINTED = {
    "gamma": lambda value: 5e-4 * abs(value),
    "nominal": lambda value: 5.1e-5,
    "expected": lambda value: 5.1e-5,
    "realized": lambda value: 5.1e-5,
    "scale": lambda value: 5.1e-4,
}


class Driver:
    """An explorer on a page, and its twin in Python."""

    def __init__(self, page):
        self.page = page
        self.root = page.locator(".mask-explorer").first
        self.root.locator("canvas.mask-explorer-map").first.wait_for()
        self.root.locator("details").evaluate("details => details.open = true")
        state = json.loads(self.root.get_attribute("data-mask-explorer"))
        self.twin = dbl.MaskExplorer(**{n: state[n] for n in CHECKS})

    @property
    def canvas(self):
        """The map of the chosen method."""
        return self.panel(self.twin.method).locator(".mask-explorer-map")

    def panel(self, method):
        return self.root.locator(f'[data-method="{method}"]')

    def point_at(self, row, column, tap=False):
        """Points at a unit of the chosen method's map, or taps it."""
        self.canvas.scroll_into_view_if_needed()
        side = self.canvas.bounding_box()["width"]
        unit = side / max(self.twin.height, self.twin.width)
        place = {"x": (column + 0.5) * unit, "y": (row + 0.5) * unit}
        (self.canvas.tap if tap else self.canvas.hover)(position=place)

    def reason(self):
        return self.root.locator(".mask-explorer-cell").inner_text()

    def open(self, address):
        """Follows a link of the page's text to a state of the explorer."""
        self.page.evaluate("hash => location.hash = hash", address)
        self.page.wait_for_function("hash => location.hash === hash", arg=address)
        self.page.wait_for_timeout(50)

    def control(self, name, value=None):
        chosen = f'[value="{value}"]' if value else ""
        return self.root.locator(f'[data-control="{name}"]{chosen}')

    def slide(self, name, value):
        self.control(name).fill(str(value))
        setattr(self.twin, name, value)

    def choose(self, name, value):
        self.control(name, value).check()
        setattr(self.twin, name, value)

    def readouts(self):
        """Returns the readouts: the number shown and the exact value."""
        found = {}
        for data in self.root.locator("data").all():
            text = data.inner_text().strip("\u00d7 %")
            percent = data.inner_text().endswith("%")
            # A dash: nothing is kept, so there is no scale.
            number = float(text) / (100 if percent else 1) if text != "\u2013" else None
            found[data.get_attribute("data-readout")] = (
                number,
                float(data.get_attribute("value")),
            )
        return found

    def agrees(self):
        found = self.readouts()
        for name, expected in self.twin.readouts.items():
            shown, exact = found[name]
            assert exact == pytest.approx(expected, rel=1e-9, abs=1e-12), name
            if name == "scale" and self.twin.readouts["realized"] == 1:
                assert shown is None
            else:
                assert abs(shown - expected) <= PRINTED[name](expected), name

    def pixels(self, channel):
        """Returns the colors of a channel's thumbnail, one per unit."""
        strip = self.panel(self.twin.method).locator(".mask-explorer-channels canvas")
        data = strip.nth(channel)
        shape = (self.twin.height, self.twin.width, 4)
        values = data.evaluate(
            "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
        )
        return np.reshape(values, shape)[..., :3]


@pytest.fixture(params=SIZES)
def driver(request, visit):
    width, height = SIZES[request.param]
    with visit(PAGE, width=width, height=height) as opened:
        yield Driver(opened.page)
        assert opened.errors == []
        assert opened.foreign == []


def test_the_page_starts_in_the_same_state_as_python(driver):
    driver.agrees()


def test_sliders_and_choices_show_the_librarys_numbers(driver):
    driver.slide("keep_prob", 0.55)
    driver.slide("block_size", 6)
    driver.agrees()
    driver.slide("height", 13)
    driver.slide("width", 30)
    driver.slide("channels", 6)
    driver.agrees()
    driver.choose("gamma", "exact")
    driver.agrees()
    driver.control("per_channel").uncheck()
    driver.twin.per_channel = False
    driver.agrees()
    driver.control("seed").click()
    driver.twin.seed += 1
    driver.agrees()
    for method in ("dropout", "spatial", "dropblock"):
        driver.choose("method", method)
        driver.agrees()


def test_random_changes_agree_with_python(driver):
    """All controls at once, at their limits, where formulas have edge cases."""
    rng = np.random.default_rng(0)
    sliders = {"height": 64, "width": 64, "channels": 16}
    for _ in range(25):
        for name, most in sliders.items():
            if rng.random() < 0.4:
                driver.slide(name, int(rng.choice([1, 2, most, rng.integers(1, most)])))
        driver.choose("method", rng.choice(["dropout", "spatial", "dropblock"]))
        if driver.twin.method == "dropblock":
            # No slider exceeds the side of the map.
            most = max(driver.twin.height, driver.twin.width, driver.twin.block_size)
            driver.slide("block_size", int(rng.integers(1, most + 1)))
            driver.choose("gamma", rng.choice(["paper", "exact"]))
        driver.slide(
            "keep_prob", round(float(rng.choice([1, 0.05, rng.uniform(0.05, 1)])), 2)
        )
        driver.choose("step", rng.choice(["map", "seeds", "blocks", "drop", "scale"]))
        driver.agrees()


def test_the_map_drops_what_python_drops(driver):
    driver.slide("keep_prob", 0.6)
    driver.choose("step", "blocks")
    color = driver.root.evaluate(
        "root => getComputedStyle(root).getPropertyValue('--dropped').trim()"
    )
    dropped = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    for channel in range(driver.twin.channels):
        found = (driver.pixels(channel) == dropped).all(-1)
        expected = driver.twin.keep_mask[..., channel] == 0
        np.testing.assert_array_equal(found, expected)


def test_dragging_keep_prob_to_the_left_drops_more(driver):
    before = driver.readouts()["realized"]
    box = driver.control("keep_prob").bounding_box()
    middle = box["y"] + box["height"] / 2
    mouse = driver.page.mouse
    mouse.move(box["x"] + box["width"] * 0.78, middle)
    mouse.down()
    mouse.move(box["x"] + box["width"] * 0.3, middle, steps=8)
    mouse.up()
    assert driver.readouts()["realized"] > before
    driver.twin.keep_prob = float(driver.control("keep_prob").input_value())
    assert 0.2 < driver.twin.keep_prob < 0.5
    driver.agrees()


def test_the_keyboard_reaches_and_moves_everything(driver):
    """Tab alone reaches every control, and each of them shows its focus."""
    page, twin = driver.page, driver.twin
    driver.control("method", "dropblock").focus()
    stops = []
    for _ in range(60):
        name = page.evaluate(
            "() => document.activeElement.closest('.mask-explorer') && "
            "(document.activeElement.dataset.control ?? document.activeElement.tagName)"
        )
        if name is None:
            break
        stops.append(name)
        outlined = page.evaluate(
            """() => {
                const active = document.activeElement;
                const shown = active.type === "radio" ? active.nextSibling : active;
                return getComputedStyle(shown).outlineStyle !== "none";
            }"""
        )
        assert outlined, f"{name} does not show that it has the focus"
        if name == "keep_prob":
            page.keyboard.press("ArrowLeft")
            twin.keep_prob = round(twin.keep_prob - 0.01, 2)
        elif name == "seed":
            page.keyboard.press("Enter")
            twin.seed += 1
        elif name == "gamma":
            page.keyboard.press("ArrowLeft")
            twin.gamma = "paper"
        elif name == "per_channel":
            page.keyboard.press("Space")
            twin.per_channel = False
        driver.agrees()
        page.keyboard.press("Tab")
    controls = {"method", "keep_prob", "block_size", "seed", "marks", "step", "height"}
    controls |= {"width", "channels", "gamma", "per_channel", "picture", "CANVAS"}
    controls |= {"compare", "SUMMARY"}
    assert controls <= set(stops)


def test_arrow_keys_describe_each_unit(driver):
    driver.root.get_by_role("button", name="5 x 5").click()
    driver.canvas.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight"):
        driver.page.keyboard.press(key)
    assert "row 3, column 1: dropped, because it is a seed" in driver.reason()
    assert "5 becomes 0" in driver.reason()
    driver.page.keyboard.press("ArrowUp")
    driver.page.keyboard.press("ArrowUp")
    # 9 x 25 / 13, in the row above the blocks.
    assert "row 1, column 1: kept, because no block covers it" in driver.reason()
    assert "9 becomes 17.3" in driver.reason()
    driver.page.keyboard.press("Escape")
    assert driver.reason().startswith("Point at a unit")


def test_a_dropped_unit_names_the_seed_of_its_block(driver):
    driver.root.get_by_role("button", name="5 x 5").click()
    driver.twin.height = driver.twin.width = 5
    before = driver.canvas.evaluate("c => c.toDataURL()")
    driver.point_at(4, 0)
    # The seeds are at row 3, columns 1 and 2; the second does not reach column 0.
    expected = "inside the block of the seed at row 3, column 1. "
    assert expected in driver.reason()
    assert driver.canvas.evaluate("c => c.toDataURL()") != before
    driver.point_at(4, 1)
    assert "row 3, column 1; other blocks that cover it: 1." in driver.reason()


@pytest.mark.parametrize("method", ["dropout", "spatial"])
def test_the_reason_fits_the_method(driver, method):
    driver.choose("method", method)
    for row, column in [(0, 0), (9, 20)]:
        driver.point_at(row, column)
        kept = driver.twin.keep_mask[row, column, 0]
        assert ("kept" if kept else "dropped") in driver.reason()
        assert "random number" in driver.reason()
        for word in ("seed", "block"):
            assert word not in driver.reason()


def test_the_answer_stays_when_the_pointer_leaves(driver):
    driver.point_at(5, 5)
    answer = driver.reason()
    assert "row 5, column 5" in answer
    driver.page.mouse.move(1, 1)
    assert driver.reason() == answer


def test_a_tap_answers_and_chooses_the_method(visit):
    width, height = SIZES["phone"]
    options = {"width": width, "height": height, "has_touch": True, "is_mobile": True}
    with visit(PAGE, **options) as opened:
        driver = Driver(opened.page)
        driver.twin.method = "dropout"
        driver.point_at(3, 4, tap=True)
        assert "Dropout, row 3, column 4" in driver.reason()
        assert driver.control("method", "dropout").is_checked()
        driver.agrees()
        opened.page.wait_for_timeout(300)
        assert "Dropout, row 3, column 4" in driver.reason()


# === Side by side ===


def test_three_methods_at_the_same_rate_drop_what_python_drops(driver):
    for keep_prob in (0.8, 0.5):
        driver.slide("keep_prob", keep_prob)
        for method in ("dropout", "dropblock", "spatial"):
            driver.twin.method = method
            shown = driver.panel(method).locator(".mask-explorer-rate").inner_text()
            numbers = driver.twin.readouts
            assert shown == f"{100 * numbers['realized']:.1f}% dropped"
            assert numbers["expected"] == pytest.approx(1 - keep_prob)


def test_each_method_is_above_its_maps(driver):
    for method in ("dropout", "dropblock", "spatial"):
        name = driver.control("method", method).bounding_box()
        canvas = driver.panel(method).locator(".mask-explorer-map").bounding_box()
        middle = canvas["x"] + canvas["width"] / 2
        assert abs(name["x"] + name["width"] / 2 - middle) < 10
        assert name["y"] + name["height"] <= canvas["y"]


def test_the_suggested_examples_show_what_they_say(driver):
    tries = driver.root.locator(".mask-explorer-tries button")
    driver.slide("keep_prob", 0.3)
    tries.nth(0).click()
    assert driver.control("method", "dropout").is_checked()
    assert driver.readouts()["nominal"][0] == pytest.approx(0.2)
    tries.nth(1).click()
    assert driver.control("method", "dropblock").is_checked()
    tries.nth(2).click()
    seen = [
        driver.panel(method).locator(".mask-explorer-channels canvas").all()
        for method in ("dropblock", "spatial")
    ]
    for one, other in zip(*seen, strict=True):
        draw = "c => c.toDataURL()"
        assert one.evaluate(draw) == other.evaluate(draw)


def test_the_first_action_is_above_the_fold_of_a_phone(visit):
    with visit(PAGE, width=390, height=664) as opened:
        page = opened.page
        first = page.locator(".actions a").first
        tries = page.locator(".mask-explorer-tries button")
        maps = page.locator(".mask-explorer-map")
        maps.last.wait_for()
        for seen in (first, *tries.all(), *maps.all()):
            box = seen.bounding_box()
            assert box["y"] + box["height"] <= 664


# === Addresses ===


def test_a_link_sets_the_explorer(driver):
    driver.open("#explorer=slides&compare=false&keep_prob=0.5&step=seeds")
    driver.twin = dbl.MaskExplorer("slides", keep_prob=0.5, step="seeds")
    driver.agrees()
    assert driver.control("step", "seeds").is_checked()
    assert driver.root.locator(".mask-explorer-map").count() == 1


def test_a_page_opens_with_the_state_of_its_address(visit):
    with visit(f"{PAGE}#explorer=&block_size=3&gamma=paper") as opened:
        driver = Driver(opened.page)
        driver.twin.block_size, driver.twin.gamma = 3, "paper"
        driver.agrees()


def test_a_link_in_the_text_can_be_followed_again(driver):
    link = driver.page.locator('.bd-article p a[href*="method=dropout"]')
    for _ in range(2):
        driver.choose("method", "spatial")
        link.click()
        assert driver.control("method", "dropout").is_checked()


def test_a_copied_link_opens_the_same_state(driver):
    driver.slide("keep_prob", 0.65)
    driver.choose("method", "spatial")
    driver.root.get_by_role("button", name="Copy a link").click()
    assert driver.page.url.endswith("#explorer=start&method=spatial&keep_prob=0.65")
    twin = driver.twin
    driver.page.reload()
    again = Driver(driver.page)
    again.twin = twin
    again.agrees()


@pytest.mark.parametrize(
    "clipboard", ["undefined", "{ writeText: () => Promise.reject() }"]
)
def test_a_link_that_cannot_be_copied_is_in_the_address_bar(driver, clipboard):
    driver.page.evaluate(
        f"Object.defineProperty(navigator, 'clipboard', {{ value: {clipboard} }})"
    )
    driver.root.get_by_role("button", name="Copy a link").click()
    driver.root.get_by_role("button", name="See the address bar").wait_for()


def test_a_followed_link_shows_the_top_of_a_tall_explorer(visit):
    with visit(PAGE, width=390, height=600) as opened:
        driver = Driver(opened.page)
        opened.page.locator('.bd-article p a[href*="method=spatial"]').click()
        opened.page.wait_for_function(
            "root => root.getBoundingClientRect().y >= 0",
            arg=driver.root.element_handle(),
        )
        assert driver.root.bounding_box()["y"] < 120


# === The box ===


def overlaps(driver):
    """Returns the readouts that leave their column."""
    return driver.root.evaluate(
        """root => [...root.querySelectorAll(".mask-explorer-readouts div")].filter(
            column => [...column.children].some(child => {
                const range = document.createRange();
                range.selectNodeContents(child);
                const text = range.getBoundingClientRect();
                const box = column.getBoundingClientRect();
                return text.left < box.left - 0.5 || text.right > box.right + 0.5;
            })).map(column => column.innerText)"""
    )


def test_readouts_never_collide(driver):
    for compare in ("true", "false"):
        for address in (
            "explorer=stage",
            "explorer=photo&height=64&width=64&block_size=32&keep_prob=0.99",
            "explorer=photo&height=64&width=64&block_size=5&keep_prob=0.97",
            "explorer=photo&method=spatial&channels=1&keep_prob=0.05",
            "explorer=photo&method=dropout&channels=1&keep_prob=0.05",
            "explorer=photo&keep_prob=1",
        ):
            driver.open(f"#{address}&compare={compare}")
            assert overlaps(driver) == []


def test_a_keep_prob_from_python_is_shown_unrounded(driver):
    driver.page.evaluate(
        """async () => {
            const { mount } = await import("/_static/explorer.js");
            const old = document.querySelector(".mask-explorer");
            const state = JSON.parse(old.dataset.maskExplorer);
            const place = old.cloneNode();
            state.keep_prob = 0.001;
            place.dataset.maskExplorer = JSON.stringify(state);
            old.replaceWith(place);
            mount(place, 1);
        }"""
    )
    shown = driver.root.locator("label:has([data-control=keep_prob])")
    assert shown.locator(".mask-explorer-value").inner_text() == "0.001"


def test_every_readout_is_a_valid_number(driver):
    data = driver.root.locator("data")
    driver.open("#explorer=photo&method=spatial&channels=1&keep_prob=0.05&seed=3")
    shown = dict(zip(PRINTED, data.all_inner_texts(), strict=True))
    assert (shown["realized"], shown["scale"]) == ("100.00%", "\u2013")
    driver.open("#explorer=photo&keep_prob=1")
    shown = dict(zip(PRINTED, data.all_inner_texts(), strict=True))
    assert (shown["gamma"], shown["scale"]) == ("0", "\u00d71.000")


@pytest.mark.parametrize("compare", ["true", "false"])
def test_the_box_does_not_jump(driver, compare):
    driver.open(f"#explorer=photo&compare={compare}&marks=true")

    def places():
        # In one call, because the page may scroll.
        return driver.root.evaluate(
            """root => {
                const noise = root.querySelector("[data-control=seed]");
                const box = root.getBoundingClientRect();
                return [box.height, noise.getBoundingClientRect().y - box.y];
            }"""
        )

    before = places()
    for method in ("dropout", "spatial", "dropblock"):
        driver.choose("method", method)
        for step in ("map", "seeds", "blocks", "drop", "scale"):
            driver.choose("step", step)
            driver.point_at(12, 9)
            assert places() == pytest.approx(before, abs=1), (method, step)


def test_texts_fit_the_method(driver):
    driver.open("#explorer=photo&compare=false&marks=true")
    words = driver.root.locator(
        ".mask-explorer-legend .seed, .mask-explorer-legend .valid"
    )
    for method in ("dropblock", "dropout", "spatial"):
        driver.choose("method", method)
        has_blocks = method == "dropblock"
        assert [word.is_visible() for word in words.all()] == [has_blocks] * 2
        for name in ("block_size", "gamma", "marks"):
            assert driver.control(name).first.is_enabled() == has_blocks
        for step in ("map", "seeds", "blocks", "drop"):
            driver.choose("step", step)
            said = driver.root.locator(".mask-explorer-steps").inner_text().lower()
            assert ("seed" in said or "block" in said) == has_blocks, said


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("compare=false&marks=true&step=map", "kept"),
        ("compare=false&marks=true&step=seeds", "seed valid"),
        ("compare=false&marks=false&step=seeds", "seed"),
        ("compare=false&marks=true&step=seeds&method=dropout", "dropped"),
        ("compare=true&marks=false&step=seeds", "dropped seed"),
        ("compare=false&marks=false&step=drop", "kept dropped"),
    ],
)
def test_the_legend_names_the_colors_of_the_step(driver, state, expected):
    driver.open(f"#explorer=photo&{state}")
    words = driver.root.locator(".mask-explorer-legend span").all()
    shown = [word.get_attribute("class") for word in words if word.is_visible()]
    assert [name.split()[0] for name in shown] == expected.split()


@pytest.mark.parametrize(
    "preset", ["photograph", "a star", "a digit", "5 x 5", "ResNet-50"]
)
def test_every_example_changes_the_picture(driver, preset):
    driver.slide("keep_prob", 0.3)
    before = driver.canvas.evaluate("c => c.toDataURL()")
    driver.root.get_by_role("button", name=preset).click()
    assert driver.canvas.evaluate("c => c.toDataURL()") != before


@pytest.mark.parametrize("step", ["map", "seeds", "blocks", "scale"])
def test_every_step_has_its_own_picture_and_text(driver, step):
    canvas = driver.canvas
    words = driver.root.locator(".mask-explorer-explanation")
    before = canvas.evaluate("c => c.toDataURL()"), words.inner_text()
    driver.choose("step", step)
    after = canvas.evaluate("c => c.toDataURL()"), words.inner_text()
    assert before[0] != after[0] and before[1] != after[1]


def test_a_control_that_does_nothing_is_disabled(driver):
    driver.slide("channels", 1)
    assert driver.control("per_channel").is_disabled()
    driver.slide("channels", 2)
    assert driver.control("per_channel").is_enabled()
    driver.choose("step", "map")
    assert driver.control("marks").is_disabled()
    driver.choose("step", "seeds")
    assert driver.control("marks").is_enabled()


def test_the_status_is_announced_after_a_pause(driver):
    driver.slide("keep_prob", 0.4)
    status = driver.root.get_by_role("status")
    driver.page.wait_for_function("e => e.textContent", arg=status.element_handle())
    assert f"{100 * driver.twin.readouts['realized']:.2f}%" in status.inner_text()


def test_an_unchanged_sentence_about_a_unit_is_not_announced_again(driver):
    cell = driver.root.locator(".mask-explorer-cell")
    before = cell.evaluate_handle("cell => cell.firstChild")
    driver.slide("keep_prob", 0.4)
    driver.slide("keep_prob", 0.6)
    assert cell.evaluate("(cell, before) => cell.firstChild === before", before)


@pytest.mark.parametrize("step", ["scale", "seeds"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible_at_every_step(driver, theme, step):
    driver.page.evaluate("t => document.documentElement.dataset.theme = t", theme)
    driver.root.get_by_role("button", name="5 x 5").click()
    driver.choose("step", step)
    options = {"resultTypes": ["violations"], "preload": False}
    found = Axe().run(driver.page, ".mask-explorer", options=options)
    assert found.response["violations"] == []


def test_it_follows_the_theme_and_is_printed_in_light_colors(driver):
    canvas = driver.root.locator(".mask-explorer-channels canvas").first
    light = canvas.evaluate("c => c.toDataURL()")
    driver.page.evaluate("document.documentElement.dataset.theme = 'dark'")
    driver.page.wait_for_function(
        "([canvas, light]) => canvas.toDataURL() !== light",
        arg=[canvas.element_handle(), light],
    )
    driver.page.emulate_media(media="print")
    driver.page.wait_for_function(
        "([canvas, light]) => canvas.toDataURL() === light",
        arg=[canvas.element_handle(), light],
    )


def test_forced_colors_keep_the_legend_and_the_choice(driver):
    driver.page.emulate_media(forced_colors="active")
    background = driver.root.locator(".mask-explorer-legend .kept").evaluate(
        "word => getComputedStyle(word, '::before').backgroundImage"
    )
    assert "gradient" in background
    borders = driver.root.evaluate(
        """root => [...root.querySelectorAll(".mask-explorer-panel")].map(
            panel => getComputedStyle(panel).borderTopColor)"""
    )
    assert len({*borders}) == 2


def test_without_scripts_there_is_a_picture_with_its_numbers(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/{PAGE}")
    still = page.locator(".mask-explorer-still").first
    assert still.locator("svg").is_visible()
    assert "keep_prob 0.8" in still.inner_text()
    assert page.locator(".mask-explorer-still").count() == 3
    assert page.locator(".mask-explorer input").count() == 0
    context.close()
