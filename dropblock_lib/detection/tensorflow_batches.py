"""Batches for TensorFlow, which would else wait for a minute after some of its epochs.

Keras reads a `PyDataset` through a `tf.data.Dataset` and lets TensorFlow tune how far
ahead. A thread does that, at intervals that grow to a minute, and an iterator that ends
may have to wait until it wakes (seen in TensorFlow 2.21).
"""

import tensorflow as tf


def untuned(batches):
    """Batches as a dataset that reads one batch ahead and tunes nothing.

    Args:
        batches: `DetectionBatches`.

    Returns:
        A `tf.data.Dataset` of what `batches` holds. A whole pass leads to their next
        epoch, as with Keras' own.
    """

    def read():
        batches.on_epoch_begin()
        for number in range(len(batches)):
            try:
                batch = batches[number]
            except Exception as error:
                # TensorFlow hands on its text alone.
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
