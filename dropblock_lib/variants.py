"""The regularizers that the experiments compare, as rows of data.

A variant has a short name, such as "dropblock-7-0.9-exact", that says what it is:

    none
    dropout-RATE                      the fraction of units that is dropped
    spatial-RATE                      the fraction of channels that is dropped
    dropblock-BLOCK-KEEP_PROB         side of a block in pixels, fraction that is kept
        -exact                        gamma by the exact rule instead of the paper's
        -shared                       one mask for all channels of a sample

Any name of this form can be used. `VARIANTS` has those that the slides compare, and
is where variants of your own are registered.
"""

import dataclasses
import numbers
import re
from collections.abc import Callable

import keras
import numpy as np

from dropblock_lib.arguments import (
    check_gamma_rule,
    check_keep_prob,
    check_sides,
    invalid,
)
from dropblock_lib.layers import DropBlock2D

METHODS = ("none", "dropout", "spatial", "dropblock", "custom")
_LAYERS = {
    "dropout": keras.layers.Dropout,
    "spatial": keras.layers.SpatialDropout2D,
}
_FACTORY = "a function factory(name=None, seed=None) that returns a new layer or None"
_TITLES = {"dropout": "Dropout", "spatial": "SpatialDropout"}


def _sides(block_size):
    sides = block_size if isinstance(block_size, tuple) else (block_size,)
    return "x".join(map(str, sides))


def _exactly(number):
    """The shortest decimal that reads back as this number, without an exponent."""
    return np.format_float_positional(number, trim="-")


