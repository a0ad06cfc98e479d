"""What can watch training: a function called after each epoch, or a `Callback` with more moments."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

from tinygrad_wb.nn.module import Module
from tinygrad_wb.nn.slots import Slot
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tinygrad_wb.training.loop import Training

__all__ = ["Callback", "EarlyStopping"]


class Callback:
    """Override what you need; each is given the `Training`: its ``model``, ``optimizer``, ``history``, ``epoch``.

    ``on_batch_start`` is called before the step of a batch, and ``on_batch`` after it.
    Setting ``training.stop = True`` ends training after this batch. ``state`` tells the name and place of each number
    or array that it must find again when training is resumed (it is read after ``on_start``).
    """

    last = False  # told after the others, to see what they have come to

    def __init_subclass__(cls) -> None:
        for name in vars(cls):
            if name.startswith("on_") and not hasattr(Callback, name):
                raise TypeError(
                    f"{cls.__name__}.{name} would never be called: there are on_start, on_batch_start, on_batch, "
                    "on_epoch, on_end"
                )

    def on_start(self, training: Training) -> None: ...

    def on_batch_start(self, training: Training) -> None: ...

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
    With ``restore_best`` the parameters, and what layers keep, go back to what they were in the best epoch. A measure
    of validation (``val_loss``) is taken after the epoch, and so are they. A measure of training (``loss``) is taken
    batch by batch, always before the step, so they are those before the last step of the epoch. If one batch is an
    epoch, the weights given back have exactly the best loss; of several batches it is a mean while they change.
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
        self.after_epoch = monitor.startswith("val_")  # when it is measured

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
        self.weights = [Value(place.read()) for place in _places(training)]  # those of the best epoch …
        self.latest = [Value(place.read()) for place in _places(training)]  # … and of the epoch that is running

    def on_batch_start(self, training: Training) -> None:
        if not self.after_epoch and training.last_batch:
            self._keep(training)

    def on_epoch(self, training: Training) -> None:
        now = self.sign * training.history[self.monitor][-1]
        if now < self.best - self.min_delta:
            self.best, self.best_epoch = now, training.epoch
            if self.after_epoch:
                self._keep(training)
            self.weights, self.latest = self.latest, self.weights
        elif training.epoch - self.best_epoch >= self.patience:
            training.stop = True

    def on_end(self, training: Training) -> None:
        newer = self.best_epoch < training.epoch or not self.after_epoch
        if self.restore_best and self.best_epoch and newer:
            for place, weights in zip(_places(training), self.weights, strict=True):
                place.write(weights.data)

    def _keep(self, training: Training) -> None:
        for place, latest in zip(_places(training), self.latest, strict=True):
            latest.data = place.read()

    def state(self) -> Iterator[tuple[str, Slot]]:
        yield from ((name, Slot(self, name)) for name in ("best", "best_epoch"))
        yield from ((f"weights/{i}", Slot(weights, "data")) for i, weights in enumerate(self.weights))


def _places(training: Training) -> list[Slot]:
    """What training changes: the optimizer's parameters, and what the layers keep besides."""
    model = inspect.unwrap(training.model)
    parameters = training.optimizer.parameters
    places = [Slot(p, "data") for p in parameters]
    if isinstance(model, Module):
        known = {*map(id, parameters), *map(id, model.parameters())}
        places += [place for _, place in model.state() if id(place.owner) not in known]
    return places
