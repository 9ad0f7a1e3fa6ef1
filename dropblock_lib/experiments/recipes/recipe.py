"""The recipe of a training run."""

import dataclasses
import hashlib
import inspect
import json
import re
from typing import Any

from dropblock_lib.arguments import (
    check_boolean,
    check_choice,
    check_float,
    check_integer,
    invalid,
    is_whole,
)
from dropblock_lib.variants import Variant, get_variant

# The kinds of runs, which `dropblock_lib.experiments.tasks` registers. Each has its
# networks and data, and checks the fields that only it uses.
TASKS: list[Any] = []

# Field -> the function that checks it, and its arguments after name and value.
_CHECKS = {
    "optimizer": (check_choice, ("adam", "adamw", "sgd")),
    "learning_rate_schedule": (
        check_choice,
        ("constant", "cosine", "one-cycle", "warmup-cosine"),
    ),
    "keep_prob_schedule": (check_choice, ("constant", "linear", "linear-epoch")),
    "precision": (check_choice, ("float32", "mixed_bfloat16", "mixed_float16")),
    "train_size": (check_integer, 1),
    "validation_size": (check_integer, 1),
    "test_size": (check_integer, 1),
    "validation_subset": (check_integer, 1),
    "validation_every": (check_integer, 1),
    "epochs": (check_integer, 1),
    "batch_size": (check_integer, 1),
    "seed": (check_integer, 0, 2**32 - 1),
    "learning_rate": (check_float, "(0, inf)"),
    "weight_decay": (check_float, "[0, inf)"),
    "warmup": (check_float, "[0, 1)"),
    "label_smoothing": (check_float, "[0, 1)"),
    "probes": (check_boolean,),
    "weights": (check_choice, (None, "imagenet")),
}
# Fields that may be `None`. As a number of images, `None` means all.
MAY_BE_NONE = ("train_size", "test_size", "validation_subset", "weights")
# Fields that records of earlier runs lack -> the value that those runs used.
_LATER = {"weights": None}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that determines the outcome of one run, and nothing else.

    Two runs of the same recipe on the same data, machine and versions give the
    same numbers. Values are checked when the recipe is made.

    Args:
        network: A key of `dropblock_lib.models.NETWORKS`, or of `DETECTORS` there.
        variant: The regularizer: a key of `dropblock_lib.VARIANTS`, another name of
            that form, or its numbers (`Variant`, or a dictionary of its fields). The
            attribute is always the name; `regularizer` has the numbers.
        dataset: "mnist", "cifar10", "digits" or "shapes"; for a detector "coco2017",
            "coco2017-mini" or "scenes".
        train_size: Number of training images, or `None` for all that the
            validation set leaves.
        validation_size: Number of images held out of the training set; for a
            detector, number of images taken from the data's validation part.
        test_size: Number of test images, or `None` for all. Must be `None` for a
            detector, which has no test set.
        epochs: Number of passes over the training images.
        batch_size: Number of images per step.
        optimizer: "adam"; "adamw", with gradients clipped to a global norm of 10; or
            "sgd", with Nesterov momentum 0.9.
        learning_rate: The largest learning rate.
        learning_rate_schedule: "constant"; "cosine" to fall to zero over the whole
            run; "one-cycle" to rise linearly over `warmup` and fall linearly to zero;
            or "warmup-cosine" to rise in the same way and fall along a cosine. All
            but "constant" change at every step.
        keep_prob_schedule: "constant"; "linear" to fall from 1 in the first step to
            the variant's `keep_prob` in the last; or "linear-epoch" to fall in the
            same way from the first epoch to the last. Only DropBlock has a schedule.
        seed: Random seed of the initial weights, the order of the images and the
            noise. Which images are used depends on `subset_seed`.
        profile: A label for a group of comparable runs, part of their names.
        augmentation: Random changes to the training images, new in every epoch:
            "none", or steps such as "crop-flip-cutout", see
            `dropblock_lib.data.augment`. For a detector "none", "flip" to mirror half
            of the images, or "flip-jitter" to also change scale, position and colors.
        image_size: Height and width, in pixels, to which a detector's images are
            fitted: a multiple of 32, at least 64. `None` for other networks.
        placement: The network's argument `where`: where it puts the regularizer.
            `None` for the network's default.
        warmup: Fraction of the steps in which the learning rate rises, in [0, 1), with
            "one-cycle" and "warmup-cosine".
        weight_decay: With "sgd", an L2 penalty on kernels: the gradient of
            `weight_decay / 2 * sum(kernel ** 2)` is added. Biases and normalizations
            have none, and the recorded losses do not include it. With "adamw" it is
            decoupled, as in Keras.
        label_smoothing: Fraction of each label that is spread over all classes, in
            [0, 1). Losses of the history are those of the smoothed labels.
        validation_every: Number of epochs from one validation to the next. The last
            epoch is always validated.
        validation_subset: Number of images in the validations during training, or
            `None` for all. The final results use all.
        subset_seed: Random seed of the choice of training and validation images, or
            "seed" for that of the run: then each seed has its own images, which all
            variants share.
        precision: "float32", or "mixed_bfloat16" or "mixed_float16" as Keras names
            them.
        probes: Whether a classifier's record also has calibration, robustness
            and more, see `dropblock_lib.experiments.tasks.probes`.
        weights: Initial weights of a detector's backbone: `None` for random ones, or
            "imagenet".

    Attributes:
        regularizer: The variant as numbers: a dictionary with "method" and those of
            "block_size", "keep_prob", "rate", "gamma" and "per_channel" that apply.

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
    weights: str | None = None
    # Follows from the variant, and dictionaries have no hash.
    regularizer: dict = dataclasses.field(init=False, hash=False)

    def __post_init__(self):
        networks = [name for task in TASKS for name in task.networks]
        check_choice("network", self.network, networks)
        variant = self.variant
        if isinstance(variant, dict):
            variant = Variant.of_numbers(variant)
        known = get_variant(variant)
        if not isinstance(variant, str):
            if known.name is None:
                expected = "a custom variant to be named in VARIANTS"
                raise invalid("variant", expected, self.variant)
            self._set("variant", known.name)
        self._set("regularizer", known.numbers())
        if self.placement is None:
            # Records state the placement explicitly.
            self._set("placement", default_placement(self.network))
        elif not _takes_placement(self.network):
            expected = f"None for the network {self.network}, which has no `where`"
            raise invalid("placement", expected, self.placement)
        self._check()

    def _set(self, field, value):
        object.__setattr__(self, field, value)

    def _check(self):
        """Checks all but network and variant, which need not be registered here."""
        for field, (check, *limits) in _CHECKS.items():
            value = getattr(self, field)
            if value is not None or field not in MAY_BE_NONE:
                # 1 becomes 1.0: they are the same recipe and must have the same hash.
                self._set(field, check(field, value, *limits))
        if (self.validation_subset or 0) > self.validation_size:
            expected = f"at most {self.validation_size}"
            raise invalid("validation_subset", expected, self.validation_subset)
        if self.subset_seed != "seed":
            if not is_whole(self.subset_seed, 0):
                expected = 'a non-negative integer, or "seed"'
                raise invalid("subset_seed", expected, self.subset_seed)
            self._set("subset_seed", int(self.subset_seed))
        if self.weight_decay and self.optimizer == "adam":
            expected = "0 with the optimizer adam"
            raise invalid("weight_decay", expected, self.weight_decay)
        if not isinstance(self.placement, (str, type(None))):
            raise invalid("placement", "a string or None", self.placement)
        for field in ("network", "variant"):
            # Records and folders of runs are named after them.
            if not re.fullmatch(r"[\w.+-]+", str(getattr(self, field))):
                expected = "a name of letters, digits and the characters _ . + -"
                raise invalid(field, expected, getattr(self, field))
        pattern = r"[a-z0-9]+(_[a-z0-9]+)*"
        if not (isinstance(self.profile, str) and re.fullmatch(pattern, self.profile)):
            expected = "lowercase letters, digits and underscores"
            raise invalid("profile", expected, self.profile)
        self.task.check(self)

    @property
    def task(self) -> Any:
        """The kind of run, a subclass of `Task`, see `find_task`."""
        return find_task(self.network, self.dataset)

    @property
    def name(self) -> str:
        """A readable name; unique within a profile."""
        return self.name_on(self.dataset)

    def name_on(self, label: str) -> str:
        """The name of a run on the data with this label, see `Dataset.label`."""
        return f"{self.network}-{label}{self._ending}"

    def label_in(self, name: str) -> str | None:
        """The data's label in the name of a run, or `None` for another recipe's run."""
        beginning, ending = f"{self.network}-", self._ending
        label = name.removeprefix(beginning).removesuffix(ending)
        return label if self.name_on(label) == name else None

    @property
    def _ending(self):
        return f"-{self.variant}-{self.profile}-seed{self.seed}"

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change with every field."""
        return hash_of(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        values = dataclasses.asdict(self)
        # Without later fields at their default, old hashes do not change.
        unused = [key for key, value in _LATER.items() if values[key] == value]
        return {key: value for key, value in values.items() if key not in unused}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """Makes a recipe from the values of `to_dict`.

        Network and variant need not be registered, so that records can be read where
        the module that registers them is missing.

        Args:
            values: All fields, and no others. Fields that were added later may be
                missing.

        Raises:
            ValueError: If a field is missing, unknown or invalid.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if isinstance(values, dict):
            values = _LATER | values
        if not isinstance(values, dict) or set(values) != known:
            expected = f"a dictionary with the keys {sorted(known)}"
            raise invalid("values", expected, values)
        for field in ("network", "variant"):
            if not isinstance(values[field], str):
                raise invalid(field, "a name", values[field])
        if not isinstance(values["regularizer"], dict):
            raise invalid("regularizer", "a dictionary", values["regularizer"])
        Variant.of_numbers(values["regularizer"])
        recipe = object.__new__(cls)
        for field, value in values.items():
            recipe._set(field, value)
        recipe._check()
        return recipe


def find_task(network: str, dataset: str) -> Any:
    """Finds the kind of run by network or, if that is unknown, by data set.

    Raises:
        ValueError: If neither is known.
    """
    for kind in TASKS:
        if network in kind.networks:
            return kind
    for kind in TASKS:
        if dataset in kind.datasets:
            return kind
    known = [name for task in TASKS for name in task.datasets]
    raise invalid("dataset", f"one of {', '.join(known)}", dataset)


def hash_of(values: dict[str, Any]) -> str:
    """Twelve hexadecimal digits that change with every value of a dictionary."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def default_placement(network: str) -> str | None:
    """The default of a network's argument `where`, or `None` if it has none."""
    parameters = _parameters(network)
    where = parameters["where"].default if "where" in parameters else None
    return where if isinstance(where, str) else None


def _takes_placement(network):
    parameters = _parameters(network)
    return "where" in parameters or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
    )


def _parameters(network):
    """The parameters of the function that makes a network; none if it is unknown."""
    for task in TASKS:
        if network in task.networks:
            return inspect.signature(task.networks[network]).parameters
    return {}
