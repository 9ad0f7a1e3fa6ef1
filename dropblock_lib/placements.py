"""Where layers go in a functional model: the named placements, found in its graph."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras

from dropblock_lib.arguments import invalid

# In the second-to-last group, the authors' code drops at a quarter of the rate.
EARLIER_GROUP = 0.25


@dataclasses.dataclass(frozen=True)
class Place:
    """A place for a layer: after a tensor, for all calls that read it or for one.

    Attributes:
        tensor: The tensor whose units are dropped.
        name: Name for the new layer.
        reader: The one call that reads the layer's output; `None` for all.
        scale: Factor in (0, 1] on the layer's drop rate.
    """

    tensor: Any
    name: str
    reader: Any = None
    scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class Placement:
    """A named placement.

    Attributes:
        find: Function of the calls of a model that returns a list of `Place`.
        needs: What a model must have, for error messages.
    """

    find: Callable[[Sequence[Any]], list[Place]]
    needs: str


def check_where(where: str | Callable[[keras.Layer], bool], *others: str) -> None:
    """Checks `where`, an argument of `insert_after`.

    It does not check that `where` matches a layer, which depends on the model.
    `others` are further names to list in the error message; the caller has already
    handled them.
    """
    if not callable(where) and not (isinstance(where, str) and where in PLACEMENTS):
        names = ", ".join(f"'{name}'" for name in (*PLACEMENTS, *others))
        raise invalid("where", f"a function layer -> bool, or one of {names}", where)


def find_places(
    calls: Sequence[Any], where: str | Callable[[keras.Layer], bool]
) -> list[Place]:
    """Finds the places of a placement among the calls of a model, from `calls_of`."""
    if callable(where):
        return _after_layers(calls, where)
    return PLACEMENTS[where].find(calls)


def data_formats(layers: Iterable[keras.Layer]) -> set[str]:
    """The data formats of the convolutions among `layers`."""
    return {layer.data_format for layer in layers if _CONVOLUTION.has(layer)}


def calls_of(model: keras.Model) -> list[Any]:
    """The calls in a functional model's graph, in order, without input layers."""
    # Keras has no public walk over calls: `layers` lists a shared layer once.
    by_depth = model._nodes_by_depth
    return [
        call
        for depth in sorted(by_depth, reverse=True)
        for call in by_depth[depth]
        if not call.is_input
    ]


# === The placements ===


def _after_layers(calls, where):
    places = []
    for call in calls:
        layer = call.operation
        if not isinstance(layer, keras.layers.Layer):
            continue
        try:
            is_place = where(layer)
        except Exception as error:
            error.add_note(f"Raised by `where`, called on layer '{layer.name}'.")
            raise
        if not is_place:
            continue
        if len(call.outputs) != 1:
            raise invalid(
                "where",
                "layers with one output tensor",
                received=f"layer '{layer.name}', which has {len(call.outputs)}",
            )
        places.append(_after(call))
    return places


def _main_path_relu(calls):
    blocks = _blocks(calls, _SUM, _CONCATENATION)
    main = set().union(*(block.main for block in blocks)) if blocks else set(calls)
    return [_after(c) for c in calls if c in main and _ends(c, _NORMALIZED_CONVOLUTION)]


def _dense_block_relu(calls):
    main = set().union(*(block.main for block in _blocks(calls, _CONCATENATION)))
    return [_after(c) for c in calls if c in main and _ends(c, _NORMALIZED)]


def _after_addition(calls):
    readers = {}
    for call in calls:
        for tensor in call.input_tensors:
            readers.setdefault(id(tensor), []).append(call)
    places = []
    for block in _blocks(calls, _SUM):
        call = block.merge
        following = readers.get(id(call.outputs[0]), [])
        if len(following) == 1 and _ACTIVATION.has(following[0].operation):
            [call] = following
        places.append(_after(call))
    return places


def _paper_code(calls, groups=2):
    found = []
    for block in _blocks(calls, _SUM):
        if not found or found[-1][-1].channels != block.channels:
            found.append([])
        found[-1].append(block)
    places = []
    for group in found[-groups:]:
        scale = 1.0 if group is found[-1] else EARLIER_GROUP
        for block in group:
            last = _maker(block.main_tensor)
            skip = f"drop_{block.merge.operation.name}_skip"
            places.append(Place(block.skip_tensor, skip, block.merge, scale))
            places += [
                _after(call, scale=scale)
                for call in calls
                if call in block.main
                and _ends(call, _NORMALIZED_CONVOLUTION)
                # Below, `last` gets a layer that only the addition reads.
                and call is not last
            ]
            places.append(_after(last, block.merge, scale))
    return places


