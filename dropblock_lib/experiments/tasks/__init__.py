"""The kinds of runs: their data, networks, metrics, and probes."""
