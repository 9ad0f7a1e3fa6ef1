"""Batches of images with boxes, as `model.fit` takes them."""

import threading
from concurrent import futures

import keras
import numpy as np

from dropblock_lib.arguments import check_seed, invalid, is_whole
from dropblock_lib.data.letterbox import fit_image, fitted_sides
from dropblock_lib.data.letterbox import mirror as mirror_image

# Fitted images that one `DetectionBatches` keeps: 2,730 of 512 pixels.
CACHE_BYTES = 2 * 1024**3


class DetectionBatches(keras.utils.PyDataset):
    """Images in squares and their boxes, in batches of one form.

    Every batch is `(images, {"boxes": boxes, "labels": labels})`: `float32` images
    `(B, image_size, image_size, 3)` from 0 to 255; `float32` boxes `(B, M, 4)`,
    left, top, right and bottom in pixels of these images, padded with -1; and
    `float32` labels `(B, M)`, padded with -1. `M` is the same in all batches: the
    most boxes of any image, and at least 1. Only the last batch may be shorter.

    The order of the images, and which of them are mirrored, depend on
    `(seed, epoch)` alone. Call `fit` with `shuffle=False`: Keras would put the batches
    in an order of its own. A whole pass in `fit` leads to the next epoch; on JAX also
    the batch, or two, that Keras looks at before it trains, should there be no more.

    Attributes:
        scales: `float64` `(N,)`: for each image of the split, in the split's order,
            the factor from stored pixels to pixels of the square. Divide detections
            by it.
        too_small: How many boxes are left out, because a side has less than a pixel
            in the square.
        most_boxes: `M`.

    Args:
        split: A `DetectionSplit`.
        image_size: Height and width of the square in pixels.
        batch_size: The number of images in a batch.
        shuffle: Whether each epoch has an order of its own.
        mirror: Whether half of the images, others in each epoch, are mirrored.
        seed: A non-negative integer.
        epoch: The epoch to begin with, from 0.
        cache: Whether to keep fitted images in memory, up to 2 GiB, so that each is
            read or drawn once.
        drop_last: Whether to leave out, in each epoch, the images that do not fill
            a batch: JAX compiles anew for a shorter one.
        workers: How many threads read the images of a batch.

    Raises:
        ValueError: For a value that an argument cannot take.

    Example:

    >>> from dropblock_lib import load_dataset
    >>> split = load_dataset("scenes").train
    >>> images, targets = DetectionBatches(split, 128, 4)[0]
    >>> images.shape, targets["boxes"].shape, targets["labels"].shape
    ((4, 128, 128, 3), (4, 5, 4), (4, 5))
    """

    def __init__(
        self,
        split,
        image_size,
        batch_size,
        shuffle=False,
        mirror=False,
        seed=0,
        epoch=0,
        cache=True,
        drop_last=False,
        workers=1,
    ):
        for name, value, least in (
            ("image_size", image_size, 1),
            ("batch_size", batch_size, 1),
            ("epoch", epoch, 0),
            ("workers", workers, 1),
        ):
            if not is_whole(value, at_least=least):
                raise invalid(name, f"an integer of at least {least}", value)
        if check_seed(seed) is None:
            raise invalid("seed", "a non-negative integer", seed)
        if drop_last and batch_size > len(split):
            expected = f"at most the {len(split)} images of the split"
            raise invalid("batch_size", expected, batch_size)
        # Keras' own workers run ahead into an epoch before it begins.
        super().__init__(workers=1)
        self.split = split
        self.image_size = image_size
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.mirror = mirror
        self.seed = seed
        self.cache = cache
        self.drop_last = drop_last
        self.threads = workers
        self._images = {}
        self._room = CACHE_BYTES
        self._lock = threading.Lock()
        self._fit_boxes()
        self._begun, self._passed = False, set()
        # What could not be read, where it was read out of sight of `fit`.
        self.failure = None
        self.set_epoch(epoch)

    def _fit_boxes(self):
        sides = [fitted_sides(h, w, self.image_size) for h, w in self.split.sizes]
        self.scales = np.array([scale for _, _, scale in sides])
        self._widths = [width for _, width, _ in sides]
        self._targets = []
        self.too_small = 0
        for index, scale in enumerate(self.scales):
            boxes = self.split.boxes[index] * np.float32(scale)
            large = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
            self.too_small += int((~large).sum())
            self._targets.append((boxes[large], self.split.labels[index][large]))
        self.most_boxes = max(1, *(len(boxes) for boxes, _ in self._targets))

    def set_epoch(self, epoch):
        """Goes to an epoch's order and mirror images, for instance to resume."""
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
        self._begun, self._passed = True, set()

    def on_epoch_end(self):
        """Called by `fit`: goes on to the next epoch after a whole pass.

        Keras calls this also before the first epoch.
        """
        if self._begun and len(self._passed) == len(self):
            self.set_epoch(self.epoch + 1)
        self._begun = False

    def __len__(self):
        whole, rest = divmod(len(self.split), self.batch_size)
        return whole + bool(rest and not self.drop_last)

    def indices(self, batch):
        """The places in the split of a batch's images, in this epoch."""
        if not 0 <= batch < len(self):
            raise IndexError(f"batch {batch} of {len(self)}")
        return self._order[batch * self.batch_size :][: self.batch_size]

    def __getitem__(self, batch):
        indices = self.indices(batch)
        size, count = self.image_size, len(indices)
        images = np.empty((count, size, size, 3), "float32")
        boxes = np.full((count, self.most_boxes, 4), -1, "float32")
        labels = np.full((count, self.most_boxes), -1, "float32")
        for place, (index, image) in enumerate(
            zip(indices, self._read(indices), strict=True)
        ):
            own, classes = self._targets[index]
            if self._mirrored[index]:
                image, own = mirror_image(image, own, self._widths[index])
            images[place] = image
            boxes[place, : len(own)] = own
            labels[place, : len(own)] = classes
        self._passed.add(batch)
        return images, {"boxes": boxes, "labels": labels}

    def _read(self, indices):
        if self.threads == 1 or all(index in self._images for index in indices):
            return map(self._fitted, indices)
        with futures.ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(self._fitted, indices))

    def _fitted(self, index):
        image = self._images.get(index)
        if image is None:
            image, _, _ = fit_image(self.split.image(index), (), self.image_size)
            with self._lock:
                fits = self.cache and image.nbytes <= self._room
                if fits and index not in self._images:
                    self._images[index] = image
                    self._room -= image.nbytes
        return image
