"""A report of what each layer of a model drops, and whether it drops at all."""

import contextlib
import dataclasses
import html
import math
import re
import sys
from collections import Counter
from typing import Any

import keras
import numpy as np
from keras import ops

from dropblock_lib import masks
from dropblock_lib.arguments import invalid
from dropblock_lib.layers import BaseDropBlock

_SPATIAL = (
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)
_DROPPING = (
    BaseDropBlock,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
    *_SPATIAL,
)

# The model is called in training mode until each layer should have dropped
# `_ENOUGH_BLOCKS` blocks (units for Dropout), but at most `_MOST_CALLS` times.
_ENOUGH_BLOCKS = 100
_MOST_CALLS = 32
# A layer expected to drop 14 blocks drops none with probability exp(-14), about 1e-6.
_NOT_BY_CHANCE = 14
_STANDARD_ERRORS = 5
_NOMINAL_TOLERANCE = 0.1
# A schedule within this fraction of its final rate counts as finished: one that counts
# steps may end a step short.
_END_TOLERANCE = 0.05
# A smaller keep_prob was probably meant as a drop rate.
_SMALLEST_KEEP_PROB = 0.3

_NONE_DROPS = (
    "the model contains no layer that drops. Add DropBlock2D to it, or use "
    "insert_after."
)
_FROZEN = (
    "normalization is frozen after a layer that drops. Its moving mean and variance "
    "come from maps without dropped units. Set trainable=True, or put the layers that "
    "drop after the frozen part."
)


@dataclasses.dataclass(frozen=True)
class InspectedLayer:
    """What one layer drops: a row of `Inspection`.

    Attributes:
        path: Names of the enclosing models and layers, then of the layer itself, such
            as `"backbone/stage2/drop_block_3"`.
        kind: Name of its class.
        maps: Tuple of the distinct shapes of its inputs, each `(*sides, channels)`,
            with None for an unknown size. Empty if no input is known.
        block: Sides of a block after clipping to the map. None if the layer is not a
            DropBlock layer.
        keep_prob: Its current `keep_prob`. None if the layer is not a DropBlock layer.
        gamma: Probability of a seed by the layer's rule, on its first map, or None.
        expected_rate: Expected fraction of dropped units, or None if the map is
            unknown. `GaussianDropout` multiplies units by noise: its rates are
            fractions of changed units.
        training_rate: Measured fraction of dropped units in training mode, or None.
        inference_rate: Measured fraction at inference, or None.
    """

    path: str
    kind: str
    maps: tuple[tuple[int | None, ...], ...] = ()
    block: tuple[int, ...] | None = None
    keep_prob: float | None = None
    gamma: float | None = None
    expected_rate: float | None = None
    training_rate: float | None = None
    inference_rate: float | None = None

    @property
    def name(self) -> str:
        """The layer's own name."""
        return self.path.rpartition("/")[2]

    @property
    def map(self) -> tuple[int | None, ...] | None:
        """Spatial sides of its first map, or None."""
        return self.maps[0][:-1] if self.maps else None

    @property
    def channels(self) -> int | None:
        """Channels of its first map, or None."""
        return self.maps[0][-1] if self.maps and self.maps[0] else None

    @property
    def share(self) -> tuple[float | None, ...] | None:
        """Fraction of each side of its first map that a block covers, or None."""
        if self.block is None or self.map is None:
            return None
        pairs = zip(self.block, self.map, strict=True)
        return tuple(None if side is None else block / side for block, side in pairs)

    def _cells(self):
        # A DropBlock layer is built on its first call, and then knows its map.
        unknown = "?" if self.block is None else "not called yet"
        block = "" if self.block is None else _times(self.block)
        if block and self.map:
            block += f" of {_times(self.map)}"
        return {
            "layer": self.path,
            "kind": self.kind,
            "map": ", ".join(map(_times, self.maps)) or unknown,
            "block": block,
            "keep_prob": _number(self.keep_prob, ".4g"),
            "gamma": _number(self.gamma, ".3g"),
            "expected": _number(self.expected_rate, ".2%"),
            "training": _number(self.training_rate, ".2%"),
            "inference": _number(self.inference_rate, ".2%"),
        }

    def _html(self):
        """Returns a few cells of several lines, because pages are narrow."""
        maps = ", ".join(map(_times, self.maps))
        block = "" if self.block is None else f"block {_times(self.block)}"
        lines = [self.path, self.kind, maps, block]
        layer = "<br>".join(html.escape(line) for line in lines if line)
        nominal = self.expected_rate if self.keep_prob is None else 1 - self.keep_prob
        rates = (self.training_rate, self.inference_rate)
        measured = " / ".join(_number(rate, ".1%") for rate in rates)
        if rates == (None, None):
            measured = "not called"
        return (
            # Lets a long path break.
            layer.replace("/", "/<wbr>").replace("_", "_<wbr>"),
            _number(nominal, ".1%"),
            _number(self.expected_rate, ".1%"),
            measured,
        )


