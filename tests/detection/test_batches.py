"""Batches for a detector: their shapes, their order, and `fit` with them."""

import threading

import keras
import numpy as np
import pytest

from dropblock_lib import load_dataset
from dropblock_lib.data.detection_dataset import DetectionSplit
from dropblock_lib.data.letterbox import PADDING, mirror
from dropblock_lib.detection import batches
from dropblock_lib.detection.batches import DetectionBatches

pytestmark = pytest.mark.backends

COUNT = 10


def image_of(index):
    """One color per image, darker on the left, 12 by 16 or 16 by 12."""
    shape = (12, 16, 3) if index % 2 else (16, 12, 3)
    image = np.full(shape, 100 + 10 * index, "uint8")
    image[:, :6] //= 2
    return image


def make_split(count=COUNT, boxes=None):
    def own(index):
        # No boxes in the first image, then two and one alternately.
        rows = [[1, 2, 5 + index / 2, 8], [0, 0, 12, 12]]
        return np.array(rows[: min(index, 1 + index % 2)], "float32").reshape(-1, 4)

    boxes = [own(i) for i in range(count)] if boxes is None else boxes
    reads = []

    def read(image_id):
        reads.append(image_id)
        return image_of(image_id - 100)

    images = [image_of(index).shape for index in range(count)]
    annotations = {
        "images": [
            {"id": 100 + index, "height": height, "width": width}
            for index, (height, width, _) in enumerate(images)
        ],
        "annotations": [
            {
                "image_id": 100 + index,
                "category_id": label,
                "bbox": [left, top, right - left, bottom - top],
            }
            for index, own in enumerate(boxes)
            for label, (left, top, right, bottom) in enumerate(own)
        ],
        "categories": [{"id": label, "name": str(label)} for label in range(4)],
    }
    return DetectionSplit(annotations=annotations, read=read), reads


def content(data):
    return [
        (images.tobytes(), targets["boxes"].tobytes(), targets["labels"].tobytes())
        for images, targets in (data[i] for i in range(len(data)))
    ]


def test_no_images_make_no_batches():
    data = DetectionBatches(make_split(0)[0], 32, 4)
    assert len(data) == 0 and data.most_boxes == 1


def test_all_batches_have_the_same_shapes():
    data = DetectionBatches(make_split()[0], 32, 4)
    assert len(data) == 3
    for batch, count in enumerate((4, 4, 2)):
        images, targets = data[batch]
        assert images.shape == (count, 32, 32, 3)
        assert set(targets) == {"boxes", "labels"}
        assert targets["boxes"].shape == (count, 2, 4)
        assert targets["labels"].shape == (count, 2)
        for array in (images, *targets.values()):
            assert array.dtype == np.float32
    with pytest.raises(IndexError):
        data[3]
    assert len(list(data)) == 3


def test_boxes_and_images_are_fitted_and_padded():
    split, _ = make_split()
    data = DetectionBatches(split, 32, COUNT)
    np.testing.assert_array_equal(data.scales, [2.0] * COUNT)
    images, targets = data[0]
    for index in range(COUNT):
        number = len(split.boxes[index])
        boxes, labels = targets["boxes"][index], targets["labels"][index]
        np.testing.assert_array_equal(boxes[:number], split.boxes[index] * 2)
        np.testing.assert_array_equal(labels[:number], split.labels[index])
        assert (boxes[number:] == -1).all()
        assert (labels[number:] == -1).all()
        height, width = split.sizes[index] * 2
        assert (images[index, height:] == PADDING).all()
        assert (images[index, :, width:] == PADDING).all()
        assert images[index, 5, width - 1, 0] == 100 + 10 * index


def test_a_split_may_have_no_boxes():
    split, _ = make_split(2, [np.zeros((0, 4), "float32")] * 2)
    data = DetectionBatches(split, 16, 2)
    assert data.most_boxes == 1
    assert (data[0][1]["boxes"] == -1).all()
    assert data[0][1]["boxes"].shape == (2, 1, 4)


def test_boxes_that_become_too_small_are_left_out_and_reported(caplog):
    boxes = np.array([[0, 0, 8, 1.5], [0, 0, 1.5, 8], [0, 0, 2, 2], [3, 3, 9, 9]], "f4")
    split, _ = make_split(1, [boxes])
    data = DetectionBatches(split, 8, 1)
    assert data.too_small == 2
    (warning,) = (r for r in caplog.records if r.levelname == "WARNING")
    assert "2 of 4 boxes have a side shorter than a pixel" in warning.getMessage()
    assert data.most_boxes == 2
    assert data[0][1]["boxes"][0].tolist() == [[0, 0, 1, 1], [1.5, 1.5, 4.5, 4.5]]
    assert data[0][1]["labels"][0].tolist() == [2, 3]


