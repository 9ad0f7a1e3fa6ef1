"""Networks, compiled as the benchmarks of a training step need them."""

import keras


def compiled(model, optimizer="adam", **kwargs):
    """Compile a classifier that returns logits; returns the model."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss, **kwargs)
    return model


def count_regularizers(model):
    """The number of dropout-like layers in a model."""
    return sum("drop" in type(layer).__name__.lower() for layer in model.layers)
