"""Losses and metrics by name, and measuring a model on data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.nn.module import in_mode
from tinygrad_wb.nn.names import named
from tinygrad_wb.operations import neural
from tinygrad_wb.value import no_grad, raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["LOSSES", "METRICS", "Meter", "evaluate", "loss_named", "measured", "metrics_named"]

LOSSES: dict[str, Callable[..., Any]] = {
    loss.__name__: loss
    for loss in (neural.mean_squared_error, neural.cross_entropy, neural.binary_cross_entropy, neural.hinge_loss)
}


def accuracy(prediction: Any, y: Any) -> float:
    """How many are right, from 0 to 1: the class with the largest score; of a single score, its sign."""
    if np.ndim(prediction) == np.ndim(y) + 1:
        return float(np.mean(np.argmax(prediction, axis=-1) == y))
    return float(np.mean((np.asarray(prediction) > 0.0) == (np.asarray(y) > 0.5)))


METRICS: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": accuracy,
    "mean_absolute_error": lambda prediction, y: float(np.mean(np.abs(prediction - y))),
    "mean_squared_error": lambda prediction, y: float(np.mean(np.square(prediction - y))),
}


def loss_named(loss: Any) -> Callable[..., Any]:
    found: Callable[..., Any] = named("loss", loss, LOSSES)
    return found


def metrics_named(metrics: Iterable[Any]) -> dict[str, Callable[[Any, Any], float]]:
    """The metrics by the names that history and progress show."""
    metrics = [metrics] if isinstance(metrics, str) or callable(metrics) else metrics
    found = [(m, named("metric", m, METRICS)) for m in metrics]
    return {m if isinstance(m, str) else getattr(m, "__name__", type(m).__name__): function for m, function in found}


class Meter:
    """Running means of the loss and the metrics, each batch counting by its size."""

    def __init__(self, metrics: dict[str, Callable[[Any, Any], float]]) -> None:
        self.metrics = metrics
        self.rows = 0
        self.totals = dict.fromkeys(("loss", *metrics), 0.0)

    def add(self, loss: float, prediction: Any, y: Any) -> None:
        rows = len(y)
        self.rows += rows
        self.totals["loss"] += loss * rows
        for name, metric in self.metrics.items():
            self.totals[name] += float(metric(prediction, y)) * rows

    def means(self) -> dict[str, float]:
        return {name: total / max(self.rows, 1) for name, total in self.totals.items()}


def evaluate(
    model: Callable[[Any], Any], x: Any, y: Any, *, loss: Any, metrics: Iterable[Any] = (), batch_size: int = 1024
) -> dict[str, float]:
    """The loss and metrics of ``model`` on x and y, as it is in use (Dropout passes everything), recording nothing.

    ``loss`` and ``metrics`` are names or functions as in `fit`; returns ``{"loss": …, "accuracy": …}``.
    """
    x, y = np.asarray(x), np.asarray(y)
    if batch_size < 1:
        raise ValueError(f"evaluate: batch_size must be a positive whole number, got {batch_size!r}")
    if not x.ndim or not y.ndim or len(x) != len(y) or not len(x):
        raise ValueError(f"evaluate: x and y need as many rows, and at least one; got {x.shape} and {y.shape}")
    return measured(model, x, y, loss_named(loss), Meter(metrics_named(metrics)), batch_size)


def measured(
    model: Callable[[Any], Any], x: Any, y: Any, loss: Callable[..., Any], meter: Meter, batch_size: int = 1024
) -> dict[str, float]:
    """`evaluate` without the questions, for `fit`."""
    with no_grad(), in_mode(model, training=False):
        for start in range(0, len(x), batch_size):
            rows = slice(start, start + batch_size)
            prediction = model(x[rows])
            meter.add(float(loss(prediction, y[rows])), raw(prediction), y[rows])
    return meter.means()