def test_boxes_that_are_all_too_small_are_rejected():
    boxes = np.array([[0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9]], "f4")
    with pytest.raises(ValueError, match=r"`split`.*at least a pixel.*2 of 2 boxes"):
        DetectionBatches(make_split(1, [boxes])[0], 16, 1)


def test_large_boxes_trigger_no_warning(caplog):
    DetectionBatches(make_split()[0], 32, 4)
    assert not caplog.records


def test_without_shuffling_the_order_is_that_of_the_split():
    data = DetectionBatches(make_split()[0], 16, 4)
    first = content(data)
    data.set_epoch(1)
    assert content(data) == first
    indices = np.concatenate([data.indices(batch) for batch in range(3)])
    np.testing.assert_array_equal(indices, np.arange(COUNT))


def test_order_and_mirroring_depend_on_seed_and_epoch_alone():
    def make(**arguments):
        split, _ = make_split()
        return DetectionBatches(split, 16, 4, shuffle=True, mirror=True, **arguments)

    data = make(seed=3)
    epochs = []
    for epoch in range(3):
        data.set_epoch(epoch)
        epochs.append(content(data))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    # Read out of order, by a new object, without a cache.
    late = make(seed=3, epoch=2, cache=False)
    late[2]
    assert content(late) == content(late) == epochs[2]
    assert content(make(seed=4)) != epochs[0]
    for data in (make(seed=3), late):
        indices = np.concatenate([data.indices(batch) for batch in range(3)])
        assert sorted(indices) == list(range(COUNT))


def test_half_of_the_images_are_mirrored_with_their_boxes():
    split, _ = make_split()
    plain = DetectionBatches(split, 32, COUNT)[0]
    data = DetectionBatches(split, 32, COUNT, mirror=True)
    mirrored, epochs = 0, 40
    for epoch in range(epochs):
        data.set_epoch(epoch)
        images, targets = data[0]
        for index in range(COUNT):
            image, boxes = plain[0][index], plain[1]["boxes"][index]
            if (images[index] == image).all():
                np.testing.assert_array_equal(targets["boxes"][index], boxes)
                continue
            mirrored += 1
            number = len(split.boxes[index])
            flipped, own = mirror(image, boxes[:number], 2 * split.sizes[index][1])
            np.testing.assert_array_equal(images[index], flipped)
            np.testing.assert_array_equal(targets["boxes"][index][:number], own)
            assert (targets["boxes"][index][number:] == -1).all()
    # A fair coin, within five standard deviations.
    total = epochs * COUNT
    assert abs(mirrored - total / 2) < 5 * np.sqrt(total) / 2


def test_jitter_depends_on_seed_and_epoch_alone_and_keeps_boxes_inside():
    split, reads = make_split()

    def make(**arguments):
        return DetectionBatches(
            split, 32, 4, shuffle=True, mirror=True, jitter=True, **arguments
        )

    data = make(seed=3)
    first = content(data)
    data.set_epoch(1)
    assert content(data) != first
    assert sorted(reads) == list(split.ids)
    assert content(make(seed=3)) == first == content(make(seed=3, workers=3))
    for images, targets in (data[batch] for batch in range(3)):
        assert images.shape[1:] == (32, 32, 3)
        real = targets["labels"] >= 0
        assert ((targets["boxes"] == -1).all(axis=2) == ~real).all()
        boxes = targets["boxes"][real]
        assert (boxes >= 0).all() and (boxes <= 32).all()
        assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()


def test_targets_are_those_of_the_batch_before_random_changes():
    data = DetectionBatches(make_split()[0], 32, 4, shuffle=True)
    for batch in range(3):
        for key, value in data[batch][1].items():
            np.testing.assert_array_equal(data.targets(batch)[key], value)


def test_images_are_read_once():
    split, reads = make_split()
    data = DetectionBatches(split, 16, 4, shuffle=True, mirror=True)
    first = content(data)
    data.set_epoch(1)
    content(data)
    assert sorted(reads) == list(split.ids)
    # A returned batch does not share memory with the cache.
    data = DetectionBatches(split, 16, 4, shuffle=True, mirror=True)
    data[0][0][:] = 0
    assert content(data) == first


def test_images_are_read_again_if_they_are_not_cached(monkeypatch):
    split, reads = make_split()
    data = DetectionBatches(split, 16, 4, cache=False)
    assert content(data) == content(data)
    assert len(reads) == 2 * COUNT
    # Room for three of them.
    monkeypatch.setattr(batches, "CACHE_BYTES", 3 * 16 * 16 * 3 + 5)
    reads.clear()
    data = DetectionBatches(split, 16, 4)
    assert content(data) == content(data)
    assert len(reads) == COUNT + COUNT - 3


