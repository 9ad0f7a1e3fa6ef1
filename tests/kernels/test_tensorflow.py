"""What TensorFlow does by its own functions, against plain NumPy and `Packing`."""

import numpy as np
import pytest
from backend import BACKEND
from keras import ops

import dropblock_lib as dbl
from dropblock_lib.kernels.packed_masks import Packing, choose_packing

pytestmark = pytest.mark.skipif(
    BACKEND != "tensorflow", reason=f"{BACKEND} does not use them"
)

BATCHES = [1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 32, 40]


def words(shape, seed=0):
    info = np.iinfo("int32")
    rng = np.random.default_rng(seed)
    return rng.integers(info.min, info.max, shape, "int32", endpoint=True)


def group_size(samples):
    return next(size for size in (1, 2, 4, 8) if size >= min(samples, 8))


def unpacked(packed, samples, size):
    """Booleans (samples, height, width, channels), bit by bit."""
    runs = 8 // size
    groups, height, width, count = packed.shape
    found = np.zeros((groups * size, height, width, count * 4 * runs), bool)
    for sample in range(groups * size):
        group, s = divmod(sample, size)
        for channel in range(count * 4 * runs):
            run, place = divmod(channel, count * 4)
            word, byte = divmod(place, 4)
            bits = packed[group, :, :, word].view("uint32")
            bit = np.uint32(8 * byte + s * runs + run)
            found[sample, :, :, channel] = bits >> bit & 1
    return found[:samples]


@pytest.mark.parametrize(
    ("samples", "channels", "channel_axis", "bytes_fit"),
    [
        (32, 64, 3, True),
        (5, 4, 3, True),
        (4, 8, 3, True),
        (4, 4, 3, False),
        (3, 24, 3, True),
        (2, 24, 3, False),
        (1, 64, 3, True),
        (1, 48, 3, False),
        (32, 6, 3, False),
        (32, 1, 3, False),
        (32, 64, 1, False),
    ],
)
def test_words_of_bytes_where_they_fit(samples, channels, channel_axis, bytes_fit):
    found = choose_packing(samples, channels, channel_axis)
    assert isinstance(found, Packing) != bytes_fit
    assert channels % found.chunks == 0


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("samples", BATCHES)
def test_each_bit_goes_to_its_sample_and_channel(samples, dtype):
    packing = choose_packing(samples, 96, 3)
    packed = words((packing.groups, 2, 3, 96 // packing.chunks))
    value = ops.cast(0.7, dtype)
    found = packing.spread(ops.convert_to_tensor(packed), 3, value)
    assert found.dtype == value.dtype
    dropped = unpacked(packed, samples, group_size(samples))
    expected = np.where(dropped, 0, float(value))
    np.testing.assert_array_equal(ops.cast(found, "float64"), expected)


@pytest.mark.parametrize("samples", BATCHES)
def test_the_bits_of_samples_that_there_are(samples):
    packing = choose_packing(samples, 32, 3)
    present = packing.present()
    if present is None:
        assert samples in (1, 2, 4) or samples % 8 == 0
        return
    present = np.reshape(present, (-1, 1, 1, 1))
    size = group_size(samples)
    there = unpacked(present, size * packing.groups, size)[:, 0, 0]
    expected = np.arange(size * packing.groups) < samples
    assert (there == expected[:, None]).all()


@pytest.mark.parametrize("samples", [0, *BATCHES])
def test_a_batch_size_that_is_not_known_is_packed_alike(samples):
    import tensorflow as tf

    groups = -(-samples // 8)
    packed = words((groups, 2, 3, 3))

    @tf.function(input_signature=[tf.TensorSpec(None, "int32")])
    def unknown(samples):
        packing = choose_packing(samples, 12, 3)
        spread = packing.spread(tf.constant(packed), 3, tf.constant(0.5))
        return packing.groups, packing.present(), spread

    found_groups, present, spread = unknown(samples)
    assert int(found_groups) == groups
    expected = np.where(unpacked(packed, samples, 8), 0, 0.5)
    np.testing.assert_array_equal(spread, expected)
    ones = np.unpackbits(present.numpy().view("uint8"))
    assert ones.sum() == 4 * samples


@pytest.mark.parametrize("samples", [1, 3, 5, 8, 33])
@pytest.mark.parametrize("block_size", [1, 3, 7])
def test_samples_and_channels_have_masks_of_their_own(samples, block_size):
    """Where bytes are words, the masks of any two maps agree by chance alone."""
    layer = dbl.DropBlock2D(block_size, 0.7, seed=0)
    calls, side, channels = 40, 9, 32
    x = np.ones((samples, side, side, channels), "float32")
    dropped = np.stack([layer(x, training=True) for _ in range(calls)]) == 0
    gamma = dbl.gamma(0.7, block_size, side)
    rate = dbl.expected_drop_rate(gamma, block_size, side)
    # Of the center, so that each is a Bernoulli draw with one probability.
    center = dropped[:, :, side // 2, side // 2]
    p = 1 - (1 - gamma) ** (min(block_size, side - block_size + 1) ** 2)
    per_map = center.mean(axis=0)
    assert (abs(per_map - p) < 5.5 * np.sqrt(p * (1 - p) / calls)).all()
    assert abs(dropped.mean() - rate) < 0.02
    maps = center.reshape(calls, -1).astype(float) - p
    together = (maps[:, :-1] * maps[:, 1:]).mean()
    assert abs(together) < 5 * p * (1 - p) / np.sqrt(maps[:, 1:].size)


def test_layers_of_one_kind_share_a_trace():
    """Tracing and optimizing the drawing of masks takes much of a first step."""
    import tensorflow as tf

    layers = [dbl.DropBlock2D(3, 0.7, seed=seed) for seed in range(4)]

    @tf.function
    def chained(x):
        outputs = []
        for layer in layers:
            outputs.append(layer(x, training=True))
        return outputs

    x = tf.ones((3, 9, 9, 32))
    outputs = chained(x)
    graph = chained.get_concrete_function(x).graph.as_graph_def()
    calls = [node for node in graph.node if node.op.endswith("PartitionedCall")]
    assert len(calls) == len(layers)
    assert len({node.attr["f"].func.name for node in calls}) == 1
    # Each of them has masks of its own nevertheless, those it has by itself.
    for seed, output in enumerate(outputs):
        alone = dbl.DropBlock2D(3, 0.7, seed=seed)(x, training=True)
        np.testing.assert_array_equal(output == 0, alone == 0)
    assert len({(output.numpy() == 0).tobytes() for output in outputs}) == 4
