"""Settings and fixtures shared by all tests."""

import signal
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure():
    # Background jobs of a shell ignore Ctrl-C, which some tests send.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # No deadlines, because the first example compiles for all others.
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")


@pytest.fixture(scope="session")
def book():
    """The folder of the built book."""
    folder = ROOT / "_build" / "html"
    if not (folder / ".built").is_file():
        pytest.fail("There is no book to test. To build it: make book", False)
    return folder
