"""Reports on records: tables, lists, comparisons, and statistics."""
