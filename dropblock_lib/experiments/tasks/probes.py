"""Probes: what a trained classifier's record has beside its accuracy.

A probe asks one question of a trained network: how well its confidence is
calibrated, how well it withstands noise and blocks, where in an image it finds its
evidence. `probe` asks all of them and returns plain values for a record. The
trained network is only read; changes are made to copies.
"""

import base64
import contextlib
import random
import zlib

import keras
import numpy as np

from dropblock_lib.arguments import invalid
from dropblock_lib.keep_prob_scheduler import find_drop_block_layers
from dropblock_lib.variants import Variant

# The numbers of `probe` that belong in a record's `final`.
FINAL = (
    "test_loss",
    "test_accuracy",
    "val_loss",
    "val_accuracy",
    "train_loss",
    "train_accuracy",
)
TRAINING_IMAGES = 5_000  # the first so many give the training loss and accuracy
PERTURBED_IMAGES = 2_000  # the first so many of the test set, for each perturbation
EVIDENCE_IMAGES = 1_000  # the first so many of the test set, for the share of evidence
SHOWN_IMAGES = 6  # the first so many of the test set, whose maps are kept

BINS = 15
LARGEST_TEMPERATURE = 100.0
MOMENT_BATCHES = 50
MOMENT_BATCH_SIZE = 128
KEEP_PROBS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
BLOCK_SIZES = (1, 7)
SQUARE_SIDES = (0, 4, 8, 12, 16)
GRAY = 127
NOISE_LEVELS = (0, 8, 16, 32)
EVIDENCE = 0.8


def probe(model, build, images, *, batch_size, rng_seed=0):
    """Runs all probes on a trained classifier.

    Test, validation and training images pass through the network once. The same
    model gives the same numbers. Neither its weights, nor its random states, nor
    Python's, NumPy's and Keras' global ones are changed.

    Args:
        model: A trained `keras.Model`, from raw pixels to logits.
        build: A function `build(variant)` that returns a new network of the model's
            architecture, placement and classes with a `Variant`.
        images: A `Split`.
        batch_size: Number of images a step.
        rng_seed: Integer that decides what is drawn: places of squares, noise,
            blocks.

    Returns:
        A dictionary of plain values for JSON; a number that is not finite is `None`.

        - "test_loss", "test_accuracy", "val_loss", "val_accuracy", "train_loss",
          "train_accuracy": on all test images, all validation images and the first
          5,000 training images. A loss is the mean negative log-likelihood.
        - "calibration": see `calibration`.
        - "recalibrated": see `recalibrated`; `None` without batch normalization.
        - "drop_block_at_inference": see `drop_block_at_inference`; `None` where the
          network has no place for it.
        - "occlusion": accuracy on the first 2,000 test images under a gray square,
          see `occlude`: "side", "accuracy" and "images".
        - "noise": accuracy on the same images with Gaussian noise, see `add_noise`:
          "standard_deviation", "accuracy" and "images".
        - "predictions": see `encode_predictions`.
        - "evidence": see `evidence`; `None` for a network without class activation
          maps.

    Raises:
        ValueError: If `build` returns another architecture.
    """
    network = _evidence_network(model)

    def look(x):
        if network is None:
            return _predict(model, x, batch_size), None
        return _predict(network, x, batch_size)

    logits, maps = look(images.x_test)
    result = {}
    parts = {
        "test": (logits, images.y_test),
        "val": (look(images.x_val)[0], images.y_val),
        "train": (
            look(images.x_train[:TRAINING_IMAGES])[0],
            images.y_train[:TRAINING_IMAGES],
        ),
    }
    for part, (part_logits, labels) in parts.items():
        result[f"{part}_loss"] = negative_log_likelihood(part_logits, labels)
        result[f"{part}_accuracy"] = accuracy(part_logits, labels)

    x, y = images.x_test[:PERTURBED_IMAGES], images.y_test[:PERTURBED_IMAGES]
    undisturbed = accuracy(logits[: len(y)], y)

    def accuracies(perturb, levels):
        return [
            accuracy(look(perturb(x, level, rng_seed))[0], y) if level else undisturbed
            for level in levels
        ]

    result["calibration"] = calibration(*parts["test"], *parts["val"])
    with _python_random_state_kept():
        result["recalibrated"] = recalibrated(
            model, build, images, batch_size=batch_size, rng_seed=rng_seed
        )
        result["drop_block_at_inference"] = drop_block_at_inference(
            model, build, x, y, batch_size=batch_size, rng_seed=rng_seed
        )
    result["occlusion"] = {
        "images": len(y),
        "side": list(SQUARE_SIDES),
        "accuracy": accuracies(occlude, SQUARE_SIDES),
    }
    result["noise"] = {
        "images": len(y),
        "standard_deviation": list(NOISE_LEVELS),
        "accuracy": accuracies(add_noise, NOISE_LEVELS),
    }
    result["predictions"] = encode_predictions(logits, images.y_test)
    result["evidence"] = None if network is None else evidence(logits, maps)
    return result


