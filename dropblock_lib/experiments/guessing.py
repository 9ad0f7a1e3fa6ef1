"""How well a dropped unit can be guessed from the units that are kept.

Dropping a unit that can be guessed hides little. The guesser is a ridge regression per
channel, fitted to the dropped units of one half of the samples and scored on those of
the other.
"""

import keras
import numpy as np

from dropblock_lib.arguments import check_keep_prob, invalid
from dropblock_lib.masks import exact_gamma, expand_seeds, seed_shape

METHODS = ("dropout", "spatial", "dropblock")
# Standard deviations in units of the Gaussian windows that the guesser sees.
WINDOWS = (0.5, 0.75, 1.0, 1.5, 2.5, 4.0)


def feature_maps(model: keras.Model, layer_name: str, images: np.ndarray) -> np.ndarray:
    """Computes a layer's activations, each channel standardized over all samples.

    Channels with a standard deviation of at most 1e-3 are left out.

    Args:
        model: A functional Keras model.
        layer_name: Name of a layer with a rank-4 output.
        images: Array (samples, height, width, channels), the input of the model.

    Returns:
        Float32 array (samples, height, width, channels), each channel with mean 0
        and standard deviation 1.
    """
    layer = model.get_layer(layer_name)
    # `predict` would be compiled anew for each of a chapter's models.
    maps = keras.Model(model.inputs, layer.output)(images, training=False)
    maps = keras.ops.convert_to_numpy(maps)
    maps = maps[..., maps.std((0, 1, 2)) > 1e-3]
    return (maps - maps.mean((0, 1, 2))) / maps.std((0, 1, 2))


def neighbor_correlation(maps: np.ndarray, longest: int) -> np.ndarray:
    """Correlation of two units in a channel, by their horizontal distance.

    Args:
        maps: Standardized feature maps, see `feature_maps`.
        longest: Integer, the longest distance in units.

    Returns:
        Array (longest + 1,), pooled over all channels; 1 at distance 0.
    """
    return np.array(
        [
            np.corrcoef(
                maps[:, :, distance:].ravel(),
                maps[:, :, : maps.shape[2] - distance].ravel(),
            )[0, 1]
            for distance in range(longest + 1)
        ]
    )


def keep_masks(
    method: str,
    shape: tuple[int, int, int, int],
    keep_prob: float,
    rng: np.random.Generator,
    block_size: int = 7,
) -> np.ndarray:
    """Draws keep masks, with the same expected fraction kept for every method.

    Args:
        method: `"dropout"`, `"spatial"` or `"dropblock"`.
        shape: (samples, height, width, channels).
        keep_prob: Float in (0, 1]. Expected fraction of units kept.
        rng: `numpy.random.Generator`.
        block_size: Side of a block in units, for `"dropblock"`.

    Returns:
        Int8 array of the given shape: 0 where dropped, 1 where kept.

    Raises:
        ValueError: If an argument is invalid.
    """
    keep_prob = check_keep_prob(keep_prob)
    samples, height, width, channels = shape
    if method == "dropout":
        return (rng.random(shape) < keep_prob).astype("int8")
    if method == "spatial":
        kept = rng.random((samples, 1, 1, channels)) < keep_prob
        return np.broadcast_to(kept, shape).astype("int8")
    if method == "dropblock":
        feat_size = (height, width)
        probability = exact_gamma(keep_prob, block_size, feat_size)
        valid = seed_shape(block_size, feat_size)
        seeds = rng.random((samples, channels, *valid)) >= probability
        masks = expand_seeds(seeds.astype("int8"), block_size, feat_size)
        return np.moveaxis(masks, 1, -1)
    raise invalid("method", f"one of {METHODS}", method)


def guess_scores(maps: np.ndarray, keep_mask: np.ndarray) -> dict[str, float]:
    """R² of guessing the dropped units, from two kinds of evidence.

    Args:
        maps: Standardized feature maps, see `feature_maps`.
        keep_mask: Array of the shape of `maps`: 0 where dropped.

    Returns:
        Dict of evidence -> R²: `"same channel"` uses the kept units around the dropped
        one in its channel, `"all channels"` also those at and around its position in
        the other channels. 1 is a perfect guess; 0 is no better than the channel's
        mean.

    Raises:
        ValueError: If nothing was dropped in one half of the samples.
    """
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score

    half = len(maps) // 2
    dropped = keep_mask == 0
    if not (dropped[:half].any() and dropped[half:].any()):
        raise invalid("keep_mask", "dropped units in both halves", keep_mask.shape)
    seen = [_seen_through(window, maps, keep_mask) for window in WINDOWS]

    truth, guesses = [], {"same channel": [], "all channels": []}
    for channel in range(maps.shape[-1]):
        fit, score = dropped[:half, ..., channel], dropped[half:, ..., channel]
        if not (fit.any() and score.any()):
            continue
        own = np.stack([view[..., channel] for view in seen], -1)
        evidence = {
            "same channel": own,
            "all channels": np.concatenate([own, seen[0], seen[2]], -1),
        }
        target = maps[..., channel]
        truth.append(target[half:][score])
        for name, features in evidence.items():
            guesser = Ridge(alpha=10.0).fit(features[:half][fit], target[:half][fit])
            guesses[name].append(guesser.predict(features[half:][score]))
    truth = np.concatenate(truth)
    return {
        name: float(r2_score(truth, np.concatenate(guess)))
        for name, guess in guesses.items()
    }


def _seen_through(window, maps, keep_mask):
    """Mean of the kept units in a Gaussian window, or 0, the overall mean, if none."""
    from scipy.ndimage import gaussian_filter

    widths = (0, window, window, 0)
    # Positions outside the map count as dropped.
    total = gaussian_filter(maps * keep_mask, widths, mode="constant")
    weight = gaussian_filter(keep_mask.astype(maps.dtype), widths, mode="constant")
    return np.where(weight > 1e-4, total / np.maximum(weight, 1e-4), 0)
