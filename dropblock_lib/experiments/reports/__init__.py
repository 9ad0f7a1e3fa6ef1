"""What the records say: tables, lists, comparisons, and statistics."""
