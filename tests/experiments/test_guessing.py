"""Guessing dropped units, on feature maps for which the answer is known."""

import numpy as np
import pytest

from dropblock_lib.experiments import guessing

SHAPE = (40, 12, 12, 3)


def noise(seed=0):
    maps = np.random.default_rng(seed).normal(size=SHAPE).astype("float32")
    return (maps - maps.mean((0, 1, 2))) / maps.std((0, 1, 2))


def constant_maps():
    """Every unit of a map has the same value; channels are independent."""
    levels = np.random.default_rng(0).normal(size=(SHAPE[0], 1, 1, SHAPE[3]))
    maps = np.broadcast_to(levels, SHAPE).astype("float32")
    return (maps - maps.mean((0, 1, 2))) / maps.std((0, 1, 2))


@pytest.mark.parametrize("method", guessing.METHODS)
def test_all_methods_drop_the_same_fraction(method):
    shape = (400, 12, 12, 10)
    mask = guessing.keep_masks(method, shape, 0.75, np.random.default_rng(0), 5)
    assert mask.shape == shape
    # Whole channels, of which there are 4,000, have the largest spread. 5 sigma.
    assert abs(mask.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 4000)


def test_spatial_masks_drop_whole_channels():
    mask = guessing.keep_masks("spatial", SHAPE, 0.5, np.random.default_rng(0))
    assert set(np.unique(mask.mean((1, 2)))) == {0.0, 1.0}


def test_noise_cannot_be_guessed():
    mask = guessing.keep_masks("dropout", SHAPE, 0.75, np.random.default_rng(1))
    scores = guessing.guess_scores(noise(), mask)
    assert scores["same channel"] < 0.02
    assert scores["all channels"] < 0.02


def test_a_constant_map_is_guessed_from_any_kept_unit():
    mask = guessing.keep_masks("dropout", SHAPE, 0.75, np.random.default_rng(1))
    assert guessing.guess_scores(constant_maps(), mask)["same channel"] > 0.95


def test_a_whole_dropped_channel_is_not_guessed_from_itself():
    mask = guessing.keep_masks("spatial", SHAPE, 0.75, np.random.default_rng(1))
    scores = guessing.guess_scores(constant_maps(), mask)
    assert scores["same channel"] < 0.05


def test_a_channel_that_others_duplicate_is_guessed_from_them():
    maps = np.repeat(noise()[..., :1], 3, -1)
    mask = guessing.keep_masks("spatial", SHAPE, 0.75, np.random.default_rng(1))
    scores = guessing.guess_scores(maps, mask)
    assert scores["same channel"] < 0.05
    assert scores["all channels"] > 0.5


def test_neighbor_correlation_of_a_known_process():
    # A moving average over two units correlates 1/2 at distance 1, 0 beyond.
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(50, 40, 41, 4))
    maps = raw[:, :, 1:] + raw[:, :, :-1]
    correlation = guessing.neighbor_correlation(maps, 2)
    # 5 sigma of a correlation over some 300,000 pairs.
    assert np.allclose(correlation, [1, 0.5, 0], atol=5 / np.sqrt(300_000) * 1.5)


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match=r"`method`.*Received: method='blocks'"):
        guessing.keep_masks("blocks", SHAPE, 0.9, np.random.default_rng(0))


def test_a_mask_that_drops_nothing_is_rejected():
    with pytest.raises(ValueError, match="`keep_mask`"):
        guessing.guess_scores(noise(), np.ones(SHAPE, "int8"))
