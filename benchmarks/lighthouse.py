"""Measures the built book with Lighthouse's mobile profile.

    make book && .venv/bin/python -m benchmarks.lighthouse --runs 5

Serves `_build/html` compressed, as GitHub Pages does, and measures the index and the
longest chapter. Needs Node's `npx`, which fetches Lighthouse, and Chromium, whose path
may be in $CHROME_PATH. Speed depends on the machine and its load, so the median over
the runs is printed, with the performance score of each run.
"""

import argparse
import gzip
import json
import os
import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

BOOK = Path(__file__).resolve().parents[1] / "_build" / "html"
COMPRESSED = (".html", ".css", ".js", ".svg", ".json", ".xml")
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
TIMES = {
    "FCP ms": "first-contentful-paint",
    "LCP ms": "largest-contentful-paint",
    "TBT ms": "total-blocking-time",
    "CLS": "cumulative-layout-shift",
    "KiB": "total-byte-weight",
}
FLAGS = "--headless --no-sandbox --disable-gpu --disable-background-networking"


class PagesHandler(SimpleHTTPRequestHandler):
    """Serves files compressed."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Cache-Control", "max-age=600")
        if path.suffix in COMPRESSED:
            content = gzip.compress(content)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


def longest_chapter():
    def words(page):
        article = page.read_text().partition("<article")[2].partition("</article")[0]
        return len(re.sub(r"<[^>]+>", " ", article).split())

    return max(BOOK.glob("book/[0-9]*.html"), key=words).name


def measure(address):
    command = ["npx", "--yes", "lighthouse", address, "--quiet", "--output=json"]
    output = subprocess.check_output([*command, f"--chrome-flags={FLAGS}"], timeout=300)
    report = json.loads(output)
    scores = {name: 100 * report["categories"][name]["score"] for name in CATEGORIES}
    audits = {
        name: report["audits"][audit]["numericValue"] for name, audit in TIMES.items()
    }
    audits["KiB"] /= 1024
    return scores | audits


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    if chromium := shutil.which("chromium"):
        os.environ.setdefault("CHROME_PATH", chromium)
    handler = partial(PagesHandler, directory=str(BOOK))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for page in ("index.html", longest_chapter()):
        address = f"http://127.0.0.1:{server.server_port}/book/{page}"
        found = [measure(address) for _ in range(runs)]
        print(page)
        for name in found[0]:
            print(f"  {name:16}{median(run[name] for run in found):8.2f}")
        each = ", ".join(f"{run['performance']:.0f}" for run in found)
        print(f"  performance of each run: {each}")


if __name__ == "__main__":
    main()
