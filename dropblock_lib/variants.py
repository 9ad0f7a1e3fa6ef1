"""The regularizers that the experiments compare, as rows of data.

The name of a variant, such as "dropblock-7-0.9-exact", gives its numbers:

    none
    dropout-RATE                      fraction of units to drop
    spatial-RATE                      fraction of channels to drop
    dropblock-BLOCK-KEEP_PROB         side of a block in units, fraction to keep
        -exact                        gamma by the exact rule instead of the paper's
        -shared                       one mask for all channels of a sample

As on the slides, the number is the dropped fraction for Dropout and SpatialDropout, and
the kept fraction for DropBlock. Any name of this form can be used. `VARIANTS` has the
variants of the slides; register your own there.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from dropblock_lib.arguments import (
    check_boolean,
    check_choice,
    check_float,
    check_gamma_rule,
    check_keep_prob,
    check_sides,
    invalid,
)
from dropblock_lib.layers import DropBlock2D

_NUMBERS = ("block_size", "keep_prob", "rate", "gamma", "per_channel")
_FIELDS = {
    "none": (),
    "dropout": ("rate",),
    "spatial": ("rate",),
    "dropblock": ("block_size", "keep_prob", "gamma", "per_channel"),
    "custom": (*_NUMBERS, "factory"),
}
_TITLES = {"dropout": "Dropout", "spatial": "SpatialDropout"}
_FACTORY = "a function factory(name=None, seed=None) that returns a new layer or None"


def _decimal(number):
    """The shortest decimal that reads back as this number, without an exponent."""
    return np.format_float_positional(number, trim="-")


@dataclasses.dataclass(frozen=True)
class Variant:
    """A regularizer, defined by its numbers.

    A variant is also a factory: calling it returns a new layer, so that each place in
    a network has its own layer, with its own name, random seed and `keep_prob`.
    `insert_after` and every network of `dropblock_lib.models` take it.

    Args:
        method: "none", "dropout", "spatial" or "dropblock"; "custom" for a factory of
            your own.
        block_size: For DropBlock: side of a block in units, or a pair
            (height, width).
        keep_prob: For DropBlock: the nominal fraction of units to keep, in (0, 1].
        rate: For Dropout and SpatialDropout: the fraction to drop, in [0, 1).
        gamma: For DropBlock: "paper" or "exact".
        per_channel: For DropBlock: whether each channel gets its own mask.
        label: Its title in tables and figures. By default it follows from the numbers.
        color: Its color in figures, such as "#CC3311". By default it follows from the
            method and the block size.
        factory: For a custom variant: a function `factory(name=None, seed=None)` that
            returns a new layer or `None`. A custom variant without one, as read from
            a record, has numbers but makes no layers.

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
    factory: Callable[..., Any] | None = None

    def __post_init__(self):
        check_choice("method", self.method, _FIELDS)
        for field in (*_NUMBERS, "factory"):
            value = getattr(self, field)
            if value is not None and field not in _FIELDS[self.method]:
                raise invalid(field, f"None for the method {self.method!r}", value)
        if self.method in _TITLES:
            # `abs`, because -0.0 would get a different name.
            self._set("rate", abs(check_float("rate", self.rate, "[0, 1)")))
        elif self.method == "dropblock":
            height, width = check_sides("block_size", self.block_size)
            self._set("block_size", height if height == width else (height, width))
            self._set("keep_prob", check_keep_prob(self.keep_prob))
            gamma = "paper" if self.gamma is None else self.gamma
            self._set("gamma", check_gamma_rule(gamma))
            per_channel = True if self.per_channel is None else self.per_channel
            self._set("per_channel", check_boolean("per_channel", per_channel))
        elif self.factory is not None and not callable(self.factory):
            raise invalid("factory", f"{_FACTORY}, or None", self.factory)

    def _set(self, field, value):
        object.__setattr__(self, field, value)

    def __call__(
        self, name: str | None = None, seed: int | None = None
    ) -> keras.Layer | None:
        """Returns a new, unbuilt layer, or `None` for no regularizer."""
        if self.method == "custom":
            if self.factory is None:
                raise invalid("factory", _FACTORY, self.factory)
            return self.factory(name=name, seed=seed)
        if self.method == "none":
            return None
        if self.method == "dropout":
            return keras.layers.Dropout(self.rate, seed=seed, name=name)
        if self.method == "spatial":
            return keras.layers.SpatialDropout2D(self.rate, seed=seed, name=name)
        numbers = {field: getattr(self, field) for field in _FIELDS["dropblock"]}
        return DropBlock2D(**numbers, seed=seed, name=name)

    @property
    def name(self) -> str | None:
        """The short name, which follows from the numbers; `None` if custom."""
        if self.method in ("none", "custom"):
            return None if self.method == "custom" else "none"
        if self.method in _TITLES:
            return f"{self.method}-{_decimal(self.rate)}"
        numbers = f"dropblock-{self._sides()}-{_decimal(self.keep_prob)}"
        return "-".join([numbers, *self._endings()])

    @property
    def title(self) -> str | None:
        """The label, or else a title that follows from the numbers."""
        if self.label or self.method == "custom":
            return self.label
        if self.method == "none":
            return "plain"
        if self.method in _TITLES:
            return f"{_TITLES[self.method]} {self.rate:g}"
        numbers = f"DropBlock {self._sides()}/{self.keep_prob:g}"
        return ", ".join([numbers, *self._endings()])

    def _sides(self):
        sides = self.block_size
        return "x".join(map(str, sides)) if isinstance(sides, tuple) else str(sides)

    def _endings(self):
        exact = ["exact"] if self.gamma == "exact" else []
        return exact if self.per_channel else [*exact, "shared"]

    def numbers(self) -> dict[str, Any]:
        """The values that define the variant, in JSON's types, for records."""
        values = {field: getattr(self, field) for field in _NUMBERS}
        if isinstance(self.block_size, tuple):
            values["block_size"] = list(self.block_size)
        known = {field: value for field, value in values.items() if value is not None}
        return {"method": self.method, **known}

    @classmethod
    def of_numbers(cls, numbers: dict[str, Any]) -> "Variant":
        """Makes a variant from `numbers`, without label, color and factory."""
        known = ("method", *_NUMBERS)
        if not set(numbers) <= set(known):
            expected = f"a dictionary with keys among {', '.join(known)}"
            raise invalid("numbers", expected, numbers)
        block_size = numbers.get("block_size")
        if isinstance(block_size, list):
            numbers = {**numbers, "block_size": tuple(block_size)}
        return cls(**numbers)


