"""What RetinaNet needs beyond KerasHub: beginnings, losses, decoding, evaluation."""

# Keras finds the classes of a saved detector only once they are imported.
from dropblock_lib.detection.detector import RetinaNet
from dropblock_lib.detection.pyramid_encoder import PyramidEncoder

__all__ = ["PyramidEncoder", "RetinaNet"]
