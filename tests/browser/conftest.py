"""A Chromium with access to the built book and nothing else on the network."""

from contextlib import contextmanager

import pytest

from scripts.chromium import FLAGS, find_chromium, serve

playwright_api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="session")
def playwright():
    with playwright_api.sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright):
    path = find_chromium(playwright)
    if path is None:
        pytest.skip(
            "no Chromium found. Get one with `apt-get install chromium` or "
            "`playwright install chromium`, or name it: CHROMIUM=/path/to/chromium"
        )
    browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def address(browser, book):
    """The address at which the book is served during the tests."""
    with serve(book) as served_at:
        yield served_at


class Visit:
    """An opened page, with the errors that it caused."""

    def __init__(self, browser, address, width=1280, height=900, **options):
        size = {"width": width, "height": height}
        self.context = browser.new_context(viewport=size, **options)
        self.address = address
        self.errors = []
        self.foreign = []
        self.context.route("**/*", self.keep_to_the_book)
        self.page = self.context.new_page()
        self.page.on("console", self.note_message)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("response", self.note_response)

    def keep_to_the_book(self, route):
        url = route.request.url
        if url.startswith((self.address, "data:", "blob:")):
            route.continue_()
        else:
            self.foreign.append(url)
            route.abort()

    def note_message(self, message):
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def note_response(self, response):
        if response.status >= 400:
            self.errors.append(f"{response.status} {response.url}")

    def open(self, path):
        self.page.goto(f"{self.address}/{path}", wait_until="networkidle")
        # Formulas are typeset after the page has loaded, and change its layout.
        self.page.evaluate("() => window.MathJax?.startup?.promise")
        return self.page


@pytest.fixture(scope="session")
def visit(browser, address):
    """Opens a page of the book: `with visit(path, width=...) as opened`."""

    @contextmanager
    def open_page(path, **options):
        opened = Visit(browser, address, **options)
        opened.open(path)
        yield opened
        opened.context.close()

    return open_page