def measure(model, images, *, batch_size):
    """Losses and accuracies alone, for runs without probes.

    Args:
        model, images, batch_size: As for `probe`.

    Returns:
        A dictionary with the keys of `FINAL`.
    """
    result = {}
    for part, x, y in (
        ("test", images.x_test, images.y_test),
        ("val", images.x_val, images.y_val),
        ("train", images.x_train[:TRAINING_IMAGES], images.y_train[:TRAINING_IMAGES]),
    ):
        logits = _predict(model, x, batch_size)
        result[f"{part}_loss"] = negative_log_likelihood(logits, y)
        result[f"{part}_accuracy"] = accuracy(logits, y)
    return result


# === Loss, accuracy, calibration ===


def accuracy(logits, labels):
    """The fraction of images whose label has the largest logit."""
    return float(np.mean(np.argmax(logits, axis=-1) == labels))


def negative_log_likelihood(logits, labels, temperature=1.0):
    """The mean negative log-likelihood of the labels, without label smoothing.

    Args:
        logits: Array (images, classes).
        labels: Integer array (images,).
        temperature: What the logits are divided by.

    Returns:
        A float, or `None` if a logit is not finite.
    """
    logits = np.asarray(logits, "float64")
    if temperature is None or not np.isfinite(logits).all():
        return None
    log_probabilities = _log_softmax(logits / temperature)
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def fit_temperature(logits, labels):
    """The temperature at which the labels are most likely.

    The mean negative log-likelihood is convex in the inverse temperature; bisection
    finds where its derivative is zero: the mean of the expected logit less the
    label's.

    Args:
        logits: Array (images, classes).
        labels: Integer array (images,).

    Returns:
        A float in [0.01, 100]: at the lower end for a network that makes no error.
        `None` if a logit is not finite.

    Reference:

    - [Guo et al., 2017](https://arxiv.org/abs/1706.04599), section 4.2.
    """
    logits = np.asarray(logits, "float64")
    if not np.isfinite(logits).all():
        return None
    if not np.ptp(logits, axis=-1).any():
        return 1.0  # all temperatures are alike
    ahead = logits - logits[np.arange(len(labels)), labels][:, None]
    highest = np.log(LARGEST_TEMPERATURE)
    lowest = -highest
    for _ in range(45):  # to 3e-13
        middle = (lowest + highest) / 2
        probabilities = np.exp(_log_softmax(logits / np.exp(middle)))
        slope = (probabilities * ahead).sum(axis=-1).mean()
        # Positive: the expected logit is too large, so the temperature is too low.
        lowest, highest = (middle, highest) if slope > 0 else (lowest, middle)
    return float(np.exp(middle))


