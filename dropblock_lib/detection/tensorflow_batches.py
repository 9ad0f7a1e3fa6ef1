"""Wraps batches for TensorFlow: checks them, and keeps the input from stalling.

Keras reads a `PyDataset` through a `tf.data.Dataset` and lets TensorFlow tune how far
ahead it reads. A thread does the tuning at intervals that grow to a minute, and an
iterator that ends may have to wait until the thread wakes up (seen in TensorFlow 2.21).
"""

import tensorflow as tf


def without_autotune(batches):
    """Wraps batches in a dataset that reads one batch ahead and is not tuned.

    Args:
        batches: `DetectionBatches`.

    Returns:
        A `tf.data.Dataset` of the batches. A complete pass advances `batches` to its
        next epoch, as when Keras reads them.
    """

    def read():
        batches.on_epoch_begin()
        for number in range(len(batches)):
            try:
                batch = batches[number]
            except Exception as error:
                # TensorFlow passes on only the text of an exception.
                batches.failure = error
                raise
            yield batch
        batches.on_epoch_end()

    side, most = batches.image_size, batches.most_boxes
    boxes = {
        "boxes": tf.TensorSpec((None, most, 4), "float32"),
        "labels": tf.TensorSpec((None, most), "float32"),
    }
    images = tf.TensorSpec((None, side, side, 3), "float32")
    dataset = tf.data.Dataset.from_generator(read, output_signature=(images, boxes))
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(1).with_options(options)


def with_checks(dataset, check_keys, check):
    """Checks the targets of a dataset of tuples `(images, y)`.

    Args:
        dataset: A `tf.data.Dataset`; one with other elements is returned as it is.
        check_keys: Called with the specification of `y`.
        check: Called with each batch; its boxes and labels are NumPy arrays.
    """
    spec = dataset.element_spec
    if not (isinstance(spec, tuple) and len(spec) > 1):
        return dataset
    check_keys(spec[1])

    def checked(boxes, labels):
        check((None, {"boxes": boxes, "labels": labels}))
        return labels

    def with_checked_targets(images, y, *rest):
        boxes, labels = y["boxes"], y["labels"]
        if isinstance(boxes, tf.Tensor) and isinstance(labels, tf.Tensor):
            found = tf.numpy_function(checked, [boxes, labels], labels.dtype)
            found.set_shape(labels.shape)
            y = {**y, "labels": found}
        return (images, y, *rest)

    return dataset.map(with_checked_targets)
