"""The mask explorer on the book's first page: by mouse, touch and keyboard."""

import json

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

import dropblock_lib as dbl
from dropblock_lib.explorer.state import CHECKS

PAGE = "book/index.html"
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
# Rounding errors of the read-outs: half a unit of the last digit shown.
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
        self.root.locator("canvas.mask-explorer-map").wait_for()
        state = json.loads(self.root.get_attribute("data-mask-explorer"))
        self.twin = dbl.MaskExplorer(**{n: state[n] for n in CHECKS})

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
        """Returns the read-outs: the number shown and the exact value."""
        found = {}
        for data in self.root.locator("data").all():
            text = data.inner_text().strip("\u00d7 %")
            percent = data.inner_text().endswith("%")
            number = float(text) / (100 if percent else 1)
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
            assert abs(shown - expected) <= PRINTED[name](expected), name

    def pixels(self, channel):
        """Returns the colors of a channel's thumbnail, one per unit."""
        data = self.root.locator(".mask-explorer-channels canvas").nth(channel)
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


def test_the_page_starts_as_python_does(driver):
    driver.agrees()


def test_sliders_and_choices_lead_to_the_librarys_numbers(driver):
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


def test_a_random_walk_stays_with_python(driver):
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
    """By Tab alone from the method on; every stop shows its focus."""
    page, twin = driver.page, driver.twin
    driver.control("method", "dropblock").focus()
    stops = []
    for _ in range(40):
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
            page.keyboard.press("ArrowRight")
            twin.gamma = "exact"
        elif name == "per_channel":
            page.keyboard.press("Space")
            twin.per_channel = False
        driver.agrees()
        page.keyboard.press("Tab")
    controls = {"method", "keep_prob", "block_size", "seed", "marks", "step", "height"}
    controls |= {"width", "channels", "gamma", "per_channel", "picture", "CANVAS"}
    assert controls <= set(stops)


def test_arrow_keys_tell_of_each_unit(driver):
    driver.root.get_by_role("button", name="5 x 5").click()
    canvas = driver.root.locator("canvas.mask-explorer-map")
    words = driver.root.locator(".mask-explorer-cell")
    canvas.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight"):
        driver.page.keyboard.press(key)
    assert "Row 3, column 1" in words.inner_text()
    assert "a seed" in words.inner_text() and "5 becomes 0" in words.inner_text()
    driver.page.keyboard.press("ArrowUp")
    driver.page.keyboard.press("ArrowUp")
    # 9 x 25 / 13, in the row above the blocks.
    assert "Row 1, column 1" in words.inner_text()
    assert "9 becomes 17.3" in words.inner_text()


def test_pointing_tells_of_the_unit_below(driver):
    driver.root.get_by_role("button", name="5 x 5").click()
    canvas = driver.root.locator("canvas.mask-explorer-map")
    canvas.scroll_into_view_if_needed()
    side = canvas.bounding_box()["width"]
    canvas.hover(position={"x": side * 0.5, "y": side * 0.7})
    words = driver.root.locator(".mask-explorer-cell").inner_text()
    assert words.startswith("Row 3, column 2: noise 0.0") and "a seed" in words


@pytest.mark.parametrize("preset", ["a star", "a digit", "5 x 5", "ResNet-50"])
def test_every_example_changes_what_is_seen(driver, preset):
    driver.slide("keep_prob", 0.3)
    canvas = driver.root.locator("canvas.mask-explorer-map")
    before = canvas.evaluate("c => c.toDataURL()")
    driver.root.get_by_role("button", name=preset).click()
    assert canvas.evaluate("c => c.toDataURL()") != before


@pytest.mark.parametrize("step", ["map", "seeds", "blocks", "drop"])
def test_every_step_shows_and_says_something_of_its_own(driver, step):
    canvas = driver.root.locator("canvas.mask-explorer-map")
    words = driver.root.locator(".mask-explorer-explanation")
    before = canvas.evaluate("c => c.toDataURL()"), words.inner_text()
    driver.choose("step", step)
    after = canvas.evaluate("c => c.toDataURL()"), words.inner_text()
    assert before[0] != after[0] and before[1] != after[1]


def test_no_control_stands_where_it_does_nothing(driver):
    driver.choose("method", "dropout")
    for name in ("block_size", "gamma"):
        assert not driver.control(name).first.is_visible()
    driver.slide("channels", 1)
    assert not driver.control("per_channel").is_visible()


def test_the_status_is_said_once_things_rest(driver):
    driver.slide("keep_prob", 0.4)
    status = driver.root.get_by_role("status")
    driver.page.wait_for_function("e => e.textContent", arg=status.element_handle())
    assert f"{100 * driver.twin.readouts['realized']:.2f}%" in status.inner_text()


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


def test_without_scripts_a_picture_with_its_numbers_stands_there(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/{PAGE}")
    still = page.locator(".mask-explorer-still").first
    assert still.locator("svg").is_visible()
    assert "keep_prob 0.8" in still.inner_text()
    assert page.locator(".mask-explorer input").count() == 0
    context.close()
