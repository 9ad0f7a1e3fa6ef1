"""How the book's figures are drawn: as SVG, without a date or a background.

The book's pages recolor them in dark mode. Elsewhere, notebooks show PNG images.
"""

c = get_config()  # noqa: F821
c.InlineBackend.figure_formats = {"svg"}
c.InlineBackend.print_figure_kwargs = {
    "bbox_inches": "tight",
    "facecolor": "none",
    "metadata": {"Date": None},
}