def _after(call, reader=None, scale=1.0):
    return Place(call.outputs[0], f"drop_{call.operation.name}", reader, scale)


_ADDITIONS = "blocks that end in an addition"
PLACEMENTS = {
    "main-path-relu": Placement(
        _main_path_relu, "a convolution, batch normalization and activation in a row"
    ),
    "dense-block-relu": Placement(
        _dense_block_relu, "blocks that concatenate, with batch normalization"
    ),
    "paper-code": Placement(_paper_code, _ADDITIONS),
    "last-group": Placement(lambda calls: _paper_code(calls, groups=1), _ADDITIONS),
    "after-addition": Placement(_after_addition, _ADDITIONS),
}


# === The graph ===


@dataclasses.dataclass(frozen=True)
class _Kind:
    """A kind of operation: layers by class, functions of `keras.ops` by name."""

    layers: tuple
    functions: str = ""

    def has(self, operation):
        if isinstance(operation, keras.layers.Layer):
            return isinstance(operation, self.layers)
        return type(operation).__name__ in self.functions.split()


_ACTIVATION = _Kind(
    (
        keras.layers.Activation,
        keras.layers.ELU,
        keras.layers.LeakyReLU,
        keras.layers.PReLU,
        keras.layers.ReLU,
    ),
    "Celu Elu Gelu HardSilu LeakyRelu Mish Relu ReLU Relu6 Selu Silu",
)
_CONVOLUTION = _Kind(
    (
        keras.layers.Conv1D,
        keras.layers.Conv2D,
        keras.layers.Conv3D,
        keras.layers.DepthwiseConv1D,
        keras.layers.DepthwiseConv2D,
        keras.layers.SeparableConv1D,
        keras.layers.SeparableConv2D,
    )
)
_NORMALIZATION = _Kind((keras.layers.BatchNormalization,))
_SUM = _Kind((keras.layers.Add,), "Add")
_CONCATENATION = _Kind((keras.layers.Concatenate,), "Concatenate")
_NORMALIZED = (_ACTIVATION, _NORMALIZATION)
_NORMALIZED_CONVOLUTION = (*_NORMALIZED, _CONVOLUTION)


@dataclasses.dataclass(frozen=True)
class _Block:
    """A main path and a skip connection, up to the call that merges them."""

    merge: Any
    main: frozenset
    main_tensor: Any
    skip_tensor: Any
    channels: int


def _maker(tensor):
    """The call that made a tensor."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def _ends(call, kinds):
    """Whether the call ends a chain of calls of these kinds, listed last to first."""
    for kind in kinds:
        if not kind.has(call.operation) or len(call.input_tensors) != 1:
            return False
        call = _maker(call.input_tensors[0])
    return True


def _blocks(calls, *merges):
    """The blocks of a model. The main path is the one with more convolutions."""
    upstream = {}
    for call in calls:
        makers = {_maker(tensor) for tensor in call.input_tensors}
        upstream[call] = makers.union(*(upstream.get(maker, ()) for maker in makers))
    blocks = []
    for call in calls:
        merges_two = any(merge.has(call.operation) for merge in merges)
        if not merges_two or len(call.input_tensors) != 2:
            continue
        makers = [_maker(tensor) for tensor in call.input_tensors]
        one, other = ({maker} | set(upstream.get(maker, ())) for maker in makers)
        paths = [one - other, other - one]
        convolutions = [
            [c.operation for c in calls if c in path and _CONVOLUTION.has(c.operation)]
            for path in paths
        ]
        counts = [len(found) for found in convolutions]
        if counts[0] == counts[1] or not one & other:
            continue
        main = counts.index(max(counts))
        data_format = convolutions[main][0].data_format
        blocks.append(
            _Block(
                merge=call,
                main=frozenset(paths[main]),
                main_tensor=call.input_tensors[main],
                skip_tensor=call.input_tensors[1 - main],
                channels=call.outputs[0].shape[
                    -1 if data_format == "channels_last" else 1
                ],
            )
        )
    return blocks
