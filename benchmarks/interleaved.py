"""Fair timing on a machine whose speed changes during the measurement.

Every contestant is called once per round. pytest-benchmark and asv time all rounds of
one contestant before those of the next, so a processor that slows down, or another
process that wakes up, affects only one of the two. Here, both are affected, and their
ratio does not change.
"""

import random
import statistics
import time


def measure(calls, rounds, warm_up=2):
    """Times every call in every round.

    Args:
        calls: Dict of name -> function that returns when its work is done.
        rounds: Number of times each is called.
        warm_up: Number of calls before the rounds, which are not timed.

    Returns:
        Dict of name -> list of seconds, one per round.
    """
    for _ in range(warm_up):
        for call in calls.values():
            call()
    seconds = {name: [] for name in calls}
    order, rng = list(calls), random.Random(0)
    for _ in range(rounds):
        # A new order in each round, because a call finds the previous call's caches.
        rng.shuffle(order)
        for name in order:
            start = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def summarize(seconds, base):
    """Returns medians and quartiles of times, and ratios to one contestant's.

    Args:
        seconds: From `measure`.
        base: Name of the contestant that the others are compared with.

    Returns:
        Dict of name -> dict of `median`, `low` and `high` (quartiles), in seconds;
        `ratio`, of the medians; `ratio_low` and `ratio_high`, the quartiles of the
        ratios within each round.
    """
    found = {}
    for name, times in seconds.items():
        low, median, high = quartiles(times)
        found[name] = {"median": median, "low": low, "high": high}
        if base in seconds:
            ratios = [a / b for a, b in zip(times, seconds[base], strict=True)]
            ratio_low, _, ratio_high = quartiles(ratios)
            found[name] |= {
                "ratio": median / statistics.median(seconds[base]),
                "ratio_low": ratio_low,
                "ratio_high": ratio_high,
            }
    return found


def quartiles(values):
    """The lower quartile, the median and the upper quartile."""
    if len(values) == 1:
        return [values[0]] * 3
    return statistics.quantiles(values, n=4, method="inclusive")
