"""Masks in the bits of words, against plain NumPy."""

import numpy as np
import pytest
from backend import BACKEND
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keras import ops

from dropblock_lib.kernels.packed_masks import Packing, count_ones

pytestmark = pytest.mark.backends

few = settings(deadline=None, derandomize=True, max_examples=25)
BATCHES = [1, 2, 3, 8, 31, 32, 33, 40, 65, 128]


def words(shape, seed=0):
    info = np.iinfo("int32")
    rng = np.random.default_rng(seed)
    return rng.integers(info.min, info.max, shape, "int32", endpoint=True)


def bit_of(packed, number):
    return (packed.view("uint32") >> np.uint32(number)) & 1 == 1


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
def test_as_few_words_as_samples_and_channels_allow(samples, channels, expected):
    packing = Packing.of(samples, channels)
    assert (packing.groups, packing.size, packing.chunks) == expected


@few
@example(1100, 3)
@given(st.integers(1, 2000), st.sampled_from([1, 3, 16, 32, 64, 96, 256]))
def test_every_unit_has_one_bit(samples, channels):
    packing = Packing.of(samples, channels)
    assert packing.bits <= 32
    assert channels % packing.chunks == 0
    assert packing.groups * packing.size >= samples
    # No group could be smaller, and none could be left out.
    assert packing.groups * (packing.size - 1) < samples
    assert (packing.groups - 1) * 32 < samples
    present = packing.present()
    if present is None:
        assert packing.groups * packing.size == samples
        return
    present = ops.convert_to_numpy(present)
    bits = [[bit_of(word, b) for b in range(32)] for word in present]
    expected = np.arange(packing.groups * packing.size) < samples
    assert (np.array(bits)[:, : packing.size].ravel() == expected).all()
    assert not np.array(bits)[:, packing.size :].any()


@pytest.mark.parametrize("channel_axis", [1, 3])
@pytest.mark.parametrize("channels", [1, 5, 64])
@pytest.mark.parametrize("samples", BATCHES)
def test_each_bit_goes_to_its_sample_and_channel(samples, channels, channel_axis):
    packing = Packing.of(samples, channels)
    run = channels // packing.chunks
    shape = [packing.groups, 2, 3]
    shape.insert(channel_axis, run)
    packed = words(shape)
    unpacked = packing.unpack(ops.convert_to_tensor(packed), channel_axis)
    unpacked = np.moveaxis(ops.convert_to_numpy(unpacked), channel_axis, -1)
    packed = np.moveaxis(packed, channel_axis, -1)
    assert unpacked.shape == (samples, 2, 3, channels)
    for sample in range(samples):
        group, s = divmod(sample, packing.size)
        for chunk in range(packing.chunks):
            np.testing.assert_array_equal(
                unpacked[sample, ..., chunk * run : (chunk + 1) * run],
                bit_of(packed[group], s * packing.chunks + chunk),
            )


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_value_is_spread_where_bits_are_0(dtype):
    packing = Packing.of(3, 32)
    packed = ops.convert_to_tensor(words((1, 2, 3, 32 // packing.chunks)))
    value = ops.cast(0.7, dtype)
    found = packing.spread(packed, 3, value)
    assert found.dtype == value.dtype
    dropped = ops.convert_to_numpy(packing.unpack(packed, 3))
    expected = np.where(dropped, 0, float(value))
    found = ops.convert_to_numpy(ops.cast(found, "float32"))
    np.testing.assert_array_equal(found, expected.astype("float32"))


@few
@given(st.integers(0, 2**32 - 1), st.sampled_from([(1,), (7,), (2, 3, 4, 5)]))
def test_ones_are_counted(seed, shape):
    packed = words(shape, seed)
    packed.flat[0] = [0, -1, np.iinfo("int32").min, 1][seed % 4]
    expected = sum(int(bit_of(packed, b).sum()) for b in range(32))
    assert int(count_ones(ops.convert_to_tensor(packed))) == expected


@pytest.mark.skipif(
    BACKEND != "tensorflow", reason=f"{BACKEND} compiles for known sizes only"
)
@pytest.mark.parametrize("samples", BATCHES)
def test_a_batch_size_that_is_not_known_is_packed_alike(samples):
    import tensorflow as tf

    known = Packing.of(samples, 3)

    @tf.function(input_signature=[tf.TensorSpec((None,), "float32")])
    def unknown(x):
        packing = Packing.of(tf.shape(x)[0], 3)
        assert not isinstance(packing.size, int)
        packed = ops.reshape(ops.arange(packing.groups * 12) * 0x1234567, (-1, 2, 2, 3))
        return (
            packing.groups,
            packing.size,
            packing.present(),
            packing.unpack(packed, 3),
        )

    groups, size, present, unpacked = unknown(np.zeros(samples, "float32"))
    assert (int(groups), int(size)) == (known.groups, known.size)
    all_of_them = [sum(1 << b for b in range(known.size))] * known.groups
    expected = known.present()
    expected = all_of_them if expected is None else ops.convert_to_numpy(expected)
    np.testing.assert_array_equal(
        present, np.array(expected).astype("uint32").view("int32")
    )
    packed = ops.reshape(ops.arange(known.groups * 12) * 0x1234567, (-1, 2, 2, 3))
    np.testing.assert_array_equal(unpacked, known.unpack(packed, 3))
