"""Which learning rate? Try all of them, from tiny to far too large, and see where the loss falls fastest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.nn.module import in_mode
from tinygrad_wb.training.loop import Training, check_settings, checked_data
from tinygrad_wb.training.measuring import check_targets
from tinygrad_wb.training.undoing import undone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tinygrad_wb.optimizers import Optimizer

__all__ = ["LearningRates", "find_learning_rate"]

WIDTH = 0.05  # of the rates that were tried, the standard deviation of the bell that losses are smoothed with
DECAY = 0.9  # of the running mean that tells whether the loss explodes
EXPLODED = 4.0  # times the smallest loss so far


class LearningRates:
    """What `find_learning_rate` found: the ``losses`` at the ``rates``, each of a batch, before the step at that rate.

    ``smoothed`` is the loss without most of the noise between batches: at each rate, a straight line is fitted to the
    losses around it. ``suggestion`` is the rate at which that line falls most steeply over the logarithm of the rate,
    before the lowest point of the curve; None if it falls nowhere.
    """

    def __init__(self, rates: list[float], losses: list[float]) -> None:
        self.rates, self.losses = rates, losses
        width = max(WIDTH * len(rates), 1.0)
        smoothed, slopes = local_lines(np.array(losses), width)
        self.smoothed: list[float] = smoothed.tolist()
        first = int(2 * width)  # before it, there is too little on the left to know a slope
        falling = slopes[first : int(np.argmin(smoothed))]
        fell = falling.size and falling.min() < 0.0
        self.suggestion: float | None = rates[first + int(np.argmin(falling))] if fell else None

    def __repr__(self) -> str:
        found = "no suggestion" if self.suggestion is None else f"suggestion {self.suggestion:.3g}"
        return f"<LearningRates: {len(self.rates)} from {self.rates[0]:.3g} to {self.rates[-1]:.3g}, {found}>"

    def plot(self, ax: Any = None) -> Any:
        """The loss over the rate, as `wb.plot.learning_rates` draws it; returns the axes. Needs ``[plot]``."""
        from tinygrad_wb.plot import learning_rates  # loaded on use

        return learning_rates(self, ax)


def find_learning_rate(
    model: Callable[[Any], Any],
    x: Any,
    y: Any,
    *,
    loss: Any,
    optimizer: Optimizer,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    batch_size: int = 32,
    seed: int | None = None,
) -> LearningRates:
    """Train on a batch at each of ``steps`` rates, from ``lowest`` to ``highest``, and see where the loss falls.

    The rates grow by one factor from step to step (the range test of Smith, 2015). It stops early when the loss is nan,
    inf, or has risen to 4 times the smallest so far. Afterwards the model and the ``optimizer`` are as they were, bit
    for bit, whatever happens: parameters, running means, random generators, the optimizer's memory and learning rate;
    graphs that were recorded before are stale. ``x``, ``y``, ``loss`` and ``seed`` are as in `fit`. Returns the
    `LearningRates`: its ``suggestion`` is one to begin with, and its ``plot()`` is worth a look.

    >>> import tinygrad_wb as wb
    >>> x, y = wb.datasets.moons(200, seed=0)
    >>> model = wb.MLP(2, [16], 2, seed=0)
    >>> optimizer = wb.SGD(model.parameters())
    >>> found = wb.find_learning_rate(model, x, y, loss="cross_entropy", optimizer=optimizer, seed=0)
    >>> 0.01 < found.suggestion < 10.0, optimizer.learning_rate
    (True, 0.01)
    >>> optimizer.learning_rate = found.suggestion
    """
    call = "find_learning_rate"
    x, y = checked_data(call, "x and y", x, y)
    check_settings(call, optimizer, steps=steps, batch_size=batch_size)
    numeric = all(isinstance(rate, (int, float, np.number)) for rate in (lowest, highest))
    if not numeric or not 0.0 < lowest < highest < math.inf:
        raise ValueError(f"{call}: rates go from lowest to highest, 0 < lowest < highest, got {lowest!r}, {highest!r}")
    training = Training(model, optimizer, loss, (), (), 1, compile=True, seed=seed)
    check_targets(call, training.loss, y)
    rates, losses = [], []
    mean, smallest = 0.0, math.inf
    batches = _batches(training.rng, len(x), batch_size)
    with undone(model, training.loss, optimizer), in_mode(model, training=True), np.errstate(all="ignore"):
        for rate in np.geomspace(lowest, highest, steps).tolist():
            optimizer.learning_rate = rate
            rows = next(batches)
            error, _ = training.descend(x.take(rows, 0), y.take(rows, 0))
            if not math.isfinite(error.data):
                break
            rates.append(rate)
            losses.append(error.data)
            mean += (1.0 - DECAY) / (1.0 - DECAY ** len(losses)) * (error.data - mean)
            smallest = min(smallest, mean)
            if mean - smallest > (EXPLODED - 1.0) * abs(smallest):
                break
    if not losses:
        raise ValueError(f"{call}: the loss is {error.data} before any step; look at the data and the weights")
    return LearningRates(rates, losses)


def local_lines(y: Any, width: float) -> tuple[Any, Any]:
    """Height and slope, at each place, of the line through the numbers around it (Cleveland, 1979).

    The numbers weigh by a bell of standard deviation ``width`` places.
    """
    place = np.arange(len(y), dtype=float)
    x = place - place[:, None]
    weight = np.exp(-0.5 * (x / width) ** 2)
    weight /= weight.sum(axis=1, keepdims=True)
    mean_x, mean_y = (weight * x).sum(axis=1), weight @ y
    spread = (weight * x * x).sum(axis=1) - mean_x**2
    slope = np.divide((weight * x) @ y - mean_x * mean_y, spread, out=np.zeros(len(y)), where=spread > 0.0)
    return mean_y - slope * mean_x, slope


def _batches(rng: np.random.Generator, rows: int, size: int) -> Iterator[Any]:
    """Row numbers, all batches of one size, shuffled anew when all were used."""
    while True:
        order = rng.permutation(rows)
        for start in range(0, max(rows - size, 0) + 1, size):
            yield order[start : start + size]