# A value may also be a function `factory(name=None, seed=None)` of your own.
VARIANTS: dict[str, Any] = {
    str(variant.name): variant
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


def get_variant(variant: str | Variant | Callable[..., Any]) -> Variant:
    """Looks up a variant.

    Args:
        variant: A key of `VARIANTS`, another name of the form that this module
            describes, a `Variant`, or a function `factory(name=None, seed=None)`
            that returns a new layer.

    Returns:
        A `Variant`, which is itself a function `factory(name=None, seed=None)`: it
        returns a new, unbuilt layer, or `None` for no regularizer.

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
        # A variant has one name: "dropout-0.250" would be a second.
        if found is not None and found.name == variant:
            return found
    names = ", ".join(VARIANTS)
    expected = f"one of {names}, or a name of that form, such as dropblock-5-0.8-exact"
    raise invalid("variant", expected, variant)


def variant_title(variant: str) -> str:
    """The title of a variant in tables and figures; its name if it has none."""
    try:
        return get_variant(variant).title or variant
    except ValueError:
        # A record's variant may be registered in a module that is not imported.
        return variant


def variant_order(variant: str) -> tuple[int, int, float, str]:
    """Returns a sorting key: registered variants first, others by their numbers."""
    names = list(VARIANTS)
    if variant in names:
        return (names.index(variant), 0, 0.0, variant)
    try:
        found = get_variant(variant)
    except ValueError:
        return (len(names) + 1, 0, 0.0, variant)
    block = found.block_size or 0
    dropped = found.rate or 0.0 if found.keep_prob is None else 1 - found.keep_prob
    block = max(block) if isinstance(block, tuple) else block
    return (len(names), block, dropped, variant)


def _parse(name):
    """Parses a variant's name, with its numbers in any spelling; `None` if invalid."""
    method, *parts = name.split("-")
    try:
        if method in _TITLES:
            [rate] = parts
            return Variant(method, rate=float(rate))
        if method == "dropblock":
            block_size, keep_prob, *endings = parts
            sides: Any = tuple(map(int, block_size.split("x")))
            return Variant(
                method,
                block_size=sides[0] if len(sides) == 1 else sides,
                keep_prob=float(keep_prob),
                gamma="exact" if "exact" in endings else "paper",
                per_channel="shared" not in endings,
            )
    except ValueError:
        pass
    return None


def _custom(factory):
    """A variant around a function, with the numbers of the layer that it makes."""
    # With a name and a seed, the layer uses none of Keras' counters and random numbers,
    # so looking up a variant changes no experiment.
    try:
        layer = factory(name="probe", seed=0)
    except TypeError as error:
        message = f"{invalid('variant', _FACTORY, factory)} ({error})"
        raise ValueError(message) from error
    if layer is not None and not isinstance(layer, keras.layers.Layer):
        raise invalid("variant", _FACTORY, factory)
    numbers = {field: getattr(layer, field, None) for field in _NUMBERS}
    plain = {field: value for field, value in numbers.items() if _is_plain(value)}
    return Variant("custom", factory=factory, **plain)


def _is_plain(value):
    parts = value if isinstance(value, tuple) else (value,)
    return all(isinstance(part, (int, float, str)) for part in parts)
