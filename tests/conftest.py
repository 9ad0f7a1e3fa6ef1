"""What tests of several modules share."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure():
    # A shell lets what it runs in the background ignore Ctrl-C, which tests press.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # No test is about time: the first example of many compiles for all others.
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")


@pytest.fixture(scope="session")
def book():
    """The folder of the built book, brought up to date with its sources.

    Whoever has just built it, as `make pages` does, says so: two workers that build
    it at a time would get in each other's way.
    """
    if os.environ.get("BOOK_IS_BUILT"):
        return ROOT / "_build" / "html"
    builder = Path(sys.executable).with_name("jupyter-book")
    built = subprocess.run(
        [builder, "build", ROOT, "--quiet"], capture_output=True, text=True
    )
    if built.returncode:
        pytest.fail(f"The book does not build:\n{built.stdout}{built.stderr}", False)
    return ROOT / "_build" / "html"
