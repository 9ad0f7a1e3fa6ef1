"""Data sets for detection: images, boxes, and their origin."""

import collections
import dataclasses
import functools
import typing

import numpy as np

from dropblock_lib.arguments import check_choice, check_integer, invalid
from dropblock_lib.data.dataset import ORIGINS, account_of_origin, label_of

# Random seed of the permutation that `take` follows.
TAKE_SEED = 2017


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class DetectionSplit:
    """Images with boxes; an image is read or drawn when it is requested.

    The boxes are kept in COCO's format, which evaluation needs. The arrays below are
    derived from it, and are read-only.

    Attributes:
        ids: The id of each image.
        sizes: `int64` `(N, 2)`: height and width of each image in pixels, as stored.
        boxes: For each image `float32` `(k, 4)`: left, top, right and bottom of its
            boxes, except crowds, in pixels of the stored image.
        labels: For each image `int64` `(k,)`: the class of each box. Classes are
            numbered from 0 in the order of the category ids.

    Args:
        annotations: COCO's JSON as a dict of `info`, `images`, `annotations` and
            `categories`, with crowds but without outlines.
        read: A function that returns the `uint8` image `(H, W, 3)` of an id.
        skipped: Counts of the problems found in the whole split, such as
            `{"no area": 2}`.
    """

    annotations: dict
    read: typing.Callable[[int], np.ndarray]
    skipped: dict = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def ids(self) -> tuple[int, ...]:
        return tuple(image["id"] for image in self.annotations["images"])

    @functools.cached_property
    def sizes(self) -> np.ndarray:
        images = self.annotations["images"]
        sides = [(image["height"], image["width"]) for image in images]
        return _read_only(np.array(sides, "int64"))

    @functools.cached_property
    def boxes(self) -> tuple[np.ndarray, ...]:
        return tuple(_corners(objects) for objects in self._objects_without_crowds)

    @functools.cached_property
    def labels(self) -> tuple[np.ndarray, ...]:
        label_by_id = {key: label for label, key in enumerate(self.categories)}
        return tuple(
            _read_only(
                np.array([label_by_id[o["category_id"]] for o in objects], "int64")
            )
            for objects in self._objects_without_crowds
        )

    @property
    def categories(self) -> dict[int, str]:
        """The name of each category by id, in the order of the ids."""
        names = {item["id"]: item["name"] for item in self.annotations["categories"]}
        return dict(sorted(names.items()))

    @property
    def _objects_without_crowds(self):
        objects_of = self._objects_by_image()
        return [
            [item for item in objects_of[image_id] if not item.get("iscrowd")]
            for image_id in self.ids
        ]

    def _objects_by_image(self):
        objects_of = collections.defaultdict(list)
        for item in self.annotations["annotations"]:
            objects_of[item["image_id"]].append(item)
        return objects_of

    def __len__(self):
        return len(self.annotations["images"])

    def image(self, index: int) -> np.ndarray:
        """Reads the image at a position in the split: `uint8` `(H, W, 3)`.

        Raises:
            ValueError: If the image's file is broken; the message names it.
            ImportError: If the image is read from a file and Pillow is not installed.
        """
        return self.read(self.ids[index])

    def take(self, count: int | None = None) -> "DetectionSplit":
        """Returns the first `count` images of a fixed random order.

        The order is the same in every process, and a larger part begins with a smaller
        one: `take(20).ids[:10]` is `take(10).ids`.

        Args:
            count: Number of images, or `None` for the split as it is.

        Returns:
            A `DetectionSplit`.

        Raises:
            ValueError: If `count` is not a positive integer, or exceeds the split.
        """
        if count is None:
            return self
        count = check_integer("count", count, 1, len(self))
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(TAKE_SEED)))
        chosen = np.argsort(rng.random(len(self)), kind="stable")[:count]
        images = [self.annotations["images"][index] for index in chosen]
        objects_of = self._objects_by_image()
        annotations = {
            **self.annotations,
            "images": images,
            "annotations": [o for image in images for o in objects_of[image["id"]]],
        }
        return dataclasses.replace(self, annotations=annotations)

    def __repr__(self):
        boxes = sum(map(len, self.boxes))
        return f"<DetectionSplit {len(self):,} images with {boxes:,} boxes>"


def _corners(objects):
    boxes = np.array([item["bbox"] for item in objects], "float64").reshape(-1, 4)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    return _read_only(corners.astype("float32"))


def _read_only(array):
    array.flags.writeable = False
    return array


def check_split(split: typing.Any) -> DetectionSplit:
    """Checks that an argument `split` is a `DetectionSplit`."""
    if not isinstance(split, DetectionSplit):
        expected = "a `DetectionSplit`, such as `dataset.train`"
        raise invalid("split", expected, received=f"a {type(split).__name__}")
    return split


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class DetectionDataset:
    """Images with boxes in two splits, and their origin.

    Args:
        requested: The name passed to `load_dataset`.
        name: The name of the data set in use: `requested`, or its stand-in.
        source: The exact name of the images: `name`, or a name that says how they
            differ from it. Figures and records show it.
        origin: Where the images were found: `"data_dir"`, `"DROPBLOCK_DATA"`,
            `"folder"` (given to `read_coco`), `"stand-in"` (the requested data set
            was not available) or `"built-in"` (requested by name).
        train: The `DetectionSplit` to train on.
        validation: The `DetectionSplit` to evaluate on.
        note: How the images were made or changed, in a few words, or empty.

    Raises:
        ValueError: If `origin` is unknown.
    """

    requested: str
    name: str
    source: str
    origin: str
    train: DetectionSplit
    validation: DetectionSplit
    note: str = ""

    def __post_init__(self):
        check_choice("origin", self.origin, ORIGINS)

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class, in the order of the labels."""
        return tuple(self.train.categories.values())

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The category id of each class in `annotations`."""
        return tuple(self.train.categories)

    @property
    def is_stand_in(self):
        """Whether the requested data set was not available."""
        return self.name != self.requested

    @property
    def label(self):
        """The part of a run's name for the data, such as "coco2017-mini"."""
        return label_of(self.requested, self.source)

    @property
    def description(self):
        """One sentence for a log, a caption or a page."""
        account = account_of_origin(self)
        sides = [int(split.sizes.max()) for split in (self.train, self.validation)]
        boxes = [sum(map(len, s.boxes)) for s in (self.train, self.validation)]
        return (
            f"{self.source} ({account}): {len(self.train)} training and "
            f"{len(self.validation)} validation images of up to {max(sides)} pixels, "
            f"{boxes[0]} and {boxes[1]} boxes, {len(self.classes)} classes"
        )

    def __str__(self):
        return self.description

    def __repr__(self):
        return f"<DetectionDataset {self.description}>"
