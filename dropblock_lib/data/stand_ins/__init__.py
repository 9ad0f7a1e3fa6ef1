"""Built-in data, for machines where the real data is not available."""