@dataclasses.dataclass(frozen=True, repr=False)
class Inspection:
    """What the layers of a model drop. Print it, or display it in a notebook.

    Attributes:
        model: Name of the model.
        rows: Tuple of `InspectedLayer`, one for each layer that drops.
        warnings: Tuple of strings. Each names the layers, the fault and the fix.
            Empty if nothing is wrong.
    """

    model: str
    rows: tuple[InspectedLayer, ...]
    warnings: tuple[str, ...]

    def __str__(self):
        parts = [self._title()]
        if self.rows:
            header, *rows = self._table()
            widths = [
                max(map(len, column)) for column in zip(header, *rows, strict=True)
            ]
            for row in (header, ["-" * width for width in widths], *rows):
                cells = map(str.ljust, row, widths)
                parts.append("  ".join(cells).rstrip())
        parts += [f"Warning: {warning}" for warning in self.warnings]
        return "\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self):
        text = f"<p>{html.escape(self._title())}</p>"
        if self.rows:
            columns = ["layer", "nominal", "expected"]
            columns += ["training / inference"] if self._is_measured() else []
            text += "<table><thead><tr>"
            text += "".join(f'<th scope="col">{column}</th>' for column in columns)
            text += "</tr></thead><tbody>"
            for row in self.rows:
                cells = row._html()[: len(columns)]
                text += "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
            text += "</tbody></table>"
        if self.warnings:
            items = "".join(f"<li>{_code(html.escape(w))}</li>" for w in self.warnings)
            text += f"<p>Warnings:</p><ul>{items}</ul>"
        return text

    def _title(self):
        counts = Counter(row.kind for row in self.rows)
        layers = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        return f"{self.model}: {layers or 'no layer that drops'}"

    def _table(self):
        rows = [row._cells() for row in self.rows]
        header = list(rows[0])[: None if self._is_measured() else -2]
        return [header, *([row[name] for name in header] for row in rows)]

    def _is_measured(self):
        return any(
            rate is not None
            for row in self.rows
            for rate in (row.training_rate, row.inference_rate)
        )


