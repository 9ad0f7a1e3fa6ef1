"""Batches of images with boxes for `fit`."""

import logging
import threading
from concurrent import futures

import keras
import numpy as np

from dropblock_lib.arguments import check_boolean, check_integer, invalid
from dropblock_lib.data.detection_dataset import DetectionSplit, check_split
from dropblock_lib.data.jitter import jitter as jitter_image
from dropblock_lib.data.letterbox import fit_image, fitted_sides
from dropblock_lib.data.letterbox import mirror as mirror_image

logger = logging.getLogger("dropblock_lib")

# Memory for the images of one `DetectionBatches`: 2,730 images of 512x512 pixels.
CACHE_BYTES = 2 * 1024**3


class DetectionBatches(keras.utils.PyDataset):
    """Letterboxed images and their boxes, in batches of fixed shape.

    Each batch is `(images, {"boxes": boxes, "labels": labels})`: `float32` images
    `(B, image_size, image_size, 3)` from 0 to 255; `float32` boxes `(B, M, 4)`,
    left, top, right and bottom in pixels of these images, padded with -1; and
    `float32` labels `(B, M)`, padded with -1. `M` is the largest number of boxes of
    any image, and at least 1. Only the last batch may be smaller.

    The order of the images and their random changes depend on `(seed, epoch)` alone.
    Call `fit` with `shuffle=False`; otherwise Keras reorders the batches. A complete
    pass in `fit` advances to the next epoch. On JAX, Keras reads one or two batches
    before training, which counts as a complete pass if there are no more.

    Attributes:
        scales: `float64` `(N,)`: for each image of the split, in the split's order,
            the factor from stored pixels to pixels of the square. Divide detections
            by it.
        too_small: Number of boxes that are left out because a side is shorter than a
            pixel in the square. They are logged as a warning.
        most_boxes: `M`.

    Args:
        split: A `DetectionSplit`.
        image_size: Height and width of the square in pixels.
        batch_size: Number of images per batch.
        shuffle: Whether to reorder the images in each epoch.
        mirror: Whether to mirror each image with probability 1/2 in each epoch.
        jitter: Whether to change the scale, position and colors of each image at
            random in each epoch, as `dropblock_lib.data.jitter` does.
        seed: Non-negative integer, the random seed.
        epoch: The first epoch, from 0.
        cache: Whether to keep up to 2 GiB of images in memory, so that each image is
            read or drawn once.
        drop_last: Whether to leave out the images of an epoch that do not fill a
            batch; JAX recompiles for a smaller one.
        workers: Number of threads that read the images of a batch.

    Raises:
        ValueError: If an argument is not as described, or the split has boxes and all
            of them are too small.

    Example:

    >>> from dropblock_lib import load_dataset
    >>> split = load_dataset("scenes").train
    >>> images, targets = DetectionBatches(split, 128, 4)[0]
    >>> images.shape, targets["boxes"].shape, targets["labels"].shape
    ((4, 128, 128, 3), (4, 5, 4), (4, 5))
    """

    def __init__(
        self,
        split: DetectionSplit,
        image_size: int,
        batch_size: int,
        shuffle: bool = False,
        mirror: bool = False,
        jitter: bool = False,
        seed: int = 0,
        epoch: int = 0,
        cache: bool = True,
        drop_last: bool = False,
        workers: int = 1,
    ):
        self.image_size = check_integer("image_size", image_size)
        self.batch_size = check_integer("batch_size", batch_size)
        self.seed = check_integer("seed", seed, 0)
        self.threads = check_integer("workers", workers)
        self.split = check_split(split)
        self.shuffle = check_boolean("shuffle", shuffle)
        self.mirror = check_boolean("mirror", mirror)
        self.jitter = check_boolean("jitter", jitter)
        self.cache = check_boolean("cache", cache)
        self.drop_last = check_boolean("drop_last", drop_last)
        if drop_last and batch_size > len(split):
            expected = f"at most the {len(split)} images of the split"
            raise invalid("batch_size", expected, batch_size)
        # Keras' own workers would read batches of an epoch before it begins.
        super().__init__(workers=1)
        self._images = {}
        self._free_bytes = CACHE_BYTES
        self._lock = threading.Lock()
        self._resize_boxes()
        self._epoch_began, self._batches_read = False, set()
        # The exception of a batch that TensorFlow read; see `tensorflow_batches`.
        self.failure = None
        self.set_epoch(epoch)

    def _resize_boxes(self):
        sides = [fitted_sides(h, w, self.image_size) for h, w in self.split.sizes]
        self.scales = np.array([scale for _, _, scale in sides])
        self._widths = [width for _, width, _ in sides]
        self._targets, self._large = [], []
        self.too_small = 0
        for boxes, labels, scale in zip(
            self.split.boxes, self.split.labels, self.scales, strict=True
        ):
            boxes = boxes * np.float32(scale)
            large = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
            self.too_small += int((~large).sum())
            self._targets.append((boxes[large], labels[large]))
            self._large.append(large)
        self.most_boxes = max([1, *(len(boxes) for boxes, _ in self._targets)])
        count = sum(map(len, self.split.boxes))
        small = (
            f"{self.too_small} of {count} boxes have a side shorter than a pixel in "
            f"images of {self.image_size} pixels"
        )
        if 0 < count == self.too_small:
            expected = "boxes of at least a pixel, in pixels of the stored images"
            raise invalid("split", expected, received=small)
        if self.too_small:
            logger.warning("%s and are left out", small)

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch, and with it the order and random changes of the images.

        Args:
            epoch: Non-negative integer.

        Raises:
            ValueError: If `epoch` is not as described.
        """
        epoch = check_integer("epoch", epoch, 0)
        count = len(self.split)
        entropy = np.random.SeedSequence([self.seed, epoch])
        rng = np.random.Generator(np.random.PCG64(entropy))
        order = np.argsort(rng.random(count), kind="stable")
        mirrored = rng.random(count) < 0.5
        self.epoch = epoch
        self._order = order if self.shuffle else np.arange(count)
        self._mirrored = mirrored if self.mirror else np.zeros(count, bool)

    def on_epoch_begin(self):
        """Called by `fit`."""
        self._epoch_began, self._batches_read = True, set()

    def on_epoch_end(self):
        """Called by `fit`: advances to the next epoch after a complete pass.

        Keras also calls this before the first epoch.
        """
        if self._epoch_began and len(self._batches_read) == len(self):
            self.set_epoch(self.epoch + 1)
        self._epoch_began = False

    def __len__(self):
        whole, rest = divmod(len(self.split), self.batch_size)
        return whole + bool(rest and not self.drop_last)

    def indices(self, batch: int) -> np.ndarray:
        """Returns the indices, in the split, of the images of a batch in this epoch.

        Raises:
            IndexError: If there is no such batch.
        """
        if not 0 <= batch < len(self):
            raise IndexError(f"batch {batch} of {len(self)}")
        return self._order[batch * self.batch_size :][: self.batch_size]

    def targets(self, batch: int) -> dict[str, np.ndarray]:
        """Returns the boxes and labels of a batch without random changes."""
        return self._padded([self._targets[index] for index in self.indices(batch)])

    def _padded(self, targets):
        boxes = np.full((len(targets), self.most_boxes, 4), -1, "float32")
        labels = np.full((len(targets), self.most_boxes), -1, "float32")
        for place, (own, classes) in enumerate(targets):
            boxes[place, : len(own)] = own
            labels[place, : len(own)] = classes
        return {"boxes": boxes, "labels": labels}

    def __getitem__(self, batch):
        indices = self.indices(batch)
        size, count = self.image_size, len(indices)
        images = np.empty((count, size, size, 3), "float32")
        targets = []
        for place, (index, image) in enumerate(
            zip(indices, self._read(indices), strict=True)
        ):
            own, classes = self._targets[index]
            width = self._widths[index]
            if self.jitter:
                rng = np.random.default_rng([self.seed, self.epoch, index])
                own, width = self.split.boxes[index][self._large[index]], size
                image, own, kept = jitter_image(image, own, size, rng)
                own, classes = own[kept], classes[kept]
            if self._mirrored[index]:
                image, own = mirror_image(image, own, width)
            images[place] = image
            targets.append((own, classes))
        self._batches_read.add(batch)
        return images, self._padded(targets)

    def _read(self, indices):
        if self.threads == 1 or all(index in self._images for index in indices):
            return map(self._image, indices)
        with futures.ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(self._image, indices))

    def _image(self, index):
        """Returns an image, resized unless `jitter` resizes it in each epoch."""
        image = self._images.get(index)
        if image is None:
            image = self.split.image(index)
            if not self.jitter:
                image, _, _ = fit_image(image, (), self.image_size)
            with self._lock:
                fits = self.cache and image.nbytes <= self._free_bytes
                if fits and index not in self._images:
                    self._images[index] = image
                    self._free_bytes -= image.nbytes
        return image
