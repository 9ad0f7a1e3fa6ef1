"""Copies functional Keras models, and inserts a layer after chosen layers."""

from collections.abc import Callable
from typing import Any

import keras

from dropblock_lib.arguments import invalid
from dropblock_lib.placements import (
    PLACEMENTS,
    calls_of,
    check_where,
    data_formats,
    find_places,
)


def insert_after(
    model: keras.Model,
    factory: Callable[[str], Any],
    where: str | Callable[[keras.Layer], bool],
) -> keras.Model:
    """Copies a functional model and adds a layer after each chosen one.

    The copy has its own layers and variables, with the weights of `model`, and is
    not compiled. Only `Lambda` layers are shared with the model. If a layer is called
    several times, a new layer is inserted after each call. Functional and sequential
    models inside the model are searched as well. If a layer is inserted into one of
    them, or into a `keras.Sequential` or a subclass with a functional graph, the copy
    is a plain functional model.

    The named placements:

    - `"main-path-relu"`, as in the slides: after the activation of each sequence of
      convolution, batch normalization and activation on the main path of a block,
      but not after the activation that follows the addition. ResNet-50 has 32 such
      places. A block is the part of a network that a skip connection bypasses, up to
      an addition or a concatenation; a network without blocks is one main path.
    - `"dense-block-relu"`, as in the slides for DenseNet: after each sequence of
      batch normalization and activation on the main path of a block, with or without
      a convolution before it. DenseNet-121 has 116 such places.
    - `"paper-code"`, as in the code of the paper's authors: in the last two groups
      of residual blocks, the places of `"main-path-relu"` and both inputs of each
      addition. In ResNet-50, these are the skip connection and the third batch
      normalization. The earlier group drops at a quarter of the rate. A group is a
      run of consecutive blocks whose sums have the same number of channels.
    - `"last-group"`: the places of `"paper-code"` in the last group alone.
    - `"after-addition"`: after each addition that ends a residual block, or after
      the activation that follows it.

    `"paper-code"` lowers the rate of the earlier group by changing attributes of the
    layer that the factory made: `keep_prob` and `rate_scale`, which `KeepProbScheduler`
    respects, or `rate`.

    Args:
        model: A functional `keras.Model`, or a built `keras.Sequential`.
        factory: A function `factory(name)` that returns a new layer, or `None` to
            insert nothing. Any value of `dropblock_lib.VARIANTS` is such a function.
            The name says where the layer goes: `"drop_conv2_block1_1_relu"`. The
            layers must have the model's dtype, which they take from Keras' dtype
            policy, and its `data_format`: for a channels-first model, write a
            function that returns
            `DropBlock2D(7, 0.9, data_format="channels_first", name=name)`.
        where: The name of a placement, or a function `where(layer)` that returns
            whether to put a layer after this one. The function is not called on input
            layers, and must return the same value each time it is called on a layer.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If an argument is not as described, if `where` matches nothing,
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
      Sapienza University of Rome.
    """
    _check_model(model)
    if not callable(factory):
        raise invalid("factory", "a function name -> layer or None", factory)
    check_where(where)
    copier = _Copier(factory, where, data_formats(_flatten(model)))
    if not copier.finds_places(model):
        expected = f"a placement that matches a layer of model '{model.name}'"
        if isinstance(where, str):
            needs = PLACEMENTS[where].needs
            expected += f"; '{where}' needs {needs}. A function can choose any layer"
        raise invalid("where", expected, where)
    copier.find_shared(model)
    copy = copier.copy(model)
    copier.copy_state()
    return copy


