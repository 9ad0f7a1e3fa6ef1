"""Masks in the bits of words, against plain NumPy."""

import numpy as np
import pytest
from backend import BACKEND, random_words
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keras import ops

from dropblock_lib.kernels import backend
from dropblock_lib.kernels.packed_masks import grow_blocks

pytestmark = pytest.mark.backends

few = settings(deadline=None, derandomize=True, max_examples=25)
# With the channels first, TensorFlow uses words instead of bytes.
MASKS = backend.masks_class(32, 3, 1)
BATCHES = [1, 2, 3, 8, 31, 32, 33, 40, 65, 128]


def bit_of(words, number):
    return (words.view("uint32") >> np.uint32(number)) & 1 == 1


def draw(samples, channels, channel_axis=-1, sides=(2, 3), words=random_words):
    """Masks with the given words, without the bits that are not in use."""

    def draw_bits(shape, bits):
        in_use = np.uint32((1 << bits) - 1).view("int32")
        return ops.convert_to_tensor(words(shape) & in_use)

    masks = MASKS.draw(samples, channels, sides, channel_axis, draw_bits)
    return masks, ops.convert_to_numpy(masks.words)


@pytest.mark.parametrize(
    ("samples", "channels", "expected"),
    [
        (32, 64, (1, 32, 1)),
        (33, 64, (2, 17, 1)),
        (40, 64, (2, 20, 1)),
        (128, 64, (4, 32, 1)),
        (8, 64, (1, 8, 4)),
        (8, 32, (1, 8, 2)),
        (8, 24, (1, 8, 1)),
        (1, 1024, (1, 1, 32)),
        (16, 1, (1, 16, 1)),
        (0, 64, (0, 1, 4)),
    ],
)
def test_words_are_as_few_as_samples_and_channels_allow(samples, channels, expected):
    assert MASKS.layout(samples, channels) == expected


