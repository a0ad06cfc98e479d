"""Losses and metrics by name, and measuring a model on data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.nn.module import in_mode
from tinygrad_wb.nn.names import named
from tinygrad_wb.operations import losses
from tinygrad_wb.recording import no_grad
from tinygrad_wb.value import raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["LOSSES", "METRICS", "Meter", "check_targets", "evaluate", "loss_named", "measured", "metrics_named"]

LOSSES: dict[str, Callable[..., Any]] = {
    loss.__name__: loss
    for loss in (
        losses.mean_squared_error, losses.mean_absolute_error, losses.huber, losses.cross_entropy,
        losses.negative_log_likelihood, losses.kl_divergence, losses.binary_cross_entropy, losses.hinge_loss,
    )
}  # fmt: skip


def accuracy(prediction: Any, y: Any) -> float:
    """How many are right, from 0 to 1: the class with the largest score; of a single score, its sign.

    ``prediction`` holds scores (logits), not probabilities: (n, classes) for labels (n,) or one-hot rows
    (n, classes); or one score for each of ``y``, of which 1 means yes, 0 or -1 no.
    """
    prediction, y = np.asarray(prediction), np.asarray(y)
    if y.dtype.kind == "f" and not np.equal(y, np.floor(y)).all():
        raise ValueError("accuracy counts right classes, but y has fractions: for numbers, take mean_absolute_error")
    classes = prediction.shape[-1] if prediction.ndim > 1 else 1
    if classes > 1 and prediction.shape == y.shape:
        y = np.argmax(y, axis=-1)
    if classes > 1 and prediction.shape[:-1] == y.shape:
        return float(np.mean(np.argmax(prediction, axis=-1) == y))
    if prediction.size != y.size or classes > 1:
        raise ShapeError(f"accuracy: scores of shape {prediction.shape} don't go with y of shape {y.shape}")
    return float(np.mean((prediction.ravel() > 0.0) == (y.ravel() > 0.5)))


METRICS: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": accuracy,
    "mean_absolute_error": lambda prediction, y: float(np.mean(np.abs(prediction - y))),
    "mean_squared_error": lambda prediction, y: float(np.mean(np.square(prediction - y))),
}


def check_targets(loss: Callable[..., Any], y: Any) -> None:
    """``ValueError`` for targets that a loss would take without a word and make nonsense of."""
    if loss is losses.binary_cross_entropy and not ((y >= 0) & (y <= 1)).all():
        raise ValueError(f"fit: binary_cross_entropy takes targets from 0 to 1, y goes from {y.min()} to {y.max()}")
    if loss is losses.hinge_loss and not np.isin(y, (-1, 1)).all():
        raise ValueError(f"fit: hinge_loss takes targets -1 and 1, y has {np.unique(y)[:5]}; 2 * y - 1 for 0 and 1?")


def loss_named(loss: Any) -> Callable[..., Any]:
    found: Callable[..., Any] = named("loss", loss, LOSSES)
    return found


def metrics_named(metrics: Iterable[Any]) -> dict[str, Callable[[Any, Any], float]]:
    """The metrics by the names that history and progress show."""
    metrics = [metrics] if isinstance(metrics, str) or callable(metrics) else metrics
    found: dict[str, Callable[[Any, Any], float]] = {}
    for metric in metrics:
        function = named("metric", metric, METRICS)
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)
        if name in found or name == "loss":
            raise ValueError(f"two things measured would be called {name!r}: give the function a name of its own")
        found[name] = function
    return found


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