def inspect(model: Any, inputs: Any = None) -> Inspection:
    """Reports what each layer of a model drops, and warns of faults.

    The report covers `DropBlock1D`, `2D` and `3D`, `Dropout`, `SpatialDropout1D`, `2D`
    and `3D`, `GaussianDropout` and `AlphaDropout`, including those in nested models and
    in layers inside layers. With `inputs`, `inspect` also measures what they drop. It
    calls the model at inference and, if it has few units, up to 32 times in training
    mode. Each layer is also called on ones, so that zeros in its input do not
    count as dropped. All variables of the model are restored afterward, including
    random seeds and the statistics of batch normalization.

    A warning names the layers, the fault and the fix. The faults are: nothing is
    dropped in training; something is dropped at inference; the block covers its map;
    the rate is far from the requested one; `KeepProbScheduler` did not reach the end of
    a `linear_schedule`; normalization after a layer that drops is frozen. `model.save`
    keeps the end of a schedule for functional and sequential models; weights files do
    not contain it.

    Args:
        model: A built Keras model.
        inputs: A batch for the model: an array, or a tuple, list or dictionary of
            arrays. Defaults to None, which measures nothing.

    Returns:
        An `Inspection` with `rows` and `warnings`.

    Raises:
        ValueError: If `model` is not a Keras model or not built, or `inputs` has no
            samples.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((14, 14, 8)), dbl.DropBlock2D(7, keep_prob=1.0, name="drop")]
    ... )
    >>> report = dbl.inspect(model)
    >>> report.rows[0].map, report.rows[0].share
    ((14, 14), (0.5, 0.5))
    >>> report.warnings[0]
    'drop: keep_prob is 1, so nothing is dropped. Set it or use KeepProbScheduler.'
    """
    if not isinstance(model, keras.Model):
        raise invalid("model", "a Keras model", model)
    if not model.built:
        raise invalid("model", "a built model: call it on a batch first", model)

    layers, shapes = _walk(model)
    probes = {
        layer: _Probe(layer, path, shapes.get(id(layer)))
        for layer, path in layers
        if isinstance(layer, _DROPPING)
    }
    measured = inputs is not None
    lengths = [np.shape(array)[:1] for array in keras.tree.flatten(inputs)]
    if measured and (0,) in lengths:
        raise invalid("inputs", "a batch of at least one sample", received="none")
    if probes and measured:
        _measure(model, inputs, list(probes.values()))
    found = {} if probes else {_NONE_DROPS: [model.name]}
    for probe in probes.values():
        for text in probe.warnings(measured):
            found.setdefault(text, []).append(probe.path)
    # Layers are in call order, as far as the graph or the attributes show it.
    drops = False
    for layer, path in layers:
        drops = drops or (layer in probes and probes[layer].nominal > 0)
        is_normalization = isinstance(layer, keras.layers.BatchNormalization)
        if drops and is_normalization and not layer.trainable:
            found.setdefault(_FROZEN, []).append(path)
    rows = tuple(probe.row() for probe in probes.values())
    warnings = tuple(f"{_some(paths)}: {text}" for text, paths in found.items())
    return Inspection(model.name, rows, warnings)


class _Tally:
    """Counts of what a layer dropped in one mode, and of what was expected.

    `variance` is an upper bound, the variance of independent draws that each drop a
    whole block (Efron-Stein inequality). It is tight where blocks rarely overlap.
    """

    def __init__(self):
        self.calls = 0
        self.units = 0
        self.dropped = 0
        self.expected = 0.0
        self.blocks = 0.0
        self.variance = 0.0
        self.block_units = 0.0

    @property
    def rate(self):
        return self.dropped / self.units if self.units else None

    def add(self, chance, units, dropped):
        self.units += units
        self.dropped += dropped
        self.expected += chance.rate * units
        self.blocks += chance.draws * chance.p
        self.variance += chance.draws * chance.p * (1 - chance.p) * chance.size**2
        self.block_units = max(self.block_units, chance.size)

    def is_far(self):
        """Whether it dropped much more or less than expected.

        The tolerance follows from Bernstein's inequality: about `_STANDARD_ERRORS`
        standard errors if many blocks are expected, and a little more if few are.
        """
        square = _STANDARD_ERRORS**2
        few = square * self.block_units / 6
        tolerance = few + math.sqrt(few**2 + square * self.variance)
        return abs(self.dropped - self.expected) > tolerance


@dataclasses.dataclass
class _Chance:
    """Draws of one call: each drops `size` units with probability `p`."""

    rate: float
    draws: float
    p: float
    size: float


