"""RetinaNet and its parts: pyramid, losses, decoding, batches, evaluation."""

from dropblock_lib.detection.anchors import (
    Assignment,
    anchors_by_level,
    assign,
    count_assigned,
)
from dropblock_lib.detection.average_precision import (
    average_precision,
    of_category,
    precision_by_recall,
    to_coco,
    to_supercategories,
    trivial_results,
)
from dropblock_lib.detection.batches import DetectionBatches

# Keras finds the classes of a saved detector only once they are imported.
from dropblock_lib.detection.detector import RetinaNet
from dropblock_lib.detection.evaluation import AveragePrecisionCallback, detect
from dropblock_lib.detection.losses import BoxLoss, FocalLoss
from dropblock_lib.detection.nms import PerClassNonMaxSuppression
from dropblock_lib.detection.pyramid import build_pyramid
from dropblock_lib.detection.training import (
    PRIOR_LOGIT,
    UninformedWarning,
    detection_optimizer,
    uninformed_loss,
)

__all__ = [
    "PRIOR_LOGIT",
    "Assignment",
    "AveragePrecisionCallback",
    "BoxLoss",
    "DetectionBatches",
    "FocalLoss",
    "PerClassNonMaxSuppression",
    "RetinaNet",
    "UninformedWarning",
    "anchors_by_level",
    "assign",
    "average_precision",
    "build_pyramid",
    "count_assigned",
    "detect",
    "detection_optimizer",
    "of_category",
    "precision_by_recall",
    "to_coco",
    "to_supercategories",
    "trivial_results",
    "uninformed_loss",
]