class _Copier:
    """Copies models, with layers from `factory` at the places of `where`."""

    def __init__(self, factory, where, data_formats):
        self._factory = factory
        self._where = where
        self._data_formats = data_formats
        self._made = []
        # The id of each original -> its copy.
        self._copies: dict[int, Any] = {}
        # (original, copy, whether it was rebuilt from its configuration), with inner
        # models first.
        self._pairs = []
        self._shared = set()

    def find_shared(self, model):
        """Records the weights that layers share, in a model and the models inside."""
        seen = set()
        for layer in _layers(model):
            weights = {id(weight) for weight in layer.weights}
            self._shared |= seen & weights
            seen |= weights
            if _is_graph(layer):
                self.find_shared(layer)

    def finds_places(self, model):
        calls = calls_of(_functional(model))
        nested = {id(c.operation): c.operation for c in calls if _is_graph(c.operation)}
        return bool(find_places(calls, self._where)) or any(
            map(self.finds_places, nested.values())
        )

    def copy(self, model):
        graph = _functional(model)
        calls = calls_of(graph)
        places = {}
        for place in find_places(calls, self._where):
            reader = None if place.reader is None else id(place.reader)
            places.setdefault((id(place.tensor), reader), place)
        names = {operation.name for operation in graph.operations}

        def copy_operation(operation):
            if isinstance(operation, keras.layers.Lambda) or not isinstance(
                operation, keras.layers.Layer
            ):
                return operation  # has no weights
            if id(operation) not in self._copies:
                self._copies[id(operation)] = (
                    self.copy(operation)
                    if self._reaches_into(operation)
                    else self._add(operation, _rebuild(operation), True)
                )
            return self._copies[id(operation)]

        def drop(old, new, reader=None):
            place = places.get((id(old), reader))
            return new if place is None else self._drop(new, place, names)

        # `clone_model` calls the operations in the order of `calls`.
        remaining = iter(calls)

        def call_operation(operation, *args, **kwargs):
            call = next(remaining)
            inputs: Any = keras.tree.map_structure(
                lambda old, new: drop(old, new, id(call)),
                (call.arguments.args, call.arguments.kwargs),
                (args, kwargs),
            )
            args, kwargs = inputs
            outputs = keras.tree.flatten(operation(*args, **kwargs))
            return [*map(drop, call.outputs, outputs)]

        copy = keras.models.clone_model(
            graph,
            input_tensors=keras.tree.map_structure(_copy_input, graph.input),
            clone_function=copy_operation,
            call_function=call_operation,
        )
        return self._add(model, copy, False)

    def _reaches_into(self, layer):
        if not _is_graph(layer):
            return False
        shares = any(id(weight) in self._shared for weight in layer.weights)
        return shares or self.finds_places(layer)

    def _add(self, old, new, rebuilt):
        self._pairs.append((old, new, rebuilt))
        return new

    def copy_state(self):
        """Copies the variables, and `trainable` of every layer and variable."""
        copied = {}
        # Outer models first, because freezing a model freezes everything inside it.
        for old, new, rebuilt in reversed(self._pairs):
            if not rebuilt:
                if new.trainable != old.trainable:
                    new.trainable = old.trainable
                continue
            if len(new.variables) != len(old.variables):
                raise _cannot_rebuild(
                    old, "the rebuilt layer has a different number of variables"
                )
            for target, source in zip(_flatten(new), _flatten(old), strict=False):
                if target.trainable != source.trainable:
                    target.trainable = source.trainable
            for target, source in zip(new.variables, old.variables, strict=True):
                if copied.setdefault(id(source), target) is not target:
                    raise invalid(
                        "model",
                        "layers whose weights no other layer shares",
                        received=f"layer '{old.name}' with a shared '{source.path}'",
                    )
                target.trainable = source.trainable
                # Copied through NumPy: on JAX, `fit` frees buffers, and the two
                # models must not share them.
                target.assign(keras.ops.convert_to_numpy(source))
            for layer in _flatten(new):
                # `Normalization` derives the mean and variance it uses from variables.
                if layer.variables and hasattr(layer, "finalize_state"):
                    layer.finalize_state()

    def _drop(self, tensor, place, names):
        name, count = place.name, 1
        while name in names:
            count += 1
            name = f"{place.name}_{count}"
        try:
            layer = self._factory(name)
        except Exception as error:
            error.add_note(f"Raised by `factory`, called with name {name!r}.")
            raise
        if layer is None:
            return tensor
        received = f"factory({name!r})={layer!r}"
        if not isinstance(layer, keras.layers.Layer) or layer in self._made:
            expected = "a function that returns a new layer on every call, or None"
            raise invalid("factory", expected, received=received)
        self._made.append(layer)
        names.add(name)
        data_format = getattr(layer, "data_format", None)
        if data_format and self._data_formats and data_format not in self._data_formats:
            raise invalid(
                "factory",
                f"layers with the model's data_format, {self._data_formats.pop()}",
                received=f"{received} with data_format={data_format!r}",
            )
        if place.scale != 1:
            _scale_rate(layer, place.scale, received)
        try:
            dropped: Any = layer(tensor)
        except Exception as error:
            raise invalid(
                "factory",
                f"layers that accept shape {tensor.shape} and dtype {tensor.dtype}",
                received=f"{received}, which raises {type(error).__name__}: {error}",
            ) from error
        if not isinstance(dropped, keras.KerasTensor) or (
            (dropped.shape, dropped.dtype) != (tensor.shape, tensor.dtype)
        ):
            expected = f"layers that keep shape {tensor.shape} and dtype {tensor.dtype}"
            if getattr(dropped, "shape", None) == tensor.shape:
                expected += (
                    ": give them this dtype, or call keras.config.set_dtype_policy "
                    "first"
                )
            raise invalid(
                "factory", expected, received=f"{received}, which returns {dropped}"
            )
        return dropped


def _scale_rate(layer, scale, received):
    """Multiplies the rate at which a layer drops by `scale`."""
    if hasattr(layer, "keep_prob"):
        layer.keep_prob = 1 - scale * (1 - layer.keep_prob)
        layer.rate_scale = scale * getattr(layer, "rate_scale", 1.0)
    elif hasattr(layer, "rate"):
        layer.rate = scale * layer.rate
    else:
        expected = "layers with `keep_prob` or `rate`, which this placement changes"
        raise invalid("factory", expected, received=received)


def _rebuild(layer):
    try:
        return type(layer).from_config(layer.get_config())
    except Exception as error:
        raise _cannot_rebuild(layer, error) from error


def _cannot_rebuild(layer, reason):
    return invalid(
        "model",
        "layers that can be rebuilt from their configuration",
        received=f"layer '{layer.name}' of class {type(layer).__name__} ({reason})",
    )


def _copy_input(tensor):
    return _rebuild(tensor._keras_history.operation).output


def _functional(model):
    """Returns a plain functional model on the same layers, not compiled."""
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return keras.Model(model.input, model.output, name=model.name)


def _layers(model):
    """The layers that a functional model calls, each once."""
    operations = _functional(model).operations
    return [each for each in operations if isinstance(each, keras.layers.Layer)]


def _flatten(layer):
    """A layer and all layers inside it, outer layers first."""
    # Keras has no public walk over nested layers; a test fails if this one changes.
    return list(layer._flatten_layers())


def _is_graph(layer):
    if isinstance(layer, keras.Sequential):
        return layer.built
    return isinstance(layer, keras.Model) and isinstance(layer, keras.Function)


def _check_model(model):
    expected = "a functional keras.Model, or a built keras.Sequential"
    if not isinstance(model, keras.Model):
        raise invalid("model", expected, model)
    if _is_graph(model):
        return
    if isinstance(model, keras.Sequential):
        reason = "It is not built: start it with keras.Input, or build it"
    else:
        reason = "It is subclassed, so its graph is unknown"
    raise invalid("model", expected, received=f"model={model!r}. {reason}.")
