"""A functional model as the encoder of a feature pyramid."""

import keras
import keras_hub

from dropblock_lib.arguments import invalid


@keras.saving.register_keras_serializable("dropblock_lib")
class PyramidEncoder(keras_hub.models.FeaturePyramidBackbone):
    """Any functional model, told which of its layers are the levels of a pyramid.

    `keras_hub.models.RetinaNetBackbone` asks its encoder for `pyramid_outputs`. A
    model that `insert_after` or `keras.models.clone_model` made is a plain
    functional one: given that attribute by hand it trains, but the saved detector
    cannot be loaded. This class knows its levels, and writes them down.

    Args:
        encoder: A functional `keras.Model` with one input, an image.
        levels: Dict of level -> name of the layer whose output it is, such as
            `{"P3": "conv3_block4_out"}`. A map of level `n` is `2**n` times
            smaller than the image.

    Raises:
        ValueError: If a layer is not in the encoder.
    """

    def __init__(self, encoder, levels, **kwargs):
        known = {layer.name for layer in encoder.layers}
        missing = [name for name in levels.values() if name not in known]
        if missing:
            raise invalid("levels", f"layers of model '{encoder.name}'", missing)
        outputs = {
            level: encoder.get_layer(name).output for level, name in levels.items()
        }
        super().__init__(inputs=encoder.inputs[0], outputs=outputs, **kwargs)
        self.encoder = encoder
        self.levels = dict(levels)
        self.pyramid_outputs = outputs

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "levels": self.levels,
        }

    @classmethod
    def from_config(cls, config):
        encoder = keras.saving.deserialize_keras_object(config["encoder"])
        return cls(**{**config, "encoder": encoder})
