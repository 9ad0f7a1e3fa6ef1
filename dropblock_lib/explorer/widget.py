"""MaskExplorer, the widget: its state, and what follows from it."""

import html
import json
import sys
from pathlib import Path

import numpy as np

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise ImportError(
        "MaskExplorer needs anywidget: pip install anywidget, "
        "or install the package with its extra `explorer`."
    ) from error

from dropblock_lib import masks
from dropblock_lib.arguments import check_gamma_rule, check_keep_prob, invalid
from dropblock_lib.explorer import pictures
from dropblock_lib.explorer.noise import noise
from dropblock_lib.explorer.still import still
from dropblock_lib.explorer.texts import WORDS
from dropblock_lib.palette import css

HERE = Path(__file__).parent
LARGEST_SIDE = 64
MOST_CHANNELS = 16
# What a notebook outside the book has instead of the book's two color schemes.
DARK = (
    'html[data-theme="dark"] .mask-explorer',
    'html[theme="dark"] .mask-explorer',
    '[data-jp-theme-light="false"] .mask-explorer',
    ".vscode-dark .mask-explorer",
)

START = {
    "method": "dropblock",
    "block_size": 5,
    "keep_prob": 0.8,
    "height": 24,
    "width": 24,
    "channels": 4,
    "per_channel": True,
    "gamma": "paper",
    "seed": 8,
    "picture": "star",
    "step": "scale",
    "channel": 0,
    "marks": True,
}
PRESETS = {
    "star": {"label": "a star", "state": START},
    "digit": {
        "label": "a digit",
        "state": START | {"picture": "digit", "height": 16, "width": 16},
    },
    # The noise of seed 50 puts the seeds where the slides have them.
    "slides": {
        "label": "5 x 5, by hand",
        "state": START
        | {
            "block_size": 3,
            "keep_prob": 0.9,
            "height": 5,
            "width": 5,
            "channels": 1,
            "seed": 50,
            "picture": "numbers",
        },
    },
    "stage": {
        "label": "a map of ResNet-50",
        "state": START
        | {
            "block_size": 7,
            "keep_prob": 0.9,
            "height": 14,
            "width": 14,
            "channels": 8,
            "picture": "ones",
        },
    },
}


def one_of(choices):
    def check(name, value):
        if not (isinstance(value, str) and value in choices):
            raise invalid(name, "one of " + ", ".join(map(repr, choices)), value)
        return value

    return check


def integer(low, high):
    def check(name, value):
        is_integer = isinstance(value, (int, np.integer)) and not isinstance(
            value, bool
        )
        if not (is_integer and low <= value <= high):
            raise invalid(name, f"an integer from {low} to {high}", value)
        return int(value)

    return check


def truth(name, value):
    if not isinstance(value, (bool, np.bool_)):
        raise invalid(name, "True or False", value)
    return bool(value)


CHECKS = {
    "method": one_of(tuple(WORDS["method"])),
    "block_size": integer(1, LARGEST_SIDE),
    "keep_prob": lambda name, value: check_keep_prob(value),
    "height": integer(1, LARGEST_SIDE),
    "width": integer(1, LARGEST_SIDE),
    "channels": integer(1, MOST_CHANNELS),
    "per_channel": truth,
    "gamma": lambda name, value: check_gamma_rule(value),
    "seed": integer(0, 2**32 - 1),
    "picture": one_of(tuple(pictures.PICTURES)),
    "step": one_of(tuple(WORDS["step"])),
    "channel": integer(0, MOST_CHANNELS - 1),
    "marks": truth,
}


def check_feature_map(values):
    """A feature map as an array (channels, height, width), or a `ValueError`."""
    array = np.asarray(values)
    array = array[..., None] if array.ndim == 2 else array
    fits = (
        array.ndim == 3
        and all(1 <= side <= LARGEST_SIDE for side in array.shape[:2])
        and 1 <= array.shape[2] <= MOST_CHANNELS
    )
    if not fits:
        expected = (
            f"an array (height, width) or (height, width, channels) with sides of 1 "
            f"to {LARGEST_SIDE} and up to {MOST_CHANNELS} channels"
        )
        raise invalid("feature_map", expected, array.shape)
    if not (array.dtype.kind in "biuf" and np.isfinite(array).all()):
        raise invalid("feature_map", "an array of finite numbers", values)
    return np.moveaxis(array.astype(float), -1, 0)


