"""Where several recipes run: side by side in processes, or on a Ray cluster."""
