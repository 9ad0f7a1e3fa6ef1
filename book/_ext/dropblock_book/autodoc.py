"""Lets autodoc read Keras' docstrings and signatures."""

import inspect
import re

LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<address>https?://[^)\s]+)\)")
FENCE = re.compile(r"^(?P<indent>\s*)```(?P<language>\w*)\s*$")


def translate_markdown(app, what, name, obj, options, lines):
    """Turns Markdown's links and fenced code into reStructuredText, in place."""
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


def show_own_arguments(app, what, name, obj, options, signature, return_annotation):
    """Shows a layer's own arguments, which `Layer.__new__` hides from Sphinx."""
    if what != "class":
        return None
    _self, *parameters = inspect.signature(obj.__init__).parameters.values()
    return str(inspect.Signature(parameters)), return_annotation


def setup(app):
    # Before napoleon, which parses the sections.
    app.connect("autodoc-process-docstring", translate_markdown, priority=100)
    app.connect("autodoc-process-signature", show_own_arguments)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
