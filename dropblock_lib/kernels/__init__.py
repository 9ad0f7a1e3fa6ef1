"""Fast masks for the layers, which call `drop_blocks`.

The backend's operations are chosen once, here, as in Keras. Every backend's module has
the functions of `portable`.
"""

import keras

if keras.backend.backend() == "tensorflow":
    from dropblock_lib.kernels import tensorflow as backend
elif keras.backend.backend() == "torch":
    from dropblock_lib.kernels import torch as backend
else:
    from dropblock_lib.kernels import portable as backend

from dropblock_lib.kernels.apply import drop_blocks
from dropblock_lib.kernels.bernoulli import (
    ROW_BITS,
    SPARSE_BELOW,
    draw_bits,
    room_for_ones,
)
from dropblock_lib.kernels.packed_masks import PackedMasks, grow_blocks

__all__ = [
    "ROW_BITS",
    "SPARSE_BELOW",
    "PackedMasks",
    "backend",
    "draw_bits",
    "drop_blocks",
    "grow_blocks",
    "room_for_ones",
]
