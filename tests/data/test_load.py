"""`load_dataset`: where it looks, what it rejects, and what it says."""

import contextlib
import hashlib
import http.server
import importlib
import logging
import os
import pickle
import socket
import struct
import sys
import threading
import zipfile

import numpy as np
import pytest

import dropblock_lib
from dropblock_lib.data import Dataset, downloads, load_dataset, mnist_and_cifar10
from dropblock_lib.data.mnist_and_cifar10 import RECOGNIZE, make_dataset

KEYS = ("x_train", "y_train", "x_test", "y_test")


@pytest.fixture(autouse=True)
def _nothing_found(monkeypatch, tmp_path):
    """No data directory, an empty Keras cache, and no network."""

    def no_network(*args, **kwargs):
        raise socket.gaierror("no network in this test")

    monkeypatch.delenv("DROPBLOCK_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(downloads, "_unreachable_hosts", {})


def mnist_arrays():
    return {
        "x_train": np.zeros((60_000, 28, 28), "uint8"),
        "y_train": (np.arange(60_000) % 10).astype("uint8"),
        "x_test": np.zeros((10_000, 28, 28), "uint8"),
        "y_test": (np.arange(10_000) % 10).astype("uint8"),
    }


def cifar10_arrays():
    return {
        "x_train": np.zeros((50_000, 32, 32, 3), "uint8"),
        "y_train": (np.arange(50_000) % 10).astype("uint8")[:, None],
        "x_test": np.zeros((10_000, 32, 32, 3), "uint8"),
        "y_test": (np.arange(10_000) % 10).astype("uint8")[:, None],
    }


@pytest.fixture(scope="module")
def mnist_npz(tmp_path_factory):
    path = tmp_path_factory.mktemp("right") / "mnist.npz"
    arrays = mnist_arrays()
    arrays["x_train"][7, 3, 5] = 200
    np.savez_compressed(path, **arrays)
    return path


# === Where it looks ===


def test_a_file_in_data_dir_is_read(mnist_npz):
    dataset = load_dataset("mnist", data_dir=mnist_npz.parent)
    assert isinstance(dataset, Dataset)
    assert (dataset.requested, dataset.name) == ("mnist", "mnist")
    assert dataset.origin == "data_dir"
    assert not dataset.is_stand_in
    assert dataset.x_train.shape == (60_000, 28, 28, 1)
    assert dataset.x_test.shape == (10_000, 28, 28, 1)
    assert dataset.x_train.dtype == dataset.x_test.dtype == np.uint8
    assert dataset.y_train.shape == (60_000,)
    assert dataset.y_train.dtype == dataset.y_test.dtype == np.int64
    assert dataset.x_train[7, 3, 5, 0] == 200
    assert dataset.x_train.sum() == 200
    np.testing.assert_array_equal(dataset.y_test, np.arange(10_000) % 10)
    assert dataset.classes == tuple("0123456789")
    assert dataset.input_shape == (28, 28, 1)


def test_cifar10_labels_lose_their_second_axis(tmp_path):
    np.savez_compressed(tmp_path / "cifar10.npz", **cifar10_arrays())
    dataset = load_dataset("cifar10", data_dir=str(tmp_path))
    assert dataset.x_train.shape == (50_000, 32, 32, 3)
    assert dataset.y_train.shape == (50_000,)
    assert dataset.classes[6] == "frog"
    assert dataset.source == "cifar10-unknown"


def test_the_environment_variable_names_the_directory(monkeypatch, mnist_npz):
    monkeypatch.setenv("DROPBLOCK_DATA", str(mnist_npz.parent))
    assert load_dataset("mnist").origin == "DROPBLOCK_DATA"


def test_the_argument_takes_precedence_over_the_environment_variable(
    monkeypatch, mnist_npz, tmp_path
):
    monkeypatch.setenv("DROPBLOCK_DATA", str(tmp_path / "absent"))
    assert load_dataset("mnist", data_dir=mnist_npz.parent).origin == "data_dir"
    monkeypatch.setenv("DROPBLOCK_DATA", str(mnist_npz.parent))
    (tmp_path / "empty").mkdir()
    assert load_dataset("mnist", data_dir=tmp_path / "empty").origin == "stand-in"


def test_keras_cache_is_used_without_a_network(mnist_npz, tmp_path):
    cache = tmp_path / "keras" / "datasets"
    cache.mkdir(parents=True)
    (cache / "mnist.npz").write_bytes(mnist_npz.read_bytes())
    dataset = load_dataset("mnist")
    assert (dataset.name, dataset.origin) == ("mnist", "keras")
    assert dataset.x_train[7, 3, 5, 0] == 200


@pytest.mark.parametrize(
    "requested, used, shape",
    [("mnist", "digits", (28, 28, 1)), ("cifar10", "shapes", (32, 32, 3))],
)
def test_the_stand_in_says_that_it_is_one(requested, used, shape, caplog, tmp_path):
    with caplog.at_level(logging.INFO, logger="dropblock_lib"):
        dataset = load_dataset(requested, data_dir=tmp_path)
    assert (dataset.requested, dataset.name) == (requested, used)
    assert (dataset.source, dataset.origin) == (used, "stand-in")
    assert dataset.is_stand_in and dataset.label == f"{used}-for-{requested}"
    assert dataset.input_shape == shape
    assert f"standing in for {requested}" in str(dataset)
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert any(f"{requested}.npz" in text and "reached" in text for text in warnings)
    assert any(str(dataset) in text for text in warnings)


@pytest.mark.parametrize("name", ["digits", "shapes"])
def test_built_in_sets_are_not_searched_for(name, monkeypatch, tmp_path):
    monkeypatch.setenv("DROPBLOCK_DATA", str(tmp_path / "absent"))
    monkeypatch.setattr(downloads, "locate", None)
    dataset = load_dataset(name, data_dir=tmp_path / "absent")
    assert dataset.requested == dataset.name == dataset.source == name
    assert dataset.origin == "built-in"
    assert not dataset.is_stand_in and dataset.label == name


def test_which_file_was_used_is_logged(mnist_npz, caplog):
    with caplog.at_level(logging.INFO, logger="dropblock_lib"):
        dataset = load_dataset("mnist", data_dir=mnist_npz.parent)
    assert str(dataset) in caplog.text
    assert "mnist-unknown" in caplog.text


def test_arrays_are_read_only():
    dataset = load_dataset("digits")
    for key in KEYS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(dataset, key)[0] = 0


def test_a_data_set_leaves_the_caller_s_arrays_writable():
    arrays = {key: getattr(load_dataset("digits"), key).copy() for key in KEYS}
    described = {"requested": "mine", "name": "mine", "source": "mine"}
    more = {**described, **arrays, "classes": ("a",)}
    dataset = Dataset(**more, origin="data_dir")
    for key, array in arrays.items():
        array[0] = 0
        assert not getattr(dataset, key).flags.writeable
    with pytest.raises(ValueError, match=r"`origin`.*'data_dir'"):
        Dataset(**more, origin="my disk")


def test_importing_needs_neither_keras_nor_scikit_learn(monkeypatch):
    monkeypatch.setattr(dropblock_lib, "data", dropblock_lib.data)
    for module in [m for m in sys.modules if m.startswith("dropblock_lib.data")]:
        monkeypatch.delitem(sys.modules, module)
    for module in ("keras", "sklearn"):
        monkeypatch.setitem(sys.modules, module, None)
    again = importlib.import_module("dropblock_lib.data")
    assert again.load_dataset is not load_dataset


# === What it rejects ===


@pytest.mark.parametrize("name", ["imagenet", "MNIST", "", None, 3, ["mnist"]])
def test_an_unknown_name_is_rejected(name):
    with pytest.raises(ValueError, match=r"`name`.*'cifar10'.*Received: name="):
        load_dataset(name)


def test_a_directory_that_does_not_exist_is_rejected(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"`data_dir`.*existing directory.*absent"):
        load_dataset("mnist", data_dir=tmp_path / "absent")
    monkeypatch.setenv("DROPBLOCK_DATA", str(tmp_path / "absent"))
    with pytest.raises(ValueError, match=r"`DROPBLOCK_DATA`.*existing.*absent"):
        load_dataset("cifar10")


def broken(kind, path, right):
    """Writes a file that is not MNIST to `path`."""
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(right.read_bytes()[:-5_000])
    elif kind == "damaged":
        data = bytearray(right.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 64] = bytes(byte ^ 0xFF for byte in data[middle:][:64])
        path.write_bytes(data)
    elif kind == "text":
        path.write_text("<html>Please log in to this network</html>")
    elif kind == "npy":
        with open(path, "wb") as file:
            np.save(file, np.zeros((10_000, 28, 28), "uint8"))
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"x_train": [1, 2, 3]}))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x_train", "not an array")
    elif kind == "zip of texts":
        with zipfile.ZipFile(path, "w") as archive:
            for key in KEYS:
                archive.writestr(f"{key}.npy", "not an array")
    elif kind == "directory":
        path.mkdir()
    elif kind == "dangling link":
        path.symlink_to(path.parent / "gone.npz")
    else:
        raise KeyError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "empty",
        "truncated",
        "damaged",
        "text",
        "npy",
        "pickle",
        "zip",
        "zip of texts",
        "directory",
        "dangling link",
    ],
)
def test_a_broken_file_is_named(kind, tmp_path, mnist_npz):
    path = tmp_path / "mnist.npz"
    broken(kind, path, mnist_npz)
    with pytest.raises(ValueError) as caught:
        load_dataset("mnist", data_dir=tmp_path)
    message = str(caught.value)
    assert str(path) in message
    assert "Expected" in message and "Received" in message