class _Probe:
    """A layer that drops, with its known inputs and its measurements."""

    def __init__(self, layer, path, shapes):
        self.layer = layer
        self.path = path
        # A layer outside of a graph may know the shape it was built with.
        self.in_graph = bool(shapes)
        built = (layer.get_build_config() or {}).get("input_shape")
        self.shapes = shapes or ([tuple(built)] if built else [])
        self.is_unused = False
        self.training = _Tally()
        self.inference = _Tally()
        self.is_drop_block = isinstance(layer, BaseDropBlock)
        self.is_noise = isinstance(layer, keras.layers.GaussianDropout)
        # The fraction of units it is meant to drop.
        if self.is_drop_block:
            self.nominal = 1 - layer.keep_prob
        elif self.is_noise:
            self.nominal = float(layer.rate > 0)
        else:
            self.nominal = float(layer.rate)

    def watch(self, tally):
        """Returns a replacement for the layer's `call` that adds to `tally`."""
        call = self.layer.call

        def watched(inputs, *args, **kwargs):
            tally.calls += 1
            # Nothing can be counted in code that is being traced.
            with contextlib.suppress(TypeError, NotImplementedError):
                ones = call(ops.ones_like(inputs), *args, **kwargs)
                self._count(tally, np.asarray(ops.convert_to_numpy(ones)))
            return call(inputs, *args, **kwargs)

        return watched

    def spoil(self):
        """Returns a replacement for the layer's `call` that returns NaN."""
        call = self.layer.call
        return lambda *args, **kwargs: call(*args, **kwargs) * float("nan")

    def _count(self, tally, ones):
        if self.is_noise:
            dropped = ones != 1
        elif isinstance(self.layer, keras.layers.AlphaDropout):
            dropped = ones < 0  # set to a negative value, the saturation of SELU
        else:
            dropped = ones == 0
        if ones.shape not in self.shapes:
            self.shapes.append(ones.shape)
        tally.add(self._chance(ones.shape), ones.size, int(np.count_nonzero(dropped)))

    def _chance(self, shape):
        *sides, channels = self._map(shape) or (1,)
        samples, units = shape[0], math.prod(shape)
        if self.is_drop_block:
            gamma = min(self._gamma(sides), 1.0)
            block = self._block(sides)
            rate = masks.expected_drop_rate(gamma, block, tuple(sides))
            masks_drawn = samples * (channels if self.layer.per_channel else 1)
            places = math.prod(masks.seed_shape(block, tuple(sides)))
            size = math.prod(block) * units / math.prod(sides) / masks_drawn
            return _Chance(rate, masks_drawn * places, gamma, size)
        if isinstance(self.layer, _SPATIAL):
            draws = samples * channels
        else:
            noise_shape = getattr(self.layer, "noise_shape", None) or shape
            draws = math.prod(
                1 if noise == 1 else side
                for noise, side in zip(noise_shape, shape, strict=True)
            )
        return _Chance(self.nominal, draws, self.nominal, units / draws)

    def _map(self, shape):
        """The sides and channels of an input."""
        if getattr(self.layer, "data_format", None) == "channels_first":
            return (*shape[2:], shape[1])
        return tuple(shape[1:])

    def _maps(self):
        """The distinct maps; only those with known sides, if there are any."""
        maps = list(dict.fromkeys(map(self._map, self.shapes)))
        known = [sides for sides in maps if None not in sides]
        return tuple(known or maps)

    def _block(self, sides) -> Any:
        pairs = zip(self.layer._block_sides, sides, strict=True)
        return tuple(b if side is None else min(b, side) for b, side in pairs)

    def _gamma(self, sides):
        rule = masks.exact_gamma if self.layer.gamma == "exact" else masks.gamma
        return rule(self.layer.keep_prob, self._block(sides), tuple(sides))

    def _expected_rate(self):
        if not self.is_drop_block:
            return self.nominal
        if self.training.units:
            return self.training.expected / self.training.units
        maps = [sides for *sides, _ in self._maps()]
        if not maps or any(None in sides for sides in maps):
            return None
        rates = [
            masks.expected_drop_rate(
                self._gamma(sides), self._block(sides), tuple(sides)
            )
            for sides in maps
        ]
        return float(np.average(rates, weights=[math.prod(sides) for sides in maps]))

    def row(self):
        maps = self._maps()
        row = InspectedLayer(
            self.path,
            type(self.layer).__name__,
            maps,
            expected_rate=self._expected_rate(),
            training_rate=self.training.rate,
            inference_rate=self.inference.rate,
        )
        if not self.is_drop_block:
            return row
        sides = maps[0][:-1] if maps else (None,) * len(self.layer._block_sides)
        return dataclasses.replace(
            row,
            block=self._block(sides),
            keep_prob=self.layer.keep_prob,
            gamma=None if None in sides else self._gamma(sides),
        )

    def warnings(self, measured):
        if not self.nominal and not self.is_drop_block:
            if self.inference.dropped:
                yield self._at_inference()
            return
        if measured and not self.training.calls:
            yield (
                "dropped nothing, because the model never called it. Call it in the "
                "model's `call`, or connect it to the outputs."
            )
            return
        if self.is_drop_block and not self.shapes:
            yield (
                "has not been called yet, although the model is built. Pass inputs to "
                "see whether the model calls it."
            )
        if self.is_drop_block:
            yield from self._warnings_of_keep_prob()
            yield from self._warnings_of_maps()
        if self.is_unused:
            yield (
                "the model ignores the layer's output, so nothing is dropped. Use the "
                "output, as in x = drop(x)."
            )
        if measured:
            yield from self._warnings_of_measurement()

    def _warnings_of_keep_prob(self):
        keep_prob, end = self.layer.keep_prob, self.layer._schedule_end
        if end is not None and abs(end - keep_prob) > _END_TOLERANCE * (1 - end) + 1e-3:
            yield (
                f"the schedule did not reach its end: keep_prob is {keep_prob:.4g} "
                f"rather than {end:.4g}. Train until its last step, or give "
                "linear_schedule fewer steps: epochs - 1 to end in the last epoch."
            )
        elif self.nominal == 0:
            yield (
                "keep_prob is 1, so nothing is dropped. Set it or use "
                "KeepProbScheduler."
            )
        elif keep_prob <= _SMALLEST_KEEP_PROB:
            yield (
                f"keep_prob is {keep_prob:.4g}, so {self.nominal:.1%} of the units are "
                "to be dropped. It is the fraction to keep: to drop "
                f"{keep_prob:.1%}, set keep_prob={self.nominal:.4g}."
            )
            return
        expected = self._expected_rate()
        if (
            expected is not None
            and abs(expected - self.nominal) > _NOMINAL_TOLERANCE * self.nominal
        ):
            yield (
                f"expected to drop {expected:.1%} rather than 1 - keep_prob = "
                f"{self.nominal:.1%}, because blocks overlap. To drop what keep_prob "
                'says, use gamma="exact".'
            )

    def _warnings_of_maps(self):
        maps = [sides for *sides, _ in self._maps() if None not in sides]
        single = [sides for sides in maps if math.prod(sides) == 1]
        covered = [sides for sides in maps if self._block(sides) == tuple(sides)]
        if single:
            yield (
                f"its map is {_times(single[0])}, as after global pooling, where a "
                "block is one channel. Move the layer before the pooling, or use "
                "Dropout."
            )
        elif covered:
            yield (
                f"the block covers the whole map of {_times(covered[0])}, so it drops "
                "whole channels, as SpatialDropout does. Use a smaller block_size, or "
                "a larger map."
            )

    def _warnings_of_measurement(self):
        tally = self.training
        if self.inference.dropped:
            yield self._at_inference()
        if self.nominal == 0 or not tally.units:
            return
        if not tally.dropped and tally.blocks >= _NOT_BY_CHANCE:
            yield (
                "dropped nothing in training mode, although "
                f"{self.nominal:.1%} was requested. Do not pass training=False to it "
                "or to a model around it."
            )
        elif not self.is_noise and tally.is_far():
            yield (
                f"dropped {tally.rate:.1%} in training mode, where "
                f"{tally.expected / tally.units:.1%} is expected. Look at how it is "
                "called: a call with training=False drops nothing."
            )

    def _at_inference(self):
        what = "changes" if self.is_noise else "drops"
        return (
            f"{what} {self.inference.rate:.1%} of the units at inference. Do not pass "
            "training=True to it or to a model around it."
        )