def test_threads_read_the_same_batches():
    split, _ = make_split()
    data = DetectionBatches(split, 16, 4, shuffle=True, mirror=True)
    expected = content(DetectionBatches(split, 16, 4, shuffle=True, mirror=True))
    found = [None] * 8
    threads = [
        threading.Thread(target=lambda i=i: found.__setitem__(i, content(data)))
        for i in range(len(found))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * len(found)
    split, reads = make_split()
    arguments = {"shuffle": True, "mirror": True, "workers": 3}
    assert content(DetectionBatches(split, 16, 4, **arguments)) == expected
    assert sorted(reads) == list(split.ids)


def test_the_last_batch_can_be_dropped():
    data = DetectionBatches(make_split()[0], 16, 4, drop_last=True)
    assert len(data) == 2
    with pytest.raises(IndexError):
        data[2]
    with pytest.raises(ValueError, match=r"`batch_size`.*at most the 10 images"):
        DetectionBatches(make_split()[0], 16, 11, drop_last=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_fit_sees_the_order_of_each_epoch(workers):
    """With momentum, the final weights depend on the order of the batches."""

    def make(**arguments):
        split, _ = make_split()
        return DetectionBatches(split, 16, 4, shuffle=True, mirror=True, **arguments)

    images = keras.Input((16, 16, 3))
    left = keras.layers.Cropping2D(((0, 0), (0, 10)))(images / 255)
    features = keras.layers.GlobalAveragePooling2D()(left)
    dense = keras.layers.Dense(1, use_bias=False)
    score = dense(features)
    model = keras.Model(images, {"boxes": score, "labels": score})
    start = dense.get_weights()[0][:, 0]
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.5),
        loss={
            "boxes": lambda y, p: 0.0 * keras.ops.mean(p, axis=-1),
            "labels": lambda y, p: keras.ops.mean(p, axis=-1),
        },
    )
    data = make(seed=5, workers=workers)
    model.fit(data, epochs=2, shuffle=False, verbose=0)
    assert data.epoch == 2
    # Once more, with a model that is built already.
    model.fit(data, initial_epoch=2, epochs=3, shuffle=False, verbose=0)
    assert data.epoch == 3

    weights, velocity = start.astype("float64"), 0
    for epoch in range(3):
        by_hand = make(seed=5, epoch=epoch)
        for batch in range(3):
            gradient = by_hand[batch][0][:, :, :6].mean(axis=(0, 1, 2)) / 255
            velocity = 0.5 * velocity - 0.1 * gradient
            weights = weights + velocity
    np.testing.assert_allclose(dense.get_weights()[0][:, 0], weights, atol=1e-5)


def test_only_a_complete_pass_of_fit_is_an_epoch():
    data = DetectionBatches(make_split()[0], 16, 4, shuffle=True)
    # TensorFlow reads a batch or two, and Keras ends an epoch that has not begun.
    content(data)
    data.on_epoch_end()
    assert data.epoch == 0
    # JAX begins an epoch, reads a batch, and ends the epoch.
    data.on_epoch_begin()
    data[0]
    data.on_epoch_end()
    assert data.epoch == 0
    for epoch in (1, 2):
        data.on_epoch_begin()
        for batch in (2, 0, 1):
            data[batch]
        data.on_epoch_end()
        assert data.epoch == epoch


@pytest.mark.parametrize(
    "argument, value",
    [
        ("image_size", 0),
        ("image_size", 32.0),
        ("batch_size", 0),
        ("batch_size", None),
        ("epoch", -1),
        ("workers", 0),
        ("shuffle", "no"),
        ("mirror", 1),
        ("jitter", None),
        ("cache", "yes"),
        ("drop_last", 0),
        ("seed", None),
        ("seed", -1),
        ("seed", 0.5),
    ],
)
def test_a_bad_argument_is_named(argument, value):
    arguments = {"image_size": 16, "batch_size": 2, argument: value}
    with pytest.raises(ValueError, match=f"`{argument}`.*Received: {argument}="):
        DetectionBatches(make_split()[0], **arguments)


@pytest.mark.parametrize("epoch", [-1, 1.5])
def test_a_bad_epoch_is_rejected(epoch):
    batches = DetectionBatches(make_split()[0], 16, 2, shuffle=True)
    order = batches.indices(0).tolist()
    with pytest.raises(ValueError, match="`epoch`"):
        batches.set_epoch(epoch)
    assert (batches.epoch, batches.indices(0).tolist()) == (0, order)


def test_a_data_set_is_not_a_split():
    with pytest.raises(ValueError, match=r"`split`.*dataset.train.*DetectionDataset"):
        DetectionBatches(load_dataset("scenes"), 16, 2)
