"""What is kept: records, benchmarks, and checkpoints of unfinished runs."""
