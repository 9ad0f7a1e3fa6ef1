"""Batch normalization with TensorFlow's fused operation."""

import keras


@keras.saving.register_keras_serializable(package="dropblock_lib")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, faster on TensorFlow.

    On TensorFlow, Keras' layer consists of elementwise operations, which take a fifth
    of CustomNet's training step. TensorFlow's fused operation computes the same numbers
    up to rounding.

    Arguments, weights and shapes are those of Keras' layer. Its own implementation runs
    on other backends, and where the fused operation does not support the settings.
    """

    def call(self, inputs, training=None, mask=None):
        if not self._is_fusible(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        # Imported late: other backends do not need TensorFlow.
        from dropblock_lib.models.tensorflow_normalization import normalize

        return normalize(self, inputs, bool(training) and self.trainable)

    def _is_fusible(self, inputs, mask):
        return (
            keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and self.scale
            and self.center
            and mask is None
            and not self.synchronized
            and not getattr(self, "renorm", False)  # added in a later Keras
            and keras.backend.standardize_dtype(inputs.dtype)
            in ("float32", "float16", "bfloat16")
            and self.epsilon >= 1.001e-5  # the operation's minimum
        )
