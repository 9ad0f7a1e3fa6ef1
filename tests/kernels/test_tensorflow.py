"""TensorFlow's own operations, against plain NumPy."""

import numpy as np
import pytest
from backend import BACKEND, random_words
from keras import ops

import dropblock_lib as dbl
from dropblock_lib.kernels import backend

pytestmark = pytest.mark.skipif(
    BACKEND != "tensorflow", reason=f"{BACKEND} does not use them"
)

BATCHES = [1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 32, 40]


def draw(samples, channels, words=random_words):
    """Masks with random bits, on maps of 2 x 3."""
    masks = backend.masks_class(samples, channels, -1)
    assert masks is backend.ByteMasks
    return masks.draw(
        samples,
        channels,
        (2, 3),
        -1,
        lambda shape, bits: ops.convert_to_tensor(words(shape)),
    )


def group_size(samples):
    return next(size for size in (1, 2, 4, 8) if size >= min(samples, 8))


def unpacked(words, samples, size):
    """Booleans (samples, height, width, channels), bit by bit."""
    runs = 8 // size
    groups, height, width, count = words.shape
    found = np.zeros((groups * size, height, width, count * 4 * runs), bool)
    for sample in range(groups * size):
        group, s = divmod(sample, size)
        for channel in range(count * 4 * runs):
            run, place = divmod(channel, count * 4)
            word, byte = divmod(place, 4)
            bits = words[group, :, :, word].view("uint32")
            bit = np.uint32(8 * byte + s * runs + run)
            found[sample, :, :, channel] = bits >> bit & 1
    return found[:samples]


@pytest.mark.parametrize(
    ("samples", "channels", "channel_axis", "bytes_fit"),
    [
        (32, 64, -1, True),
        (5, 4, -1, True),
        (4, 8, -1, True),
        (4, 4, -1, False),
        (3, 24, -1, True),
        (2, 24, -1, False),
        (1, 64, -1, True),
        (1, 48, -1, False),
        (32, 6, -1, False),
        (32, 1, -1, False),
        (32, 64, 1, False),
    ],
)
def test_bytes_are_used_where_they_fit(samples, channels, channel_axis, bytes_fit):
    found = backend.masks_class(samples, channels, channel_axis)
    assert issubclass(found, backend.ByteMasks) == bytes_fit
    *_, channels_per_word = found.layout(samples, channels)
    assert channels % channels_per_word == 0


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("samples", BATCHES)
def test_each_bit_belongs_to_its_sample_and_channel(samples, dtype):
    masks = draw(samples, 96)
    value = ops.cast(0.7, dtype)
    found = masks.expand(value)
    assert found.dtype == value.dtype
    dropped = unpacked(masks.words.numpy(), samples, group_size(samples))
    expected = np.where(dropped, 0, float(value))
    np.testing.assert_array_equal(ops.cast(found, "float64"), expected)
    np.testing.assert_array_equal(masks.kept_units(), ~dropped)


@pytest.mark.parametrize("samples", BATCHES)
def test_padding_samples_have_no_bits(samples):
    words = draw(samples, 32, lambda shape: np.full(shape, -1, "int32")).words.numpy()
    size = group_size(samples)
    padded = size * len(words)
    is_one = unpacked(words, padded, size)
    expected = np.arange(padded) < samples
    assert (is_one == expected[:, None, None, None]).all()


@pytest.mark.parametrize("samples", [0, *BATCHES])
def test_an_unknown_batch_size_is_packed_in_the_same_way(samples):
    import tensorflow as tf

    groups = -(-samples // 8)
    words = random_words((groups, 2, 3, 3))

    @tf.function(input_signature=[tf.TensorSpec(None, "int32")])
    def unknown(samples):
        masks = draw(samples, 12, lambda shape: words)
        ones = draw(samples, 12, lambda shape: tf.fill(shape, -1))
        return masks.expand(tf.constant(0.5)), ones.count_ones()

    expanded, ones = unknown(samples)
    expected = np.where(unpacked(words, samples, 8), 0, 0.5)
    np.testing.assert_array_equal(expanded, expected)
    assert int(ones) == samples * 2 * 3 * 12


@pytest.mark.parametrize("samples", [1, 3, 5, 8, 33])
@pytest.mark.parametrize("block_size", [1, 3, 7])
def test_samples_and_channels_have_separate_masks(samples, block_size):
    """With bytes in words, the masks of any two maps agree only by chance."""
    layer = dbl.DropBlock2D(block_size, 0.7, seed=0)
    calls, side, channels = 40, 9, 32
    x = np.ones((samples, side, side, channels), "float32")
    dropped = np.stack([layer(x, training=True) for _ in range(calls)]) == 0
    gamma = dbl.gamma(0.7, block_size, side)
    rate = dbl.expected_drop_rate(gamma, block_size, side)
    # At the center, each is a Bernoulli draw with the same probability.
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
    # Each of them nevertheless has its own masks, the same as when called alone.
    for seed, output in enumerate(outputs):
        alone = dbl.DropBlock2D(3, 0.7, seed=seed)(x, training=True)
        np.testing.assert_array_equal(output == 0, alone == 0)
    assert len({(output.numpy() == 0).tobytes() for output in outputs}) == 4
