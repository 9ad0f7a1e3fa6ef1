"""Probes of a trained classifier, which a record has in addition to its accuracy.

Each probe measures one property of the network: how well its confidence is calibrated,
how well it withstands noise and blocks, and where in an image it finds its evidence.
The network itself is not changed; the probes change copies of it.
"""

import base64
import contextlib
import random
import zlib
from collections.abc import Callable

import keras
import numpy as np

from dropblock_lib.arguments import invalid
from dropblock_lib.experiments.tasks.activation_maps import (
    evidence,
    evidence_network,
    predict,
)
from dropblock_lib.experiments.tasks.calibration import (
    accuracy,
    calibration,
    negative_log_likelihood,
)
from dropblock_lib.experiments.tasks.split import Split
from dropblock_lib.keep_prob_scheduler import find_drop_block_layers
from dropblock_lib.variants import Variant

# The entries of `probe` that every record's `final` has.
FINAL = (
    "test_loss",
    "test_accuracy",
    "val_loss",
    "val_accuracy",
    "train_loss",
    "train_accuracy",
)
TRAINING_IMAGES = 5_000  # the first ones, for the training loss and accuracy
PERTURBED_IMAGES = 2_000  # the first ones of the test set, for each perturbation

MOMENT_BATCHES = 50
MOMENT_BATCH_SIZE = 128
KEEP_PROBS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
BLOCK_SIZES = (1, 7)
SQUARE_SIDES = (0, 4, 8, 12, 16)
GRAY = 127
NOISE_LEVELS = (0, 8, 16, 32)