@few
@example(1100, 3)
@given(st.integers(1, 2000), st.sampled_from([1, 3, 16, 32, 64, 96, 256]))
def test_every_unit_has_one_bit(samples, channels):
    groups, group_size, channels_per_word = MASKS.layout(samples, channels)
    assert group_size * channels_per_word <= 32
    assert channels % channels_per_word == 0
    assert groups * group_size >= samples
    # No group could be smaller, and none could be left out.
    assert groups * (group_size - 1) < samples
    assert (groups - 1) * 32 < samples

    def ones(shape):
        return np.full(shape, -1, "int32")

    _, words = draw(samples, channels, sides=(1,), words=ones)
    assert words.shape == (groups, 1, channels // channels_per_word)
    bits = np.array([bit_of(words, b) for b in range(32)])
    assert bits.sum() == samples * channels
    # Padding samples are the last ones, and have no bits.
    of_samples = bits[::channels_per_word, :, 0, 0][:group_size].T.ravel()
    assert (of_samples == (np.arange(groups * group_size) < samples)).all()


@pytest.mark.parametrize("channel_axis", [1, -1])
@pytest.mark.parametrize("channels", [1, 5, 64])
@pytest.mark.parametrize("samples", BATCHES)
def test_each_bit_belongs_to_its_sample_and_channel(samples, channels, channel_axis):
    masks, words = draw(samples, channels, channel_axis)
    run = channels // masks.channels_per_word
    kept = np.moveaxis(ops.convert_to_numpy(masks.kept_units()), channel_axis, -1)
    words = np.moveaxis(words, channel_axis, -1)
    assert kept.shape == (samples, 2, 3, channels)
    for sample in range(samples):
        group, s = divmod(sample, masks.group_size)
        for r in range(masks.channels_per_word):
            np.testing.assert_array_equal(
                kept[sample, ..., r * run : (r + 1) * run],
                ~bit_of(words[group], s * masks.channels_per_word + r),
            )


@pytest.mark.parametrize("channel_axis", [1, -1])
@pytest.mark.parametrize("sides", [(7,), (2, 3, 4)])
def test_masks_have_any_number_of_sides(sides, channel_axis):
    masks, _ = draw(3, 32, channel_axis, sides)
    kept = ops.convert_to_numpy(masks.kept_units())
    expected = (3, 32, *sides) if channel_axis == 1 else (3, *sides, 32)
    assert kept.shape == expected
    fraction = float(masks.kept_fraction("float32"))
    assert fraction == pytest.approx(kept.mean(), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_value_is_expanded_where_bits_are_0(dtype):
    masks, _ = draw(3, 32)
    value = ops.cast(0.7, dtype)
    found = masks.expand(value)
    assert found.dtype == value.dtype
    expected = np.where(ops.convert_to_numpy(masks.kept_units()), float(value), 0)
    found = ops.convert_to_numpy(ops.cast(found, "float32"))
    np.testing.assert_array_equal(found, expected.astype("float32"))


@few
@given(st.integers(0, 2**32 - 1), st.sampled_from([(1,), (7,), (2, 3, 4, 5)]))
def test_ones_are_counted(seed, shape):
    words = random_words(shape, seed)
    words.flat[0] = [0, -1, np.iinfo("int32").min, 1][seed % 4]
    expected = sum(int(bit_of(words, b).sum()) for b in range(32))
    masks = MASKS(ops.convert_to_tensor(words), 32, 32, 1, -1)
    assert int(masks.count_ones()) == expected


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_batches_of_more_units_than_int32_counts_have_a_fraction(known, dtype):
    samples, side = 2**20, 64
    if not known:
        if BACKEND != "tensorflow":
            pytest.skip(f"{BACKEND} compiles for known sizes only")
        samples = ops.convert_to_tensor(samples, "int32")
    # All ones, as if each word stood for many more samples than it has bits.
    words = ops.convert_to_tensor(np.full((1, side, side, 1), -1, "int32"))
    masks = MASKS(words, samples, 32, 1, -1)
    expected = 1 - 32 * side**2 / (2**20 * side**2)
    assert float(masks.kept_fraction(dtype)) == pytest.approx(expected, abs=1e-6)


def test_a_count_that_wraps_around_once_is_still_right():
    class ManyOnes(MASKS):
        def count_ones(self):
            # What int32 makes of 2**31 + 2**30.
            found = super().count_ones()
            wraps = "int64" not in str(found.dtype)
            return found * 0 + (-(2**30) if wraps else 3 * 2**30)

    words = ops.convert_to_tensor(np.zeros((1, 64, 64, 1), "int32"))
    masks = ManyOnes(words, 2**20, 32, 1, -1)
    assert float(masks.kept_fraction("float32")) == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("block", [1, 2, 3, 4, 5, 7, 9])
@pytest.mark.parametrize("side", [1, 4, 9])
def test_a_block_covers_the_places_after_its_seed(block, side, axis):
    valid = max(side - block + 1, 1)
    seeds = random_words((2, valid, valid, 3)) & random_words((2, valid, valid, 3), 1)
    grown = grow_blocks(ops.convert_to_tensor(seeds), block, side, axis)
    shape = [2, valid, valid, 3]
    shape[axis] = side
    expected = np.zeros(shape, "int32")
    for place in range(valid):
        covered = [slice(None)] * 4
        covered[axis] = slice(place, place + min(block, side))
        seed = np.take(seeds, [place], axis)
        expected[tuple(covered)] |= seed
    np.testing.assert_array_equal(ops.convert_to_numpy(grown), expected)


@pytest.mark.skipif(
    BACKEND != "tensorflow", reason=f"{BACKEND} compiles for known sizes only"
)
@pytest.mark.parametrize("samples", BATCHES)
def test_an_unknown_batch_size_is_packed_in_the_same_way(samples):
    import tensorflow as tf

    def draw(samples):
        def words(shape, bits):
            return ops.reshape(ops.arange(shape[0] * 12) * 0x1234567, shape)

        return MASKS.draw(samples, 3, (2, 2), -1, words)

    known = draw(samples)

    @tf.function(input_signature=[tf.TensorSpec((None,), "float32")])
    def unknown(x):
        masks = draw(tf.shape(x)[0])
        assert not isinstance(masks.group_size, int)
        return masks.group_size, masks.words, masks.kept_units()

    group_size, words, kept = unknown(np.zeros(samples, "float32"))
    assert int(group_size) == known.group_size
    in_use = np.uint32((1 << known.group_size) - 1).view("int32")
    np.testing.assert_array_equal(words & in_use, known.words & in_use)
    np.testing.assert_array_equal(kept, known.kept_units())
