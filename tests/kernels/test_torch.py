"""PyTorch's own operations, against plain PyTorch and NumPy."""

import numpy as np
import pytest
from backend import BACKEND
from keras import ops

from dropblock_lib.kernels.packed_masks import PackedMasks

pytestmark = [
    pytest.mark.backends,
    pytest.mark.skipif(BACKEND != "torch", reason=f"{BACKEND} does not use them"),
]


def random_masks(samples, channels, channel_axis, sides=(5, 6)):
    """Masks with random bits."""
    info, rng = np.iinfo("int32"), np.random.default_rng(0)
    return PackedMasks.draw(
        samples,
        channels,
        sides,
        channel_axis,
        lambda shape, bits: ops.convert_to_tensor(
            rng.integers(info.min, info.max, shape, "int32")
        ),
    )


def plainly(inputs, masks, scale):
    """What `drop_and_scale` has to compute, and its gradient, by `torch.where`."""
    import torch

    return torch.where(masks.kept_units(), inputs * scale, 0)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("samples", [1, 8, 16, 33])
@pytest.mark.parametrize("channel_axis", [1, -1])
def test_drops_and_scales_as_where_does(dtype, shared, samples, channel_axis):
    import torch

    from dropblock_lib.kernels.torch import drop_and_scale

    masks = random_masks(samples, 1 if shared else 64, channel_axis)
    shape = (samples, 64, 5, 6) if channel_axis == 1 else (samples, 5, 6, 64)
    dtype = getattr(torch, dtype)
    x = torch.randn(shape).to(dtype)
    x[0, 0], x[0, -1], x[0, :, 2] = float("nan"), float("inf"), -0.0
    gradient = torch.randn(shape).to(dtype)
    gradient[0, 0] = float("nan")
    scale = torch.tensor(1.25, dtype=dtype)
    # Other strides, as other layers may leave them, and the expanded gradient of a sum.
    other = x.transpose(1, 3).contiguous().transpose(1, 3)
    for inputs, upstream in ((x, gradient), (other, gradient[:1].expand(shape))):
        found = []
        for way in (drop_and_scale, plainly):
            leaf = inputs.detach().requires_grad_()
            y = way(leaf, masks, scale)
            assert y.dtype == dtype and y.shape == leaf.shape
            found.append((y, *torch.autograd.grad(y, leaf, upstream)))
        for one, expected in zip(*found, strict=True):
            torch.testing.assert_close(one, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("sides", [(1, 6), (5, 1), (1, 1)])
@pytest.mark.parametrize("samples", [1, 33])
@pytest.mark.parametrize("channel_axis", [1, -1])
def test_one_bit_may_apply_to_a_whole_side(samples, sides, channel_axis):
    import torch

    from dropblock_lib.kernels.torch import drop_and_scale

    masks = random_masks(samples, 64, channel_axis, sides)
    shape = (samples, 64, 5, 6) if channel_axis == 1 else (samples, 5, 6, 64)
    x, gradient = torch.randn(2, *shape)
    found = []
    for way in (drop_and_scale, plainly):
        leaf = x.clone().requires_grad_()
        y = way(leaf, masks, torch.tensor(1.25))
        found.append((y, *torch.autograd.grad(y, leaf, gradient)))
    for one, expected in zip(*found, strict=True):
        assert torch.equal(one, expected)


def test_gradients_of_gradients():
    import torch

    from dropblock_lib.kernels.torch import drop_and_scale

    masks = random_masks(2, 3, -1)
    x = torch.randn(2, 5, 6, 3, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(1.5, dtype=torch.float64)

    def squared(x):
        return drop_and_scale(x, masks, scale) ** 2

    assert torch.autograd.gradcheck(squared, x)
    assert torch.autograd.gradgradcheck(squared, x)


def test_inputs_and_masks_are_not_changed():
    import torch

    from dropblock_lib.kernels.torch import drop_and_scale

    masks = random_masks(8, 32, -1)
    x = torch.randn(8, 5, 6, 32)
    before = x.clone(), masks.words.clone()
    drop_and_scale(x, masks, torch.tensor(2.0))
    assert torch.equal(x, before[0]) and torch.equal(masks.words, before[1])


def test_bits_are_combined_in_all_32_places():
    from dropblock_lib.kernels.torch import combine_bits

    is_one = np.random.default_rng(0).random((32, 3, 5)) < 0.5
    bits = np.left_shift(1, np.arange(32), dtype="int32").reshape(32, 1, 1)
    found = combine_bits(ops.convert_to_tensor(is_one), ops.convert_to_tensor(bits))
    expected = np.packbits(is_one.transpose(1, 2, 0), axis=2, bitorder="little")
    found = ops.convert_to_numpy(found)
    assert found.dtype == "int32"
    np.testing.assert_array_equal(found, expected.view("int32")[..., 0])


@pytest.mark.parametrize("bits", [32, 16, 20])
@pytest.mark.parametrize("rows", [1, 3])
def test_ones_are_placed_at_the_sums_of_geometric_gaps(bits, rows):
    from dropblock_lib.kernels.torch import place_ones

    noise = np.random.default_rng(0).integers(0, 2**23, (rows, 400)) / 2**23
    probability, words_per_row = np.float32(0.05), 200
    place = (ops.convert_to_tensor(probability), words_per_row, bits)
    found = place_ones(ops.convert_to_tensor(noise.astype("f")), *place)

    # The gaps in double precision, placed one by one.
    gaps = 1 + np.floor(np.log(noise + 2**-24) / np.log1p(-np.float64(probability)))
    expected = np.zeros((rows, words_per_row * bits), bool)
    for row, position in zip(expected, np.cumsum(gaps, 1).astype(int) - 1, strict=True):
        row[position[position < len(row)]] = True
    expected = expected.reshape(-1, bits)
    units = np.unpackbits(
        ops.convert_to_numpy(found).astype("<i4").view("uint8"), bitorder="little"
    ).reshape(-1, 32)[: len(expected)]
    np.testing.assert_array_equal(units[:, :bits], expected)
    assert not units[:, bits:].any()
