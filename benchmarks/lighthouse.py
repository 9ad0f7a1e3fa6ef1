"""Measures the built book with Lighthouse's mobile profile.

    make book && .venv/bin/python -m benchmarks.lighthouse --runs 5

Serves `_build/html` compressed, as GitHub Pages does, and measures the index, some
chapters and the longest page of the API, or the pages that are named. Needs Node's
`npx`, which fetches Lighthouse, and Chromium, whose path may be in $CHROME_PATH. Speed
depends on the machine and its load, so the median over the runs is printed, with the
performance score of each run, and the audits of the other categories that fail.
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
ALWAYS = ("index.html", "08-resnet-50.html")
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


def longest(pattern):
    """Returns the name of the page with the most words."""

    def words(page):
        article = page.read_text().partition("<article")[2].partition("</article")[0]
        return len(re.sub(r"<[^>]+>", " ", article).split())

    return max(BOOK.glob(f"book/{pattern}.html"), key=words).name


def measure(address):
    command = ["npx", "--yes", "lighthouse", address, "--quiet", "--output=json"]
    output = subprocess.check_output([*command, f"--chrome-flags={FLAGS}"], timeout=300)
    report = json.loads(output)
    scores = {name: 100 * report["categories"][name]["score"] for name in CATEGORIES}
    audits = {
        name: report["audits"][audit]["numericValue"] for name, audit in TIMES.items()
    }
    audits["KiB"] /= 1024
    failed = {
        audit["id"]
        for name in CATEGORIES[1:]
        for audit in report["categories"][name]["auditRefs"]
        if audit["weight"] and report["audits"][audit["id"]]["score"] == 0
    }
    return scores | audits, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="*", help="such as index.html")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    if chromium := shutil.which("chromium"):
        os.environ.setdefault("CHROME_PATH", chromium)
    handler = partial(PagesHandler, directory=str(BOOK))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pages = options.pages or (*ALWAYS, longest("[0-9]*"), longest("api*"))
    for page in dict.fromkeys(pages):
        address = f"http://127.0.0.1:{server.server_port}/book/{page}"
        found, failed = zip(
            *(measure(address) for _ in range(options.runs)), strict=True
        )
        print(page)
        for name in found[0]:
            print(f"  {name:16}{median(run[name] for run in found):8.2f}")
        each = ", ".join(f"{run['performance']:.0f}" for run in found)
        print(f"  performance of each run: {each}", flush=True)
        if failed := set().union(*failed):
            print(f"  failed: {', '.join(sorted(failed))}", flush=True)


if __name__ == "__main__":
    main()
