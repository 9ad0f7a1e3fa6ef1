"""Put a layer behind chosen layers of a functional Keras model."""

import dataclasses

import keras

from dropblock_lib.arguments import invalid

# The authors drop a quarter as much in the last group of blocks but one.
EARLIER_GROUP = 0.25


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a layer goes: on a tensor, for one call that reads it or for all."""

    tensor: object
    name: str
    reader: object = None
    scale: float = 1.0


def insert_after(model, factory, where):
    """A copy of a functional model with a layer behind each chosen layer.

    The copy has layers and variables of its own, with the weights of `model`, and
    is not compiled. A layer that is called several times gets a new one behind each
    call. Functional and sequential models within the model are searched as well;
    where something is put into one of them, or into a `keras.Sequential` or a
    subclass with a functional graph, the copy is a plain functional model.

    The placements that have a name:

    - `"main-path-relu"`, the slides': behind the activation of each convolution,
      batch normalization, activation on the main path of a block, not behind the
      activation that follows the addition: 32 places in ResNet-50. A block is what
      a skip connection goes around, up to an addition or a concatenation; in a
      network without any, the whole network is the main path.
    - `"dense-block-relu"`, the slides' for DenseNet: behind each batch
      normalization, activation on the main path of a block, whatever comes before:
      116 places in DenseNet-121.
    - `"paper-code"`, that of the paper's authors: in the last two groups of
      residual blocks, the places of `"main-path-relu"` and both summands of each
      addition, that is, the skip connection and the third batch normalization. In
      the earlier of the two groups a quarter of the rate is dropped. A group is the
      consecutive blocks whose sum has the same number of channels.
    - `"last-group"`: the places of `"paper-code"` in the last group alone.
    - `"after-addition"`: behind each addition that ends a residual block, or behind
      the activation that follows it.

    For the quarter the placement changes the layer that the factory made: its
    `keep_prob` and `rate_scale`, so that `KeepProbScheduler` keeps to it, or its
    `rate`.

    Args:
        model: A functional `keras.Model`, or a built `keras.Sequential`.
        factory: A function `factory(name)` that returns a new layer, or `None` for
            no layer; every value of `dropblock_lib.VARIANTS` is one. The name says
            where: `"drop_conv2_block1_1_relu"`.
        where: A function `where(layer)` that returns whether to put one behind this
            layer, or the name of a placement. It is not asked about inputs.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If an argument is not as described, if `where` chooses nothing,
            or if a layer of the model cannot be copied.

    Example:

    >>> model = keras.applications.ResNet50(weights=None)
    >>> factory = dbl.VARIANTS["dropblock-7-0.9"]
    >>> dropping = dbl.insert_after(model, factory, "main-path-relu")
    >>> len(dbl.find_drop_block_layers(dropping))
    32

    Reference:

    - [Ghiasi et al., 2018](https://arxiv.org/abs/1810.12890), section 4.1.
    - Ludovico Ottobre and Gianmarco Evangelista, slides on DropBlock,
      La Sapienza, University of Rome.
    """
    _check_model(model)
    if not callable(factory):
        raise invalid("factory", "a function name -> layer or None", factory)
    check_where(where)
    if callable(where):

        def find(calls):
            return _behind_layers(calls, where)

    else:
        find = PLACEMENTS[where]
    copier = _Copier(factory, find)
    if not copier.finds_something(model):
        expected = f"a placement that matches a layer of model '{model.name}'"
        if not callable(where):
            expected += f": '{where}' needs {NEEDED[where]}, or choose by a function"
        raise invalid("where", expected, where)
    return copier.copy_model(model)


def check_where(where):
    """Raises a `ValueError` unless `where` is one that `insert_after` takes.

    Whether it chooses anything depends on the model.
    """
    if not callable(where) and not (isinstance(where, str) and where in PLACEMENTS):
        names = ", ".join(f"'{name}'" for name in PLACEMENTS)
        raise invalid("where", f"a function layer -> bool, or one of {names}", where)


# === Placements: the calls of a model, inputs first -> places ===


def _behind_layers(calls, where):
    places = []
    for call in calls:
        layer = call.operation
        if not isinstance(layer, keras.layers.Layer) or not where(layer):
            continue
        if len(call.outputs) != 1:
            raise ValueError(
                "Invalid value received for argument `where`. Expected layers with "
                f"one output tensor. Received: layer '{layer.name}', which has "
                f"{len(call.outputs)}"
            )
        places.append(_Place(call.outputs[0], f"drop_{layer.name}"))
    return places


def _main_path_relu(calls):
    blocks = _blocks(calls, _SUM, _CONCATENATION)
    main = set().union(*(block.main for block in blocks)) if blocks else None
    return [
        _Place(call.outputs[0], f"drop_{call.operation.name}")
        for call in calls
        if (main is None or call in main) and _follows(call, _NORMALIZED_CONVOLUTION)
    ]


def _dense_block_relu(calls):
    main = set().union(*(block.main for block in _blocks(calls, _CONCATENATION)))
    return [
        _Place(call.outputs[0], f"drop_{call.operation.name}")
        for call in calls
        if call in main and _follows(call, _NORMALIZED)
    ]


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
        places.append(_Place(call.outputs[0], f"drop_{call.operation.name}"))
    return places


def _last_group(calls):
    return _paper_code(calls, count=1)


def _paper_code(calls, count=2):
    blocks = _blocks(calls, _SUM)
    groups = []
    for block in blocks:
        if not groups or groups[-1][-1].channels != block.channels:
            groups.append([])
        groups[-1].append(block)
    places = []
    for group in groups[-count:]:
        scale = 1.0 if group is groups[-1] else EARLIER_GROUP
        for block in group:
            name = f"drop_{block.merge.operation.name}_skip"
            places.append(_Place(block.skip_tensor, name, block.merge, scale))
            for call in calls:
                # What the addition reads is the last place, not this one.
                if call.outputs[0] is block.main_tensor:
                    continue
                if call in block.main and _follows(call, _NORMALIZED_CONVOLUTION):
                    name = f"drop_{call.operation.name}"
                    places.append(_Place(call.outputs[0], name, scale=scale))
            name = f"drop_{_maker(block.main_tensor).operation.name}"
            places.append(_Place(block.main_tensor, name, block.merge, scale))
    return places


PLACEMENTS = {
    "main-path-relu": _main_path_relu,
    "dense-block-relu": _dense_block_relu,
    "paper-code": _paper_code,
    "last-group": _last_group,
    "after-addition": _after_addition,
}

# What there must be in a model.
NEEDED = {
    "main-path-relu": "a convolution, batch normalization and activation in a row",
    "dense-block-relu": "blocks that concatenate, with batch normalization",
    "paper-code": "blocks that end in an addition",
    "last-group": "blocks that end in an addition",
    "after-addition": "blocks that end in an addition",
}


# === The graph ===


@dataclasses.dataclass(frozen=True)
class _Kind:
    """Layers of some classes, or functions of `keras.ops` of some names."""

    layers: tuple
    functions: frozenset = frozenset()

    def has(self, operation):
        if isinstance(operation, keras.layers.Layer):
            return isinstance(operation, self.layers)
        return type(operation).__name__ in self.functions


_ACTIVATION = _Kind(
    (
        keras.layers.Activation,
        keras.layers.ELU,
        keras.layers.LeakyReLU,
        keras.layers.PReLU,
        keras.layers.ReLU,
    ),
    frozenset(
        [
            "Celu",
            "Elu",
            "Gelu",
            "HardSilu",
            "LeakyRelu",
            "Mish",
            "Relu",
            "ReLU",
            "Relu6",
            "Selu",
            "Silu",
        ]
    ),
)
_CONVOLUTION = _Kind(
    (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
)
_NORMALIZATION = _Kind((keras.layers.BatchNormalization,))
_SUM = _Kind((keras.layers.Add,), frozenset({"Add"}))
_CONCATENATION = _Kind((keras.layers.Concatenate,), frozenset({"Concatenate"}))
_NORMALIZED = (_ACTIVATION, _NORMALIZATION)
_NORMALIZED_CONVOLUTION = (*_NORMALIZED, _CONVOLUTION)


@dataclasses.dataclass(frozen=True)
class _Block:
    """What a skip connection goes around, up to the call that merges the two."""

    merge: object
    main: frozenset
    main_tensor: object
    skip_tensor: object
    channels: int


def _calls(model):
    """The calls in a model's graph, inputs first."""
    # Keras has no public walk over calls: `layers` names a shared layer once.
    by_depth = _graph(model)._nodes_by_depth
    return [
        call
        for depth in sorted(by_depth, reverse=True)
        for call in by_depth[depth]
        if not call.is_input
    ]


def _graph(model):
    """The model, or what a `keras.Sequential` is in terms of its own input."""
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0])
    return model


