"""Losses and metrics by name, and measuring a model on data, batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_wb.foreign import as_array
from tinygrad_wb.nn.module import in_mode
from tinygrad_wb.nn.names import named
from tinygrad_wb.operations import losses
from tinygrad_wb.operations.ranges import made_by
from tinygrad_wb.recording import no_grad, recording
from tinygrad_wb.training.metrics import METRICS, Doubt, added, counts_of, middle_of, one_score
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


def metrics_named(metrics: Iterable[Any]) -> dict[str, Callable[..., Any]]:
    """The metrics by the names that history and progress show."""
    metrics = [metrics] if isinstance(metrics, str) or callable(metrics) else metrics
    found: dict[str, Callable[..., Any]] = {}
    for metric in metrics:
        function = named("metric", metric, METRICS)
        called = getattr(metric, "func", metric)  # a functools.partial goes by its function's name
        name = metric if isinstance(metric, str) else getattr(called, "__name__", type(called).__name__)
        if name in found or name == "loss":
            raise ValueError(f"two things measured would be called {name!r}: give the function a name of its own")
        found[name] = function
    return found


OF_NUMBERS = (losses.mean_squared_error, losses.mean_absolute_error, losses.huber)


class Meter:
    """The mean loss, each batch counting by its size, and the metrics, of all batches so far.

    What several metrics read from the same count is counted once. Where the user gave no threshold, what made the
    predictions tells it, and the ``loss``: one that measures the distance to the labels of all rows, ``y``, pulls the
    predictions to the labels themselves, so that half-way between these is where yes and no part.
    """

    def __init__(self, metrics: dict[str, Callable[..., Any]], loss: Callable[..., Any], y: Any) -> None:
        self.metrics = {name: counts_of(metric) for name, metric in metrics.items()}
        self.rows = 0
        self.loss = 0.0
        self.counts: dict[tuple[Any, float | None], Any] = {}
        self.decides = any(metric.of_classes and metric.threshold is None for metric in self.metrics.values())
        self.half_way = 0.5 if self.decides and loss in OF_NUMBERS and y.min() >= 0 else 0.0
        self.doubt = Doubt()

    def add(self, loss: float, prediction: Any, y: Any, made_by: str) -> None:
        """A batch is done; ``made_by`` is what `ranges.made_by` finds of the prediction."""
        self.rows += len(y)
        self.loss += loss * len(y)
        threshold = middle_of(made_by) or self.half_way
        if self.decides and not made_by and not threshold and one_score(prediction):
            self.doubt.look(prediction)
        for count, own in {(metric.count, metric.threshold): None for metric in self.metrics.values()}:
            new = count(prediction, y, threshold if own is None else own)
            known = self.counts.get((count, own))
            self.counts[count, own] = new if known is None else added(known, new)

    def found(self) -> dict[str, Any]:
        """Numbers by name, and the matrices among the metrics."""
        of_metrics = {
            name: metric.read(self.counts[metric.count, metric.threshold]) for name, metric in self.metrics.items()
        }
        return {"loss": self.loss / max(self.rows, 1)} | of_metrics

    def result(self, call: str) -> dict[str, Any]:
        """What was found in the end; warns if a threshold was perhaps not the right one."""
        self.doubt.warn(
            f"{call}: metrics", "For probabilities give metrics=[functools.partial(wb.accuracy, threshold=0.5)]"
        )
        return self.found()


def evaluate(
    model: Callable[[Any], Any], x: Any, y: Any, *, loss: Any, metrics: Iterable[Any] = (), batch_size: int = 1024
) -> dict[str, Any]:
    """The loss and metrics of ``model`` on x and y, as it is in use (Dropout passes everything), recording nothing.

    ``loss`` and ``metrics`` are names or functions as in `fit`; returns ``{"loss": …, "accuracy": …}``. Metrics of
    classes are of all rows together, whatever the ``batch_size``; of a model that gives one number for each row, two
    rows are recorded, to see whether those are scores or probabilities.
    """
    x, y = as_array(x), as_array(y)
    if batch_size < 1:
        raise ValueError(f"evaluate: batch_size must be a positive whole number, got {batch_size!r}")
    if not x.ndim or not y.ndim or len(x) != len(y) or not len(x):
        raise ValueError(f"evaluate: x and y need as many rows, and at least one; got {x.shape} and {y.shape}")
    found = loss_named(loss)
    return measured("evaluate", model, x, y, found, Meter(metrics_named(metrics), found, y), batch_size)


def measured(
    call: str,
    model: Callable[[Any], Any],
    x: Any,
    y: Any,
    loss: Callable[..., Any],
    meter: Meter,
    batch_size: int = 1024,
    made: str | None = None,
) -> dict[str, Any]:
    """`evaluate` without the questions, for `fit`, which knows what ``made`` the predictions."""
    with no_grad(), in_mode(model, training=False):
        for start in range(0, len(x), batch_size):
            rows = slice(start, start + batch_size)
            prediction = model(x[rows])
            if made is None:
                made = _made_by(model, x[:2]) if meter.decides and one_score(prediction) else ""
            meter.add(float(loss(prediction, y[rows])), raw(prediction), y[rows], made)
    return meter.result(call)


def _made_by(model: Callable[[Any], Any], x: Any) -> str:
    """What makes the predictions, from the record of a few."""
    with recording(True):
        return made_by(model(x))
