"""With keep_prob 1, a network with DropBlock trains like one without, bit for bit."""

import keras
import numpy as np
import pytest
from backend import BACKEND
from keras import ops

from dropblock_lib import find_drop_block_layers, models

pytestmark = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="guards against an optimizer of TensorFlow"
)

BATCH = 4
# The last batch is smaller, so Keras traces the step for an unknown batch size.
IMAGES = 3 * BATCH - 1


def trained(variant):
    """Losses and weights of a ResNet-50 after a few steps of `fit`."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (IMAGES, 32, 32, 3)).astype("float32")
    labels = rng.integers(0, 10, IMAGES)
    model = models.resnet50(variant, seed=1)
    drop_block_layers = find_drop_block_layers(model)
    for layer in drop_block_layers:
        layer.keep_prob = 1.0
    model.compile(
        optimizer="adam",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    losses = []
    model.fit(
        images,
        labels,
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_train_batch_end=lambda batch, logs: losses.append(logs["loss"])
            )
        ],
    )
    weights = {
        f"{layer.name}/{weight.name}": ops.convert_to_numpy(weight)
        for layer in model.layers
        if layer not in drop_block_layers
        for weight in layer.weights
    }
    return losses, weights, len(drop_block_layers)


def test_an_inactive_drop_block_changes_no_bit_of_the_training_of_a_resnet():
    losses, weights, layers = trained("none")
    same_losses, same_weights, drop_block_layers = trained("dropblock-3-0.9")
    assert (layers, drop_block_layers) == (0, 32)
    assert same_losses == losses
    assert same_weights.keys() == weights.keys()
    for name, weight in weights.items():
        np.testing.assert_array_equal(same_weights[name], weight, err_msg=name)
