"""What PyTorch does by its own functions, against the plain way and its own check."""

import numpy as np
import pytest
from backend import BACKEND
from keras import ops

from dropblock_lib.kernels.packed_masks import Packing

pytestmark = [
    pytest.mark.backends,
    pytest.mark.skipif(BACKEND != "torch", reason=f"{BACKEND} does not use them"),
]


def packed_masks(samples, channels, channel_axis, seed=0, sides=(5, 6)):
    """A `Packing` and random words."""
    packing = Packing.of(samples, channels)
    shape = [packing.groups, *sides]
    shape.insert(channel_axis, channels // packing.chunks)
    info = np.iinfo("int32")
    words = np.random.default_rng(seed).integers(info.min, info.max, shape, "int32")
    return packing, ops.convert_to_tensor(words)


def plainly(inputs, packed, packing, channel_axis, scale):
    """What `drop_and_scale` is to compute, and its gradient, by PyTorch's `where`."""
    import torch

    dropped = packing.unpack(packed, channel_axis)
    return torch.where(dropped, torch.zeros((), dtype=inputs.dtype), inputs * scale)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("samples", [1, 8, 16, 33])
@pytest.mark.parametrize("channel_axis", [1, 3])
def test_drops_and_scales_as_where_does(dtype, shared, samples, channel_axis):
    import torch

    from dropblock_lib.kernels.torch import drop_and_scale

    masks = packed_masks(samples, 1 if shared else 64, channel_axis)
    packing, packed = masks
    shape = [samples, 5, 6]
    shape.insert(channel_axis, 64)
    dtype = getattr(torch, dtype)
    x = torch.randn(shape).to(dtype)
    x[0, 0], x[0, -1], x[0, :, 2] = float("nan"), float("inf"), -0.0
    gradient = torch.randn(shape).to(dtype)
    gradient[0, 0] = float("nan")
    scale = torch.tensor(1.25, dtype=dtype)
    # As it is stored, as another layer may leave it, and as a sum's gradient is.
    other = x.transpose(1, 3).contiguous().transpose(1, 3)
    for inputs, upstream in ((x, gradient), (other, gradient[:1].expand(shape))):
        found = []
        for way in (drop_and_scale, plainly):
            leaf = inputs.detach().requires_grad_()
            y = way(leaf, packed, packing, channel_axis, scale)
            assert y.dtype == dtype and y.shape == leaf.shape
            found.append((y, *torch.autograd.grad(y, leaf, upstream)))
        for one, expected in zip(*found, strict=True):
            torch.testing.assert_close(one, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("sides", [(1, 6), (5, 1), (1, 1)])
@pytest.mark.parametrize("samples", [1, 33])
@pytest.mark.parametrize("channel_axis", [1, 3])
def test_one_bit_may_stand_for_a_side(samples, sides, channel_axis):
    import torch

    from dropblock_lib.kernels.torch import drop_and_scale

    packing, packed = packed_masks(samples, 64, channel_axis, sides=sides)
    shape = [samples, 5, 6]
    shape.insert(channel_axis, 64)
    x, gradient = torch.randn(2, *shape)
    found = []
    for way in (drop_and_scale, plainly):
        leaf = x.clone().requires_grad_()
        y = way(leaf, packed, packing, channel_axis, torch.tensor(1.25))
        found.append((y, *torch.autograd.grad(y, leaf, gradient)))
    for one, expected in zip(*found, strict=True):
        assert torch.equal(one, expected)


def test_gradients_of_gradients():
    import torch

    from dropblock_lib.kernels.torch import drop_and_scale

    packing, packed = packed_masks(2, 3, 3)
    x = torch.randn(2, 5, 6, 3, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(1.5, dtype=torch.float64)

    def squared(x):
        return drop_and_scale(x, packed, packing, 3, scale) ** 2

    assert torch.autograd.gradcheck(squared, x)
    assert torch.autograd.gradgradcheck(squared, x)


def test_inputs_and_masks_are_left_alone():
    import torch

    from dropblock_lib.kernels.torch import drop_and_scale

    packing, packed = packed_masks(8, 32, 3)
    x = torch.randn(8, 5, 6, 32)
    before = x.clone(), packed.clone()
    drop_and_scale(x, packed, packing, 3, torch.tensor(2.0))
    assert torch.equal(x, before[0]) and torch.equal(packed, before[1])


def test_coins_become_bits_in_all_32_places():
    from dropblock_lib.kernels.torch import pack

    coins = np.random.default_rng(0).random((32, 3, 5)) < 0.5
    bits = np.left_shift(1, np.arange(32), dtype="int32").reshape(32, 1, 1)
    found = pack(ops.convert_to_tensor(coins), ops.convert_to_tensor(bits))
    expected = np.packbits(coins.transpose(1, 2, 0), axis=2, bitorder="little")
    found = ops.convert_to_numpy(found)
    assert found.dtype == "int32"
    np.testing.assert_array_equal(found, expected.view("int32")[..., 0])


def test_bits_are_collected_in_all_32_places():
    from dropblock_lib.kernels.torch import collect

    rng = np.random.default_rng(0)
    places = rng.choice(32 * 50, 700, replace=False)
    expected = np.zeros(50, "uint32")
    np.bitwise_or.at(expected, places // 32, np.uint32(1) << (places % 32))
    bit = (np.uint32(1) << (places % 32).astype("uint32")).view("int32")
    found = collect(
        ops.convert_to_tensor(bit),
        ops.convert_to_tensor((places // 32).astype("int32")),
        50,
    )
    np.testing.assert_array_equal(ops.convert_to_numpy(found).view("uint32"), expected)
