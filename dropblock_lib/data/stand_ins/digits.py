"""The stand-in for MNIST: scikit-learn's handwritten digits, enlarged."""

import functools

import numpy as np

from dropblock_lib.data.dataset import Dataset

TEST_SIZE = 360


def load_digits() -> Dataset:
    """Loads the built-in digits: 1,437 training and 360 test images.

    The 8x8 images that come with scikit-learn are enlarged bilinearly to 20x20 and
    centered in 28x28, which is how MNIST frames its digits. The test images are the
    last ones of the file.

    Raises:
        ImportError: If scikit-learn is not installed.
    """
    images, labels = _images_and_labels()
    return Dataset(
        requested="digits",
        name="digits",
        source="digits",
        origin="built-in",
        x_train=images[:-TEST_SIZE],
        y_train=labels[:-TEST_SIZE],
        x_test=images[-TEST_SIZE:],
        y_test=labels[-TEST_SIZE:],
        classes=tuple("0123456789"),
        note="from scikit-learn, 8x8 enlarged to 20x20 and centered in 28x28",
    )


@functools.lru_cache(maxsize=1)
def _images_and_labels():
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError(
            'The data set "digits", also the stand-in for "mnist", comes with '
            'scikit-learn. Install it with `pip install "dropblock-lib[experiments]"`.'
        ) from error
    digits = datasets.load_digits()
    return _enlarge(digits.images.astype("int64")), digits.target.astype("int64")


def _enlarge(images):
    """Converts `(N, 8, 8)`, 0 to 16, to `uint8` `(N, 28, 28, 1)`."""
    # Positions in tenths, as integers, so that rounding is the same on every machine.
    centers = np.clip(4 * np.arange(20) - 3, 0, 70)
    left = np.minimum(centers // 10, 6)
    right_weight = centers - 10 * left

    def interpolate(last_axis):
        return (
            last_axis[..., left] * (10 - right_weight)
            + last_axis[..., left + 1] * right_weight
        )

    enlarged = interpolate(interpolate(images).swapaxes(1, 2)).swapaxes(1, 2)
    gray = (enlarged * 255 + 800) // 1600
    framed = np.pad(gray, ((0, 0), (4, 4), (4, 4)))
    return framed[..., None].astype("uint8")
