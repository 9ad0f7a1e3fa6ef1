"""What to run: recipes, grids of recipes, and the order of the queue."""
