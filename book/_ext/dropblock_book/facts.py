"""Puts a line of facts under a chapter's title: time, chapters needed, Colab."""

import re
from pathlib import Path

import nbformat

from dropblock_book.metadata import read_project
from dropblock_book.notebooks import seconds

WORDS_PER_MINUTE = 220
LINES_PER_MINUTE = 30
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
FOLDED = {"hide-cell", "hide-input", "remove-cell", "remove-input"}


def minutes_to_read(notebook):
    """Returns the time for the prose and for the code that is not folded."""
    words = lines = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            words += len(FENCE.sub("", cell.source).split())
        elif not FOLDED & set(cell.metadata.get("tags", [])):
            lines += len(cell.source.splitlines())
    return max(1, round(words / WORDS_PER_MINUTE + lines / LINES_PER_MINUTE))


def duration(seconds):
    if seconds < 59.5:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"


def link_needed(app, pagename, needs):
    """Returns links to the chapters that a notebook's metadata lists."""
    links = []
    for name in needs:
        target = f"{pagename.rpartition('/')[0]}/{name}"
        [number] = app.env.toc_secnumbers[target][""]
        address = app.builder.get_relative_uri(pagename, target)
        title = app.env.titles[target].astext()
        links.append(f'<a href="{address}" title="{title}">{number}</a>')
    return ("chapter " if len(links) == 1 else "chapters ") + ", ".join(links)


def insert_facts(app, pagename, templatename, context, doctree):
    path = Path(app.srcdir) / "_build" / "executed" / f"{pagename}.ipynb"
    if not doctree or not path.is_file():
        return
    notebook = nbformat.read(path, as_version=4)
    repository = read_project(app.confdir)["urls"]["Repository"]
    owner = repository.partition("github.com/")[2]
    colab = f"{app.config.html_context['colab']}/{owner}/blob/main/{pagename}.ipynb"
    facts = [
        f"{minutes_to_read(notebook)} min to read",
        f"{duration(seconds(notebook))} to run",
    ]
    needs = notebook.metadata.get("dropblock_book", {}).get("needs", [])
    if needs:
        facts.append(f"builds on {link_needed(app, pagename, needs)}")
    facts.append(f'<a href="{colab}">Open in Colab</a>')
    facts.append(f'<a href="{repository}/blob/main/{pagename}.ipynb">Source</a>')
    line = '<p class="facts">' + " · ".join(facts) + "</p>"
    context["body"] = context["body"].replace("</h1>", f"</h1>\n{line}", 1)


def setup(app):
    # After `body` has changed the text, before the page is written.
    app.connect("html-page-context", insert_facts, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
