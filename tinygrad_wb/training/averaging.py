"""Weights averaged over the steps of training, which often do better than the last ones."""

from __future__ import annotations

import contextlib
import copy
import inspect
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_wb.nn.module import Module
from tinygrad_wb.nn.slots import Slot
from tinygrad_wb.training.callbacks import Callback
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tinygrad_wb.training.loop import Training

__all__ = ["EMA"]


class EMA(Callback):
    """An exponential moving average of a model's weights: average ← decay·average + (1 − decay)·w (Polyak, 1992).

    Given to `fit` as a callback it is brought up to date after every batch; in a loop of your own, make it of the model
    and call `update` after each ``optimizer.step()``. The model goes on training with its own weights and keeps them at
    the end; ``with ema.weights():`` lends it the averages. The first update copies the weights, so there is no bias
    towards 0 to correct; all as PyTorch's ``AveragedModel`` with ``get_ema_multi_avg_fn``. What layers keep besides
    parameters, such as running means, is the model's own, too. It is resumed with `fit`, and pickles.

    >>> import tinygrad_wb as wb
    >>> model, x = wb.Dense(1, 1, seed=0), [[1.0], [2.0]]
    >>> ema = wb.EMA(decay=0.9)
    >>> history = wb.fit(
    ...     model, x, x, loss="mean_squared_error", optimizer=wb.SGD(model.parameters(), 0.1), epochs=50,
    ...     callbacks=[ema], progress=False)
    >>> last = model.weight.data.copy()
    >>> with ema.weights():  # to evaluate, or to save
    ...     averaged = model.weight.data.copy()
    >>> bool(averaged != last), bool(model.weight.data == last)
    (True, True)
    """

    def __init__(self, model: Module | None = None, decay: float = 0.999) -> None:
        if not isinstance(decay, (int, float, np.number)) or not 0.0 <= decay <= 1.0:
            raise ValueError(f"EMA: decay is the part of the average that stays at each update, 0 to 1, got {decay!r}")
        self.decay = float(decay)
        self.updates = 0
        self.parameters: list[Value] = []
        self.averages: list[Value] = []
        if model is not None:
            whole = inspect.unwrap(model)  # a compiled model is one
            if not isinstance(whole, Module):
                raise TypeError(f"EMA takes a model, or none to be a callback of fit, got {model!r:.80}")
            self._average(whole.parameters())

    def _average(self, parameters: list[Value]) -> None:
        self.parameters = list(parameters)
        self.averages = [Value(p.data) for p in self.parameters]

    def update(self) -> None:
        """Let the averages follow the weights as they are now; the first time, become them."""
        self._check("update")
        for average, p in zip(self.averages, self.parameters, strict=True):
            moved = average.data + (1.0 - self.decay) * (p.data - average.data)
            average.data = moved if self.updates else p.data
        self.updates += 1

    @contextlib.contextmanager
    def weights(self) -> Iterator[None]:
        """Inside ``with ema.weights():`` the model has the averaged weights; then its own again, bit for bit.

        What is trained inside the block is lost.
        """
        self._check("weights")
        places = [Slot(p, "data") for p in self.parameters]
        own = [copy.copy(place.read()) for place in places]
        try:
            for place, average in zip(places, self.averages, strict=True):
                place.write(average.data)
            yield
        finally:
            for place, was in zip(places, own, strict=True):
                place.write(was)

    def _check(self, call: str) -> None:
        if not self.parameters:
            raise ValueError(f"EMA.{call}(): of which model? Give EMA(model), or give it to fit as a callback first")

    def on_start(self, training: Training) -> None:
        if not self.parameters:
            self._average(training.optimizer.parameters)
        elif missing := len(set(training.optimizer.parameters) - set(self.parameters)):
            raise ValueError(f"EMA averages another model's weights: {missing} that fit trains are not among them")

    def on_batch(self, training: Training) -> None:  # noqa: ARG002 - every callback is told
        self.update()

    def state(self) -> Iterator[tuple[str, Slot]]:
        yield "updates", Slot(self, "updates")
        yield from ((f"averages/{i}", Slot(average, "data")) for i, average in enumerate(self.averages))
