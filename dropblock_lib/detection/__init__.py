"""What RetinaNet needs beyond KerasHub: initializers, losses, decoding, evaluation."""

from dropblock_lib.detection.anchors import (
    Assignment,
    anchors_by_level,
    assign,
    count_assigned,
)
from dropblock_lib.detection.average_precision import (
    average_precision,
    precision_by_recall,
    to_coco,
)
from dropblock_lib.detection.batches import DetectionBatches

# Keras finds the classes of a saved detector only once they are imported.
from dropblock_lib.detection.detector import RetinaNet
from dropblock_lib.detection.evaluation import AveragePrecisionCallback, detect
from dropblock_lib.detection.losses import BoxLoss, FocalLoss
from dropblock_lib.detection.nms import PerClassNonMaxSuppression
from dropblock_lib.detection.pyramid_encoder import PyramidEncoder

__all__ = [
    "Assignment",
    "AveragePrecisionCallback",
    "BoxLoss",
    "DetectionBatches",
    "FocalLoss",
    "PerClassNonMaxSuppression",
    "PyramidEncoder",
    "RetinaNet",
    "anchors_by_level",
    "assign",
    "average_precision",
    "count_assigned",
    "detect",
    "precision_by_recall",
    "to_coco",
]
