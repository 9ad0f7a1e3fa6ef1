"""KerasHub's RetinaNet, with the losses and the decoding of the paper."""

import contextlib

import keras
import keras_hub
from keras import ops

from dropblock_lib.arguments import invalid
from dropblock_lib.detection.batches import DetectionBatches
from dropblock_lib.detection.losses import BoxLoss, FocalLoss
from dropblock_lib.detection.nms import PerClassNonMaxSuppression

BOX_FORMAT = "xyxy"  # left, top, right, bottom, in pixels
# What `compile` is told beside optimizer and losses, and what a saved model keeps.
KEPT_OPTIONS = ("loss_weights", "steps_per_execution", "jit_compile", "run_eagerly")


@keras.saving.register_keras_serializable("dropblock_lib")
class RetinaNet(keras_hub.models.RetinaNetObjectDetector):
    """A RetinaNet that learns and evaluates as the paper's.

    Images are float `(batch, height, width, 3)`, 0 to 255; `y` is a dict of `boxes`
    `(batch, boxes, 4)`, left, top, right and bottom in pixels, and `labels` `(batch,
    boxes)`, both padded with -1. Train with `fit` on batches of `(images, y)`.
    `predict` returns `boxes`, `confidence`, `labels` and `num_detections`.

    What differs from `keras_hub.models.RetinaNetObjectDetector`: `FocalLoss` and
    `BoxLoss` instead of losses that take means, batches without objects are learned
    from, `PerClassNonMaxSuppression`, and a model that was compiled is so again after
    saving and loading, with its optimizer.

    Under mixed precision anchors are matched and boxes decoded in float32 all the same:
    16 bits cannot tell neighboring pixels of a large image apart.

    Args:
        backbone: A `keras_hub.models.RetinaNetBackbone`.
        num_classes: Number of classes.
        **kwargs: As for `keras_hub.models.RetinaNetObjectDetector`.

    Reference:

    - [Lin et al., 2017](https://arxiv.org/abs/1708.02002).
    """

    # Keras' own: KerasHub's turn all data into tf.data, which takes no
    # keras.utils.PyDataset, no dict of targets in train_on_batch, and TensorFlow.
    train_on_batch = keras.Model.train_on_batch
    test_on_batch = keras.Model.test_on_batch
    predict_on_batch = keras.Model.predict_on_batch

    def fit(self, x=None, *arguments, validation_data=None, **options):
        """As `keras.Model.fit`."""
        with _named_failures(x, validation_data):
            if not options.get("steps_per_epoch"):
                x = self._fed(x)
            if not options.get("validation_steps"):
                validation_data = self._fed(validation_data)
            return keras.Model.fit(
                self, x, *arguments, validation_data=validation_data, **options
            )

    def evaluate(self, x=None, *arguments, **options):
        """As `keras.Model.evaluate`."""
        with _named_failures(x):
            x = x if options.get("steps") else self._fed(x)
            return keras.Model.evaluate(self, x, *arguments, **options)

    def predict(self, x, *arguments, **options):
        """As `keras.Model.predict`."""
        with _named_failures(x):
            x = x if options.get("steps") else self._fed(x, with_labels=False)
            return keras.Model.predict(self, x, *arguments, **options)

    def _fed(self, x, with_labels=True):
        """Batches in the form in which the backend reads them without a stop."""
        if isinstance(x, DetectionBatches):
            self._check_size(x)
            if with_labels:
                self._check_labels(x)
        on_tensorflow = keras.backend.backend() == "tensorflow"
        if not (on_tensorflow and isinstance(x, DetectionBatches)):
            return x
        if self.distribute_strategy.num_replicas_in_sync > 1:
            return x
        # Here, because nothing else imports TensorFlow.
        from dropblock_lib.detection.tensorflow_batches import untuned

        return untuned(x)

    def _check_size(self, batches):
        side = self.input_shape[1]
        if side is not None and batches.image_size != side:
            expected = f"images of the model's {side} pixels"
            raise invalid("image_size", expected, batches.image_size)

    def _check_labels(self, batches):
        highest = max(max(labels, default=0) for labels in batches.split.labels)
        if highest >= self.num_classes:
            expected = f"labels below the model's {self.num_classes} classes"
            raise invalid("labels", expected, int(highest))

    def decode_predictions(self, predictions, data):
        """Boxes, scores and labels, from the outputs for a batch.

        Args:
            predictions: Dict of `bbox_regression` and `cls_logits`.
            data: Images, or a tuple that begins with them.
        """
        images = data[0] if isinstance(data, (list, tuple)) else data
        predictions = {
            name: ops.cast(found, "float32") for name, found in predictions.items()
        }
        return super().decode_predictions(predictions, images)

    def __init__(self, backbone, num_classes, **kwargs):
        kwargs.setdefault("bounding_box_format", BOX_FORMAT)
        kwargs["prediction_decoder"] = (
            kwargs.get("prediction_decoder") or PerClassNonMaxSuppression()
        )
        compile = kwargs.pop("compile", True)
        super().__init__(backbone, num_classes, compile=False, **kwargs)
        self.label_encoder.dtype_policy = "float32"
        self.anchor_generator.dtype_policy = "float32"
        # KerasHub would do it before the model knows its classes and anchors.
        if compile:
            self.compile()

    def compile(
        self, optimizer="auto", box_loss=None, classification_loss=None, **kwargs
    ):
        """Configure training.

        Args:
            optimizer: As for `keras.Model.compile`; Adam with 5e-5 by default.
            box_loss: By default `BoxLoss()`.
            classification_loss: By default `FocalLoss()`.
            **kwargs: As for `keras.Model.compile`.
        """
        kept = {name: kwargs[name] for name in KEPT_OPTIONS if name in kwargs}
        self._kept_options = tuple(kept.items())
        super().compile(
            optimizer=optimizer,
            box_loss=box_loss or BoxLoss(),
            classification_loss=classification_loss or FocalLoss(),
            **kwargs,
        )
        self._make_variables()

    def _make_variables(self):
        """Make what training would make in its first step.

        TensorFlow traces a step again that has made variables, which takes minutes
        with thirty layers of noise.
        """
        self.optimizer.build(self.trainable_variables)
        anchors = self.output_shape[0][1]
        outputs = {
            "bbox_regression": ops.zeros((1, anchors, 4)),
            "cls_logits": ops.zeros((1, anchors, self.num_classes)),
        }
        nothing = {"boxes": -ops.ones((1, 1, 4)), "labels": -ops.ones((1, 1))}
        images = ops.zeros((1, *self.input_shape[1:]))
        self.compute_loss(x=images, y=nothing, y_pred=outputs)
        self.reset_metrics()

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The sum over all anchors, for each anchor that holds an object.

        KerasHub gives a batch in which no anchor does the loss 0, so that nothing is
        learned from an image without objects.

        Raises:
            ValueError: If there are weights of samples, for which the sum over anchors
                has no place.
        """
        if sample_weight is not None:
            expected = "None, because the loss of a detector weighs anchors, not images"
            raise invalid("sample_weight", expected, sample_weight)
        boxes, labels = self.label_encoder(
            images=x, gt_boxes=y["boxes"], gt_classes=y["labels"]
        )
        holds_object = labels >= 0
        is_between = labels == self.label_encoder.ignore_class
        share = 1 / ops.maximum(ops.sum(ops.cast(holds_object, "float32")), 1)
        targets = {
            # Where there is no object the offset is none either, and may be infinite.
            "bbox_regression": ops.where(holds_object[..., None], boxes, 0.0),
            "cls_logits": ops.one_hot(ops.cast(labels, "int32"), self.num_classes),
        }
        weights = {
            "bbox_regression": share * ops.cast(holds_object, "float32"),
            "cls_logits": share * ops.cast(~is_between, "float32"),
        }
        # Of keras.Model: KerasHub's would encode again, and leave such batches out.
        return super(keras_hub.models.RetinaNetObjectDetector, self).compute_loss(
            x=x, y=targets, y_pred=y_pred, sample_weight=weights, training=training
        )

    def get_compile_config(self):
        """What Keras leaves out for a model with its own `compile`."""
        if not self.compiled:
            return None
        return {
            name: keras.saving.serialize_keras_object(value)
            for name, value in self._compiled_with().items()
        }

    def compile_from_config(self, config):
        """Compile as before saving, so that the optimizer's state finds its place."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def _compiled_with(self):
        return {
            "optimizer": self.optimizer,
            "box_loss": self.loss["bbox_regression"],
            "classification_loss": self.loss["cls_logits"],
            **{
                # Keras makes a dict of its own of what a model holds.
                name: dict(value) if isinstance(value, dict) else value
                for name, value in self._kept_options
            },
        }


@contextlib.contextmanager
def _named_failures(*sources):
    """Raises what went wrong with an image as it was, not as TensorFlow tells it."""
    batches = [source for source in sources if isinstance(source, DetectionBatches)]
    for source in batches:
        source.failure = None
    try:
        yield
    except Exception as error:
        for source in batches:
            if source.failure not in (None, error):
                raise source.failure from None
        raise
