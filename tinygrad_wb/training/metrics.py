"""Metrics: what is measured besides the loss, over all rows of an epoch.

What is counted in batches adds up; precision, recall and F1 don't average. So a metric of classes is two things: what
it counts in a batch, and what it reads from the sum of the counts. Precision, recall and F1 all read the same
count, the confusion matrix.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.foreign import as_array
from tinygrad_wb.notices import warn_user
from tinygrad_wb.operations.ranges import RANGES, made_by
from tinygrad_wb.value import raw

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "METRICS", "Counts", "Doubt", "accuracy", "added", "confusion_matrix", "counts_of", "f1", "middle_of", "one_score",
    "precision", "recall",
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Counts:
    """A metric as ``count(prediction, labels, threshold)`` of a batch; ``read`` makes the result of the counts' sum.

    ``threshold`` is the user's; without one, the model and its loss decide (see `Meter`).
    """

    count: Callable[[Any, Any, float], Any]
    read: Callable[[Any], Any]
    threshold: float | None = None
    of_classes: bool = True


def read_from(
    count: Callable[[Any, Any, float], Any],
) -> Callable[[Callable[[Any], Any]], Callable[..., Any]]:
    """Make a function of (prediction, labels, threshold) of one that reads what ``count`` counted there."""

    def enter(read: Callable[[Any], Any]) -> Callable[..., Any]:
        def metric(prediction: Any, labels: Any, threshold: float | None = None) -> Any:
            by = made_by(prediction)
            counts = count(prediction, labels, middle_of(by) if threshold is None else threshold)
            if threshold is None and not by and one_score(prediction):
                Doubt().look(prediction).warn(
                    f"{read.__name__}(prediction, labels)",
                    "Say threshold=0.5 for probabilities, or threshold=0.0 for scores",
                )
            if threshold is not None and not one_score(prediction):
                raise ValueError(
                    f"{read.__name__}: threshold={threshold!r} is for one score for each label; this prediction has "
                    f"shape {np.shape(raw(prediction))}, and the largest score of each row decides"
                )
            return read(counts)

        metric.__name__ = metric.__qualname__ = read.__name__
        metric.__module__, metric.__doc__ = read.__module__, read.__doc__
        metric.counts = Counts(count, read)  # type: ignore[attr-defined]
        return metric

    return enter


def counts_of(metric: Callable[..., Any]) -> Counts:
    """How a metric is measured over several batches; of any other function, the mean, each row counting once."""
    if isinstance(metric, functools.partial) and hasattr(metric.func, "counts") and not metric.args:
        of_classes: Counts = metric.func.counts
        return dataclasses.replace(of_classes, threshold=metric.keywords.get("threshold"))
    found: Counts = getattr(metric, "counts", None) or Counts(
        lambda prediction, y, threshold: np.array([float(metric(prediction, y)) * len(y), len(y)]),
        _mean,
        of_classes=False,
    )
    return found


def _mean(counts: Any) -> float:
    total, rows = counts.tolist()
    return float(total / max(rows, 1))


def added(a: Any, b: Any) -> Any:
    """The counts of two batches together; a matrix that has met fewer classes grows."""
    if a.shape == b.shape:
        return a + b
    size = max(len(a), len(b))
    return sum(np.pad(counts, (0, size - len(counts))) for counts in (a, b))


# -- thresholds -------------------------------------------------------------------------------------------------------


def one_score(prediction: Any) -> bool:
    """Whether there is one score for each label, which a threshold decides about, and not a column for each class."""
    prediction = np.asarray(raw(prediction))
    return bool(prediction.dtype.kind == "f" and (prediction.ndim < 2 or prediction.shape[-1] == 1))


def middle_of(made_by: str) -> float:
    """What decides about the numbers of an operation, if it is known; otherwise 0, as about scores."""
    return RANGES[made_by].middle if made_by else 0.0


class Doubt:
    """Whether scores, though nothing shows where they come from, look like probabilities.

    All of them lie from 0 to 1, and they come near both ends: the scores of a new model are often all small and above
    0. Only what lies between 0 and 0.5 is decided otherwise by 0.5 than by 0.
    """

    def __init__(self) -> None:
        self.low, self.high, self.between = math.inf, -math.inf, False

    def look(self, prediction: Any) -> Doubt:
        prediction = np.asarray(raw(prediction))
        self.low = min(self.low, float(prediction.min(initial=math.inf)))
        self.high = max(self.high, float(prediction.max(initial=-math.inf)))
        self.between = self.between or bool(np.any((prediction > 0.0) & (prediction <= 0.5)))
        return self

    def warn(self, call: str, remedy: str) -> None:
        if 0.0 <= self.low <= 0.25 and 0.75 <= self.high <= 1.0 and self.between:
            warn_user(
                f"{call}: all predictions lie between 0 and 1, as probabilities do, but count as scores, "
                f"of which each above 0 means yes. {remedy}"
            )


# -- classes ----------------------------------------------------------------------------------------------------------


def classes_of(prediction: Any, labels: Any, threshold: float = 0.0) -> tuple[Any, Any, int]:
    """The class that each row belongs to, the one that was decided for, and how many classes there are."""
    prediction, labels = as_array(raw(prediction)), as_array(raw(labels))
    for name, x in (("prediction", prediction), ("labels", labels)):
        if x.dtype.kind not in "fiub" or not x.size:
            raise ValueError(f"{name} must hold numbers, at least one; got {x.dtype} of shape {x.shape}")
    if labels.dtype.kind == "f" and not np.equal(labels, np.floor(labels)).all():
        raise ValueError(
            "accuracy and its like count classes, but the labels have fractions: for numbers, take mean_absolute_error"
        )
    classes = prediction.shape[-1] if prediction.ndim > 1 else 1
    if classes > 1 and prediction.shape in (labels.shape, (*labels.shape, classes)):
        decided = np.argmax(prediction, axis=-1)
        return _labels(labels, decided.shape, classes), decided, classes
    if prediction.size != labels.size or classes > 1:
        raise ShapeError(
            f"scores of shape {prediction.shape} don't go with labels of shape {labels.shape}; labels are whole "
            "numbers of shape (n,), or of the scores' own shape, one-hot"
        )
    prediction, labels = prediction.ravel(), labels.ravel().astype(int)
    if prediction.dtype.kind == "f":
        decided = prediction > threshold
        _within("one score decides between 1 and 0 (or -1)", labels, -1, 1)
        return np.maximum(labels, 0), decided.astype(int), 2
    most = max(int(prediction.max()), int(labels.max()), 1)
    for x in (prediction, labels):
        _within("classes are whole numbers from 0 up", x, -1 if most == 1 else 0, most)
    return np.maximum(labels, 0), np.maximum(prediction, 0).astype(int), most + 1


def _labels(labels: Any, shape: tuple[int, ...], classes: int) -> Any:
    """Labels for scores of ``classes``, be they whole numbers or one-hot rows."""
    if labels.shape == shape:
        _within(f"there are scores for {classes} classes", labels, 0, classes - 1)
        return labels.astype(int)
    if not ((labels > 0).sum(axis=-1) == 1).all():
        raise ValueError(f"labels of shape {labels.shape} are taken as one-hot rows, but not every row has a single 1")
    return np.argmax(labels, axis=-1)


def _within(why: str, labels: Any, low: int, high: int) -> None:
    wrong = (labels < low) | (labels > high)
    if wrong.any():
        raise ValueError(f"{why}, but the label {labels[wrong][0]:g} is not from {low} to {high}")


def _right(prediction: Any, labels: Any, threshold: float) -> Any:
    truth, decided, _ = classes_of(prediction, labels, threshold)
    return np.array([np.count_nonzero(decided == truth), truth.size])


@read_from(_right)
def accuracy(counts: Any) -> float:
    """How many of the predictions are right, from 0 to 1.

    ``prediction`` holds scores (logits) or probabilities: (…, classes), of which the largest decides, for labels (…) or
    one-hot rows (…, classes); or one number for each label, 1 (yes) where it is above ``threshold``, else 0 or -1 (no).
    Whole numbers (n,) are classes that were decided for already. Without a ``threshold``, the record of a Value shows
    it: 0.5 for what a sigmoid made, 0 for scores. Plain numbers count as scores; if all lie between 0 and 1, there is a
    `GradientWarning`. Raises ``ValueError`` for labels that are not classes.

    >>> import tinygrad_wb as wb
    >>> wb.accuracy([[0.1, 0.9], [2.0, -1.0]], [1, 1])
    0.5
    >>> scores = wb.Value([-2.0, 1.0])
    >>> wb.accuracy(wb.sigmoid(scores), [0, 1]), wb.accuracy([0.12, 0.73], [0, 1], threshold=0.5)
    (1.0, 1.0)
    """
    return _mean(counts)


def _pairs(prediction: Any, labels: Any, threshold: float) -> Any:
    truth, decided, classes = classes_of(prediction, labels, threshold)
    pairs = np.bincount((truth * classes + decided).ravel(), minlength=classes * classes)
    return pairs.reshape(classes, classes)


@read_from(_pairs)
def confusion_matrix(matrix: Any) -> Any:
    """How often each class was taken for each: rows are the true classes, columns the predicted ones.

    ``prediction`` and ``labels`` as in `accuracy`; one score gives the matrix of no and yes. Whole numbers (classes,
    classes), as in scikit-learn. `wb.plot.confusion` draws it.

    >>> import tinygrad_wb as wb
    >>> wb.confusion_matrix([0, 2, 1, 2], [0, 2, 2, 2])
    array([[1, 0, 0],
           [0, 0, 0],
           [0, 1, 2]])
    """
    return matrix


def _parts(matrix: Any) -> tuple[Any, Any, Any]:
    """Of each class: how often it was right, was predicted, and was true."""
    return np.diagonal(matrix), matrix.sum(axis=0), matrix.sum(axis=1)


def _over_classes(matrix: Any, above: Any, below: Any) -> float:
    """Of two classes the share of class 1; of more, the mean share of the classes that there were."""
    shares = np.divide(above, below, out=np.zeros(len(matrix)), where=below > 0)
    if len(matrix) == 2:
        return float(shares[1])
    _, predicted, true = _parts(matrix)
    return float(np.mean(shares[predicted + true > 0]))


@read_from(_pairs)
def precision(matrix: Any) -> float:
    """How many of those that were taken for a class belong to it: right ÷ predicted.

    Of two classes it is that of class 1; of more, the mean over the classes that occur among labels or predictions
    ("macro"). A class that was never predicted counts 0. ``prediction`` and ``labels`` as in `accuracy`, the numbers as
    in scikit-learn. In `fit` it is of all rows of the epoch, not a mean of batches. That of each class is
    ``m.diagonal() / m.sum(axis=0)`` of the `confusion_matrix` m.

    >>> import tinygrad_wb as wb
    >>> wb.precision([1, 1, 1, 0], [1, 0, 0, 0]), wb.recall([1, 1, 1, 0], [1, 0, 0, 0])
    (0.3333333333333333, 1.0)
    """
    right, predicted, _ = _parts(matrix)
    return _over_classes(matrix, right, predicted)


@read_from(_pairs)
def recall(matrix: Any) -> float:
    """How many of those that belong to a class were taken for it: right ÷ true. Otherwise as `precision`."""
    right, _, true = _parts(matrix)
    return _over_classes(matrix, right, true)


@read_from(_pairs)
def f1(matrix: Any) -> float:
    """The harmonic mean of precision and recall, 2·right ÷ (predicted + true). Otherwise as `precision`.

    Of more than two classes it is the mean of their F1, not the F1 of their means.
    """
    right, predicted, true = _parts(matrix)
    return _over_classes(matrix, 2 * right, predicted + true)


# -- numbers ----------------------------------------------------------------------------------------------------------


def _errors(prediction: Any, y: Any) -> Any:
    if np.shape(prediction) != np.shape(y):
        raise ShapeError(
            f"the prediction has shape {np.shape(prediction)} but y {np.shape(y)}; give both one shape, or each "
            "prediction would be compared with every y"
        )
    return prediction - y


METRICS: dict[str, Callable[..., Any]] = {
    "accuracy": accuracy,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "confusion_matrix": confusion_matrix,
    "mean_absolute_error": lambda prediction, y: float(np.mean(np.abs(_errors(prediction, y)))),
    "mean_squared_error": lambda prediction, y: float(np.mean(np.square(_errors(prediction, y)))),
}