def calibration(logits, labels, val_logits, val_labels):
    """Measures how well a classifier's confidence predicts how often it is right.

    The confidence is the largest probability. Bins are of equal width; one that ends
    at an edge includes it.

    Args:
        logits: Array (images, classes), of the test set.
        labels: Integer array (images,), of the test set.
        val_logits: Like `logits`, of the images that the temperature is fitted on.
        val_labels: Their labels.

    Returns:
        A dictionary: "count", "confidence" (mean) and "accuracy" are lists of 15,
        one number a bin; "ece" is the expected calibration error, "brier" the Brier
        score summed over classes; "confidence_right" and "confidence_wrong" are the
        mean confidence where the network is right and wrong; "temperature" is fitted
        on the validation images; "nll" and "nll_calibrated" are the mean negative
        log-likelihood before and after the test logits are divided by it. What is
        not defined is `None`: the mean of an empty set, and everything if a logit is
        not finite.

    Reference:

    - [Guo et al., 2017](https://arxiv.org/abs/1706.04599).
    """
    logits = np.asarray(logits, "float64")
    temperature = fit_temperature(val_logits, val_labels)
    after = {
        "temperature": temperature,
        "nll": negative_log_likelihood(logits, labels),
        "nll_calibrated": negative_log_likelihood(logits, labels, temperature),
    }
    if not np.isfinite(logits).all():
        lists = ("count", "confidence", "accuracy")
        numbers = ("ece", "brier", "confidence_right", "confidence_wrong")
        return {key: [None] * BINS for key in lists} | dict.fromkeys(numbers) | after
    probabilities = np.exp(_log_softmax(logits))
    confidence = probabilities.max(axis=-1)
    right = np.argmax(logits, axis=-1) == labels
    edges = np.arange(1, BINS) / BINS
    bins = np.searchsorted(edges, confidence, side="left")
    members = [bins == index for index in range(BINS)]
    wrong_by = [abs((confidence - right)[member].sum()) for member in members]
    errors = probabilities - (
        np.arange(logits.shape[-1]) == np.asarray(labels)[:, None]
    )
    return {
        "count": [int(member.sum()) for member in members],
        "confidence": [_mean(confidence[member]) for member in members],
        "accuracy": [_mean(right[member]) for member in members],
        "ece": float(sum(wrong_by) / len(right)),
        "brier": float((errors**2).sum(axis=-1).mean()),
        "confidence_right": _mean(confidence[right]),
        "confidence_wrong": _mean(confidence[~right]),
    } | after


def _log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _mean(values):
    return float(values.mean()) if len(values) else None


# === Batch normalization without the noise ===


def recalibrated(model, build, images, *, batch_size, rng_seed=0):
    """Accuracy after the moving averages are estimated again with the noise off.

    Noise in training changes the variance that batch normalization averages; at
    inference the noise is gone and the average is off. A network that is better
    after the averages are replaced suffered from that shift; one that stays at
    chance never learned.

    Args:
        model: A trained `keras.Model`.
        build: A function `build(variant)`, as for `probe`.
        images: A `Split`.
        batch_size: Number of images a step.
        rng_seed: Integer that decides which training images are averaged over.

    Returns:
        A dictionary: "test_accuracy", "val_accuracy", "test_loss" and "batches", the
        number of batches averaged over. `None` without batch normalization.

    Raises:
        ValueError: If `build` returns another architecture.

    Reference:

    - [Li et al., 2019](https://arxiv.org/abs/1801.05134), on the variance shift.
    """
    if not _batch_normalizations(model):
        return None
    network = _copy(model, build, Variant("none"))
    batches = estimate_moments(network, images.x_train, rng_seed=rng_seed)
    test = _predict(network, images.x_test, batch_size)
    val = _predict(network, images.x_val, batch_size)
    return {
        "batches": batches,
        "test_loss": negative_log_likelihood(test, images.y_test),
        "test_accuracy": accuracy(test, images.y_test),
        "val_accuracy": accuracy(val, images.y_val),
    }


def estimate_moments(network, x, *, rng_seed=0):
    """Replaces all moving averages by the mean over batches of images.

    Batches pass through the network with all other layers in inference mode, each
    normalized by its own moments. Every batch counts the same. There are 50 of 128
    images each, or as many as the images are enough for, chosen at random.

    Args:
        network: A `keras.Model`, which is changed.
        x: Array of images.
        rng_seed: Integer that decides which images are used.

    Returns:
        The number of batches.
    """
    layers = _batch_normalizations(network)
    batch_size = min(MOMENT_BATCH_SIZE, len(x))
    batches = min(MOMENT_BATCHES, len(x) // batch_size)
    order = np.random.default_rng(rng_seed).permutation(len(x))
    moments = [
        variable
        for layer in layers
        for variable in (layer.moving_mean, layer.moving_variance)
    ]
    for variable, start in zip(moments, [0.0, 1.0] * len(layers), strict=True):
        # A diverged run may have left NaN, which momentum 0 would not remove.
        variable.assign(np.full(variable.shape, start))
    momentums = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0  # the moving average is that of the last batch
    collector = _Collector(moments)
    with _in_training(layers):
        network.predict(
            x[order[: batches * batch_size]],
            batch_size=batch_size,
            callbacks=[collector],
            verbose=0,
        )
    network.make_predict_function(force=True)
    for layer, momentum in zip(layers, momentums, strict=True):
        layer.momentum = momentum
    for variable, total in zip(moments, collector.sums, strict=True):
        variable.assign(total / batches)
    return batches


class _Collector(keras.callbacks.Callback):
    """Sums the values that variables have after each batch."""

    def __init__(self, variables):
        super().__init__()
        self._variables = variables
        self.sums = [np.zeros(variable.shape) for variable in variables]

    def on_predict_batch_end(self, batch, logs=None):
        # JAX keeps the values elsewhere while it predicts; asking for the model
        # lets Keras hand them back.
        _ = self.model
        for total, variable in zip(self.sums, self._variables, strict=True):
            total += keras.ops.convert_to_numpy(variable)


def _batch_normalizations(model):
    layers = model._flatten_layers(include_self=False)
    return [
        layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)
    ]


