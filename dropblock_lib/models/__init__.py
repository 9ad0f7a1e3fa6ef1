"""The networks of the book, one a file."""

from dropblock_lib.models.custom_net import custom_net

# What a recipe may name. Every network has the signature
# (variant="none", input_shape=(32, 32, 3), classes=10, seed=None) and takes raw
# pixels, 0 to 255, to logits.
NETWORKS = {
    "custom_net": custom_net,
}

__all__ = ["NETWORKS", "custom_net"]
