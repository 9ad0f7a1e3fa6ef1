"""Whether an address answers, found out in a few seconds whatever is broken."""

import contextlib
import socket
import threading
import urllib.parse
import urllib.request

SECONDS = 3

_silent_hosts = {}


def why_unreachable(url, seconds=SECONDS):
    """Nothing if `url` can be downloaded from now, else the reason in a few words.

    Asks for the address as a download would, proxies included, and waits for the
    first byte of the answer. A host that gave none is not asked again in this
    process.
    """
    host = urllib.parse.urlsplit(url).netloc
    if host not in _silent_hosts:
        reason = _probe(url, host, seconds)
        if reason is None:
            return None
        _silent_hosts[host] = reason
    return _silent_hosts[host]


def _probe(url, host, seconds):
    outcome = []

    def ask():
        try:
            with urllib.request.urlopen(url, timeout=seconds) as answer:
                answer.read(1)
            outcome.append(None)
        except Exception as error:
            outcome.append(f"{host} cannot be reached ({error})")

    # Looking up a name, or talking to a proxy, has no time limit of its own: hence
    # a thread that can be left behind.
    thread = threading.Thread(target=ask, daemon=True, name=f"probe {host}")
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else f"{host} did not answer in {seconds} seconds"


@contextlib.contextmanager
def silence_limit(seconds):
    """Ends a download that falls silent, for code that sets no limit itself."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
