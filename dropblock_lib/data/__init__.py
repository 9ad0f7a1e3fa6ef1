"""Data sets: real ones where they are available, stand-ins elsewhere."""

from dropblock_lib.data.augment import get_augmentation
from dropblock_lib.data.coco import read_coco
from dropblock_lib.data.coco_names import COCO_NAMES
from dropblock_lib.data.dataset import Dataset
from dropblock_lib.data.detection_dataset import DetectionDataset, DetectionSplit
from dropblock_lib.data.letterbox import fit_image
from dropblock_lib.data.load import load_dataset

__all__ = [
    "COCO_NAMES",
    "Dataset",
    "DetectionDataset",
    "DetectionSplit",
    "fit_image",
    "get_augmentation",
    "load_dataset",
    "read_coco",
]
