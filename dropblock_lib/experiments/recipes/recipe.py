"""What one training run is made of."""

import dataclasses
import hashlib
import inspect
import json
import math
import re

from dropblock_lib.arguments import invalid, is_whole
from dropblock_lib.data import augment
from dropblock_lib.models import DETECTORS, NETWORKS
from dropblock_lib.variants import Variant, get_variant

DATASETS = ("mnist", "cifar10", "digits", "shapes")
DETECTION_DATASETS = ("coco2017", "coco2017-mini", "scenes")
DETECTION_AUGMENTATIONS = ("none", "flip")
OPTIMIZERS = ("adam", "sgd")
LEARNING_RATE_SCHEDULES = ("constant", "cosine", "one-cycle")
KEEP_PROB_SCHEDULES = ("constant", "linear", "linear-epoch")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of one run, and nothing else.

    Two runs of the same recipe on the same data, machine and versions give the
    same numbers. Values are checked when the recipe is made.

    Args:
        network: A key of `dropblock_lib.models.NETWORKS`, or of `DETECTORS` there.
        variant: The regularizer: a key of `dropblock_lib.VARIANTS`, another name of
            that form, or its numbers (`Variant`, or a dictionary of its fields). The
            recipe holds its name here, and its numbers in `regularizer`.
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
        learning_rate: The largest learning rate.
        learning_rate_schedule: "constant"; "cosine" to fall to zero over the whole
            run; or "one-cycle" to rise in a straight line over `warmup` and fall to
            zero in another. Both change at every step.
        keep_prob_schedule: "constant"; "linear" to fall from 1 in the first step to
            the variant's `keep_prob` in the last; or "linear-epoch" to fall from 1 in
            the first epoch to it in the last. Variants without DropBlock have none.
        seed: Sets the initial weights, the order of the images and the noise. It
            does not set which images are used: see `subset_seed`.
        profile: A label for the scale of the run, part of its name.
        augmentation: What is done to the training images, anew in every epoch:
            "none", or steps such as "crop-flip-cutout", see
            `dropblock_lib.data.augment`. For a detector "none", or "flip" to
            mirror half of them.
        image_size: Height and width, in pixels, to which a detector's images are
            fitted. `None` for the other networks.
        placement: Where the network puts the regularizer: what its argument `where`
            takes. `None` for the network's default.
        warmup: The share of the steps in which a "one-cycle" learning rate rises, in
            [0, 1).
        weight_decay: L2 on kernels, with "sgd": the gradient of
            `weight_decay / 2 * sum(kernel ** 2)` is added, without any on biases
            and normalizations. The losses of a record do not include it.
        label_smoothing: In [0, 1): the share of each label that is spread over all
            classes. Losses of the history are those of the smoothed labels.
        validation_every: Number of epochs from one validation to the next. The last
            epoch is always validated.
        validation_subset: Number of validation images that are looked at while
            training, or `None` for all. After it, all are.
        subset_seed: Random seed of the choice of training and validation images, or
            "seed" for that of the run: then each seed has images of its own, which all
            variants share.
        precision: "float32", or "mixed_bfloat16" or "mixed_float16" as Keras names
            them.
        probes: Whether the record of a classifier also holds calibration, robustness
            and the like, see `dropblock_lib.experiments.tasks.probes`.

    Attributes:
        regularizer: The variant as numbers: a dictionary with "method" and what
            belongs to it of "block_size", "keep_prob", "rate", "gamma",
            "per_channel".

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
    placement: str | None = None
    warmup: float = 0.2
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    validation_every: int = 1
    validation_subset: int | None = None
    subset_seed: int | str = 0
    precision: str = "float32"
    probes: bool = True
    # Follows from the variant, and dictionaries have no hash.
    regularizer: dict = dataclasses.field(init=False, hash=False)

    def __post_init__(self):
        self._one_of("network", (*NETWORKS, *DETECTORS))
        self._name_the_variant()
        self._find_the_placement()
        self._check()

    def _name_the_variant(self):
        variant = self.variant
        if isinstance(variant, dict):
            variant = Variant.of_numbers(variant)
        known = get_variant(variant)
        if not isinstance(variant, str):
            if known.name is None:
                self._refuse("variant", "a custom variant to be named in VARIANTS")
            self._set("variant", known.name)
        self._set("regularizer", known.numbers())

    def _find_the_placement(self):
        """The network's own placement, so that the record names it."""
        if self.placement is None:
            self._set("placement", default_placement(self.network))

    def _set(self, field, value):
        object.__setattr__(self, field, value)

    def _check(self):
        """Everything but what is registered: a record may be of somebody else's."""
        detects = self.detects
        self._one_of("dataset", DETECTION_DATASETS if detects else DATASETS)
        self._one_of("optimizer", OPTIMIZERS)
        self._one_of("learning_rate_schedule", LEARNING_RATE_SCHEDULES)
        self._one_of("keep_prob_schedule", KEEP_PROB_SCHEDULES)
        self._one_of("precision", PRECISIONS)
        if detects:
            self._one_of("augmentation", DETECTION_AUGMENTATIONS)
            self._whole("image_size", at_least=64)
            if self.image_size % 32:
                self._refuse("image_size", "a multiple of 32")
        else:
            if augment.get_augmentation(self.augmentation) is None:
                self._refuse("augmentation", augment.EXPECTED)
            if self.image_size is not None:
                self._refuse("image_size", "None for a network that is no detector")
        self._whole("train_size", at_least=1, or_none=True)
        self._whole("validation_size", at_least=1)
        self._whole("test_size", at_least=1, or_none=True)
        self._whole("validation_subset", at_least=1, or_none=True)
        if (self.validation_subset or 0) > self.validation_size:
            self._refuse("validation_subset", f"at most {self.validation_size}")
        self._whole("validation_every", at_least=1)
        if detects:
            for field in ("test_size", "validation_subset"):
                if getattr(self, field) is not None:
                    self._refuse(field, "None for a detector")
        self._whole("epochs", at_least=1)
        self._whole("batch_size", at_least=1)
        self._whole("seed", at_least=0)
        if self.subset_seed != "seed":
            if not is_whole(self.subset_seed, at_least=0):
                self._refuse("subset_seed", 'an integer of at least 0, or "seed"')
            self._set("subset_seed", int(self.subset_seed))
        self._number("learning_rate", "a positive, finite number")
        if self.learning_rate <= 0:
            self._refuse("learning_rate", "a positive, finite number")
        self._number("weight_decay", "a finite number >= 0")
        if self.weight_decay < 0:
            self._refuse("weight_decay", "a finite number >= 0")
        if self.weight_decay and self.optimizer != "sgd":
            self._refuse("weight_decay", "0 with the optimizer adam")
        for field in ("warmup", "label_smoothing"):
            self._number(field, "a float in [0, 1)")
            if not 0 <= getattr(self, field) < 1:
                self._refuse(field, "a float in [0, 1)")
        if self.label_smoothing and detects:
            self._refuse("label_smoothing", "0 for a detector")
        if not isinstance(self.probes, bool):
            self._refuse("probes", "True or False")
        if not isinstance(self.placement, (str, type(None))):
            self._refuse("placement", "a string or None")
        if not isinstance(self.profile, str) or not re.fullmatch(
            r"[a-z0-9]+(_[a-z0-9]+)*", self.profile
        ):
            self._refuse("profile", "lower-case letters, digits and underscores")

    @property
    def detects(self) -> bool:
        """Whether the network finds objects, rather than classifying images."""
        return self.network in DETECTORS or self.dataset in DETECTION_DATASETS

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
        return hash_of(self.to_dict())

    def to_dict(self) -> dict:
        """The fields as plain values, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "Recipe":
        """The recipe of `to_dict`; refuses missing and unknown fields.

        Network and variant need not be registered: the module that does it may not be
        at hand where a record is read.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or set(values) != known:
            raise ValueError(
                "Invalid value received for argument `values`. Expected a "
                f"dictionary with the keys {sorted(known)}. "
                f"Received: values={values!r}"
            )
        recipe = object.__new__(cls)
        for field, value in values.items():
            recipe._set(field, value)
        for field in ("network", "variant"):
            if not isinstance(values[field], str):
                recipe._refuse(field, "a name")
        if not isinstance(recipe.regularizer, dict):
            recipe._refuse("regularizer", "a dictionary")
        Variant.of_numbers(recipe.regularizer)
        recipe._check()
        return recipe

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

    def _number(self, field, expected):
        value = getattr(self, field)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            self._refuse(field, expected)
        # 1 and 1.0 are the same recipe, and must have the same hash.
        self._set(field, float(value))

    def _refuse(self, field, expected):
        raise invalid(field, expected, getattr(self, field))


def hash_of(values: dict) -> str:
    """Twelve hexadecimal digits that change with every value of a dictionary."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def default_placement(network: str) -> str | None:
    """Where a network puts its regularizer unless told; `None` if it has no choice."""
    make = NETWORKS.get(network) or DETECTORS.get(network)
    if make is None:
        return None
    where = inspect.signature(make).parameters.get("where")
    if where is None or not isinstance(where.default, str):
        return None
    return where.default
