"""The named regularizers that the experiments compare."""

from collections.abc import Callable

import keras

from dropblock_lib.drop_block_2d import DropBlock2D

Factory = Callable[..., "keras.Layer | None"]


def _none(name: str | None = None, seed: int | None = None) -> None:
    return None


def _dropout(rate: float) -> Factory:
    def factory(name: str | None = None, seed: int | None = None) -> keras.Layer:
        return keras.layers.Dropout(rate, seed=seed, name=name)

    return factory


def _spatial_dropout(rate: float) -> Factory:
    def factory(name: str | None = None, seed: int | None = None) -> keras.Layer:
        return keras.layers.SpatialDropout2D(rate, seed=seed, name=name)

    return factory


def _drop_block(block_size: int, keep_prob: float) -> Factory:
    def factory(name: str | None = None, seed: int | None = None) -> keras.Layer:
        return DropBlock2D(block_size, keep_prob, seed=seed, name=name)

    return factory


# The figure in "dropout" and "spatial" is the rate, the share that is dropped;
# the last figure in "dropblock" is keep_prob, the share that stays. That is how
# the slides name them: SpatialDropout(0.7) drops 70 % of the channels.
VARIANTS: dict[str, Factory] = {
    "none": _none,
    "dropout-0.25": _dropout(0.25),
    "spatial-0.7": _spatial_dropout(0.7),
    "spatial-0.3": _spatial_dropout(0.3),
    "dropblock-3-0.9": _drop_block(3, 0.9),
    "dropblock-7-0.9": _drop_block(7, 0.9),
    "dropblock-7-0.7": _drop_block(7, 0.7),
    "dropblock-3-0.7": _drop_block(3, 0.7),
}

# What tables and figures call them: DropBlock 3/0.9 has block_size 3, keep_prob 0.9.
LABELS: dict[str, str] = {
    "none": "plain",
    "dropout-0.25": "Dropout 0.25",
    "spatial-0.7": "SpatialDropout 0.7",
    "spatial-0.3": "SpatialDropout 0.3",
    "dropblock-3-0.9": "DropBlock 3/0.9",
    "dropblock-7-0.9": "DropBlock 7/0.9",
    "dropblock-7-0.7": "DropBlock 7/0.7",
    "dropblock-3-0.7": "DropBlock 3/0.7",
}


def get_variant(variant: str) -> Factory:
    """The factory of a named variant.

    A factory makes a new layer at every call, so that each place in a network
    has a layer (a name, a seed, a `keep_prob`) of its own.

    Args:
        variant: A key of `VARIANTS`.

    Returns:
        A function `factory(name=None, seed=None)` that returns a new, unbuilt
        layer, or `None` for the variant "none".

    Raises:
        ValueError: If there is no variant of that name.

    Example:

    >>> get_variant("dropblock-3-0.9")(name="drop1", seed=0).name
    'drop1'
    """
    if not isinstance(variant, str) or variant not in VARIANTS:
        raise ValueError(
            "Invalid value received for argument `variant`. Expected one of "
            f"{', '.join(VARIANTS)}. Received: variant={variant!r}"
        )
    return VARIANTS[variant]
