"""MaskExplorer, the widget."""

import html
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise ImportError(
        "MaskExplorer needs anywidget: pip install anywidget, "
        "or install the package with its extra `explorer`."
    ) from error

from dropblock_lib.arguments import check_choice, invalid
from dropblock_lib.explorer import pictures
from dropblock_lib.explorer.result import block_of, compute
from dropblock_lib.explorer.state import (
    CHECKS,
    PRESETS,
    START,
    TRIES,
    check_feature_map,
)
from dropblock_lib.explorer.still import still
from dropblock_lib.explorer.texts import TEXTS
from dropblock_lib.palette import css

HERE = Path(__file__).parent
# Selectors of dark notebooks outside the book.
DARK = (
    'html[data-theme="dark"] .mask-explorer',
    'html[theme="dark"] .mask-explorer',
    '[data-jp-theme-light="false"] .mask-explorer',
    ".vscode-dark .mask-explorer",
)


class _InvalidValueError(ValueError, traitlets.TraitError):
    """An invalid value. Traitlets restores all traits that were set with it."""


class _Checked(traitlets.TraitType):
    """A trait that checks each value, even while notifications are held back."""

    def validate(self, obj, value):
        name: Any = self.name
        try:
            value = CHECKS[name](name, value)
            given = obj._given.get(name, value)
            if value != given:
                raise invalid(name, f"{given}, as in `feature_map`", value)
        except ValueError as error:
            raise _InvalidValueError(str(error)) from None
        return value


