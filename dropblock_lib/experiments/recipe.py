"""What one training run is made of."""

import dataclasses
import hashlib
import json
import re

from dropblock_lib.experiments.augment import AUGMENTATIONS
from dropblock_lib.models import DETECTORS, NETWORKS
from dropblock_lib.variants import VARIANTS

DATASETS = ("mnist", "cifar10", "digits", "shapes")
DETECTION_DATASETS = ("coco2017", "coco2017-mini", "scenes")
DETECTION_AUGMENTATIONS = ("none", "flip")
OPTIMIZERS = ("adam", "sgd")
LEARNING_RATE_SCHEDULES = ("constant", "cosine")
KEEP_PROB_SCHEDULES = ("constant", "linear")
# Fields that came after the first records, and what a recipe without them means.
# At that value they are left out, so that old records keep their hashes.
LATER_FIELDS = {"augmentation": "none", "image_size": None}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of one run, and nothing else.

    Two runs of the same recipe on the same data, machine and versions give the
    same numbers. Values are checked when the recipe is made.

    Args:
        network: A key of `dropblock_lib.models.NETWORKS`, or of `DETECTORS` there.
        variant: A key of `dropblock_lib.VARIANTS`.
        dataset: "mnist", "cifar10", "digits" or "shapes"; for a detector "coco2017",
            "coco2017-mini" or "scenes".
        train_size: Number of training images, or `None` for all that the
            validation set leaves.
        validation_size: Number of images held out of the training set; for a
            detector, of images of the data's own validation part.
        test_size: Number of test images, or `None` for all. Detectors have none.
        epochs: Number of passes over the training images.
        batch_size: Number of images a step.
        optimizer: "adam", or "sgd" (with Nesterov momentum 0.9).
        learning_rate: The first, and largest, learning rate.
        learning_rate_schedule: "constant", or "cosine" to fall to zero over the
            whole run, step by step.
        keep_prob_schedule: "constant", or "linear" to fall from 1 in the first
            epoch to the variant's `keep_prob` in the last. Variants without
            DropBlock do not heed it.
        seed: Sets the initial weights, the order of the images and the noise. It
            does not set which images are used: that is the same for all seeds.
        profile: A label for the scale of the run, part of its name.
        augmentation: A key of `AUGMENTATIONS`: what is done to the training images,
            anew in every epoch. For a detector "none", or "flip" to mirror half of
            them.
        image_size: Height and width, in pixels, to which a detector's images are
            fitted. `None` for the other networks.

    Raises:
        ValueError: If a value is not as described.

    Example:

    >>> Recipe("custom_net", "dropblock-3-0.9", "cifar10").name
    'custom_net-cifar10-dropblock-3-0.9-small-seed0'
    """

    network: str
    variant: str
    dataset: str
    train_size: int | None = 9_000
    validation_size: int = 1_000
    test_size: int | None = None
    epochs: int = 15
    batch_size: int = 64
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    learning_rate_schedule: str = "cosine"
    keep_prob_schedule: str = "linear"
    seed: int = 0
    profile: str = "small"
    augmentation: str = "none"
    image_size: int | None = None

    def __post_init__(self):
        self._one_of("network", (*NETWORKS, *DETECTORS))
        self._one_of("variant", VARIANTS)
        detects = self.network in DETECTORS
        self._one_of("dataset", DETECTION_DATASETS if detects else DATASETS)
        self._one_of("optimizer", OPTIMIZERS)
        self._one_of("learning_rate_schedule", LEARNING_RATE_SCHEDULES)
        self._one_of("keep_prob_schedule", KEEP_PROB_SCHEDULES)
        self._one_of(
            "augmentation", DETECTION_AUGMENTATIONS if detects else AUGMENTATIONS
        )
        if detects:
            self._whole("image_size", at_least=64)
            if self.image_size % 32:
                self._refuse("image_size", "a multiple of 32")
        elif self.image_size is not None:
            self._refuse("image_size", "None for a network that is no detector")
        self._whole("train_size", at_least=1, or_none=True)
        self._whole("validation_size", at_least=1)
        self._whole("test_size", at_least=1, or_none=True)
        if detects and self.test_size is not None:
            self._refuse("test_size", "None for a detector")
        self._whole("epochs", at_least=1)
        self._whole("batch_size", at_least=1)
        self._whole("seed", at_least=0)
        rate = self.learning_rate
        is_number = isinstance(rate, (int, float)) and not isinstance(rate, bool)
        if not is_number or not 0 < rate < float("inf"):
            self._refuse("learning_rate", "a positive, finite number")
        # 1 and 1.0 are the same recipe, and must have the same hash.
        object.__setattr__(self, "learning_rate", float(rate))
        if not isinstance(self.profile, str) or not re.fullmatch(
            r"[a-z0-9]+(_[a-z0-9]+)*", self.profile
        ):
            self._refuse("profile", "lower-case letters, digits and underscores")

    @property
    def name(self) -> str:
        """A readable name; unique within a profile."""
        return self.name_on(self.dataset)

    def name_on(self, data: str) -> str:
        """The name, with the data that was really used in the data set's place."""
        return f"{self.network}-{data}-{self.variant}-{self.profile}-seed{self.seed}"

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change with every field."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_dict(self) -> dict:
        """The fields as plain values, for JSON."""
        values = dataclasses.asdict(self)
        for field, default in LATER_FIELDS.items():
            if values[field] == default:
                del values[field]
        return values

    @classmethod
    def from_dict(cls, values: dict) -> "Recipe":
        """The recipe of `to_dict`; refuses missing and unknown fields."""
        known = {field.name for field in dataclasses.fields(cls)}
        needed = known - set(LATER_FIELDS)
        if not isinstance(values, dict) or not needed <= set(values) <= known:
            raise ValueError(
                "Invalid value received for argument `values`. Expected a "
                f"dictionary with the keys {sorted(known)}. "
                f"Received: values={values!r}"
            )
        return cls(**values)

    def _one_of(self, field, known):
        value = getattr(self, field)
        if not isinstance(value, str) or value not in known:
            self._refuse(field, f"one of {', '.join(known)}")

    def _whole(self, field, at_least, or_none=False):
        value = getattr(self, field)
        if or_none and value is None:
            return
        if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
            ending = " or None" if or_none else ""
            self._refuse(field, f"an integer of at least {at_least}{ending}")

    def _refuse(self, field, expected):
        raise ValueError(
            f"Invalid value received for argument `{field}`. Expected {expected}. "
            f"Received: {field}={getattr(self, field)!r}"
        )
