"""The layers to compare. Each draws new noise in every call."""

from dataclasses import dataclass
from functools import partial

import keras

import dropblock_lib as dbl
from benchmarks import peers

BACKEND = keras.backend.backend()
OURS = "DropBlock2D"
BASE = "Dropout"


@dataclass(frozen=True)
class Contestant:
    """Something that drops units of a tensor.

    Attributes:
        call: Keras layer, or function of a PyTorch tensor.
        channels_first: Whether it takes (batch, channels, height, width).
    """

    call: object
    channels_first: bool = False


class Product(keras.layers.Layer):
    """`x * c`, the lower bound: no layer that changes its input is faster."""

    def call(self, inputs, training=False):
        return inputs * 1.1


def essential(block_size, keep_prob, rank=2):
    """Constructors of our layer and of the baseline, by name."""
    name, layer = _ours(rank)
    return {
        name: lambda: Contestant(layer(block_size, keep_prob)),
        BASE: lambda: Contestant(keras.layers.Dropout(1 - keep_prob)),
    }


def _ours(rank):
    name = f"DropBlock{rank}D"
    return name, getattr(dbl, name)


def own(block_size, keep_prob, rank=2):
    """Constructors of every contestant from this package, Keras and the backend."""
    name, layer = _ours(rank)
    spatial = f"SpatialDropout{rank}D"
    found = essential(block_size, keep_prob, rank) | {
        f"{name}, exact": lambda: Contestant(
            layer(block_size, keep_prob, gamma="exact")
        ),
        f"{name}, shared": lambda: Contestant(
            layer(block_size, keep_prob, per_channel=False)
        ),
        spatial: lambda: Contestant(getattr(keras.layers, spatial)(1 - keep_prob)),
        "x * c": lambda: Contestant(Product()),
    }
    if BACKEND == "torch":
        from torch.nn.functional import dropout

        found["torch dropout"] = lambda: Contestant(lambda x: dropout(x, 1 - keep_prob))
    return found


def others(block_size, keep_prob, loaded):
    """Constructors of the peers in `loaded`, from `peers.load_all`."""
    rate = 1 - keep_prob
    constructors = {
        "KerasCV": lambda layer: Contestant(layer(rate, block_size)),
        # By default, timm shares one mask among all channels.
        "timm": lambda drop: Contestant(
            lambda x: drop(x, rate, block_size, couple_channels=False),
            channels_first=True,
        ),
        "timm, shared": lambda drop: Contestant(
            lambda x: drop(x, rate, block_size), channels_first=True
        ),
        "torchvision": lambda drop: Contestant(
            lambda x: drop(x, rate, block_size), channels_first=True
        ),
    }
    return {
        name: partial(make, loaded[package])
        for name, make in constructors.items()
        if (package := name.partition(",")[0]) in loaded
    }


def versions():
    """Versions of the peers that are installed and run on this backend."""
    known = {
        label: peers.version(label)
        for label, peer in peers.PEERS.items()
        if BACKEND in peer.backends
    }
    return {label: version for label, version in known.items() if version}