class MaskExplorer(anywidget.AnyWidget):
    """An interactive feature map under DropBlock.

    In a notebook it is a widget: every argument but the first two is also a trait,
    which can be read, assigned, observed and linked to other widgets. On a page of
    the book it works without a kernel.

    The noise depends only on `seed` and on the position of a unit, so it stays the
    same while anything else changes: seeds appear as `keep_prob` falls, and blocks
    grow around them. Dropout is shown as DropBlock with blocks of one unit,
    SpatialDropout as DropBlock with a block of the whole map; both scale by
    1 / keep_prob, as in Keras.

    Args:
        preset: Where to start: `"photo"`, `"star"`, `"digit"`, `"slides"` (the 5 x 5
            example) or `"stage"` (the size of a late map of ResNet-50).
        feature_map: Array (height, width) or (height, width, channels) whose units
            are dropped, with sides of up to 64 and up to 16 channels; it sets `height`,
            `width` and `channels`. By default, the map is computed from `picture`.
        method: `"dropblock"`, `"dropout"` or `"spatial"`.
        block_size: Integer from 1 to 64, side of a block in units.
        keep_prob: Float in (0, 1]. Nominal fraction of units to keep.
        height: Integer from 1 to 64, height of the map in units.
        width: Integer from 1 to 64, width of the map in units.
        channels: Integer from 1 to 16.
        per_channel: Whether each channel gets its own mask.
        gamma: `"paper"` or `"exact"`.
        seed: Random seed of the noise, an integer in [0, 2^32).
        picture: Picture that the feature map is computed from: `"cat"`, `"star"`,
            `"digit"`, `"numbers"` or `"ones"`.
        step: Step of Algorithm 1 to show: `"map"`, `"seeds"`, `"blocks"`, `"drop"` or
            `"scale"`.
        channel: Integer, the channel that is shown large, counted from 0.
        marks: Whether seeds and the valid seed region are marked.
        compare: Whether all three methods are shown, side by side.

    Raises:
        ValueError: If an argument is invalid, or an invalid value is assigned later.
        TypeError: If an argument is unknown.
        ImportError: If anywidget is not installed.

    Example:

    >>> explorer = MaskExplorer("slides")
    >>> int(explorer.keep_mask.sum())
    13
    >>> explorer.keep_prob = 0.5
    """

    STATE = tuple(CHECKS)

    _esm = HERE / "explorer.js"
    _css = css(".mask-explorer", ", ".join(DARK)) + (HERE / "explorer.css").read_text()
    # ipywidgets 7 would display through this and never ask for `_repr_mimebundle_`.
    _ipython_display_ = None

    method = _Checked(START["method"]).tag(sync=True)
    block_size = _Checked(START["block_size"]).tag(sync=True)
    keep_prob = _Checked(START["keep_prob"]).tag(sync=True)
    height = _Checked(START["height"]).tag(sync=True)
    width = _Checked(START["width"]).tag(sync=True)
    channels = _Checked(START["channels"]).tag(sync=True)
    per_channel = _Checked(START["per_channel"]).tag(sync=True)
    gamma = _Checked(START["gamma"]).tag(sync=True)
    seed = _Checked(START["seed"]).tag(sync=True)
    picture = _Checked(START["picture"]).tag(sync=True)
    step = _Checked(START["step"]).tag(sync=True)
    channel = _Checked(START["channel"]).tag(sync=True)
    marks = _Checked(START["marks"]).tag(sync=True)
    compare = _Checked(START["compare"]).tag(sync=True)

    # Constants that the script shares with Python.
    _pictures = traitlets.Dict(pictures.PICTURES).tag(sync=True)
    _presets = traitlets.Dict(PRESETS).tag(sync=True)
    _tries = traitlets.List(TRIES).tag(sync=True)
    _texts = traitlets.Dict(TEXTS).tag(sync=True)
    _values = traitlets.Any(None, allow_none=True).tag(sync=True)

    def __init__(
        self, preset: str = "photo", *, feature_map: Any = None, **state: Any
    ) -> None:
        check_choice("preset", preset, PRESETS)
        unknown = sorted(set(state) - set(CHECKS))
        if unknown:
            raise TypeError(
                f"MaskExplorer has no argument `{unknown[0]}`. "
                f"Expected one of preset, feature_map, {', '.join(CHECKS)}."
            )
        state = START | PRESETS[preset]["state"] | state
        # Sizes that the user's own feature map fixes.
        self._given = {}
        if feature_map is not None:
            values = check_feature_map(feature_map)
            names = ("channels", "height", "width")
            self._given = dict(zip(names, values.shape, strict=True))
            state |= self._given
            # Four significant digits, because the page contains every value.
            state["_values"] = [
                [float(f"{value:.4g}") for value in channel.flat] for channel in values
            ]
        # Checked before anything is set.
        for name, check in CHECKS.items():
            state[name] = check(name, state[name])
        super().__init__(**state)

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Sets the state that a page sends; if it is invalid, sends ours back."""
        try:
            super().set_state(sync_data)
        except ValueError:
            self.send_state()
            raise

    # === Computed from the state ===

    @property
    def block(self) -> tuple[int, int]:
        """Height and width of a block in units, clipped to the map."""
        return block_of(self, self.method)

    @property
    def seeds(self) -> np.ndarray:
        """Boolean array (height, width, channels): True at each seed."""
        return self._channels_last(self._result().seeds)

    @property
    def keep_mask(self) -> np.ndarray:
        """Array (height, width, channels) of int8: 0 where dropped, 1 where kept."""
        return self._channels_last(self._result().keep_mask)

    @property
    def values(self) -> np.ndarray:
        """Float array (height, width, channels): the feature map before dropping."""
        return np.moveaxis(self._feature_map(), 0, -1)

    @property
    def result(self) -> np.ndarray:
        """Float array (height, width, channels): the layer's output for `values`."""
        return np.where(self.keep_mask, self.values * self.readouts["scale"], 0)

    @property
    def readouts(self) -> dict[str, float]:
        """The numbers that the explorer shows.

        `gamma`; `scale`; and the dropped fraction of units: `nominal`, `expected` and
        `realized` by this mask.
        """
        return self._result().readouts

    def _result(self, method=None):
        return compute(self, method or self.method)

    def _feature_map(self):
        """Float array (channels, height, width)."""
        shape = (self.height, self.width)
        if self._values is not None:
            return np.array(self._values).reshape(self.channels, *shape)
        picture = pictures.PICTURES[self.picture]
        return pictures.feature_map(picture, *shape, self.channels)

    def _channels_last(self, per_mask):
        shape = (self.channels, self.height, self.width)
        return np.moveaxis(np.broadcast_to(per_mask, shape), 0, -1)

    # === Display ===

    def _repr_mimebundle_(self, **kwargs):
        if self.comm is None:
            return {"text/plain": repr(self)}
        bundle = super()._repr_mimebundle_(**kwargs)
        # Colab would show the HTML instead of the widget.
        if bundle is None or "google.colab" in sys.modules:
            return bundle
        data, metadata = bundle
        return {**data, "text/html": self.page_html()}, metadata

    # Not named _repr_html_, which IPython would call in Colab as well.
    def page_html(self) -> str:
        """HTML for a page: a still picture, which explorer.js makes interactive."""
        names = [*self.STATE, "_pictures", "_presets", "_tries", "_texts", "_values"]
        state = json.dumps({name: getattr(self, name) for name in names})
        return (
            f'<div class="mask-explorer" data-mask-explorer="{html.escape(state)}">'
            f"{still(self)}</div>"
        )