def _maker(tensor):
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def _follows(call, kinds):
    """Whether the call is of the first kind, its input made by the second, ..."""
    for kind in kinds:
        if not kind.has(call.operation):
            return False
        if len(call.input_tensors) != 1:
            return False
        call = _maker(call.input_tensors[0])
    return True


def _blocks(calls, *merges):
    """The blocks of a model: of two ways to a merge, one has more convolutions."""
    before = {}
    for call in calls:
        makers = {_maker(tensor) for tensor in call.input_tensors}
        before[call] = makers.union(*(before.get(maker, ()) for maker in makers))
    blocks = []
    for call in calls:
        merging = any(merge.has(call.operation) for merge in merges)
        if not merging or len(call.input_tensors) != 2:
            continue
        ways = []
        for tensor in call.input_tensors:
            maker = _maker(tensor)
            ways.append({maker} | set(before.get(maker, ())))
        alone = [ways[0] - ways[1], ways[1] - ways[0]]
        counts = [sum(_CONVOLUTION.has(c.operation) for c in way) for way in alone]
        if counts[0] == counts[1] or not ways[0] & ways[1]:
            continue
        main = counts.index(max(counts))
        layer = next(
            c.operation
            for c in calls
            if c in alone[main] and _CONVOLUTION.has(c.operation)
        )
        axis = -1 if layer.data_format == "channels_last" else 1
        blocks.append(
            _Block(
                merge=call,
                main=frozenset(alone[main]),
                main_tensor=call.input_tensors[main],
                skip_tensor=call.input_tensors[1 - main],
                channels=call.outputs[0].shape[axis],
            )
        )
    return blocks


