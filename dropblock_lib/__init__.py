"""DropBlock for Keras 3."""
