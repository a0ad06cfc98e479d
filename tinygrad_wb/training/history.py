"""`History`: what training measured, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["History"]


class History:
    """What `fit` measured: ``history["loss"]`` is a list with one number for each finished epoch.

    The names are ``loss``, each metric, and with validation ``val_loss`` and ``val_`` each metric. (The metric
    ``confusion_matrix`` is an array for each epoch.) ``batch_losses`` has the loss of every batch, also of an epoch
    that was broken off; ``interrupted`` says whether one was.
    """

    def __init__(self) -> None:
        self.epochs: dict[str, list[Any]] = {}
        self.batch_losses: list[float] = []
        self.interrupted = False

    def add(self, measured: dict[str, Any]) -> None:
        for name, number in measured.items():
            self.epochs.setdefault(name, []).append(number)

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self.epochs:
            raise KeyError(f"{name!r} was not measured; there are: {', '.join(self.epochs) or 'no finished epochs'}")
        return self.epochs[name]

    def keys(self) -> list[str]:
        """The names of what was measured; so ``dict(history)`` is a dictionary of the lists."""
        return list(self.epochs)

    def curves(self) -> dict[str, list[float]]:
        """The lists of numbers, without those of matrices."""
        return {name: found for name, found in self.epochs.items() if not np.ndim(found[-1])}

    def __iter__(self) -> Iterator[str]:
        return iter(self.epochs)

    def __contains__(self, name: object) -> bool:
        return name in self.epochs

    def __len__(self) -> int:
        return len(next(iter(self.epochs.values()), []))

    def __repr__(self) -> str:
        last = "".join(f", {name} {numbers[-1]:.4g}" for name, numbers in self.curves().items())
        return f"<History of {len(self)} epochs{last}{', interrupted' if self.interrupted else ''}>"

    def plot(self, ax: Any = None) -> Any:
        """The training curve, as `wb.plot.training_curve` draws it: losses on the left axis, metrics on the right.

        Returns the matplotlib axes with the losses; draws on ``ax`` if given. Needs ``[plot]``.
        """
        from tinygrad_wb.plot import training_curve  # loaded on use

        return training_curve(self, ax)
