"""Losses and metrics by name, and measuring a model on data, batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_wb.foreign import as_array
from tinygrad_wb.nn.module import in_mode
from tinygrad_wb.nn.names import named
from tinygrad_wb.operations import losses
from tinygrad_wb.recording import no_grad
from tinygrad_wb.training.metrics import METRICS, added, counts_of
from tinygrad_wb.value import raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["LOSSES", "Meter", "check_targets", "evaluate", "loss_named", "measured", "metrics_named"]

LOSSES: dict[str, Callable[..., Any]] = {
    loss.__name__: loss
    for loss in (
        losses.mean_squared_error, losses.mean_absolute_error, losses.huber, losses.cross_entropy,
        losses.negative_log_likelihood, losses.kl_divergence, losses.binary_cross_entropy, losses.hinge_loss,
    )
}  # fmt: skip


def check_targets(call: str, loss: Callable[..., Any], y: Any) -> None:
    """``ValueError`` for targets that a loss refuses, before any of them is learnt from."""
    try:
        losses.TARGETS.get(loss, lambda y: None)(y)
    except ValueError as error:
        raise ValueError(f"{call}: {error}") from None


def loss_named(loss: Any) -> Callable[..., Any]:
    found: Callable[..., Any] = named("loss", loss, LOSSES)
    return found


def metrics_named(metrics: Iterable[Any]) -> dict[str, Callable[[Any, Any], Any]]:
    """The metrics by the names that history and progress show."""
    metrics = [metrics] if isinstance(metrics, str) or callable(metrics) else metrics
    found: dict[str, Callable[[Any, Any], Any]] = {}
    for metric in metrics:
        function = named("metric", metric, METRICS)
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)
        if name in found or name == "loss":
            raise ValueError(f"two things measured would be called {name!r}: give the function a name of its own")
        found[name] = function
    return found


class Meter:
    """The mean loss, each batch counting by its size, and the metrics, of all batches so far.

    What several metrics read from the same count is counted once.
    """

    def __init__(self, metrics: dict[str, Callable[[Any, Any], Any]]) -> None:
        self.metrics = {name: counts_of(metric) for name, metric in metrics.items()}
        self.rows = 0
        self.loss = 0.0
        self.counts: dict[Callable[[Any, Any], Any], Any] = {}

    def add(self, loss: float, prediction: Any, y: Any) -> None:
        self.rows += len(y)
        self.loss += loss * len(y)
        for count in {metric.count: None for metric in self.metrics.values()}:
            new = count(prediction, y)
            self.counts[count] = added(self.counts[count], new) if count in self.counts else new

    def found(self) -> dict[str, Any]:
        """Numbers by name, and the matrices among the metrics."""
        loss = self.loss / max(self.rows, 1)
        return {"loss": loss} | {name: metric.read(self.counts[metric.count]) for name, metric in self.metrics.items()}


def evaluate(
    model: Callable[[Any], Any], x: Any, y: Any, *, loss: Any, metrics: Iterable[Any] = (), batch_size: int = 1024
) -> dict[str, Any]:
    """The loss and metrics of ``model`` on x and y, as it is in use (Dropout passes everything), recording nothing.

    ``loss`` and ``metrics`` are names or functions as in `fit`; returns ``{"loss": …, "accuracy": …}``. Metrics of
    classes are of all rows together, whatever the ``batch_size``.
    """
    x, y = as_array(x), as_array(y)
    if batch_size < 1:
        raise ValueError(f"evaluate: batch_size must be a positive whole number, got {batch_size!r}")
    if not x.ndim or not y.ndim or len(x) != len(y) or not len(x):
        raise ValueError(f"evaluate: x and y need as many rows, and at least one; got {x.shape} and {y.shape}")
    return measured(model, x, y, loss_named(loss), Meter(metrics_named(metrics)), batch_size)


def measured(
    model: Callable[[Any], Any], x: Any, y: Any, loss: Callable[..., Any], meter: Meter, batch_size: int = 1024
) -> dict[str, Any]:
    """`evaluate` without the questions, for `fit`."""
    with no_grad(), in_mode(model, training=False):
        for start in range(0, len(x), batch_size):
            rows = slice(start, start + batch_size)
            prediction = model(x[rows])
            meter.add(float(loss(prediction, y[rows])), raw(prediction), y[rows])
    return meter.found()
