"""Times the mask explorer from a moved slider to a redrawn map.

    python -m benchmarks.explorer_redraw

Opens a large explorer and one that compares methods in Chromium ($CHROMIUM,
Playwright's own or the system's), moves each slider through its range, and prints the
median and the longest time in milliseconds. At 60 frames a second, a frame takes
16.7 ms.
"""

from pathlib import Path

from playwright.sync_api import sync_playwright

import dropblock_lib as dbl
from dropblock_lib import palette
from scripts.chromium import FLAGS, find_chromium

FILES = Path(dbl.__file__).parent / "explorer"
SLIDERS = {
    "keep_prob": [1 - 0.02 * i for i in range(45)],
    "block_size": list(range(1, 41)),
    "height": [63, 64] * 20,
}
MEASURE = """async ([name, values]) => {
  const input = document.querySelector(`[data-control=${name}]`);
  const times = [];
  for (const value of values) {
    input.value = value;
    const start = performance.now();
    input.dispatchEvent(new Event("input"));
    // The explorer draws in a microtask, which runs before these awaits return.
    await Promise.resolve();
    await Promise.resolve();
    times.push(performance.now() - start);
    await new Promise(requestAnimationFrame);
  }
  return times.sort((a, b) => a - b);
}"""


def page_html(explorer):
    return f"""<!doctype html><meta charset=utf-8>
    <style>{palette.css()}{(FILES / "explorer.css").read_text()}</style>
    {explorer.page_html()}
    <script type=module>{(FILES / "explorer.js").read_text()}
    mount(document.querySelector("[data-mask-explorer]"));</script>"""


def main():
    explorers = {
        "one map, 64 x 64 x 8": dbl.MaskExplorer(height=64, width=64, channels=8),
        "three maps, 32 x 32 x 5": dbl.MaskExplorer(compare=True),
    }
    with sync_playwright() as playwright:
        path = find_chromium(playwright)
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        for label, explorer in explorers.items():
            page.set_content(page_html(explorer))
            page.locator(".mask-explorer-map").first.wait_for()
            for name, values in SLIDERS.items():
                # The first pass warms up: browsers compile code that runs often.
                page.evaluate(MEASURE, [name, values])
                times = page.evaluate(MEASURE, [name, values])
                median, longest = times[len(times) // 2], times[-1]
                print(
                    f"{label:24} {name:10} "
                    f"median {median:5.1f} ms, longest {longest:5.1f} ms"
                )
        browser.close()


if __name__ == "__main__":
    main()
