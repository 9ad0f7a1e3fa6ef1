"""The book's figures: one function per figure, which returns a Matplotlib figure."""

from dropblock_lib.plots.accuracies import accuracy_by_variant, sampling_error
from dropblock_lib.plots.blocks import dense_block, residual_blocks, two_placements
from dropblock_lib.plots.boxes import images_with_boxes, masks_over_image
from dropblock_lib.plots.curves import (
    losses_by_variant,
    schedules,
    validation_curves,
)
from dropblock_lib.plots.datasets import pictures
from dropblock_lib.plots.detection import (
    anchors_of_positions,
    assignment,
    class_losses,
    focal_loss,
    loss_shares,
    overlaps,
    pyramid,
)
from dropblock_lib.plots.effects import against_dose, effects
from dropblock_lib.plots.masks import (
    channels_under_masks,
    covering_places,
    example_step,
    four_masks,
    image_and_feature_map,
    masks_by_group,
    masks_of_channels,
    seeds_on_map,
    shortfall,
    three_ways,
    valid_region,
    valid_seed_region,
)
from dropblock_lib.plots.neighbors import (
    evidence,
    guess_scores,
    neighbor_correlation,
)
from dropblock_lib.plots.published import published_gains
from dropblock_lib.plots.speed import doubling, layer_speed, peer_rates, skipping

__all__ = [
    "accuracy_by_variant",
    "against_dose",
    "anchors_of_positions",
    "assignment",
    "channels_under_masks",
    "class_losses",
    "covering_places",
    "dense_block",
    "doubling",
    "effects",
    "evidence",
    "example_step",
    "focal_loss",
    "four_masks",
    "guess_scores",
    "image_and_feature_map",
    "images_with_boxes",
    "layer_speed",
    "loss_shares",
    "losses_by_variant",
    "masks_by_group",
    "masks_of_channels",
    "masks_over_image",
    "neighbor_correlation",
    "overlaps",
    "peer_rates",
    "pictures",
    "published_gains",
    "pyramid",
    "residual_blocks",
    "sampling_error",
    "schedules",
    "seeds_on_map",
    "shortfall",
    "skipping",
    "three_ways",
    "two_placements",
    "valid_region",
    "valid_seed_region",
    "validation_curves",
]