# === Perturbations ===


def drop_block_at_inference(model, build, x, y, *, batch_size, rng_seed=0):
    """Accuracy with DropBlock switched on in the trained network.

    Everything else is in inference mode. DropBlock is where `build` puts it, with
    the exact rule for gamma, whatever the network was trained with.

    Args:
        model: A trained `keras.Model`.
        build: A function `build(variant)`, as for `probe`.
        x: Array of images.
        y: Their labels.
        batch_size: Number of images a step.
        rng_seed: Integer that decides which blocks are dropped.

    Returns:
        A dictionary: "images", their number; the lists "keep_prob" and "block_size";
        and "accuracy", for each block size a list with one number per `keep_prob`.
        `None` if `build` puts DropBlock nowhere.

    Raises:
        ValueError: If `build` returns another architecture.

    Reference:

    - [Ghiasi et al., 2018](https://arxiv.org/abs/1810.12890), section 4.1.2.
    """
    rows = []
    for block_size in BLOCK_SIZES:
        variant = Variant(
            "dropblock", block_size=block_size, keep_prob=0.5, gamma="exact"
        )
        network = _copy(model, build, variant)
        layers = find_drop_block_layers(network)
        if not layers:
            return None
        row = []
        with _in_training(layers):
            for keep_prob in KEEP_PROBS:
                if keep_prob == 1 and rows:
                    row.append(rows[0][len(row)])  # nothing is dropped, of any size
                    continue
                for index, layer in enumerate(layers):
                    # Some placements let some layers drop less.
                    layer.keep_prob = 1 - layer.rate_scale * (1 - keep_prob)
                    seed = np.random.SeedSequence((rng_seed, index)).generate_state(1)
                    layer.seed_generator.state.assign([int(seed[0] >> 1), 0])
                row.append(accuracy(_predict(network, x, batch_size), y))
        rows.append(row)
    return {
        "images": len(y),
        "keep_prob": list(KEEP_PROBS),
        "block_size": list(BLOCK_SIZES),
        "accuracy": rows,
    }


def occlude(images, side, rng_seed=0):
    """Images with a gray square, each at a random place that is all within it.

    The places depend on nothing but `rng_seed` and the number of the image. The
    squares of one image lie within each other, so that a larger one hides all that
    a smaller one hides.

    Args:
        images: Array (images, height, width, channels) of uint8.
        side: Side of the square in pixels; 0 hides nothing.
        rng_seed: Integer.

    Returns:
        A new array.
    """
    height, width = images.shape[1:3]
    places = np.random.default_rng((rng_seed, 0)).random((len(images), 2))
    corners = (places * (height - side + 1, width - side + 1)).astype(int)
    top, left = corners[:, 0, None], corners[:, 1, None]
    rows, columns = np.arange(height), np.arange(width)
    in_rows = (top <= rows) & (rows < top + side)
    in_columns = (left <= columns) & (columns < left + side)
    hidden = in_rows[:, :, None] & in_columns[:, None, :]
    return np.where(hidden[..., None], np.uint8(GRAY), images)