def test_a_broken_file_in_keras_cache_is_named(tmp_path):
    path = tmp_path / "keras" / "datasets" / "mnist.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"mnist\.npz.*Expected"):
        load_dataset("mnist")


@pytest.mark.parametrize(
    "key, array, said",
    [
        ("x_train", np.zeros((60_000, 28), "uint8"), "(60000, 28)"),
        ("x_train", np.zeros((59_999, 28, 28), "uint8"), "(59999, 28, 28)"),
        ("x_test", np.zeros((10_000, 28, 28), "float32"), "float32"),
        ("x_test", np.zeros((10_000, 28, 28), "int16"), "int16"),
        ("y_train", np.zeros((60_000, 10), "uint8"), "(60000, 10)"),
        ("y_train", np.zeros(60_000, "float64"), "float64"),
        ("y_test", np.arange(10_000) % 11, "0 to 10"),
        ("y_test", np.full(10_000, -1), "-1 to"),
    ],
)
def test_a_wrong_array_is_named(key, array, said, tmp_path):
    arrays = mnist_arrays() | {key: array}
    path = tmp_path / "mnist.npz"
    with pytest.raises(ValueError) as caught:
        make_dataset("mnist", arrays, path, "data_dir")
    message = str(caught.value)
    assert str(path) in message
    assert f"`{key}`" in message
    assert said in message.partition("Received")[2]