# === The copy ===


class _Copier:
    """Copies models, with layers from `factory` where `find` puts them."""

    def __init__(self, factory, find):
        self._factory = factory
        self._find = find
        self._made = []

    def finds_something(self, model):
        calls = _calls(model)
        return bool(self._find(calls)) or any(
            self.finds_something(nested) for nested in _nested(calls)
        )

    def copy_model(self, model):
        calls = _calls(model)
        places = {}
        for place in self._find(calls):
            key = (id(place.tensor), place.reader and id(place.reader))
            places.setdefault(key, place)
        names = {call.operation.name for call in calls}
        graph = _graph(model)
        names |= {tensor._keras_history.operation.name for tensor in graph.inputs}
        new = {}
        inputs = keras.tree.map_structure(_copy_input, graph.input)
        for old, copied in zip(
            keras.tree.flatten(graph.input), keras.tree.flatten(inputs), strict=True
        ):
            new[id(old)] = copied
        copies = {}
        unfilled = []
        for call in calls:
            operation = call.operation
            if id(operation) not in copies:
                copies[id(operation)] = self._copy_operation(operation)
                unfilled.append(operation)

            def tensor_for(value, call=call):
                if not isinstance(value, keras.KerasTensor):
                    return value
                place = places.get((id(value), id(call)))
                tensor = new[id(value)]
                return tensor if place is None else self._drop(tensor, place, names)

            args, kwargs = keras.tree.map_structure(
                tensor_for, (call.arguments.args, call.arguments.kwargs)
            )
            outputs = keras.tree.flatten(copies[id(operation)](*args, **kwargs))
            for old, copied in zip(call.outputs, outputs, strict=True):
                place = places.get((id(old), None))
                if place is not None:
                    copied = self._drop(copied, place, names)
                new[id(old)] = copied
        for operation in unfilled:
            _copy_variables(operation, copies[id(operation)])
        outputs = keras.tree.map_structure(lambda old: new[id(old)], graph.output)
        copy = keras.Model(inputs, outputs, name=model.name)
        if not model.trainable:
            copy.trainable = False
        return copy

    def _copy_operation(self, operation):
        if isinstance(operation, keras.layers.Lambda) or not isinstance(
            operation, keras.layers.Layer
        ):
            return operation  # holds nothing that training could change
        if _is_graph(operation) and self.finds_something(operation):
            return self.copy_model(operation)
        try:
            return type(operation).from_config(operation.get_config())
        except Exception as error:
            raise ValueError(
                "Invalid value received for argument `model`. Expected layers that "
                "can be made again from their configuration. Received: layer "
                f"'{operation.name}' of class {type(operation).__name__} ({error})"
            ) from error

    def _drop(self, tensor, place, names):
        name, count = place.name, 1
        while name in names:
            count += 1
            name = f"{place.name}_{count}"
        layer = self._factory(name)
        if layer is None:
            return tensor
        if not isinstance(layer, keras.layers.Layer) or layer in self._made:
            raise ValueError(
                "Invalid value received for argument `factory`. Expected a function "
                "that returns a new layer at each call, or None. Received: "
                f"factory({name!r})={layer!r}"
            )
        self._made.append(layer)
        names.add(name)
        _scale_rate(layer, place.scale, name)
        dropped = layer(tensor)
        if (dropped.shape, dropped.dtype) != (tensor.shape, tensor.dtype):
            raise ValueError(
                "Invalid value received for argument `factory`. Expected layers that "
                f"keep shape {tensor.shape} and dtype {tensor.dtype}. Received: "
                f"factory({name!r})={layer!r}, which returns {dropped.shape}, "
                f"{dropped.dtype}"
            )
        return dropped