def probe(
    model: keras.Model,
    build: Callable[[Variant], keras.Model],
    images: Split,
    *,
    batch_size: int,
    rng_seed: int = 0,
) -> dict:
    """Runs all probes on a trained classifier.

    The result depends on nothing but the arguments. Neither the weights and random
    states of the model nor the global random states of Python, NumPy and Keras change.

    Args:
        model: A trained `keras.Model`, from raw pixels to logits.
        build: A function `build(variant)` that returns a new network of the model's
            architecture, placement and classes with a `Variant`.
        images: A `Split`.
        batch_size: Number of images per step.
        rng_seed: Integer that decides the random squares, noise and blocks.

    Returns:
        A dictionary of plain values for JSON; a number that is not finite is `None`.

        - The keys of `FINAL`: mean negative log-likelihood and accuracy on all test
          images, all validation images and the first 5,000 training images.
        - "calibration": see `calibration`.
        - "recalibrated": see `recalibrated`.
        - "drop_block_at_inference": see `drop_block_at_inference`.
        - "occlusion": accuracy on the first 2,000 test images under a gray square,
          see `occlude`: "side", "accuracy" and "images".
        - "noise": accuracy on the same images with Gaussian noise, see `add_noise`:
          "standard_deviation", "accuracy" and "images".
        - "predictions": see `encode_predictions`.
        - "evidence": see `activation_maps.evidence`; `None` for a network without
          class activation maps.

    Raises:
        ValueError: If `build` returns another architecture.
    """
    network = evidence_network(model)

    def logits_and_maps(x):
        if network is None:
            return predict(model, x, batch_size), None
        return predict(network, x, batch_size)

    parts = {part: (logits_and_maps(x), y) for part, (x, y) in _parts(images).items()}
    result = {}
    for part, ((part_logits, _), labels) in parts.items():
        result |= _scores(part, part_logits, labels)
    (logits, maps), _ = parts["test"]
    (val_logits, _), y_val = parts["val"]

    x, y = images.x_test[:PERTURBED_IMAGES], images.y_test[:PERTURBED_IMAGES]
    unperturbed = accuracy(logits[: len(y)], y)

    def accuracies(perturb, levels):
        return [
            accuracy(logits_and_maps(perturb(x, level, rng_seed))[0], y)
            if level
            else unperturbed
            for level in levels
        ]

    result["calibration"] = calibration(logits, images.y_test, val_logits, y_val)
    options = {"batch_size": batch_size, "rng_seed": rng_seed}
    with _python_random_state_kept():
        result["recalibrated"] = recalibrated(model, build, images, **options)
        result["drop_block_at_inference"] = drop_block_at_inference(
            model, build, x, y, **options
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
    result["evidence"] = None if maps is None else evidence(logits, maps)
    return result


def measure(model: keras.Model, images: Split, *, batch_size: int) -> dict:
    """Measures only losses and accuracies, for runs without probes.

    Args:
        model, images, batch_size: As for `probe`.

    Returns:
        A dictionary with the keys of `FINAL`.
    """
    result = {}
    for part, (x, y) in _parts(images).items():
        result |= _scores(part, predict(model, x, batch_size), y)
    return result


def _parts(images):
    count = TRAINING_IMAGES
    return {
        "test": (images.x_test, images.y_test),
        "val": (images.x_val, images.y_val),
        "train": (images.x_train[:count], images.y_train[:count]),
    }


def _scores(part, logits, labels):
    return {
        f"{part}_loss": negative_log_likelihood(logits, labels),
        f"{part}_accuracy": accuracy(logits, labels),
    }


# === Batch normalization without the noise ===


def recalibrated(
    model: keras.Model,
    build: Callable[[Variant], keras.Model],
    images: Split,
    *,
    batch_size: int,
    rng_seed: int = 0,
) -> dict | None:
    """Accuracy after the moving averages are estimated again without noise.

    Noise in training changes the variance that batch normalization averages, and at
    inference the average no longer fits. A network that improves with new averages
    suffered from that shift; one that stays at chance never learned.

    Args:
        model, build, images, batch_size: As for `probe`.
        rng_seed: Integer that decides which training images are averaged over.

    Returns:
        A dictionary: "test_accuracy", "val_accuracy", "test_loss" and "batches", the
        number of batches averaged over. `None` without batch normalization.

    Raises:
        ValueError: If `build` returns another architecture.

    Reference:
        [Li et al., 2019](https://arxiv.org/abs/1801.05134), on the variance shift.
    """
    if not _batch_normalizations(model):
        return None
    network = _copy(model, build, Variant("none"))
    batches = estimate_moments(network, images.x_train, rng_seed=rng_seed)
    test = predict(network, images.x_test, batch_size)
    val = predict(network, images.x_val, batch_size)
    return {
        "batches": batches,
        **_scores("test", test, images.y_test),
        "val_accuracy": accuracy(val, images.y_val),
    }


def estimate_moments(network: keras.Model, x: np.ndarray, *, rng_seed: int = 0) -> int:
    """Replaces all moving averages with the means over batches of images.

    Each batch is normalized by its own moments, with all other layers in inference
    mode. At most 50 batches of 128 images are chosen at random. On several devices,
    the batch size is rounded down to a multiple of their number.

    Args:
        network: A `keras.Model`, changed in place.
        x: Array of images.
        rng_seed: Integer that decides which images are used.

    Returns:
        The number of batches.
    """
    layers = _batch_normalizations(network)
    batch_size = min(MOMENT_BATCH_SIZE, len(x))
    distribution = keras.distribution.distribution()
    if distribution:
        batch_size -= batch_size % distribution.device_mesh.devices.size
    batches = min(MOMENT_BATCHES, len(x) // batch_size)
    order = np.random.default_rng(rng_seed).permutation(len(x))
    moments = [
        variable
        for layer in layers
        for variable in (layer.moving_mean, layer.moving_variance)
    ]
    for variable, start in zip(moments, [0.0, 1.0] * len(layers), strict=True):
        # Momentum 0 would not remove the NaN of a diverged run.
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
    """Sums the values of variables after each batch."""

    def __init__(self, variables):
        super().__init__()
        self._variables = variables
        self.sums = [np.zeros(variable.shape) for variable in variables]

    def on_predict_batch_end(self, batch, logs=None):
        # On JAX, variables are stale during predict until the model is accessed.
        _ = self.model
        for total, variable in zip(self.sums, self._variables, strict=True):
            total += keras.ops.convert_to_numpy(variable)


def _batch_normalizations(model):
    layers = model._flatten_layers(include_self=False)
    return [
        layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)
    ]


# === Perturbations ===


def drop_block_at_inference(
    model: keras.Model,
    build: Callable[[Variant], keras.Model],
    x: np.ndarray,
    y: np.ndarray,
    *,
    batch_size: int,
    rng_seed: int = 0,
) -> dict | None:
    """Accuracy with DropBlock switched on in the trained network.

    All other layers are in inference mode. DropBlock is where `build` puts it, with
    the exact rule for gamma, whatever the network was trained with.

    Args:
        model, build, batch_size: As for `probe`.
        x: Array of images.
        y: Integer array of their labels.
        rng_seed: Integer that decides which blocks are dropped.

    Returns:
        A dictionary: "images", their number; the lists "keep_prob" and "block_size";
        and "accuracy", for each block size a list with one number per `keep_prob`.
        `None` if `build` inserts no DropBlock.

    Raises:
        ValueError: If `build` returns another architecture.

    Reference:
        [Ghiasi et al., 2018](https://arxiv.org/abs/1810.12890), section 4.1.2.
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
                    row.append(rows[0][len(row)])  # nothing is dropped
                    continue
                for index, layer in enumerate(layers):
                    # In some placements, some layers drop less.
                    layer.keep_prob = 1 - layer.rate_scale * (1 - keep_prob)
                    seed = np.random.SeedSequence((rng_seed, index)).generate_state(1)
                    layer.seed_generator.state.assign([int(seed[0] >> 1), 0])
                row.append(accuracy(predict(network, x, batch_size), y))
        rows.append(row)
    return {
        "images": len(y),
        "keep_prob": list(KEEP_PROBS),
        "block_size": list(BLOCK_SIZES),
        "accuracy": rows,
    }


def occlude(images: np.ndarray, side: int, rng_seed: int = 0) -> np.ndarray:
    """Covers a square at a random position within each image with gray.

    Positions depend only on `rng_seed` and the index of the image. A larger square
    covers everything that a smaller one covers.

    Args:
        images: Array (images, height, width, channels) of uint8.
        side: Side of the square in pixels; 0 covers nothing.
        rng_seed: Integer that decides the positions.

    Returns:
        A new array.
    """
    height, width = images.shape[1:3]
    positions = np.random.default_rng((rng_seed, 0)).random((len(images), 2))
    corners = (positions * (height - side + 1, width - side + 1)).astype(int)
    top, left = corners[:, 0, None], corners[:, 1, None]
    rows, columns = np.arange(height), np.arange(width)
    in_rows = (top <= rows) & (rows < top + side)
    in_columns = (left <= columns) & (columns < left + side)
    covered = in_rows[:, :, None] & in_columns[:, None, :]
    return np.where(covered[..., None], np.uint8(GRAY), images)


def add_noise(
    images: np.ndarray, standard_deviation: float, rng_seed: int = 0
) -> np.ndarray:
    """Adds Gaussian noise to images, rounded and clipped to 0 to 255.

    Args:
        images: Array (images, height, width, channels) of uint8.
        standard_deviation: Number, on the scale of the pixels.
        rng_seed: Integer that decides the noise, up to its scale.

    Returns:
        A new array of uint8.
    """
    rng = np.random.default_rng((rng_seed, 1))
    noise = rng.standard_normal(images.shape, dtype="float32")
    noisy = images + np.float32(standard_deviation) * noise
    return np.clip(np.rint(noisy), 0, 255).astype("uint8")


# === Predictions ===


def encode_predictions(logits: np.ndarray, labels: np.ndarray) -> dict:
    """Encodes the predicted label of every image as short text.

    Args:
        logits: Array (images, classes).
        labels: Integer array (images,).

    Returns:
        A dictionary for `decode_predictions`: "count", the number of images; "labels",
        one byte per image, or two (little-endian) with more than 256 classes; and
        "right", one bit per image. Bytes are compressed by zlib and encoded in base64.
    """
    logits = np.asarray(logits)
    predicted = np.argmax(logits, axis=-1)
    dtype = "u1" if logits.shape[-1] <= 256 else "<u2"
    return {
        "count": len(predicted),
        "labels": _to_text(predicted.astype(dtype)),
        "right": _to_text(np.packbits(predicted == labels)),
    }


def decode_predictions(entry: dict) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `encode_predictions`.

    Args:
        entry: The dictionary.

    Returns:
        The predicted labels, integers, and whether they are right, booleans.
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


# === Networks ===


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copies weights between networks that differ only in their DropBlock layers.

    Layers are matched by name, or by position if the names differ. The variables of
    DropBlock layers are not copied.

    Args:
        source: A `keras.Model`.
        target: A `keras.Model`, changed in place.

    Raises:
        ValueError: If a layer of `target` has no counterpart of the same class and
            shapes.
    """
    old, new = _weights_by_layer(source), _weights_by_layer(target)
    if set(new) <= set(old):
        old = {path: old[path] for path in new}

    def kinds(layers):
        return [(type(layer), [w.shape for w in ws]) for layer, ws in layers.values()]

    if kinds(old) != kinds(new):
        expected = f"a network with the layers of '{source.name}'"
        raise invalid("target", expected, target)
    for (_, weights), (_, others) in zip(old.values(), new.values(), strict=True):
        for weight, other in zip(weights, others, strict=True):
            other.assign(keras.ops.convert_to_numpy(weight))


def _weights_by_layer(model):
    """Path of names -> (layer, weights), for each layer with weights to copy."""
    drop_blocks = find_drop_block_layers(model)
    excluded = {id(weight) for layer in drop_blocks for weight in layer.weights}
    found = {}

    def visit(layers, path):
        for layer in layers:
            if isinstance(layer, keras.Model):
                visit(layer.layers, (*path, layer.name))
                continue
            weights = [w for w in layer.weights if id(w) not in excluded]
            if weights:
                found[(*path, layer.name)] = layer, weights

    visit(model.layers, ())
    return found


def _copy(model, build, variant):
    network = build(variant)
    copy_weights(model, network)
    network.jit_compile = model.jit_compile
    return network


@contextlib.contextmanager
def _in_training(layers):
    """Runs layers in training mode while the model is in inference mode."""

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
    """Restores Python's generator, from which Keras draws seeds of new layers."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)
