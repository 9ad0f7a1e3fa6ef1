"""A run that detects objects: what is fed to the network, and what is measured."""

import hashlib
import json

from dropblock_lib.arguments import invalid
from dropblock_lib.models import DETECTORS

# Of how many validation images a record keeps the detections, and how many of each.
SHOWN_IMAGES = 12
SHOWN_BOXES = 20


class Detection:
    """The images and the detector of a recipe.

    The validation images are those of the data's own validation part. There is no
    test set: nothing is chosen by them but the learning rate, once, on scenes, and
    average precision is measured once, with the weights that training ended with.

    Args:
        recipe: A `Recipe` of a detector.
        data: A `DetectionDataset`.
        devices: Over how many devices each batch is spread.

    Raises:
        ImportError: If the extra `detection` is not installed.
        ValueError: If the recipe asks for more images than there are.
    """

    def __init__(self, recipe, data, devices):
        # Here, because a machine that only reads records needs none of it.
        from dropblock_lib.detection.batches import DetectionBatches

        self.recipe = recipe
        self.data = data
        self.train = _some(data.train, "train_size", recipe.train_size)
        self.validation = _some(
            data.validation, "validation_size", recipe.validation_size
        )
        size = {"image_size": recipe.image_size, "batch_size": recipe.batch_size}
        self.train_batches = DetectionBatches(
            self.train,
            shuffle=True,
            mirror=recipe.augmentation == "flip",
            seed=recipe.seed,
            **size,
        )
        self.validation_batches = DetectionBatches(self.validation, **size)
        self.plain_batches = DetectionBatches(self.train, **size)
        self.steps = len(self.train_batches)

    def sizes(self):
        """What a batch or a set of images must be divided into, by name."""
        return {
            "batch_size": self.recipe.batch_size,
            "training images": len(self.train),
            "validation images": len(self.validation),
        }

    def make(self, optimizer, jit_compile):
        """The detector, new and compiled."""
        placement = self.recipe.placement
        model = DETECTORS[self.recipe.network](
            self.recipe.variant,
            classes=len(self.data.classes),
            image_size=self.recipe.image_size,
            seed=self.recipe.seed,
            **({} if placement is None else {"where": placement}),
        )
        model.compile(optimizer=optimizer, jit_compile=jit_compile)
        return model

    def make_variables(self, model):
        """A detector has made them when it was compiled."""

    def epoch(self, epoch):
        """What `fit` is given in an epoch: a function of seed and epoch alone."""
        self.train_batches.set_epoch(epoch)
        fed = {"x": self.train_batches}
        is_last = epoch + 1 == self.recipe.epochs
        if is_last or (epoch + 1) % self.recipe.validation_every == 0:
            fed["validation_data"] = self.validation_batches
        return fed

    def names(self, logs):
        """What `fit` reports, by the names of the history."""
        return {_name(key): value for key, value in logs.items()}

    def before(self, model):
        """The surest boxes of the network before it was trained."""
        shown = self._shown()
        return {"before": _surest(self._detect(model, shown), shown.ids)}

    def final(self, model, history):
        """What the trained network reached, and its detections on some images."""
        from dropblock_lib.detection.average_precision import average_precision

        train = self.names(
            model.evaluate(self.plain_batches, verbose=0, return_dict=True)
        )
        found = self._detect(model, self.validation_batches)
        final = {f"train_{key}": value for key, value in train.items()}
        final |= {key: history[key][-1] for key in history if key.startswith("val_")}
        final |= average_precision(self.validation.annotations, found)
        return final, {"after": _surest(found, self._shown().ids)}

    def _shown(self):
        return self.validation.take(min(SHOWN_IMAGES, len(self.validation)))

    def _detect(self, model, images):
        from dropblock_lib.detection.evaluation import detect

        batch_size = self.recipe.batch_size
        return detect(model, images, self.data.category_ids, batch_size)

    def account(self):
        """What data the run used."""
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


def _some(split, argument, count):
    if count is not None and count > len(split):
        raise invalid(argument, f"at most {len(split)}, the images there are", count)
    return split.take(count)


def _name(key):
    """The names of the detector's outputs are not those of the book."""
    return key.replace("bbox_regression_", "box_").replace("cls_logits_", "class_")


def _surest(results, ids):
    """For each image the detections with the best scores, best first."""
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
    """The sha256 of all annotations: images are known by their ids and sizes."""
    parts = [data.train.annotations, data.validation.annotations]
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
