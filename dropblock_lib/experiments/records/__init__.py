"""What runs leave on disk: records, benchmarks, and checkpoints of unfinished runs."""
