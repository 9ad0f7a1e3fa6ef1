"""Class activation maps: where in an image a network finds its evidence."""

from typing import Any

import keras
import numpy as np

from dropblock_lib.arguments import invalid

EVIDENCE = 0.8
EVIDENCE_IMAGES = 1_000  # the first ones of the test set, for the share of evidence
SHOWN_IMAGES = 6  # the first ones of the test set, whose maps are kept


def class_activation_maps(
    model: keras.Model, images: np.ndarray, classes=None, *, batch_size: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Computes where in each image the evidence for a class is.

    In a network that ends in global average pooling and one dense layer, the logit
    of a class is the mean over all positions of features @ kernel[:, class], plus a
    bias. The map is that product before the mean.

    Args:
        model: A `keras.Model` from images to logits.
        images: Array (images, height, width, channels).
        classes: The class of each image's map, or `None` for the predicted class.
        batch_size: Number of images per step.

    Returns:
        The maps, an array (images, rows, columns) of the size of the last feature map,
        and the predicted classes.

    Raises:
        ValueError: If the model does not end in this way, or its last feature map
            has a side of less than 2.

    Reference:
        [Zhou et al., 2016](https://arxiv.org/abs/1512.04150).
    """
    network = evidence_network(model)
    if network is None:
        expected = (
            "a network that ends in GlobalAveragePooling2D and one Dense layer "
            "without activation, on a map with sides of at least 2"
        )
        raise invalid("model", expected, model)
    logits, maps = predict(network, images, batch_size)
    predicted = np.argmax(logits, axis=-1)
    return _of_class(maps, predicted if classes is None else classes), predicted


def evidence_share(maps: np.ndarray, fraction: float = EVIDENCE) -> np.ndarray:
    """The smallest share of a map's area with a given fraction of its evidence.

    Only positive cells are evidence. Cells are taken from the largest value down, and
    the last one is taken in part.

    Args:
        maps: Array (images, rows, columns).
        fraction: Float in (0, 1].

    Returns:
        Array (images,) of floats in (0, 1]: NaN for a map without a positive cell,
        or with one that is not finite.
    """
    cells = np.asarray(maps, "float64").reshape(len(maps), -1)
    total = np.where(cells > 0, cells, 0).sum(axis=-1)
    usable = np.isfinite(cells).all(axis=-1) & (total > 0) & np.isfinite(total)
    shares = np.full(len(cells), np.nan)
    falling = np.maximum(-np.sort(-cells[usable], axis=-1), 0)
    sums = np.cumsum(falling, axis=-1)
    needed = fraction * sums[:, -1]
    # The number of whole cells before the sum reaches `needed`.
    whole = (sums < needed[:, None]).sum(axis=-1)
    rows = np.arange(len(falling))
    last = falling[rows, whole]
    part = (needed - (sums[rows, whole] - last)) / last
    shares[usable] = (whole + part) / cells.shape[-1]
    return shares


def evidence(logits: np.ndarray, maps: np.ndarray) -> dict:
    """Summarizes the class activation maps of the test set.

    Args:
        logits: Array (images, classes).
        maps: Array (images, rows, columns, classes): the maps of all classes.

    Returns:
        A dictionary: "images", the indices of up to six images; "classes", their
        predicted classes; "maps", the maps of these classes as nested lists, rounded to
        four significant digits; "fraction", the argument of `evidence_share`; "share",
        its mean over the first 1,000 images, with the "standard_deviation"; and
        "count", how many of them have positive evidence.
    """
    predicted = np.argmax(logits, axis=-1)[:EVIDENCE_IMAGES]
    chosen = _of_class(maps[:EVIDENCE_IMAGES], predicted)
    shown = chosen[:SHOWN_IMAGES]
    shares = evidence_share(chosen)
    shares = shares[np.isfinite(shares)]
    return {
        "images": list(range(len(shown))),
        "classes": predicted[:SHOWN_IMAGES].tolist(),
        "maps": [[[_four_digits(v) for v in row] for row in each] for each in shown],
        "fraction": EVIDENCE,
        "share": float(shares.mean()) if len(shares) else None,
        "standard_deviation": float(shares.std(ddof=1)) if len(shares) > 1 else None,
        "count": len(shares),
    }


def _of_class(maps, classes):
    return maps[np.arange(len(maps)), :, :, np.asarray(classes)]


def _four_digits(value):
    return float(f"{value:.4g}") if np.isfinite(value) else None


def evidence_network(model: keras.Model) -> keras.Model | None:
    """The model with a second output, the class activation maps of all classes.

    It shares layers and weights with the model. Returns `None` if there are no maps.
    """
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) != 1:
        return None
    dense, pooled = _origin(outputs[0])
    if not isinstance(dense, keras.layers.Dense) or len(outputs[0].shape) != 2:
        return None
    pooling, origin = _origin(pooled)
    features: Any = origin
    is_average = isinstance(pooling, keras.layers.GlobalAveragePooling2D)
    if not is_average or dense.activation is not keras.activations.linear:
        return None
    if pooling.data_format == "channels_first":
        features = keras.layers.Permute((2, 3, 1))(features)
    _, *sides, _ = features.shape
    if None in sides or min(sides) < 2:
        return None
    # A dense layer applies the same weights at every position of a feature map.
    pointwise = keras.layers.Dense(
        dense.units,
        use_bias=False,
        kernel_initializer="zeros",
        dtype="float32",
        name="class_activation_maps",
    )
    network = keras.Model(model.inputs, [outputs[0], pointwise(features)])
    pointwise.kernel.assign(keras.ops.convert_to_numpy(dense.kernel))
    network.jit_compile = model.jit_compile
    return network


def _origin(tensor):
    """The layer that returned a tensor, and its input if it has only one."""
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    inputs = node.input_tensors
    return history.operation, inputs[0] if len(inputs) == 1 else None


def predict(model: keras.Model, x: np.ndarray, batch_size: int):
    """A model's outputs for images, as float64 arrays.

    The last batch is padded, so that a network is compiled for one batch size.
    """
    count = len(x)
    padded = x[np.arange(count + -count % batch_size) % count]
    outputs = model.predict(padded, batch_size=batch_size, verbose=0)
    return keras.tree.map_structure(
        lambda output: np.asarray(output)[:count].astype("float64"), outputs
    )
