"""What RetinaNet needs beyond KerasHub: beginnings, losses, decoding, evaluation."""
