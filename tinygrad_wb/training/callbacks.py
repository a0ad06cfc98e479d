"""What can watch training: a function called after each epoch, or a `Callback` with more moments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from tinygrad_wb.training.loop import Training

__all__ = ["Callback", "EarlyStopping"]


class Callback:
    """Override what you need; each is given the `Training`: its ``model``, ``optimizer``, ``history``, ``epoch``.

    Setting ``training.stop = True`` ends training after this batch.
    """

    def on_start(self, training: Training) -> None: ...

    def on_batch(self, training: Training) -> None: ...

    def on_epoch(self, training: Training) -> None: ...

    def on_end(self, training: Training) -> None: ...


class AfterEpoch(Callback):
    """A plain function as a callback."""

    def __init__(self, function: Callable[[Training], Any]) -> None:
        self.function = function

    def on_epoch(self, training: Training) -> None:
        self.function(training)


class EarlyStopping(Callback):
    """Stop when ``monitor`` has not improved by more than ``min_delta`` for ``patience`` epochs.

    Losses and errors improve downwards, all other measures upwards. With ``restore_best`` the parameters go back to
    what they were after the best epoch.
    """

    def __init__(
        self, monitor: str = "val_loss", patience: int = 5, min_delta: float = 0.0, restore_best: bool = True
    ) -> None:
        if patience < 1:
            raise ValueError(f"EarlyStopping: patience must be at least 1 epoch, got {patience}")
        self.monitor, self.patience, self.min_delta, self.restore_best = monitor, patience, min_delta, restore_best
        self.sign = 1.0 if monitor.endswith(("loss", "error")) else -1.0

    def on_start(self, training: Training) -> None:  # noqa: ARG002 - the signature of all four
        self.best = np.inf
        self.best_epoch = 0
        self.weights: list[Any] = []

    def on_epoch(self, training: Training) -> None:
        now = self.sign * training.history[self.monitor][-1]
        if now < self.best - self.min_delta:
            self.best, self.best_epoch = now, training.epoch
            self.weights = [np.copy(p.data) for p in training.optimizer.parameters]
        elif training.epoch - self.best_epoch >= self.patience:
            training.stop = True

    def on_end(self, training: Training) -> None:
        if self.restore_best and self.weights and training.epoch != self.best_epoch:
            for p, weights in zip(training.optimizer.parameters, self.weights, strict=True):
                p.data = weights