def add_noise(images, standard_deviation, rng_seed=0):
    """Images with Gaussian noise, rounded and clipped to 0 to 255.

    The noise of all standard deviations is the same up to its scale.

    Args:
        images: Array (images, height, width, channels) of uint8.
        standard_deviation: Number, in units of which white is 255.
        rng_seed: Integer.

    Returns:
        A new array of uint8.
    """
    rng = np.random.default_rng((rng_seed, 1))
    noise = rng.standard_normal(images.shape, dtype="float32")
    noisy = images + np.float32(standard_deviation) * noise
    return np.clip(np.rint(noisy), 0, 255).astype("uint8")


# === Predictions ===


def encode_predictions(logits, labels):
    """Encodes the predicted label of every image as short text.

    Args:
        logits: Array (images, classes).
        labels: Integer array (images,).

    Returns:
        A dictionary for `decode_predictions`: "labels" and "right" are base64 of
        zlib of bytes, and "count" is the number of images. A label is a byte, or two
        (little-endian) if there are more than 256 classes; "right" has a bit an
        image.
    """
    logits = np.asarray(logits)
    predicted = np.argmax(logits, axis=-1)
    dtype = "u1" if logits.shape[-1] <= 256 else "<u2"
    return {
        "count": len(predicted),
        "labels": _to_text(predicted.astype(dtype)),
        "right": _to_text(np.packbits(predicted == labels)),
    }


def decode_predictions(entry):
    """The inverse of `encode_predictions`.

    Args:
        entry: The dictionary.

    Returns:
        Two arrays: the predicted labels, integers, and whether they are right.
    """
    count = entry["count"]
    labels, right = (_to_bytes(entry[key]) for key in ("labels", "right"))
    dtype = "u1" if len(labels) == count else "<u2"
    bits = np.unpackbits(np.frombuffer(right, "u1"), count=count)
    return np.frombuffer(labels, dtype).astype("int64"), bits.astype(bool)


def _to_text(array):
    return base64.b64encode(zlib.compress(array.tobytes(), 9)).decode("ascii")


def _to_bytes(text):
    return zlib.decompress(base64.b64decode(text))


# === Class activation maps ===


def class_activation_maps(model, images, classes=None, *, batch_size=256):
    """Where in each image the evidence for a class is.

    In a network that ends in global average pooling and one dense layer, the logit
    of a class is the mean over all places of features @ kernel[:, class], plus a
    bias. That product, before the mean, is the map.

    Args:
        model: A `keras.Model`, from images to logits.
        images: Array (images, height, width, channels).
        classes: The class of each image's map, or `None` for the predicted class.
        batch_size: Number of images a step.

    Returns:
        A pair: the maps, an array (images, rows, columns) of the size of the last
        feature map, and the predicted classes.

    Raises:
        ValueError: If the model does not end in this way, or its last feature map
            has sides of less than 2.

    Reference:

    - [Zhou et al., 2016](https://arxiv.org/abs/1512.04150).
    """
    network = _evidence_network(model)
    if network is None:
        expected = (
            "a network that ends in GlobalAveragePooling2D and one Dense layer "
            "without activation, on a map with sides of at least 2"
        )
        raise invalid("model", expected, model)
    logits, maps = _predict(network, images, batch_size)
    predicted = np.argmax(logits, axis=-1)
    return _of_class(maps, predicted if classes is None else classes), predicted


def evidence_share(maps, fraction=EVIDENCE):
    """The share of a map's area that holds a fraction of its positive evidence.

    Cells are taken from the largest on, and of the last one so much as is needed.

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
    # Cells that are not enough, even together.
    whole = (sums < needed[:, None]).sum(axis=-1)
    rows = np.arange(len(falling))
    last = falling[rows, whole]
    part = (needed - (sums[rows, whole] - last)) / last
    shares[usable] = (whole + part) / cells.shape[-1]
    return shares


def evidence(logits, maps):
    """Summarizes the class activation maps of the test set.

    Args:
        logits: Array (images, classes), of the test set.
        maps: Array (images, rows, columns, classes): the maps of all classes.

    Returns:
        A dictionary: "images", indices of six test images, with "classes", the
        classes predicted for them, and "maps", the maps of these as nested lists of
        numbers of four digits; "share", the mean of `evidence_share` over the first
        1,000 test images, with "standard_deviation" and "count", how many of them
        have positive evidence.
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
        "share": _mean(shares),
        "standard_deviation": float(shares.std(ddof=1)) if len(shares) > 1 else None,
        "count": len(shares),
    }


def _of_class(maps, classes):
    return maps[np.arange(len(maps)), :, :, np.asarray(classes)]