def test_a_missing_array_is_named(tmp_path):
    arrays = mnist_arrays()
    del arrays["y_test"]
    np.savez_compressed(tmp_path / "mnist.npz", **arrays)
    with pytest.raises(ValueError, match=r"mnist\.npz.*without y_test"):
        load_dataset("mnist", data_dir=tmp_path)


def test_another_data_set_in_the_file_is_rejected(tmp_path, mnist_npz):
    (tmp_path / "cifar10.npz").write_bytes(mnist_npz.read_bytes())
    with pytest.raises(ValueError, match=r"cifar10\.npz.*\(50000, 32, 32, 3\)"):
        load_dataset("cifar10", data_dir=tmp_path)


class LeavesATrace:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_an_npz_is_unpickled(tmp_path):
    trace = tmp_path / "trace"
    hostile = np.array([LeavesATrace(trace)], dtype=object)
    np.savez(tmp_path / "mnist.npz", **mnist_arrays() | {"y_test": hostile})
    with pytest.raises(ValueError, match=r"mnist\.npz.*allow_pickle=False"):
        load_dataset("mnist", data_dir=tmp_path)
    assert not trace.exists()


# === What it recognizes ===


def test_cifar10_is_recognized_by_its_order_and_pixel_sum():
    arrays = {key: array.reshape(-1) for key, array in cifar10_arrays().items()}
    arrays["y_train"] = np.sort(arrays["y_train"])
    arrays["y_test"] = np.sort(arrays["y_test"])
    for key, start in (
        ("y_train", [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]),
        ("y_test", [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]),
    ):
        rest = arrays[key].tolist()
        for label in start:
            rest.remove(label)
        arrays[key] = np.array(start + rest)
    # The published mean over all training pixels is 120.70756512369792.
    total = round(120.70756512369792 * 50_000 * 32 * 32 * 3)
    pixels = arrays["x_train"]
    pixels[:] = total // pixels.size
    pixels[: total - int(pixels.sum(dtype="int64"))] += 1
    recognize = RECOGNIZE["cifar10"]
    assert recognize(**arrays) == "cifar10"
    assert recognize(**arrays | {"y_train": arrays["y_train"][::-1]}) != "cifar10"
    pixels[0] += 1
    assert recognize(**arrays) == "cifar10-unknown"