def _walk(model):
    """Returns all layers with their paths, and the input shapes known from graphs."""
    found, shapes, seen = [], {}, {id(model)}

    def visit(parent, prefix):
        # The graph of a functional model, which Keras does not make public.
        graph = getattr(parent, "_functional", None) or parent
        nodes_by_depth = getattr(graph, "_nodes_by_depth", {})
        for depth in sorted(nodes_by_depth, reverse=True):
            for node in nodes_by_depth[depth]:
                if node.input_tensors:
                    known = shapes.setdefault(id(node.operation), [])
                    known.append(tuple(node.input_tensors[0].shape))
        # `layers` is in the order of the graph. Keras has no public way to list layers
        # in attributes and containers.
        children = getattr(parent, "layers", [])
        inner = parent._flatten_layers(include_self=False, recursive=False)
        for child in [*children, *inner]:
            if id(child) not in seen and child is not graph:
                seen.add(id(child))
                path = prefix + child.name
                found.append((child, path))
                visit(child, path + "/")

    visit(model, "")
    return found, shapes


def _measure(model, inputs, probes):
    with _restored(model), _eager():
        with _replaced({p.layer: p.watch(p.inference) for p in probes}):
            outputs = model(inputs, training=False)
        with _replaced({p.layer: p.watch(p.training) for p in probes}):
            for _ in range(_MOST_CALLS):
                model(inputs, training=True)
                tallies = [probe.training for probe in probes if probe.nominal]
                if all(t.blocks >= _ENOUGH_BLOCKS or not t.units for t in tallies):
                    break
        # In a graph, every layer leads to an output.
        for probe in probes:
            if not probe.in_graph and probe.inference.calls:
                with _replaced({probe.layer: probe.spoil()}):
                    spoiled = model(inputs, training=False)
                probe.is_unused = _are_equal(outputs, spoiled)


