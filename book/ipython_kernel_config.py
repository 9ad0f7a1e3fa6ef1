"""How the book's figures are drawn: as SVG, without a date and without paper.

Pages recolor them for the dark. Elsewhere, notebooks show images.
"""

c = get_config()  # noqa: F821
c.InlineBackend.figure_formats = {"svg"}
c.InlineBackend.print_figure_kwargs = {
    "bbox_inches": "tight",
    "facecolor": "none",
    "metadata": {"Date": None},
}
