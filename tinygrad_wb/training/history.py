"""`History`: what training measured, epoch by epoch."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["History"]


class History(dict[str, list[Any]]):
    """What `fit` measured: ``history["loss"]`` is a list with one number for each finished epoch.

    The names are ``loss``, each metric, and with validation ``val_loss`` and ``val_`` each metric. (The metric
    ``confusion_matrix`` is an array for each epoch.) ``batch_losses`` has the loss of every batch, also of an epoch
    that was broken off; ``interrupted`` says whether one was. It is a dictionary, so that ``pandas.DataFrame(history)``
    is a table with a column for each name; but its length is the number of epochs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.batch_losses: list[float] = []
        self.interrupted = False

    def add(self, measured: dict[str, Any]) -> None:
        for name, number in measured.items():
            self.setdefault(name, []).append(number)

    def __missing__(self, name: str) -> Any:
        raise KeyError(f"{name!r} was not measured; there are: {', '.join(self) or 'no finished epochs'}")

    @property
    def epochs(self) -> dict[str, list[Any]]:
        """The lists by name, as a plain dictionary."""
        return dict(self)

    def curves(self) -> dict[str, list[float]]:
        """The lists of numbers, without those of matrices."""
        return {name: found for name, found in self.items() if not np.ndim(found[-1])}

    def __len__(self) -> int:
        return len(next(iter(self.values()), []))

    def __repr__(self) -> str:
        last = "".join(f", {name} {numbers[-1]:.4g}" for name, numbers in self.curves().items())
        return f"<History of {len(self)} epochs{last}{', interrupted' if self.interrupted else ''}>"

    def plot(self, ax: Any = None) -> Any:
        """The training curve, as `wb.plot.training_curve` draws it: losses on the left axis, metrics on the right.

        Returns the matplotlib axes with the losses; draws on ``ax`` if given. Needs ``[plot]``.
        """
        from tinygrad_wb.plot import training_curve  # loaded on use

        return training_curve(self, ax)
