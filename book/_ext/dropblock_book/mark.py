"""The book's mark: a block dropped out of a small feature map, around its seed."""

SIZE, BLOCK = 5, 3


def mark_cells():
    """Yields row, column and the name of the color of each cell."""
    start = (SIZE - BLOCK) // 2
    for row in range(SIZE):
        for column in range(SIZE):
            in_block = all(start <= i < start + BLOCK for i in (row, column))
            name = "dropped" if in_block else "kept"
            if row == column == SIZE // 2:
                name = "seed"
            yield row, column, name


def mark_svg(palette):
    cells = [
        f'<rect x="{10 * column + 1}" y="{10 * row + 1}" width="8" height="8" '
        f'fill="{palette[name]}"/>'
        for row, column, name in mark_cells()
    ]
    side = 10 * SIZE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}">'
        f"{''.join(cells)}</svg>\n"
    )
