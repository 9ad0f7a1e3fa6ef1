"""Data drawn here, for machines where the real data cannot be had."""