@pytest.mark.parametrize(
    "name, sources", [("mnist", {"mnist"}), ("cifar10", {"cifar10", "cifar10-jpeg"})]
)
def test_real_data_is_recognized(name, sources):
    directory = REAL_DATA
    if not directory or not os.path.exists(os.path.join(directory, f"{name}.npz")):
        pytest.skip(f"no {name}.npz: DROPBLOCK_DATA={directory!r}")
    dataset = load_dataset(name, data_dir=directory)
    assert dataset.source in sources
    assert set(dataset.y_train) == set(range(10))


# Read before the fixture unsets it.
REAL_DATA = os.environ.get("DROPBLOCK_DATA")


# === The network ===


def test_a_missing_network_is_noticed_within_five_seconds():
    assert downloads.SECONDS < 4


def test_a_name_lookup_that_hangs_is_abandoned(monkeypatch):
    awake = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: awake.wait(60))
    try:
        dataset = load_dataset("mnist")
        # It returned while the lookup was still hanging.
        assert not awake.is_set()
        assert dataset.origin == "stand-in"
    finally:
        awake.set()


def test_a_silent_host_is_asked_once(monkeypatch):
    questions = []

    def reject(*args, **kwargs):
        questions.append(args)
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", reject)
    for _ in range(3):
        assert "unreachable" in downloads.why_unreachable("https://host.invalid/a")
    assert len(questions) == 1