class MaskExplorer(anywidget.AnyWidget):
    """A feature map under DropBlock, to be moved by hand.

    In a notebook it is a widget: every argument below is also a trait, which can be
    read, assigned, observed and linked to other widgets. Without a kernel, on a page
    of the book, the same thing works by itself.

    The noise depends on `seed` and on the place of a unit alone. So it stays what it
    is while anything else changes: seeds appear as `keep_prob` falls, and blocks grow
    around them. Dropout is shown as DropBlock with blocks of one unit, SpatialDropout
    as DropBlock with a block of the whole map.

    Args:
        preset: `"star"`, `"digit"`, `"slides"` (the 5 x 5 example) or `"stage"` (the
            size of a stage of ResNet-50): where to start.
        feature_map: Array (height, width) or (height, width, channels) of your own to
            lie under the mask, with sides of up to 64 and up to 16 channels; it then
            sets `height`, `width` and `channels`. By default a picture.
        method: `"dropblock"`, `"dropout"` or `"spatial"`.
        block_size: Integer from 1 to 64, side of a block in pixels.
        keep_prob: Float in (0, 1]. Nominal fraction of units to keep.
        height: Integer from 1 to 64, height of the map in pixels.
        width: Integer from 1 to 64, width of the map in pixels.
        channels: Integer from 1 to 16.
        per_channel: Whether every channel has a mask of its own.
        gamma: `"paper"` or `"exact"`.
        seed: Integer in [0, 2^32), of the noise.
        picture: `"star"`, `"digit"`, `"numbers"` or `"ones"`: what lies under the
            mask.
        step: `"map"`, `"seeds"`, `"blocks"`, `"drop"` or `"scale"`: how far Algorithm
            1 has come.
        channel: Integer, the channel that is shown large, counted from 0.
        marks: Whether seeds and the valid seed region are marked.

    Raises:
        ValueError: If an argument is not of the form above, now or when it is
            assigned.
        TypeError: If there is no such argument.
        ImportError: If anywidget is not installed.

    Example:

    >>> explorer = MaskExplorer("slides")
    >>> int(explorer.keep_mask.sum())
    13
    >>> explorer.keep_prob = 0.5
    """

    STATE = tuple(START)

    _esm = HERE / "explorer.js"
    _css = css(".mask-explorer", ", ".join(DARK)) + (HERE / "explorer.css").read_text()
    # ipywidgets 7 would display through this and never ask for `_repr_mimebundle_`.
    _ipython_display_ = None

    method = traitlets.Any(START["method"]).tag(sync=True)
    block_size = traitlets.Any(START["block_size"]).tag(sync=True)
    keep_prob = traitlets.Any(START["keep_prob"]).tag(sync=True)
    height = traitlets.Any(START["height"]).tag(sync=True)
    width = traitlets.Any(START["width"]).tag(sync=True)
    channels = traitlets.Any(START["channels"]).tag(sync=True)
    per_channel = traitlets.Any(START["per_channel"]).tag(sync=True)
    gamma = traitlets.Any(START["gamma"]).tag(sync=True)
    seed = traitlets.Any(START["seed"]).tag(sync=True)
    picture = traitlets.Any(START["picture"]).tag(sync=True)
    step = traitlets.Any(START["step"]).tag(sync=True)
    channel = traitlets.Any(START["channel"]).tag(sync=True)
    marks = traitlets.Any(START["marks"]).tag(sync=True)

    # What the script needs beside the state, so that it stands in one language.
    _pictures = traitlets.Dict(pictures.PICTURES).tag(sync=True)
    _presets = traitlets.Dict(PRESETS).tag(sync=True)
    _words = traitlets.Dict(WORDS).tag(sync=True)
    _values = traitlets.Any(None, allow_none=True).tag(sync=True)

    def __init__(self, preset="star", *, feature_map=None, **state):
        one_of(tuple(PRESETS))("preset", preset)
        unknown = sorted(set(state) - set(CHECKS))
        if unknown:
            raise TypeError(
                f"MaskExplorer has no argument `{unknown[0]}`. "
                f"Expected one of preset, feature_map, {', '.join(CHECKS)}."
            )
        state = PRESETS[preset]["state"] | state
        # The sizes that a feature map of the user's own has, and no others fit.
        self._given = {}
        if feature_map is not None:
            values = check_feature_map(feature_map)
            names = ("channels", "height", "width")
            self._given = dict(zip(names, values.shape, strict=True))
            state |= self._given
            # Four digits are more than a shade shows, and a page carries them all.
            state["_values"] = [
                [float(f"{value:.4g}") for value in channel.flat] for channel in values
            ]
        # In the order of the checks, so that nothing is set where one fails.
        for name, check in CHECKS.items():
            state[name] = check(name, state[name])
        super().__init__(**state)

    @traitlets.validate(*CHECKS)
    def _check(self, proposal):
        name = proposal["trait"].name
        value = CHECKS[name](name, proposal["value"])
        if value != self._given.get(name, value):
            raise invalid(name, f"{self._given[name]}, as `feature_map` has", value)
        return value

    # === What follows from the state ===

    @property
    def block(self):
        """Height and width of a block in pixels, clipped to the map."""
        if self.method == "dropout":
            return 1, 1
        if self.method == "spatial":
            return self.height, self.width
        return min(self.block_size, self.height), min(self.block_size, self.width)

    @property
    def seeds(self):
        """Where seeds stand: boolean array (height, width, channels)."""
        return self._channels_last(self._seeds())

    @property
    def keep_mask(self):
        """Array (height, width, channels) of int8: 0 where dropped, 1 where kept."""
        return self._channels_last(self._keep_mask())

    @property
    def values(self):
        """The feature map under the mask: float array (height, width, channels)."""
        return np.moveaxis(self._feature_map(), 0, -1)

    @property
    def result(self):
        """What the layer returns for `values`: float array of the same shape."""
        return np.where(self.keep_mask, self.values * self.readouts["scale"], 0)

    @property
    def readouts(self):
        """Dictionary of floats, as the explorer shows them.

        `gamma`; `nominal`, `expected` and `realized`, the fraction of units dropped as
        asked for, in expectation, and by this mask; and `scale`.
        """
        size = (self.height, self.width)
        probability = self._gamma()
        keep_mask = self._keep_mask()
        kept = np.count_nonzero(keep_mask)
        return {
            "gamma": probability,
            "nominal": 1 - self.keep_prob,
            "expected": masks.expected_drop_rate(probability, self.block, size),
            "realized": 1 - kept / keep_mask.size,
            "scale": keep_mask.size / max(kept, 1),
        }

    def _gamma(self):
        rule = {"paper": masks.gamma, "exact": masks.exact_gamma}[self.gamma]
        return rule(self.keep_prob, self.block, (self.height, self.width))

    def _seeds(self):
        """Boolean array (masks, height, width) on the map."""
        field = noise(
            self.seed,
            self.channels if self.per_channel else 1,
            self.height,
            self.width,
        )
        seeds = np.zeros(field.shape, bool)
        valid = (..., *self._valid())
        seeds[valid] = field[valid] < self._gamma()
        return seeds

    def _valid(self):
        """Slices of the map that the valid seed region takes."""
        size = (self.height, self.width)
        shape = masks.seed_shape(self.block, size)
        starts = [side // 2 for side in self.block]
        return tuple(
            slice(start, start + length)
            for start, length in zip(starts, shape, strict=True)
        )

    def _keep_mask(self):
        seeds = 1 - self._seeds()[(..., *self._valid())].astype("int8")
        return masks.expand_seeds(seeds, self.block, (self.height, self.width))

    def _feature_map(self):
        """Float array (channels, height, width)."""
        shape = (self.height, self.width)
        if self._values is not None:
            return np.array(self._values).reshape(self.channels, *shape)
        picture = pictures.PICTURES[self.picture]
        return pictures.feature_map(picture, *shape, self.channels)

    def _channels_last(self, of_masks):
        shape = (self.channels, self.height, self.width)
        return np.moveaxis(np.broadcast_to(of_masks, shape), 0, -1)

    # === How it is shown ===

    def _repr_mimebundle_(self, **kwargs):
        if self.comm is None:
            return {"text/plain": repr(self)}
        bundle = super()._repr_mimebundle_(**kwargs)
        # Colab would show the page's version instead of the widget.
        if bundle is None or "google.colab" in sys.modules:
            return bundle
        data, metadata = bundle
        return {**data, "text/html": self.page_html()}, metadata

    # Not named _repr_html_, which IPython would ask for in Colab as well.
    def page_html(self):
        """HTML for a page without a kernel: a picture, which explorer.js wakes."""
        names = [*CHECKS, "_pictures", "_presets", "_words", "_values"]
        state = json.dumps({name: getattr(self, name) for name in names})
        return (
            f'<div class="mask-explorer" data-mask-explorer="{html.escape(state)}">'
            f"{still(self)}</div>"
        )
