"""What `load_dataset` returns for detection: images, boxes, and their origin."""

import collections
import dataclasses
import typing

import numpy as np

from dropblock_lib.arguments import invalid, is_whole
from dropblock_lib.data.dataset import account_of_origin

# Seeds the permutation that `take` follows.
TAKE_SEED = 2017


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class DetectionSplit:
    """Images with boxes, each image read or drawn when it is asked for.

    The arrays are read-only.

    Args:
        ids: The id of each image, as in `annotations`.
        sizes: `int64` `(N, 2)`: height and width of each image in pixels, as stored.
        boxes: For each image `float32` `(k, 4)`: left, top, right and bottom of its
            boxes, in pixels of the stored image. Regions that COCO marks as crowds
            are not among them.
        labels: For each image `int64` `(k,)`: the classes of its boxes, from 0.
        annotations: `images`, `annotations` and `categories` in the form of COCO's
            JSON, crowds included: what evaluation with pycocotools needs. Boxes are
            cleaned as in `boxes`; outlines are left out.
        read: A function that returns the `uint8` image `(H, W, 3)` of an id.
        skipped: What was found wrong and how often, such as `{"no area": 2}`; empty
            where nothing was. It concerns the whole split, also in what `take`
            returns.
    """

    ids: tuple[int, ...]
    sizes: np.ndarray
    boxes: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...]
    annotations: dict
    read: typing.Callable[[int], np.ndarray]
    skipped: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for array in (self.sizes, *self.boxes, *self.labels):
            array.flags.writeable = False

    def __len__(self):
        return len(self.ids)

    def image(self, index):
        """The image at a place in the split: `uint8` `(H, W, 3)`, read anew.

        Raises:
            ValueError: If the image's file is broken; the message names it.
        """
        return self.read(self.ids[index])

    def take(self, count=None):
        """The first images in a fixed random order, the same in every process.

        Fewer are contained in more: `take(20).ids[:10]` is `take(10).ids`.

        Args:
            count: How many, or `None` for the split as it is.

        Returns:
            A `DetectionSplit`.

        Raises:
            ValueError: If the split does not hold as many.
        """
        if count is None:
            return self
        if not (is_whole(count, at_least=1) and count <= len(self)):
            raise invalid("count", f"an integer from 1 to {len(self)}", count)
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(TAKE_SEED)))
        chosen = np.argsort(rng.random(len(self)), kind="stable")[:count]
        ids = tuple(self.ids[index] for index in chosen)

        image_of = {image["id"]: image for image in self.annotations["images"]}
        boxes_of = collections.defaultdict(list)
        for annotation in self.annotations["annotations"]:
            boxes_of[annotation["image_id"]].append(annotation)
        return dataclasses.replace(
            self,
            ids=ids,
            sizes=self.sizes[chosen],
            boxes=tuple(self.boxes[index] for index in chosen),
            labels=tuple(self.labels[index] for index in chosen),
            annotations={
                **self.annotations,
                "images": [image_of[image_id] for image_id in ids],
                "annotations": [box for image_id in ids for box in boxes_of[image_id]],
            },
        )

    def __repr__(self):
        boxes = sum(map(len, self.boxes))
        return f"<DetectionSplit {len(self):,} images with {boxes:,} boxes>"


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class DetectionDataset:
    """Images with boxes in two splits, and an honest account of their origin.

    Args:
        requested: The name `load_dataset` was asked for.
        name: The name of the data set that was used: `requested`, or its stand-in.
        source: What exactly the images are: `name`, or a name that says how they
            differ from it. Figures and records show it.
        origin: Where the images were found: `"data_dir"`, `"DROPBLOCK_DATA"`,
            `"folder"` (given to `read_coco`), `"stand-in"` (something else was
            requested and could not be had) or `"built-in"` (requested by name).
        train: The `DetectionSplit` to train on.
        validation: The `DetectionSplit` to evaluate on.
        classes: The name of each class, in the order of the labels.
        category_ids: The id that `annotations` has for each class.
        note: How the images were made or changed, in a few words, or nothing.
    """

    requested: str
    name: str
    source: str
    origin: str
    train: DetectionSplit
    validation: DetectionSplit
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    note: str = ""

    @property
    def is_stand_in(self):
        """Whether something else was requested and could not be had."""
        return self.name != self.requested

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