@dataclasses.dataclass(frozen=True)
class Variant:
    """A regularizer, as the numbers that define it.

    A variant is also a factory: calling it makes a new layer, so that each place in
    a network has a layer with a name, a random seed and a `keep_prob` of its own.
    It can be passed to `insert_after` and to every network of `dropblock_lib.models`.

    Args:
        method: "none", "dropout", "spatial" or "dropblock"; "custom" for a factory of
            your own.
        block_size: Of DropBlock: side of a block in pixels, or a pair
            (height, width).
        keep_prob: Of DropBlock: the nominal fraction of units to keep, in (0, 1].
        rate: Of Dropout and SpatialDropout: the fraction to drop, in [0, 1).
        gamma: Of DropBlock: "paper" or "exact".
        per_channel: Of DropBlock: whether every channel has a mask of its own.
        label: What tables and figures call it. By default it follows from the
            numbers.
        color: A color of figures, such as "#CC3311". By default it follows from the
            method and the block size.
        factory: Of a custom variant: a function `factory(name=None, seed=None)` that
            returns a new layer or `None`. Without one the variant cannot make a
            layer, but says what a record knows of it.

    Raises:
        ValueError: If a value is not as described, or does not belong to the method.

    Example:

    >>> Variant("dropblock", block_size=7, keep_prob=0.9).name
    'dropblock-7-0.9'
    """

    method: str = "none"
    block_size: int | tuple[int, int] | None = None
    keep_prob: float | None = None
    rate: float | None = None
    gamma: str | None = None
    per_channel: bool | None = None
    label: str | None = None
    color: str | None = None
    factory: Callable | None = None

    def __post_init__(self):
        if self.method not in METHODS:
            raise invalid("method", f"one of {', '.join(METHODS)}", self.method)
        if self.method == "dropblock":
            self._check_drop_block()
        elif self.method in _LAYERS:
            self._refuse("block_size", "keep_prob", "gamma", "per_channel", "factory")
            rate = self.rate
            is_number = isinstance(rate, numbers.Real) and not isinstance(rate, bool)
            if not (is_number and 0 <= rate < 1):
                raise invalid("rate", "a float in [0, 1)", rate)
            self._set("rate", abs(float(rate)))  # -0.0 has a name of its own
        elif self.method == "none":
            self._refuse(
                "block_size", "keep_prob", "rate", "gamma", "per_channel", "factory"
            )
        elif self.factory is not None and not callable(self.factory):
            raise invalid("factory", f"{_FACTORY}, or None", self.factory)

    def _check_drop_block(self):
        self._refuse("rate", "factory")
        sides = check_sides("block_size", self.block_size)
        self._set("block_size", sides[0] if sides[0] == sides[1] else sides)
        self._set("keep_prob", check_keep_prob(self.keep_prob))
        gamma = "paper" if self.gamma is None else self.gamma
        self._set("gamma", check_gamma_rule(gamma))
        if self.per_channel is None:
            self._set("per_channel", True)
        if not isinstance(self.per_channel, bool):
            raise invalid("per_channel", "True or False", self.per_channel)

    def _set(self, field, value):
        object.__setattr__(self, field, value)

    def _refuse(self, *fields):
        for field in fields:
            if getattr(self, field) is not None:
                raise invalid(
                    field, f"None for the method {self.method!r}", getattr(self, field)
                )

    def __call__(
        self, name: str | None = None, seed: int | None = None
    ) -> "keras.Layer | None":
        """A new layer, not built yet; `None` where nothing is to be dropped."""
        if self.method == "custom":
            if self.factory is None:
                # That of a record: its numbers say little of what the layer did.
                raise invalid("factory", _FACTORY, self.factory)
            return self.factory(name=name, seed=seed)
        if self.method == "none":
            return None
        if self.method == "dropblock":
            return DropBlock2D(
                self.block_size,
                self.keep_prob,
                gamma=self.gamma,
                per_channel=self.per_channel,
                seed=seed,
                name=name,
            )
        return _LAYERS[self.method](self.rate, seed=seed, name=name)

    @property
    def name(self) -> str | None:
        """The short name, which follows from the numbers; `None` if custom."""
        if self.method in ("none", "custom"):
            return None if self.method == "custom" else "none"
        if self.method in _LAYERS:
            return f"{self.method}-{_exactly(self.rate)}"
        parts = ["dropblock", _sides(self.block_size), _exactly(self.keep_prob)]
        return "-".join([*parts, *self._endings()])

    @property
    def title(self) -> str | None:
        """What tables and figures call it."""
        if self.label or self.method == "custom":
            return self.label
        if self.method == "none":
            return "plain"
        if self.method in _TITLES:
            return f"{_TITLES[self.method]} {self.rate:g}"
        numbers = f"DropBlock {_sides(self.block_size)}/{self.keep_prob:g}"
        return ", ".join([numbers, *self._endings()])

    def _endings(self):
        endings = []
        if self.gamma == "exact":
            endings.append("exact")
        if not self.per_channel:
            endings.append("shared")
        return endings

    def numbers(self) -> dict:
        """What defines the variant, as plain values, for recipes and records."""
        fields = ("block_size", "keep_prob", "rate", "gamma", "per_channel")
        values = {field: getattr(self, field) for field in fields}
        if isinstance(self.block_size, tuple):
            values["block_size"] = list(self.block_size)
        known = {field: value for field, value in values.items() if value is not None}
        return {"method": self.method, **known}

    @classmethod
    def of_numbers(cls, numbers: dict) -> "Variant":
        """The variant of `numbers`, without label, color or factory."""
        values = dict(numbers)
        if isinstance(values.get("block_size"), list):
            values["block_size"] = tuple(values["block_size"])
        return cls(**values)


# The number of "dropout" and "spatial" is the rate, the fraction that is dropped;
# the last one of "dropblock" is keep_prob, the fraction that is kept. That is how
# the slides name them: SpatialDropout(0.7) drops 70% of the channels.
# A value may also be a function `factory(name=None, seed=None)` of your own that
# returns a new layer.
VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant("none"),
        Variant("dropout", rate=0.25),
        Variant("spatial", rate=0.7),
        Variant("spatial", rate=0.3),
        Variant("dropblock", block_size=3, keep_prob=0.9),
        Variant("dropblock", block_size=7, keep_prob=0.9),
        Variant("dropblock", block_size=7, keep_prob=0.7),
        Variant("dropblock", block_size=3, keep_prob=0.7),
    )
}

