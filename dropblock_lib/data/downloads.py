"""Finds files in Keras' cache or downloads them, or says why it cannot."""

import contextlib
import hashlib
import os
import pathlib
import socket
import tempfile
import threading
import urllib.parse
import urllib.request

from dropblock_lib.arguments import invalid

SECONDS = 3
SECONDS_OF_SILENCE = 20
KERAS_FILES = "https://storage.googleapis.com/tensorflow"


# What `keras.datasets` passes to `keras.utils.get_file`.
FILES = {
    "mnist": {
        "fname": "mnist.npz",
        "origin": f"{KERAS_FILES}/tf-keras-datasets/mnist.npz",
        "file_hash": "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    },
    "cifar10": {
        "fname": "cifar-10-batches-py-target",
        "origin": "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "file_hash": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        "extract": True,
    },
}
# ResNet-50 without its top, trained on ImageNet.
WEIGHTS = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"

_unreachable_hosts = {}


def locate(name):
    """Finds a data set in Keras' cache, or downloads it there.

    Returns `(path, None)`, or `(None, reason)` if the data set is not available.
    """
    file = FILES[name]
    path = cache_folder("datasets") / file["fname"]
    if path.exists():
        return path, None
    reason = why_unreachable(file["origin"]) or _download(file, path)
    return (None, reason) if reason else (path, None)


def in_data_folder(name):
    """Returns the path of a file in `$DROPBLOCK_DATA/weights/`, or `None`."""
    folder = os.environ.get("DROPBLOCK_DATA")
    path = pathlib.Path(folder or ".") / "weights" / name
    return os.fspath(path) if folder and path.is_file() else None


def find_weights(weights):
    """Checks that weights for `keras.applications.ResNet50` are available.

    Args:
        weights: `None`, `"imagenet"`, or the path of a file.

    Returns:
        `None`, `"imagenet"` or the path.

    Raises:
        OSError: If the file does not exist, or if ImageNet's weights are neither in
            `$DROPBLOCK_DATA/weights/` nor in Keras' cache and cannot be downloaded.
    """
    if weights is None:
        return None
    if weights == "imagenet":
        weights = in_data_folder(WEIGHTS) or weights
    if weights != "imagenet":
        if not os.path.isfile(weights):
            expected = "None, 'imagenet' or an existing file"
            raise FileNotFoundError(str(invalid("weights", expected, weights)))
        return os.fspath(weights)
    if not (cache_folder("models") / WEIGHTS).is_file():
        reason = why_unreachable(f"{KERAS_FILES}/keras-applications/resnet/{WEIGHTS}")
        if reason:
            raise OSError(
                f"ImageNet's weights ({WEIGHTS}) are neither in the folder weights/ of "
                f"$DROPBLOCK_DATA nor in Keras' cache, and {reason}. Pass the path of "
                "a weights file, or weights=None for random weights."
            )
    return weights


def describe_weights(weights):
    """Returns the name and sha256 of the weights file that `find_weights` found."""
    path = cache_folder("models") / WEIGHTS if weights == "imagenet" else weights
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": os.path.basename(path), "sha256": digest}


def cache_folder(kind):
    """Returns the folder of Keras' downloaded files: `"datasets"` or `"models"`."""
    home = pathlib.Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    # Keras' fallback if the home directory is read-only.
    if home.exists() and not os.access(home, os.W_OK):
        temporary = "/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()
        home = pathlib.Path(temporary) / ".keras"
    return home / kind


def why_unreachable(url, seconds=SECONDS):
    """Returns why `url` cannot be downloaded from, in a few words, or `None` if it can.

    Requests the address as a download would, including proxies, and waits for the
    first byte of the response. After a failure, the host is not tried again in this
    process.
    """
    host = urllib.parse.urlsplit(url).netloc
    reason = _unreachable_hosts.get(host) or _probe(url, host, seconds)
    if reason:
        _unreachable_hosts[host] = reason
    return reason


def _probe(url, host, seconds):
    outcome = []

    def request():
        try:
            with urllib.request.urlopen(url, timeout=seconds) as answer:
                answer.read(1)
            outcome.append(None)
        except Exception as error:
            outcome.append(f"{host} cannot be reached ({error})")

    # The timeout of urlopen does not cover name lookup and proxies, so the request
    # runs in a thread that can be abandoned.
    thread = threading.Thread(target=request, daemon=True, name=f"probe {host}")
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else f"{host} did not respond in {seconds} seconds"


def _download(file, path):
    """Downloads and checks a file as Keras does; returns the reason for a failure."""
    import keras

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _socket_timeout(SECONDS_OF_SILENCE):
            keras.utils.get_file(**file, cache_dir=path.parent.parent)
    except Exception as error:
        # Keras keeps a file with the wrong content, which the next call would report
        # as a broken data set.
        if path.is_file():
            path.unlink()
        return f"downloading {file['origin']} failed ({error})"
    return None


@contextlib.contextmanager
def _socket_timeout(seconds):
    """Sets a timeout for stalled downloads, because Keras sets none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
