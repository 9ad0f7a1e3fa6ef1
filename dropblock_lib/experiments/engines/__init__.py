"""Engines: runs side by side in processes, or on a Ray cluster."""