# What tables and figures call the variants of the slides.
LABELS: dict[str, str] = {name: variant.title for name, variant in VARIANTS.items()}

_NUMBER = r"(0(?:\.\d+)?|1)"
_RATE_NAME = re.compile(rf"(dropout|spatial)-{_NUMBER}")
_DROP_BLOCK_NAME = re.compile(
    rf"dropblock-(\d+)(?:x(\d+))?-{_NUMBER}(-exact)?(-shared)?"
)


def get_variant(variant: "str | Variant | Callable") -> Variant:
    """The variant of a name.

    Args:
        variant: A key of `VARIANTS`, another name of the form that this module
            describes, a `Variant`, or a function `factory(name=None, seed=None)`
            that returns a new layer.

    Returns:
        A `Variant`, which is itself a function `factory(name=None, seed=None)`: it
        returns a new layer that is not built, or `None` for the variant "none".

    Raises:
        ValueError: If there is no such variant.

    Example:

    >>> get_variant("dropblock-3-0.9")(name="drop1", seed=0).name
    'drop1'
    >>> get_variant("dropblock-5-0.8-exact").gamma
    'exact'
    """
    if isinstance(variant, Variant):
        return variant
    if callable(variant):
        return _custom(variant)
    if isinstance(variant, str):
        if variant in VARIANTS:
            return get_variant(VARIANTS[variant])
        found = _parse(variant)
        # One variant has one name: "dropout-0.250" would be a second.
        if found is not None and found.name == variant:
            return found
    raise ValueError(
        "Invalid value received for argument `variant`. Expected one of "
        f"{', '.join(VARIANTS)}, or a name of that form, such as "
        f"dropblock-5-0.8-exact. Received: variant={variant!r}"
    )


def variant_title(variant: str) -> str:
    """What tables and figures call a variant; its name where nothing else is known."""
    try:
        return get_variant(variant).title or variant
    except ValueError:
        # A record of somebody else's variant, whose module is not imported.
        return variant


def variant_order(variant: str):
    """A sorting key: registered variants in their order, then others by name."""
    names = list(VARIANTS)
    if variant in names:
        return (names.index(variant), 0, 0.0, variant)
    try:
        found = get_variant(variant)
    except ValueError:
        return (len(names) + 1, 0, 0.0, variant)
    block = found.block_size
    block = max(block) if isinstance(block, tuple) else block or 0
    dropped = 1 - found.keep_prob if found.method == "dropblock" else found.rate or 0
    return (len(names), block, dropped, variant)


def _parse(name):
    rate = _RATE_NAME.fullmatch(name)
    if rate and float(rate[2]) < 1:
        return Variant(rate[1], rate=float(rate[2]))
    block = _DROP_BLOCK_NAME.fullmatch(name)
    if block and float(block[3]) > 0 and int(block[1]) and int(block[2] or 1):
        height = int(block[1])
        return Variant(
            "dropblock",
            block_size=(height, int(block[2])) if block[2] else height,
            keep_prob=float(block[3]),
            gamma="exact" if block[4] else "paper",
            per_channel=not block[5],
        )
    return None


def _custom(factory):
    """A variant around a function, with the numbers of the layer that it makes."""
    # With a name and a seed the layer takes no number from those that Keras counts
    # or draws, so that asking for a title or a color changes no experiment.
    try:
        layer = factory(name="probe", seed=0)
    except TypeError as error:
        raise ValueError(
            f"{invalid('variant', _FACTORY, factory)} ({error})"
        ) from error
    if layer is not None and not isinstance(layer, keras.layers.Layer):
        raise invalid("variant", _FACTORY, factory)
    numbers = {
        field: getattr(layer, field)
        for field in ("block_size", "keep_prob", "rate", "gamma", "per_channel")
        if _is_plain(getattr(layer, field, None))
    }
    return Variant("custom", factory=factory, **numbers)


def _is_plain(value):
    parts = value if isinstance(value, tuple) else (value,)
    return all(isinstance(part, (int, float, str)) for part in parts)
