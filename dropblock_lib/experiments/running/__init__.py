"""How one recipe is run."""
