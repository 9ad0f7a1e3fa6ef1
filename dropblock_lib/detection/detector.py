"""KerasHub's RetinaNet with the paper's losses and decoding."""

import contextlib

import keras
import keras_hub
from keras import ops

from dropblock_lib.arguments import invalid
from dropblock_lib.detection.batches import DetectionBatches
from dropblock_lib.detection.losses import BoxLoss, FocalLoss
from dropblock_lib.detection.nms import PerClassNonMaxSuppression
from dropblock_lib.detection.targets import check_targets, checked

BOX_FORMAT = "xyxy"  # left, top, right, bottom, in pixels


@keras.saving.register_keras_serializable("dropblock_lib")
class RetinaNet(keras_hub.models.RetinaNetObjectDetector):
    """A RetinaNet that is trained and evaluated as in the paper.

    Images are float `(batch, height, width, 3)`, 0 to 255; `y` is a dict of `boxes`
    `(batch, boxes, 4)`, left, top, right and bottom in pixels, and `labels` `(batch,
    boxes)`, both padded with -1. Train with `fit` on batches of `(images, y)`.
    `predict` returns `boxes`, `confidence`, `labels` and `num_detections`.

    It differs from `keras_hub.models.RetinaNetObjectDetector` in these ways: it has
    `FocalLoss` and `BoxLoss` instead of losses that take means, learns from batches
    without objects, decodes with `PerClassNonMaxSuppression`, and is compiled again,
    with its optimizer's state, when it is loaded.

    Under mixed precision, anchors are matched and boxes decoded in float32: 16 bits
    cannot tell neighboring pixels of a large image apart.

    Args:
        backbone: A `keras_hub.models.RetinaNetBackbone`.
        num_classes: Number of classes.
        **kwargs: As for `keras_hub.models.RetinaNetObjectDetector`.

    Reference:

    - [Lin et al., 2017](https://arxiv.org/abs/1708.02002).
    """

    def __init__(self, backbone: keras.Model, num_classes: int, **kwargs):
        kwargs.setdefault("bounding_box_format", BOX_FORMAT)
        kwargs["prediction_decoder"] = (
            kwargs.get("prediction_decoder") or PerClassNonMaxSuppression()
        )
        compile = kwargs.pop("compile", True)
        super().__init__(backbone, num_classes, compile=False, **kwargs)
        self.label_encoder.dtype_policy = "float32"
        self.anchor_generator.dtype_policy = "float32"
        # KerasHub would compile before the model has its classes and anchors.
        if compile:
            self.compile()

    # Keras' own methods: KerasHub's convert all data to tf.data, which does not work
    # with a keras.utils.PyDataset or a dict of targets, and requires TensorFlow.
    predict_on_batch = keras.Model.predict_on_batch

    def train_on_batch(self, x, y=None, *arguments, **options):
        """As `keras.Model.train_on_batch`."""
        check_targets(y, self.num_classes)
        return keras.Model.train_on_batch(self, x, y, *arguments, **options)

    def test_on_batch(self, x, y=None, *arguments, **options):
        """As `keras.Model.test_on_batch`."""
        check_targets(y, self.num_classes)
        return keras.Model.test_on_batch(self, x, y, *arguments, **options)

    def fit(self, x=None, y=None, *arguments, validation_data=None, **options):
        """As `keras.Model.fit`."""
        failures = []
        with _original_errors(failures, x, validation_data):
            x = self._checked(x, y, failures)
            if isinstance(validation_data, (tuple, list)):
                check_targets(validation_data[1], self.num_classes)
            validation_data = self._checked(validation_data, None, failures)
            if not options.get("steps_per_epoch"):
                x = self._prepare(x)
            if not options.get("validation_steps"):
                validation_data = self._prepare(validation_data)
            return keras.Model.fit(
                self, x, y, *arguments, validation_data=validation_data, **options
            )

    def evaluate(self, x=None, y=None, *arguments, **options):
        """As `keras.Model.evaluate`."""
        failures = []
        with _original_errors(failures, x):
            x = self._checked(x, y, failures)
            x = x if options.get("steps") else self._prepare(x)
            return keras.Model.evaluate(self, x, y, *arguments, **options)

    def predict(self, x, *arguments, **options):
        """As `keras.Model.predict`."""
        with _original_errors([], x):
            x = x if options.get("steps") else self._prepare(x, with_labels=False)
            return keras.Model.predict(self, x, *arguments, **options)

    def _checked(self, x, y, failures):
        """Checks the labels: of arrays at once, of other sources as they are read."""
        if y is not None:
            check_targets(y, self.num_classes)
        # `_prepare` checks `DetectionBatches`.
        elif not isinstance(x, DetectionBatches):
            x = checked(x, self.num_classes, failures)
        return x

    def _prepare(self, x, with_labels=True):
        """Checks `DetectionBatches`, and wraps them for TensorFlow."""
        if not isinstance(x, DetectionBatches):
            return x
        side = self.input_shape[1]
        if side is not None and x.image_size != side:
            expected = f"images of the model's {side} pixels"
            raise invalid("image_size", expected, x.image_size)
        if with_labels:
            highest = max(max(labels, default=0) for labels in x.split.labels)
            if highest >= self.num_classes:
                expected = f"labels below the model's {self.num_classes} classes"
                raise invalid("labels", expected, int(highest))
        if keras.backend.backend() != "tensorflow":
            return x
        if self.distribute_strategy.num_replicas_in_sync > 1:
            return x
        # Imported late: other backends do not need TensorFlow.
        from dropblock_lib.detection.tensorflow_batches import without_autotune

        return without_autotune(x)

    def decode_predictions(self, predictions, data):
        """Converts the outputs for a batch to boxes, scores and labels.

        Args:
            predictions: Dict of `bbox_regression` and `cls_logits`.
            data: Images, or a tuple that begins with them.
        """
        images = data[0] if isinstance(data, (list, tuple)) else data
        predictions = {
            name: ops.cast(output, "float32") for name, output in predictions.items()
        }
        return super().decode_predictions(predictions, images)

    def compile(
        self, optimizer="auto", box_loss=None, classification_loss=None, **kwargs
    ):
        """Configures training.

        Args:
            optimizer: As for `keras.Model.compile`; by default Adam with a learning
                rate of 5e-5.
            box_loss: A Keras loss; by default `BoxLoss()`.
            classification_loss: A Keras loss; by default `FocalLoss()`.
            **kwargs: As for `keras.Model.compile`.
        """
        super().compile(
            optimizer=optimizer,
            box_loss=box_loss or BoxLoss(),
            classification_loss=classification_loss or FocalLoss(),
            **kwargs,
        )
        self._create_variables()

    def compile_from_config(self, config):
        """Compiles a loaded model as it was compiled before saving."""
        config = keras.saving.deserialize_keras_object(config)
        losses = config.pop("loss", None)
        if losses:
            config["box_loss"] = losses["bbox_regression"]
            config["classification_loss"] = losses["cls_logits"]
        self.compile(**config)

    def _create_variables(self):
        """Creates the variables that the first training step would create.

        TensorFlow traces a step that creates variables a second time, which takes
        minutes for a model with thirty DropBlock layers.
        """
        self.optimizer.build(self.trainable_variables)
        anchors = self.output_shape[0][1]
        outputs = {
            "bbox_regression": ops.zeros((1, anchors, 4)),
            "cls_logits": ops.zeros((1, anchors, self.num_classes)),
        }
        no_objects = {"boxes": -ops.ones((1, 1, 4)), "labels": -ops.ones((1, 1))}
        images = ops.zeros((1, *self.input_shape[1:]))
        self.compute_loss(x=images, y=no_objects, y_pred=outputs)
        self.reset_metrics()

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Sums the losses over all anchors, divided by the number of positive ones.

        KerasHub returns 0 for a batch without positive anchors, so that nothing is
        learned from images without objects.

        Raises:
            ValueError: If `y` has other keys or labels that the model does not have, or
                if sample weights are given, which a sum over anchors cannot take into
                account.
        """
        if sample_weight is not None:
            expected = "None, because the loss of a detector weighs anchors, not images"
            raise invalid("sample_weight", expected, sample_weight)
        # Without values where the step is compiled; then `fit` has checked them.
        check_targets(y, self.num_classes)
        assert y is not None
        boxes, labels = y["boxes"], y["labels"]
        if not boxes.shape[1]:
            # KerasHub's encoder cannot take zero boxes, so one of padding is added.
            boxes = ops.pad(boxes, ((0, 0), (0, 1), (0, 0)), constant_values=-1)
            labels = ops.pad(labels, ((0, 0), (0, 1)), constant_values=-1)
        boxes, labels = self.label_encoder(images=x, gt_boxes=boxes, gt_classes=labels)
        is_positive = labels >= 0
        is_ignored = labels == self.label_encoder.ignore_class
        scale = 1 / ops.maximum(ops.sum(ops.cast(is_positive, "float32")), 1)
        targets = {
            # The offsets of an anchor without an object may be infinite.
            "bbox_regression": ops.where(is_positive[..., None], boxes, 0.0),
            "cls_logits": ops.one_hot(ops.cast(labels, "int32"), self.num_classes),
        }
        weights = {
            "bbox_regression": scale * ops.cast(is_positive, "float32"),
            "cls_logits": scale * ops.cast(~is_ignored, "float32"),
        }
        # keras.Model's method: KerasHub's would encode the targets again.
        return super(keras_hub.models.RetinaNetObjectDetector, self).compute_loss(
            x=x, y=targets, y_pred=y_pred, sample_weight=weights, training=training
        )


@contextlib.contextmanager
def _original_errors(failures, *sources):
    """Raises the error that reading a batch raised, instead of TensorFlow's copy.

    Args:
        failures: List to which `checked` adds errors.
        *sources: Sources of batches; `DetectionBatches` keep their errors themselves.
    """
    batches = [source for source in sources if isinstance(source, DetectionBatches)]
    for source in batches:
        source.failure = None
    try:
        yield
    except Exception as error:
        for failure in (*failures, *(source.failure for source in batches)):
            if failure not in (None, error):
                raise failure from None
        raise
