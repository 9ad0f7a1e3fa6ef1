"""What a record measures, which depends on what its network does."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Measures:
    """The figures of a run.

    Args:
        losses: What training and validation report after every epoch, the loss first;
            in the history also with "val_" in front. A detector's loss is the sum of
            the other two, but for a last batch that is not full: Keras weighs the
            sum by images, and its parts by batches.
        shares: What the finished network reached, as fractions of 1. The first is the
            one that lists show.
        shown: Figures of the finished network for one line.
        final_losses: Losses of the finished network, `None` where they are not finite.
        optional: Of the shares, those that some data leaves undefined.
        best: Key of the history by which the best epoch is named.
        lowest_is_best: Whether the best epoch has the lowest value of it.
    """

    losses: tuple[str, ...]
    shares: tuple[str, ...]
    final_losses: tuple[str, ...]
    shown: tuple[str, ...]
    best: str
    lowest_is_best: bool
    optional: tuple[str, ...] = ()

    @property
    def per_epoch(self):
        """Keys of the history that `fit` reports."""
        return (*self.losses, *(f"val_{key}" for key in self.losses))

    @property
    def history(self):
        """All keys of the history."""
        return (*self.per_epoch, "keep_prob", "learning_rate", "seconds")

    def describe(self, final):
        """What the finished network reached, in a few words."""
        parts = [
            f"{key.replace('_', ' ')} {final[key]:.4f}"
            for key in self.shown
            if final[key] is not None
        ]
        return ", ".join(parts)


CLASSIFICATION = Measures(
    losses=("loss", "accuracy"),
    shares=("test_accuracy", "val_accuracy", "train_accuracy"),
    final_losses=("test_loss", "val_loss", "train_loss"),
    shown=("test_accuracy", "train_accuracy"),
    best="val_accuracy",
    lowest_is_best=False,
)
DETECTION = Measures(
    losses=("loss", "class_loss", "box_loss"),
    shares=("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    final_losses=("val_loss", "train_loss"),
    # No object of that size among the validation images, or none at all.
    optional=("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    shown=("AP", "AP50", "val_loss"),
    best="val_loss",
    lowest_is_best=True,
)


def measures_of(recipe) -> Measures:
    """What the runs of a recipe measure."""
    return DETECTION if recipe.detects else CLASSIFICATION
