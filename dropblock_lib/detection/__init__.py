"""What RetinaNet needs beyond KerasHub: batches of boxes, losses, evaluation."""
