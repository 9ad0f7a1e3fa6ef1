"""What `load_dataset` returns: arrays, and where they came from."""

import dataclasses

import numpy as np

from dropblock_lib.arguments import check_choice

ORIGINS = {
    "data_dir": "from the given data_dir",
    "DROPBLOCK_DATA": "from $DROPBLOCK_DATA",
    "folder": "from the given folder",
    "keras": "from Keras' cache",
    "stand-in": "standing in for {requested}",
    "built-in": "built in",
}


def account_of_origin(dataset):
    """Describes where a data set was found and how it was changed."""
    where = ORIGINS[dataset.origin].format(requested=dataset.requested)
    return f"{where}; {dataset.note}" if dataset.note else where


def label_of(requested, source):
    """Returns the part of a run's name that identifies the data.

    Examples are "cifar10", "cifar10-jpeg" and, for a stand-in, "shapes-for-cifar10".
    Records of real data and of stand-ins never share a name.
    """
    is_stand_in = source != requested and not source.startswith(f"{requested}-")
    return f"{source}-for-{requested}" if is_stand_in else source


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Dataset:
    """Images and labels in two splits, and where they came from.

    The arrays are read-only, because everything in the process shares them. Work on a
    copy, such as `dataset.x_train.astype("float32") / 255`.

    Args:
        requested: The name passed to `load_dataset`.
        name: The name of the data set that was used: `requested`, or its stand-in.
        source: What exactly the arrays are: `name`, or a name that says how they
            differ from it, such as `"cifar10-jpeg"`. Figures and records show it.
        origin: Where the arrays were found: `"data_dir"`, `"DROPBLOCK_DATA"`,
            `"keras"` (its cache or download), `"stand-in"` (the requested data set
            was not available) or `"built-in"` (requested by name).
        x_train: `uint8` images `(N, H, W, C)` of the training split.
        y_train: `int64` labels `(N,)` of the training split.
        x_test: `uint8` images of the test split.
        y_test: `int64` labels of the test split.
        classes: The name of each class, in the order of the labels.
        note: How the images were made or changed, in a few words, or empty.

    Raises:
        ValueError: If `origin` is unknown.
    """

    requested: str
    name: str
    source: str
    origin: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]
    note: str = ""

    def __post_init__(self):
        check_choice("origin", self.origin, ORIGINS)
        for name in ("x_train", "y_train", "x_test", "y_test"):
            view = np.asarray(getattr(self, name)).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape `(H, W, C)` of one image."""
        return self.x_train.shape[1:]

    @property
    def is_stand_in(self) -> bool:
        """Whether the requested data set was not available."""
        return self.name != self.requested

    @property
    def label(self) -> str:
        """The part of a run's name for the data, such as "shapes-for-cifar10"."""
        return label_of(self.requested, self.source)

    @property
    def description(self) -> str:
        """One sentence for a log, a caption or a page."""
        account = account_of_origin(self)
        size = "x".join(map(str, self.input_shape))
        return (
            f"{self.source} ({account}): {len(self.x_train)} training and "
            f"{len(self.x_test)} test images, {size}, {len(self.classes)} classes"
        )

    def __str__(self):
        return self.description

    def __repr__(self):
        return f"<Dataset {self.description}>"
