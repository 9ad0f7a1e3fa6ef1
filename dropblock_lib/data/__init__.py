"""Images to learn from: real ones where they can be had, stand-ins elsewhere."""

from dropblock_lib.data.coco import read_coco
from dropblock_lib.data.dataset import Dataset
from dropblock_lib.data.detection_dataset import DetectionDataset, DetectionSplit
from dropblock_lib.data.load import load_dataset

__all__ = [
    "Dataset",
    "DetectionDataset",
    "DetectionSplit",
    "load_dataset",
    "read_coco",
]