def _four_digits(value):
    return float(f"{value:.4g}") if np.isfinite(value) else None


def _evidence_network(model):
    """The model with a second output, the class activation maps of all classes.

    Layers and weights are those of the model. `None` if it has no such maps.
    """
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) != 1:
        return None
    dense, pooled = _maker(outputs[0])
    if not isinstance(dense, keras.layers.Dense) or len(outputs[0].shape) != 2:
        return None
    pooling, features = _maker(pooled)
    is_average = isinstance(pooling, keras.layers.GlobalAveragePooling2D)
    if not is_average or dense.activation is not keras.activations.linear:
        return None
    if pooling.data_format == "channels_first":
        features = keras.layers.Permute((2, 3, 1))(features)
    _, *sides, _ = features.shape
    if None in sides or min(sides) < 2:
        return None
    # A dense layer works on the last axis of a map too, at each place alike.
    at_each_place = keras.layers.Dense(
        dense.units,
        use_bias=False,
        kernel_initializer="zeros",
        dtype="float32",
        name="class_activation_maps",
    )
    network = keras.Model(model.inputs, [outputs[0], at_each_place(features)])
    at_each_place.kernel.assign(keras.ops.convert_to_numpy(dense.kernel))
    network.jit_compile = model.jit_compile
    return network


def _maker(tensor):
    """The layer that made a tensor, and its input if it has only one."""
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    inputs = node.input_tensors
    return history.operation, inputs[0] if len(inputs) == 1 else None


# === Networks ===


def copy_weights(source, target):
    """Gives a network the weights of another that differs in its DropBlock layers.

    Layers are matched by name, or by position where Keras chose the names. The
    variables of DropBlock layers are left alone.

    Args:
        source: A `keras.Model`.
        target: A `keras.Model`, which is changed.

    Raises:
        ValueError: If a layer of `target` has no partner of the same class and
            shapes.
    """
    old, new = _weights_by_layer(source), _weights_by_layer(target)
    by_name = {path: (layer, weights) for path, layer, weights in old}
    if all(path in by_name for path, _, _ in new):
        partners = [by_name[path] for path, _, _ in new]
    else:
        partners = [(layer, weights) for _, layer, weights in old]
    fits = len(partners) == len(new) and all(
        type(layer) is type(other)
        and [w.shape for w in weights] == [w.shape for w in others]
        for (layer, weights), (_, other, others) in zip(partners, new, strict=True)
    )
    if not fits:
        expected = f"a network with the layers of '{source.name}'"
        raise invalid("target", expected, target)
    for (_, weights), (_, _, others) in zip(partners, new, strict=True):
        for weight, other in zip(weights, others, strict=True):
            other.assign(keras.ops.convert_to_numpy(weight))


def _weights_by_layer(model):
    """(path of names, layer, weights) of each layer with weights to be copied."""
    drop_blocks = find_drop_block_layers(model)
    left_alone = {id(weight) for layer in drop_blocks for weight in layer.weights}
    found = []

    def visit(layers, path):
        for layer in layers:
            if isinstance(layer, keras.Model):
                visit(layer.layers, (*path, layer.name))
                continue
            weights = [w for w in layer.weights if id(w) not in left_alone]
            if weights:
                found.append(((*path, layer.name), layer, weights))

    visit(model.layers, ())
    return found


def _copy(model, build, variant):
    network = build(variant)
    copy_weights(model, network)
    network.jit_compile = model.jit_compile
    return network


def _predict(model, x, batch_size):
    """Returns a model's outputs for images as float64 arrays.

    The last batch is filled up, so that a network is compiled for one batch size.
    """
    count = len(x)
    filled = x[np.arange(count + -count % batch_size) % count]
    outputs = model.predict(filled, batch_size=batch_size, verbose=0)
    return keras.tree.map_structure(
        lambda output: np.asarray(output)[:count].astype("float64"), outputs
    )


@contextlib.contextmanager
def _in_training(layers):
    """Lets layers work as in training, in a model that does not train."""

    def in_training(call):
        return lambda *args, **kwargs: call(*args, **(kwargs | {"training": True}))

    for layer in layers:
        layer.call = in_training(layer.call)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


@contextlib.contextmanager
def _python_random_state_kept():
    """Keras draws from Python's generator the seeds of layers that have none."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)
