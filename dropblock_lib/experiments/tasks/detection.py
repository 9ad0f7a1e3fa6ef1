"""Object detection as a kind of run."""

import contextlib
import hashlib
import json
from typing import ClassVar

from dropblock_lib.arguments import check_choice, check_integer, invalid
from dropblock_lib.experiments.recipes import slides
from dropblock_lib.experiments.tasks.metrics import Metrics
from dropblock_lib.experiments.tasks.task import Task
from dropblock_lib.models import DETECTORS

# Number of validation images whose detections a record keeps, and of boxes on each.
SHOWN_IMAGES = 12
SHOWN_BOXES = 20
AUGMENTATIONS = ("none", "flip", "flip-jitter")
# Metrics recorded for supercategories, persons and the trivial detector.
SUMMARY = ("AP", "AP50", "AP_small", "AP_medium", "AP_large")
# Photographs of scikit-image with objects of COCO's categories, for the book's pages.
PHOTOGRAPHS = ("chelsea", "astronaut", "stereo_motorcycle", "coffee")


class Detection(Task):
    """Detects objects in the data's own training and validation images.

    There is no test set. Validation images were used for a single choice, that of the
    learning rate on drawn scenes. Average precision is measured once, with the final
    weights.

    Raises:
        ImportError: If the extra `detection` is not installed.
        ValueError: If the recipe requests more images than the data has.
    """

    networks = DETECTORS
    datasets: ClassVar = {"coco2017": 118_287, "coco2017-mini": 500, "scenes": 500}
    metrics = Metrics(
        # The loss is the sum of the other two unless the last batch is not full: Keras
        # averages the sum over images, and its parts over batches.
        losses=("loss", "class_loss", "box_loss"),
        fractions=("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
        # None if no validation image has an object, or one of that size.
        may_be_none=True,
        final_losses=("val_loss", "train_loss"),
        shown=("AP", "AP50", "val_loss"),
        best="val_loss",
        lowest_is_best=True,
        table=("AP", "AP50", "AP75", "train_loss", "val_loss", "seconds"),
        short_table={
            "AP": "AP",
            "AP50": "AP50",
            "loss": "train_loss",
            "val loss": "val_loss",
        },
    )

    def __init__(self, recipe, data, devices=1):
        # Imported late: a machine that only reads records needs no KerasHub.
        from dropblock_lib.detection.batches import DetectionBatches

        super().__init__(recipe, data, devices)
        self.train = _some(data.train, "train_size", recipe.train_size)
        self.validation = _some(
            data.validation, "validation_size", recipe.validation_size
        )
        size = {"image_size": recipe.image_size, "batch_size": recipe.batch_size}
        self.train_batches = DetectionBatches(
            self.train,
            shuffle=True,
            mirror=recipe.augmentation != "none",
            jitter=recipe.augmentation == "flip-jitter",
            seed=recipe.seed,
            **size,
        )
        self.validation_batches = DetectionBatches(self.validation, **size)
        self.plain_batches = DetectionBatches(self.train, **size)
        self.steps = len(self.train_batches)

    @classmethod
    def check(cls, recipe):
        super().check(recipe)
        check_choice("augmentation", recipe.augmentation, AUGMENTATIONS)
        if check_integer("image_size", recipe.image_size, 64) % 32:
            raise invalid("image_size", "a multiple of 32", recipe.image_size)
        for field in ("test_size", "validation_subset"):
            if getattr(recipe, field) is not None:
                raise invalid(field, "None for a detector", getattr(recipe, field))
        if recipe.label_smoothing:
            raise invalid("label_smoothing", "0 for a detector", recipe.label_smoothing)

    @classmethod
    def published(cls, recipe):
        losses = None
        if recipe and recipe.dataset == "coco2017-mini":
            losses = slides.RETINANET_LOSSES.get(recipe.variant)
        loss, val_loss = losses or (None, None)
        return {"slides_loss": loss, "slides_val_loss": val_loss}

    @classmethod
    def describe_images(cls, recipe, data):
        return (
            f"{data.train:,} training and {data.validation:,} validation images "
            f"of {recipe.image_size} x {recipe.image_size} pixels"
        )

    def sizes(self):
        return {
            "batch_size": self.recipe.batch_size,
            "training images": len(self.train),
            "validation images": len(self.validation),
        }

    def make(self, optimizer, jit_compile):
        model = self.build(
            self.recipe.variant,
            classes=len(self.data.classes),
            image_size=self.recipe.image_size,
            weights=self.recipe.weights,
        )
        model.compile(optimizer=optimizer, jit_compile=jit_compile)
        return model

    def epoch(self, epoch):
        self.train_batches.set_epoch(epoch)
        fed = {"x": self.train_batches}
        if self.validates(epoch):
            fed["validation_data"] = self.validation_batches
        return fed

    def rename(self, logs):
        return {
            key.replace("bbox_regression_", "box_").replace(
                "cls_logits_", "class_"
            ): value
            for key, value in logs.items()
        }

    def before(self, model):
        shown = self._shown()
        return {"before": _surest(self._detect(model, shown), shown.ids)}

    def final(self, model, history):
        from dropblock_lib.detection.average_precision import (
            average_precision,
            trivial_results,
        )
        from dropblock_lib.detection.training import PRIOR_LOGIT, uninformed_loss

        train = self.rename(
            model.evaluate(self.plain_batches, verbose=0, return_dict=True)
        )
        found = self._detect(model, self.validation_batches)
        trivial = trivial_results(self.train, self.validation)
        final = {f"train_{key}": value for key, value in train.items()}
        final |= {key: history[key][-1] for key in history if key.startswith("val_")}
        final |= average_precision(self.validation.annotations, found)
        final |= self._summaries(found)
        final["trivial"] = {
            "AP50": average_precision(self.validation.annotations, trivial)["AP50"],
            **self._summaries(trivial),
        }
        # Baselines for the class loss on the validation images.
        for name, logit in (("untrained", PRIOR_LOGIT), ("uninformed", None)):
            loss = uninformed_loss(model, self.validation_batches, logit)
            final[f"{name}_class_loss"] = loss
        detections = {"after": _surest(found, self._shown().ids)}
        return final, detections | self._on_photographs(model)

    def _summaries(self, found):
        """Average precision on supercategories and on persons, if the data has them."""
        from dropblock_lib.detection.average_precision import (
            average_precision,
            of_category,
            to_supercategories,
        )

        def short(measured):
            return {key: measured[key] for key in SUMMARY}

        annotations, summaries = self.validation.annotations, {}
        if all(item.get("supercategory") for item in annotations["categories"]):
            merged = to_supercategories(annotations, found)
            summaries["supercategories"] = short(average_precision(*merged))
        if "person" in self.data.classes:
            summaries["person"] = short(of_category(annotations, found, "person"))
        return summaries

    def _on_photographs(self, model):
        """Detections on scikit-image's photographs, which any page may show."""
        photographs = _photographs() if "person" in self.data.classes else {}
        if not photographs:
            return {}
        from dropblock_lib.data.detection_dataset import DetectionSplit

        names = list(photographs)
        images = [
            {"id": number, "height": image.shape[0], "width": image.shape[1]}
            for number, image in enumerate(photographs.values())
        ]
        split = DetectionSplit(
            annotations={**self.validation.annotations, "images": images},
            read=lambda number: photographs[names[number]],
        )
        found = _surest(self._detect(model, split), split.ids)
        return {"photographs": dict(zip(names, found.values(), strict=True))}

    def _shown(self):
        return self.validation.take(min(SHOWN_IMAGES, len(self.validation)))

    def _detect(self, model, images):
        from dropblock_lib.detection.evaluation import detect

        batch_size = self.recipe.batch_size
        return detect(model, images, self.data.category_ids, batch_size)

    def account(self):
        return {
            "sha256": _fingerprint(self.data),
            "train": len(self.train),
            "validation": len(self.validation),
            "test": 0,
            "skipped": {
                "train": self.train.skipped,
                "validation": self.validation.skipped,
            },
            "too_small": self.train_batches.too_small,
        }


def _photographs():
    """The photographs that come with scikit-image, by name."""
    try:
        from skimage import data
    except ImportError:
        return {}
    found = {}
    for name in PHOTOGRAPHS:
        # scikit-image downloads some photographs, which may fail.
        with contextlib.suppress(Exception):
            image = getattr(data, name)()
            found[name] = image[0] if isinstance(image, tuple) else image
    return found


def _some(split, argument, count):
    if count is not None and count > len(split):
        raise invalid(argument, f"at most {len(split)}, the number of images", count)
    return split.take(count)


def _surest(results, ids):
    """The highest-scoring detections of each image, best first."""
    rows = sorted(results, key=lambda row: -row["score"])
    return {
        str(image): [
            {key: row[key] for key in ("category_id", "bbox", "score")}
            for row in rows
            if row["image_id"] == image
        ][:SHOWN_BOXES]
        for image in sorted(ids)
    }


def _fingerprint(data):
    """The sha256 of all annotations, which identify images by id and size."""
    parts = [data.train.annotations, data.validation.annotations]
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
