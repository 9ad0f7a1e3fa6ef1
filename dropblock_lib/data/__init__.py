"""Images to learn from: real ones where they can be had, stand-ins elsewhere."""

from dropblock_lib.data.dataset import Dataset
from dropblock_lib.data.load import load_dataset

__all__ = ["Dataset", "load_dataset"]