def _are_equal(outputs, others):
    """Whether all outputs are floats and equal; integers may be equal by chance."""
    pairs = zip(keras.tree.flatten(outputs), keras.tree.flatten(others), strict=True)
    return all(
        keras.backend.is_float_dtype(keras.backend.standardize_dtype(a.dtype))
        and np.array_equal(*map(ops.convert_to_numpy, (a, b)), equal_nan=True)
        for a, b in pairs
    )


@contextlib.contextmanager
def _eager():
    """Makes each `tf.function` run eagerly, so that layer calls can be observed."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    config = sys.modules["tensorflow"].config
    before = config.functions_run_eagerly()
    config.run_functions_eagerly(True)
    try:
        yield
    finally:
        config.run_functions_eagerly(before)


@contextlib.contextmanager
def _restored(model):
    """Restores all variables, because layers may assign weights in training mode."""
    variables = {id(v): v for v in (*model.variables, *model.metrics_variables)}
    # Copied, because on PyTorch the arrays share memory with the variables.
    values = {key: np.array(ops.convert_to_numpy(v)) for key, v in variables.items()}
    try:
        yield
    finally:
        for key, variable in variables.items():
            variable.assign(values[key])


@contextlib.contextmanager
def _replaced(calls):
    """Replaces the `call` of layers with an attribute that shadows the method."""
    with contextlib.ExitStack() as stack:
        for layer, call in calls.items():
            state = vars(layer)
            if "call" in state:
                stack.callback(state.__setitem__, "call", state["call"])
            else:
                stack.callback(state.pop, "call")
            state["call"] = call
        yield


def _some(paths):
    """Joins the first three paths, and says how many more there are."""
    shown = ", ".join(paths[:3])
    return shown if len(paths) <= 3 else f"{shown} and {len(paths) - 3} more"


def _times(sides):
    return "x".join("?" if side is None else str(side) for side in sides)


def _number(value, form):
    return "" if value is None else format(value, form)


def _code(text):
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
