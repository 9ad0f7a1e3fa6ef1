"""A functional model as the encoder of a feature pyramid."""

import keras
import keras_hub

from dropblock_lib.arguments import invalid


@keras.saving.register_keras_serializable("dropblock_lib")
class PyramidEncoder(keras_hub.models.FeaturePyramidBackbone):
    """Wraps a functional model, some of whose layers are the levels of a pyramid.

    `keras_hub.models.RetinaNetBackbone` expects an encoder with `pyramid_outputs`. A
    model made by `insert_after` or `keras.models.clone_model` is a plain functional
    model: with that attribute set by hand it can be trained, but the saved detector
    cannot be loaded. This class serializes its levels.

    Args:
        encoder: A functional `keras.Model` with one input, an image.
        levels: Dict of level -> name of the layer that outputs it, such as
            `{"P3": "conv3_block4_out"}`. A feature map of level `n` is `2**n` times
            smaller than the image.

    Raises:
        ValueError: If the encoder does not have one of the layers.
    """

    def __init__(self, encoder: keras.Model, levels: dict[str, str], **kwargs):
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
