"""Other packages' DropBlock, imported from their own code.

Only the file with the layer is imported. The whole of timm also imports torchvision,
which must match the version of PyTorch. The whole of KerasCV imports TensorFlow as well
as PyTorch, and the two together can crash a process.
"""

import importlib
import importlib.metadata
import importlib.util
import sys
import types
from dataclasses import dataclass, field

INSTALL = "pip install 'dropblock-lib[peers]'"


class Missing(Exception):
    """A peer is not installed, or cannot be imported."""


@dataclass(frozen=True)
class Peer:
    """Where a package has its DropBlock.

    Attributes:
        distribution: Name in the package index.
        name: Full name of the layer or function.
        backends: Keras backends on which it runs.
        hollow: Other packages whose `__init__` must not run.
        stubs: Dict of module that must not be imported -> attributes of a replacement.
        volumes: Full name of its function for volumes, if it has one.
    """

    distribution: str
    name: str
    backends: tuple
    hollow: tuple = ()
    stubs: dict = field(default_factory=dict)
    volumes: str | None = None

    def name_for(self, rank):
        """Full name of the layer or function for a spatial rank, or `None`."""
        return {2: self.name, 3: self.volumes}.get(rank)


PEERS = {
    "KerasCV": Peer(
        "keras-cv",
        "keras_cv.src.layers.regularization.dropblock_2d.DropBlock2D",
        ("tensorflow", "jax", "torch"),
        hollow=("keras_cv.src.utils",),
        # Both import TensorFlow.
        stubs={
            "keras_cv.src.backend.config": {"keras_3": lambda: True},
            "keras_cv.src.backend.tf_ops": {},
        },
    ),
    "timm": Peer("timm", "timm.layers.drop.drop_block_2d", ("torch",)),
    "torchvision": Peer(
        "torchvision",
        "torchvision.ops.drop_block.drop_block2d",
        ("torch",),
        stubs={"torchvision.utils": {"_log_api_usage_once": lambda _: None}},
        volumes="torchvision.ops.drop_block.drop_block3d",
    ),
}


def version(label):
    """The installed version of a peer, or `None`."""
    try:
        return importlib.metadata.version(PEERS[label].distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def load(label, rank=2):
    """Loads a peer's layer or function for maps with `rank` spatial dimensions.

    Raises:
        Missing: If it cannot be imported; the message says why.
    """
    peer = PEERS[label]
    if version(label) is None:
        raise Missing(f"{peer.distribution} is not installed ({INSTALL})")
    before = set(sys.modules)
    module, _, attribute = peer.name_for(rank).rpartition(".")
    try:
        for package in [*_parents(module), *peer.hollow]:
            _add_hollow_package(package)
        for stub, attributes in peer.stubs.items():
            sys.modules[stub] = types.ModuleType(stub)
            vars(sys.modules[stub]).update(attributes)
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise Missing(f"{peer.distribution} cannot be imported: {error}") from error
    finally:
        # A later import of the whole package must not find a hollow one.
        root = peer.name.partition(".")[0]
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == root:
                del sys.modules[name]


def load_all(backend, rank=2):
    """Loads the peers of a backend for maps with `rank` spatial dimensions.

    Returns:
        Two dicts: label -> layer or function, and label -> why it is missing.
    """
    found, missing = {}, {}
    for label, peer in PEERS.items():
        if backend not in peer.backends or peer.name_for(rank) is None:
            continue
        try:
            found[label] = load(label, rank)
        except Missing as reason:
            missing[label] = str(reason)
            print(f"without {label}: {reason}", flush=True)
    return found, missing


def _parents(module):
    names = module.split(".")
    return [".".join(names[:depth]) for depth in range(1, len(names))]


def _add_hollow_package(name):
    """Registers a package without running its `__init__`."""
    parent, _, last = name.rpartition(".")
    if parent:
        paths = [f"{path}/{last}" for path in sys.modules[parent].__path__]
    else:
        # `find_spec` does not import a top-level package.
        paths = list(importlib.util.find_spec(name).submodule_search_locations)
    package = types.ModuleType(name)
    package.__path__ = paths
    sys.modules[name] = package
