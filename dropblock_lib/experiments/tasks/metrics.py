"""The metrics of a kind of run."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Metrics:
    """The metrics of a kind of run: keys of a record's history and results.

    Args:
        losses: What training and validation report after every epoch, the loss
            first. The history also has each of them with the prefix "val_".
        fractions: Results of the finished network in [0, 1]. `list` shows the first.
        final_losses: Losses of the finished network, `None` where not finite.
        shown: Results that sum up a finished run in one line.
        best: Key of the history that determines the best epoch.
        lowest_is_best: Whether the best epoch has the lowest value of `best`.
        table: Columns of the full table, after those that name the runs.
        short_table: Columns of the book's tables: heading -> metric.
        may_be_none: Whether the fractions may be undefined for some data.
    """

    losses: tuple[str, ...]
    fractions: tuple[str, ...]
    final_losses: tuple[str, ...]
    shown: tuple[str, ...]
    best: str
    lowest_is_best: bool
    table: tuple[str, ...]
    short_table: Mapping[str, str]
    may_be_none: bool = False

    @property
    def per_epoch(self) -> tuple[str, ...]:
        """Keys of the history that `fit` reports."""
        return (*self.losses, *(f"val_{key}" for key in self.losses))

    @property
    def history(self) -> tuple[str, ...]:
        """All keys of the history."""
        return (*self.per_epoch, "keep_prob", "learning_rate", "seconds")

    def describe(self, final: Mapping) -> str:
        """The results of a finished network, the record's `final`, in one line."""
        return ", ".join(
            f"{key.replace('_', ' ')} {final[key]:.4f}"
            for key in self.shown
            if final[key] is not None
        )
