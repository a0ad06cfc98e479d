"""What can watch training: a function called after each epoch, or a `Callback` with more moments."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tinygrad_wb.nn.slots import Slot
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tinygrad_wb.training.loop import Training

__all__ = ["Callback", "EarlyStopping"]


class Callback:
    """Override what you need; each is given the `Training`: its ``model``, ``optimizer``, ``history``, ``epoch``.

    Setting ``training.stop = True`` ends training after this batch. ``state`` tells the name and place of each number
    or array that it must find again when training is resumed (it is read after ``on_start``).
    """

    last = False  # told after the others, to see what they have come to

    def __init_subclass__(cls) -> None:
        for name in vars(cls):
            if name.startswith("on_") and not hasattr(Callback, name):
                raise TypeError(
                    f"{cls.__name__}.{name} would never be called: there are on_start, on_batch, on_epoch, on_end"
                )

    def on_start(self, training: Training) -> None: ...

    def on_batch(self, training: Training) -> None: ...

    def on_epoch(self, training: Training) -> None: ...

    def on_end(self, training: Training) -> None: ...

    def state(self) -> Iterable[tuple[str, Slot]]:
        return ()


class AfterEpoch(Callback):
    """A plain function as a callback."""

    def __init__(self, function: Callable[[Training], Any]) -> None:
        self.function = function

    def on_epoch(self, training: Training) -> None:
        self.function(training)


UPWARDS = ("accuracy", "precision", "recall", "f1")


class EarlyStopping(Callback):
    """Stop when ``monitor`` has not improved by more than ``min_delta`` for ``patience`` epochs.

    Losses and errors improve downwards (``mode`` "min"), accuracy, precision, recall and f1 upwards ("max"); of a
    measure of your own, say which.
    With ``restore_best`` the parameters go back to what they were after the best epoch.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        restore_best: bool = True,
        mode: str | None = None,
    ) -> None:
        if mode is None:
            mode = "min" if monitor.endswith(("loss", "error")) else "max" if monitor.endswith(UPWARDS) else None
        if mode not in ("min", "max"):
            raise ValueError(f'EarlyStopping: does {monitor!r} improve downwards or upwards? Give mode="min" or "max"')
        if patience < 1:
            raise ValueError(f"EarlyStopping: patience must be at least 1 epoch, got {patience}")
        self.monitor, self.patience, self.min_delta, self.restore_best = monitor, patience, min_delta, restore_best
        self.sign = 1.0 if mode == "min" else -1.0

    def on_start(self, training: Training) -> None:
        if self.monitor not in training.measures:
            remedy = "; give fit validation=(x, y)" if self.monitor.startswith("val_") else ""
            raise ValueError(
                f"EarlyStopping: {self.monitor!r} is not measured, there are {', '.join(training.measures)}{remedy}"
            )
        if training.is_matrix(self.monitor):
            raise ValueError(
                f"EarlyStopping: {self.monitor!r} is a matrix, and none is the best; monitor f1 or the like"
            )
        self.best = math.inf
        self.best_epoch = 0
        self.weights = [Value(p.data) for p in training.optimizer.parameters]

    def on_epoch(self, training: Training) -> None:
        now = self.sign * training.history[self.monitor][-1]
        if now < self.best - self.min_delta:
            self.best, self.best_epoch = now, training.epoch
            for weights, p in zip(self.weights, training.optimizer.parameters, strict=True):
                weights.data = p.data
        elif training.epoch - self.best_epoch >= self.patience:
            training.stop = True

    def on_end(self, training: Training) -> None:
        if self.restore_best and 0 < self.best_epoch < training.epoch:
            for p, weights in zip(training.optimizer.parameters, self.weights, strict=True):
                p.data = weights.data

    def state(self) -> Iterator[tuple[str, Slot]]:
        yield from ((name, Slot(self, name)) for name in ("best", "best_epoch"))
        yield from ((f"weights/{i}", Slot(weights, "data")) for i, weights in enumerate(self.weights))