@contextlib.contextmanager
def listening():
    """A port that accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture
def local_network(monkeypatch):
    """Restores the network for local addresses."""

    def look_up(host, port, *args, **kwargs):
        assert host == "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_a_host_that_never_answers_is_unreachable(local_network):
    with listening() as port:
        reason = downloads.why_unreachable(f"http://127.0.0.1:{port}/", seconds=0.3)
    assert f"127.0.0.1:{port}" in reason


def test_a_proxy_that_never_answers_is_unreachable(local_network, monkeypatch):
    with listening() as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        reason = downloads.why_unreachable("https://host.invalid/file", seconds=0.3)
    assert "host.invalid" in reason


@contextlib.contextmanager
def serving(body, sent=None):
    """Serves `body`, or its first `sent` bytes and then silence, at every address."""
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            # A probe closes the connection before the end.
            with contextlib.suppress(OSError):
                self.wfile.write(body[:sent])
                self.wfile.flush()
                if sent is not None:
                    over.wait(60)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/mnist.npz"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def expect(monkeypatch, origin, body):
    file_hash = hashlib.sha256(body).hexdigest()
    file = {"fname": "mnist.npz", "origin": origin, "file_hash": file_hash}
    monkeypatch.setitem(downloads.FILES, "mnist", file)


def test_keras_downloads_what_is_missing(
    local_network, monkeypatch, mnist_npz, tmp_path
):
    body = mnist_npz.read_bytes()
    with serving(body) as origin:
        expect(monkeypatch, origin, body)
        dataset = load_dataset("mnist")
    assert (dataset.name, dataset.origin) == ("mnist", "keras")
    assert dataset.x_train[7, 3, 5, 0] == 200
    assert (tmp_path / "keras" / "datasets" / "mnist.npz").read_bytes() == body


def test_a_login_page_is_not_mistaken_for_the_file(
    local_network, monkeypatch, caplog, tmp_path
):
    with serving(b"<html>Please log in</html>") as origin:
        expect(monkeypatch, origin, b"the real file")
        assert load_dataset("mnist").origin == "stand-in"
        assert "downloading" in caplog.text
        # The file is not kept either, because it would break the next call.
        assert load_dataset("mnist").origin == "stand-in"
    assert not (tmp_path / "keras" / "datasets" / "mnist.npz").exists()


def test_a_download_that_stalls_is_abandoned(local_network, monkeypatch, caplog):
    monkeypatch.setattr(downloads, "SECONDS_OF_SILENCE", 0.5)
    limit = socket.getdefaulttimeout()
    body = bytes(100_000)
    with serving(body, sent=50_000) as origin:
        expect(monkeypatch, origin, body)
        assert load_dataset("mnist").origin == "stand-in"
    assert "downloading" in caplog.text
    assert socket.getdefaulttimeout() == limit


# === Keras' CIFAR-10, which is pickled ===


def batch(labels, pixels):
    """A CIFAR-10 batch as Python 2 pickled it: protocol 2, byte strings."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n"
        + (b"cnumpy\nndarray\n" + b"K\x00\x85" + text(b"b") + b"\x87R")
        + (b"(K\x01M" + struct.pack("<H", len(labels)) + b"M\x00\x0c\x86")
        + (b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R")
        + (b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")
        + (b"\x89T" + struct.pack("<i", len(pixels)) + pixels + b"tb")
    )
    return (
        b"\x80\x02}("
        + (text(b"batch_label") + text(b"training batch 1 of 5"))
        + (text(b"labels") + b"](" + numbers + b"e")
        + (text(b"data") + array)
        + (text(b"filenames") + b"](" + text(b"leptodactylus_s_000004.png") + b"e")
        + b"u."
    )


def test_a_pickled_batch_is_read_without_unpickling(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 10_000).tolist()
    pixels = rng.bytes(10_000 * 3072)
    raw = batch(labels, pixels)
    # The result of unpickling, for comparison.
    there = pickle.loads(raw, encoding="latin1")
    path = tmp_path / "data_batch_1"
    path.write_bytes(raw)
    images, read = mnist_and_cifar10._read_batch(path)
    np.testing.assert_array_equal(read, there["labels"])
    np.testing.assert_array_equal(
        images, there["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    )


def test_keras_cached_cifar10_is_assembled_in_order(tmp_path):
    folder = tmp_path / "keras/datasets/cifar-10-batches-py-target/cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [*mnist_and_cifar10.BATCHES, "test_batch"]
    for number, name in enumerate(names):
        raw = batch([number] * 10_000, bytes([number]) * (10_000 * 3072))
        (folder / name).write_bytes(raw)
    dataset = load_dataset("cifar10")
    assert (dataset.source, dataset.origin) == ("cifar10-unknown", "keras")
    expected = np.repeat(np.arange(5), 10_000)
    np.testing.assert_array_equal(dataset.y_train, expected)
    np.testing.assert_array_equal(dataset.x_train[:, 9, 9, 2], expected)
    assert set(dataset.y_test) == {5}


def test_a_hostile_batch_is_named_and_not_run(tmp_path):
    folder = tmp_path / "keras/datasets/cifar-10-batches-py-target/cifar-10-batches-py"
    folder.mkdir(parents=True)
    trace = tmp_path / "trace"
    (folder / "data_batch_1").write_bytes(pickle.dumps(LeavesATrace(trace)))
    with pytest.raises(ValueError, match=r"data_batch_1.*Expected.*Received"):
        load_dataset("cifar10")
    assert not trace.exists()


def test_a_truncated_batch_is_named(tmp_path):
    path = tmp_path / "data_batch_1"
    path.write_bytes(batch([1] * 10_000, bytes(10_000 * 3072))[:-100_000])
    with pytest.raises(ValueError, match=r"data_batch_1.*Received"):
        mnist_and_cifar10._read_batch(path)


# === Digits ===


def test_digits_keep_what_scikit_learn_drew():
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    dataset = load_dataset("digits")
    images = np.concatenate([dataset.x_train, dataset.x_test])[..., 0]
    labels = np.concatenate([dataset.y_train, dataset.y_test])
    np.testing.assert_array_equal(labels, digits.target)
    framed = images[:, 4:24, 4:24].astype("float64")
    assert images.sum() == framed.sum()
    # The same interpolation with np.interp.
    centers = (np.arange(20) + 0.5) * 8 / 20 - 0.5
    for image, original in zip(framed[:20], digits.images[:20], strict=True):
        rows = np.stack([np.interp(centers, np.arange(8), row) for row in original])
        full = np.stack([np.interp(centers, np.arange(8), row) for row in rows.T])
        np.testing.assert_allclose(image, full.T * 255 / 16, atol=0.501)


def test_digits_without_scikit_learn_name_what_to_install(monkeypatch):
    from dropblock_lib.data.stand_ins import digits

    digits._images_and_labels.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install \"dropblock-lib\[experim"):
        load_dataset("digits")
