"""Prints a page in its light colors, also when its reader has switched to dark.

Rules of the dark theme are kept to the screen, and on paper those of the light theme
hold whichever is switched on.
"""

import re

DARK = re.compile(r'\[data-theme="?dark"?\]')
LIGHT = re.compile(r'\[data-theme="?light"?\]')


def rules(selectors, body):
    """Yields the text of a rule, apart for the screen and for paper if need be."""
    dark = [selector for selector in selectors if DARK.search(selector)]
    light = [selector for selector in selectors if LIGHT.search(selector)]
    if both := [selector for selector in selectors if selector not in dark]:
        yield f"{','.join(both)}{{{body}}}"
    if dark:
        yield f"@media screen{{{','.join(dark)}{{{body}}}}}"
    if light:
        # With an attribute as well, lest another rule of the theme's should win.
        on_paper = ",".join(LIGHT.sub("[data-theme]", name) for name in light)
        yield f"@media print{{{on_paper}{{{body}}}}}"
