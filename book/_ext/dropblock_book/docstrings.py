"""Lets Sphinx read docstrings written in the Markdown of Keras' docstrings."""

import re

LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<address>https?://[^)\s]+)\)")
FENCE = re.compile(r"^(?P<indent>\s*)```(?P<language>\w*)\s*$")


def translate(app, what, name, obj, options, lines):
    """Turns links and fenced code into reStructuredText's, in place."""
    result, inside = [], False
    for line in lines:
        fence = FENCE.match(line)
        if not fence:
            if inside:
                result.append("    " + line if line else line)
            else:
                result.append(LINK.sub(r"`\g<text> <\g<address>>`__", line))
        elif inside:
            inside = False
            result.append("")
        else:
            inside = True
            language = fence["language"] or "python"
            directive = f"{fence['indent']}.. code-block:: {language}"
            result += ["", directive, ""]
    lines[:] = result


def setup(app):
    # Before napoleon, which takes the sections apart.
    app.connect("autodoc-process-docstring", translate, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
