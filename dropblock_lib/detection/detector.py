"""RetinaNet, with the paper's losses and decoding."""

import contextlib
import inspect
import weakref
from collections.abc import Iterable
from typing import Any

import keras
import keras_hub
import numpy as np
from keras import ops

from dropblock_lib.arguments import invalid
from dropblock_lib.detection.batches import DetectionBatches
from dropblock_lib.detection.losses import BoxLoss, FocalLoss
from dropblock_lib.detection.nms import PerClassNonMaxSuppression
from dropblock_lib.detection.targets import check_targets, checked
from dropblock_lib.detection.training import (
    PRIOR_LOGIT,
    UninformedWarning,
    detection_optimizer,
)

BOX_FORMAT = "xyxy"  # left, top, right, bottom, in pixels
ENCODING = "center_xywh"
# An anchor is assigned to an object if their IoU is at least the first number, and is
# background if it is below the second with all objects.
POSITIVE, BACKGROUND = 0.5, 0.4
# Standard deviation of the initial kernels of the heads, as in the paper.
STDDEV = 0.01


@keras.saving.register_keras_serializable("dropblock_lib")
class RetinaNet(keras.Model):
    """A RetinaNet that is trained and evaluated as in the paper.

    Images are float `(batch, height, width, 3)`, 0 to 255; `y` is a dict of `boxes`
    `(batch, boxes, 4)`, left, top, right and bottom in pixels, and `labels` `(batch,
    boxes)`, both padded with -1. Train with `fit` on batches of `(images, y)`.
    `predict` returns `boxes`, `confidence`, `labels` and `num_detections`.

    Anchors come from KerasHub, and are matched by its rule. `keras_hub.models.
    RetinaNetObjectDetector` differs in these ways: its losses are means, it learns
    nothing from batches without objects, it gives the prior of the class head to the
    box head as well, and its suppression ignores classes.

    After an epoch of `fit` on `DetectionBatches`, a warning is logged if the class loss
    is still that of a detector that ignores the image: see `uninformed_loss`.

    Under mixed precision, anchors are matched and boxes decoded in float32: 16 bits
    cannot tell neighboring pixels of a large image apart.

    Args:
        backbone: A functional `keras.Model` from an image to a dict of level -> map,
            from `build_pyramid`.
        num_classes: Number of classes.
        head_layers: Number of convolutions in each head before the last.
        head_channels: Number of channels of these convolutions.
        anchor_size: Side of the smallest square anchor of a level, in pixels of its
            map.
        prediction_decoder: A layer that turns boxes and logits into detections; by
            default `PerClassNonMaxSuppression()`.
        compile: Whether to compile with the default optimizer and losses.
        seeds: Iterator of random seeds for the kernels of the heads, or of `None`.
        **kwargs: As for `keras.Model`.

    Reference:

    - [Lin et al., 2017](https://arxiv.org/abs/1708.02002).
    """

    def __init__(
        self,
        backbone: keras.Model,
        num_classes: int,
        head_layers: int = 4,
        head_channels: int = 256,
        anchor_size: float = 4.0,
        prediction_decoder: keras.layers.Layer | None = None,
        compile: bool = True,
        seeds: Iterable[int | None] | None = None,
        **kwargs,
    ):
        levels = [int(level[1:]) for level in backbone.output]
        anchor_generator = keras_hub.layers.AnchorGenerator(
            BOX_FORMAT,
            min_level=min(levels),
            max_level=max(levels),
            num_scales=3,
            aspect_ratios=[0.5, 1.0, 2.0],
            anchor_size=anchor_size,
            dtype="float32",
        )
        shape = {
            "inputs": next(iter(backbone.output.values())).shape[-1],
            "channels": head_channels,
            "layers": head_layers,
            "dtype": backbone.get_layer(f"output_P{min(levels)}").dtype_policy,
            "seeds": iter(() if seeds is None else seeds),
        }
        anchors = anchor_generator.num_base_anchors
        box_head = _head("box_head", anchors * 4, **shape)
        classification_head = _head(
            "classification_head", anchors * num_classes, **shape, bias=PRIOR_LOGIT
        )
        inputs = keras.Input(backbone.input_shape[1:], name="images")
        outputs = {"bbox_regression": [], "cls_logits": []}
        for level, features in backbone(inputs).items():
            for found, head, size, name in zip(
                outputs.values(),
                (box_head, classification_head),
                (4, num_classes),
                ("box_pred", "cls_pred"),
                strict=True,
            ):
                rows = keras.layers.Reshape((-1, size), name=f"{name}_{level}")
                found.append(rows(head(features)))
        super().__init__(
            inputs,
            {
                name: keras.layers.Concatenate(axis=1, name=name)(found)
                for name, found in outputs.items()
            },
            **kwargs,
        )
        self.backbone = backbone
        self.num_classes = num_classes
        self.head_layers = head_layers
        self.head_channels = head_channels
        self.anchor_size = anchor_size
        self.box_head = box_head
        self.classification_head = classification_head
        self.anchor_generator = anchor_generator
        self.prediction_decoder = prediction_decoder or PerClassNonMaxSuppression()
        self.prediction_decoder.dtype_policy = "float32"
        # For `UninformedWarning`, because `fit` may be called once per epoch.
        self.warned, self.class_losses = False, {}
        # For `UninformedWarning`, which computes them once for each source of batches.
        self.uninformed_losses = weakref.WeakKeyDictionary()
        if compile:
            self.compile()

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "prediction_decoder":
            # The compiled function contains the previous decoder.
            self.predict_function = None

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "head_layers": self.head_layers,
            "head_channels": self.head_channels,
            "anchor_size": self.anchor_size,
            "prediction_decoder": keras.saving.serialize_keras_object(
                self.prediction_decoder
            ),
        }

    @classmethod
    def from_config(cls, config):
        made = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("backbone", "prediction_decoder")
        }
        return cls(**{**config, **made}, compile=False)

    def train_on_batch(self, x: Any, y: Any = None, *arguments, **options) -> Any:
        """Like `keras.Model.train_on_batch`, with checked boxes and labels."""
        check_targets(y, self.num_classes)
        return super().train_on_batch(x, y, *arguments, **options)

    def test_on_batch(self, x: Any, y: Any = None, *arguments, **options) -> Any:
        """Like `keras.Model.test_on_batch`, with checked boxes and labels."""
        check_targets(y, self.num_classes)
        return super().test_on_batch(x, y, *arguments, **options)

    def fit(
        self, x: Any = None, y: Any = None, *arguments, **options
    ) -> keras.callbacks.History:
        """Like `keras.Model.fit`, with checked boxes and labels.

        Raises:
            ValueError: If boxes have no area or are fractions of the image, labels
                are not classes of the model, or `DetectionBatches` are empty or have
                a different image size.
        """
        options = _by_name(super().fit, x, y, *arguments, **options)
        validation_data = options.get("validation_data")
        failures = []
        with _original_errors(failures, x, validation_data):
            options["x"] = self._checked(x, y, failures)
            if isinstance(validation_data, (tuple, list)):
                if len(validation_data) < 2:
                    expected = "a tuple (images, y)"
                    received = f"a {type(validation_data).__name__} of this length: "
                    received += str(len(validation_data))
                    raise invalid("validation_data", expected, received=received)
                check_targets(validation_data[1], self.num_classes)
            checked_data = self._checked(
                validation_data, None, failures, "validation_data"
            )
            options["validation_data"] = checked_data
            for batches, prefix in ((validation_data, "val_"), (x, "")):
                if isinstance(batches, DetectionBatches):
                    warning = UninformedWarning(batches, prefix)
                    options["callbacks"] = _added(options.get("callbacks"), warning)
                    break
            # A wrapped pass ends, but Keras may ask for more steps than it has.
            if not options.get("steps_per_epoch"):
                options["x"] = self._wrapped(options["x"])
            if not options.get("validation_steps"):
                options["validation_data"] = self._wrapped(checked_data)
            return super().fit(**options)

    def evaluate(self, x: Any = None, y: Any = None, *arguments, **options) -> Any:
        """Like `keras.Model.evaluate`, with checked boxes and labels.

        Raises:
            ValueError: As for `fit`.
        """
        options = _by_name(super().evaluate, x, y, *arguments, **options)
        failures = []
        with _original_errors(failures, x):
            x = self._checked(x, y, failures)
            options["x"] = x if options.get("steps") else self._wrapped(x)
            return super().evaluate(**options)

    def predict(self, x: Any, *arguments, **options) -> dict[str, np.ndarray]:
        """Like `keras.Model.predict`, but returns detections.

        Returns:
            Dict of NumPy arrays, as from `PerClassNonMaxSuppression`: `boxes`,
            `confidence`, `labels` and `num_detections`.

        Raises:
            ValueError: If `DetectionBatches` have a different image size.
        """
        options = _by_name(super().predict, x, *arguments, **options)
        with _original_errors([], x):
            if isinstance(x, DetectionBatches):
                self._check_size(x)
            options["x"] = x if options.get("steps") else self._wrapped(x)
            return super().predict(**options)

    def _checked(self, x, y, failures, name="x"):
        """Checks the targets of arrays now, and those of other sources when read."""
        if y is not None:
            check_targets(y, self.num_classes)
            return x
        if not isinstance(x, DetectionBatches):
            return checked(x, self.num_classes, failures)
        self._check_size(x)
        if not len(x):
            raise invalid(name, "batches of at least one image", received="no image")
        highest = max(max(labels, default=0) for labels in x.split.labels)
        if highest >= self.num_classes:
            expected = f"labels from 0 to {self.num_classes - 1}, the model's classes"
            raise invalid("labels", expected, int(highest))
        return x

    def _check_size(self, batches):
        side = self.input_shape[1]
        if side is not None and batches.image_size != side:
            expected = f"images of the model's {side} pixels"
            raise invalid("image_size", expected, batches.image_size)

    def _wrapped(self, x):
        """Wraps `DetectionBatches` for TensorFlow."""
        if not isinstance(x, DetectionBatches):
            return x
        if keras.backend.backend() != "tensorflow":
            return x
        if self.distribute_strategy.num_replicas_in_sync > 1:
            return x
        # Imported late: other backends do not need TensorFlow.
        from dropblock_lib.detection.tensorflow_batches import without_autotune

        return without_autotune(x)

    def assign(self, images: Any, boxes: Any, labels: Any) -> tuple[Any, Any]:
        """Computes the training targets of all anchors, in float32.

        An anchor whose IoU with some object is at least 0.5 is assigned to the object
        that it overlaps most. If no IoU reaches 0.4 it is background, and otherwise
        the class loss ignores it.

        Args:
            images: `(batch, height, width, 3)`, of which only the shape is used.
            boxes: `(batch, k, 4)`: left, top, right and bottom in pixels, padded with
                -1, `k` at least 1.
            labels: `(batch, k)`, padded with -1.

        Returns:
            A pair: offsets `(batch, anchors, 4)` to the most overlapped object, and
            labels `(batch, anchors)`, -1 for background and -2 for ignored anchors.
        """
        boxes = ops.cast(boxes, "float32")
        anchors = ops.concatenate(list(self.anchor_generator(images).values()))
        overlaps = keras.utils.bounding_boxes.compute_iou(anchors, boxes, BOX_FORMAT)
        overlaps = ops.reshape(overlaps, (-1, anchors.shape[0], ops.shape(boxes)[1]))
        best_match = ops.argmax(overlaps, axis=-1)
        overlaps = ops.max(overlaps, axis=-1)
        boxes = ops.take_along_axis(boxes, best_match[..., None], axis=1)
        labels = ops.take_along_axis(ops.cast(labels, "float32"), best_match, axis=1)
        labels = ops.where(overlaps < POSITIVE, -2.0, labels)
        offsets = keras.utils.bounding_boxes.encode_box_to_deltas(
            anchors, boxes, BOX_FORMAT, BOX_FORMAT, encoding_format=ENCODING
        )
        return offsets, ops.where(overlaps < BACKGROUND, -1.0, labels)

    def predict_step(self, *arguments):
        """Like `keras.Model.predict_step`, but returns detections."""
        outputs = super().predict_step(*arguments)
        if isinstance(outputs, tuple):  # JAX returns its state, too
            return self.decode_predictions(outputs[0], arguments[-1]), outputs[1]
        return self.decode_predictions(outputs, *arguments)

    def decode_predictions(self, predictions: dict, data: Any) -> dict:
        """Converts the outputs for a batch to boxes, scores and labels.

        Args:
            predictions: Dict of `bbox_regression` `(batch, anchors, 4)` and
                `cls_logits` `(batch, anchors, classes)`.
            data: Images, or a tuple that begins with them.

        Returns:
            Dict of tensors, as from the model's `prediction_decoder`.
        """
        images = data[0] if isinstance(data, (list, tuple)) else data
        offsets, logits = (
            ops.cast(predictions[name], "float32")
            for name in ("bbox_regression", "cls_logits")
        )
        boxes = keras.utils.bounding_boxes.decode_deltas_to_boxes(
            anchors=ops.concatenate(list(self.anchor_generator(images).values())),
            boxes_delta=offsets,
            encoded_format=ENCODING,
            anchor_format=BOX_FORMAT,
            box_format=BOX_FORMAT,
            image_shape=ops.shape(images)[1:],
        )
        return self.prediction_decoder(boxes, logits, images=images)

    def compile(
        self, optimizer="auto", box_loss=None, classification_loss=None, **kwargs
    ):
        """Configures training.

        Args:
            optimizer: As for `keras.Model.compile`; by default `detection_optimizer()`.
                A large learning rate can keep a detector from learning. Another
                optimizer should also use warm-up and gradient clipping.
            box_loss: A Keras loss; by default `BoxLoss()`.
            classification_loss: A Keras loss; by default `FocalLoss()`.
            **kwargs: As for `keras.Model.compile`.
        """
        super().compile(
            optimizer=detection_optimizer() if optimizer == "auto" else optimizer,
            loss={
                "bbox_regression": box_loss or BoxLoss(),
                "cls_logits": classification_loss or FocalLoss(),
            },
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
        if self.optimizer is not None:
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

        Raises:
            ValueError: If `y` has other keys or shapes, boxes in another format or
                labels that the model does not have, or if sample weights are given,
                which a sum over anchors cannot take into account.
        """
        if sample_weight is not None:
            expected = "None, because a detector's loss weights anchors, not images"
            raise invalid("sample_weight", expected, sample_weight)
        # In a compiled step, targets have no values; `fit` has checked them.
        check_targets(y, self.num_classes, of_batches=True)
        assert y is not None
        boxes, labels = y["boxes"], y["labels"]
        if not boxes.shape[1]:
            # `assign` needs at least one box, so a padding box is added.
            boxes = ops.pad(boxes, ((0, 0), (0, 1), (0, 0)), constant_values=-1)
            labels = ops.pad(labels, ((0, 0), (0, 1)), constant_values=-1)
        boxes, labels = self.assign(x, boxes, labels)
        is_positive = labels >= 0
        is_ignored = labels == -2
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
        return super().compute_loss(
            x=x, y=targets, y_pred=y_pred, sample_weight=weights, training=training
        )


def _head(name, outputs, inputs, channels, layers, dtype, seeds, bias=0.0):
    """Makes the convolutions that all levels share."""

    def convolution(filters, **options):
        start = keras.initializers.RandomNormal(stddev=STDDEV, seed=next(seeds, None))
        return keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            kernel_initializer=start,
            dtype=dtype,
            **options,
        )

    hidden = [
        convolution(channels, activation="relu", name=f"conv2d_{number}")
        for number in range(layers)
    ]
    constant = keras.initializers.Constant(bias)
    last = convolution(outputs, bias_initializer=constant, name="prediction")
    shape = keras.Input((None, None, inputs), dtype=dtype.compute_dtype)
    return keras.Sequential([shape, *hidden, last], name=name)


def _by_name(method, *arguments, **options):
    """Returns the arguments of a call by their names."""
    named = inspect.signature(method).bind(*arguments, **options).arguments
    extra = named.pop("kwargs", {})
    return {**named, **extra}


def _added(callbacks, callback):
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks.append(callback)
        return callbacks
    return [*keras.tree.flatten(callbacks or []), callback]


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