def _scale_rate(layer, scale, name):
    """Lets a layer drop `scale` times what it would."""
    if scale == 1:
        return
    if hasattr(layer, "keep_prob"):
        layer.keep_prob = 1 - scale * (1 - layer.keep_prob)
        layer.rate_scale = scale * getattr(layer, "rate_scale", 1.0)
    elif hasattr(layer, "rate"):
        layer.rate = scale * layer.rate
    else:
        raise ValueError(
            "Invalid value received for argument `factory`. Expected layers with "
            "`keep_prob` or `rate`, which this placement lowers. Received: "
            f"factory({name!r})={layer!r}"
        )


def _copy_input(tensor):
    layer = tensor._keras_history.operation
    return type(layer).from_config(layer.get_config()).output


def _copy_variables(old, new):
    if not isinstance(old, keras.layers.Layer):
        return
    if _is_graph(old) and len(old.variables) != len(new.variables):
        return  # has new layers in it, and was filled when it was copied
    for target, source in zip(new.variables, old.variables, strict=True):
        # A copy: JAX' `fit` gives the old model's memory away if both share it.
        target.assign(keras.ops.convert_to_numpy(source))


def _is_graph(layer):
    if isinstance(layer, keras.Sequential):
        return layer.built
    return isinstance(layer, keras.Model) and isinstance(layer, keras.Function)


def _nested(calls):
    nested = {id(c.operation): c.operation for c in calls if _is_graph(c.operation)}
    return list(nested.values())


def _check_model(model):
    expected = "a functional keras.Model, or a built keras.Sequential"
    if not isinstance(model, keras.Model):
        raise invalid("model", expected, model)
    if _is_graph(model):
        return
    if isinstance(model, keras.Sequential):
        reason = "It is not built: begin it with keras.Input, or build it"
    else:
        reason = "It is subclassed: how its layers are connected cannot be seen"
    raise ValueError(f"{invalid('model', expected, model)}. {reason}.")
