"""The table of losses: how far predictions are from the truth, as one number, the mean over the batch."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.foreign import as_array
from tinygrad_wb.operation import ones, operation
from tinygrad_wb.operations.arithmetic import absolute, clip, divide, maximum, sign, where
from tinygrad_wb.operations.functions import log, sigmoid, softplus
from tinygrad_wb.operations.indexing import take, whole
from tinygrad_wb.operations.neural import one_hot, one_hot_rows, out_of_range, pick
from tinygrad_wb.operations.ranges import takes
from tinygrad_wb.operations.reductions import sum, total
from tinygrad_wb.operations.shaping import reshape
from tinygrad_wb.recording import replayable
from tinygrad_wb.value import TRACED, UNRECORDED, Value

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "binary_cross_entropy", "cross_entropy", "hinge_loss", "huber", "kl_divergence", "mean_absolute_error",
    "mean_squared_error", "negative_log_likelihood",
]  # fmt: skip


# -- of numbers ------------------------------------------------------------------------------------------------------


def _same_shape(loss: str, a_name: str, a: Any, b_name: str, b: Any) -> int:
    """How many numbers go into the mean, after a look at the shapes."""
    if type(a) is np.ndarray and type(b) is np.ndarray and a.shape == b.shape and a.size:
        return a.size
    a_shape, b_shape = np.shape(a), np.shape(b)
    if a_shape != b_shape:
        same = math.prod(a_shape) == math.prod(b_shape)
        remedy = f"reshape {b_name} to {a_shape}" if same else f"give one of {b_name} for each of {a_name}"
        raise ShapeError(f"{loss}({a_name}, {b_name}): {a_name} has shape {a_shape} but {b_name} {b_shape}; {remedy}")
    size: int = math.prod(a_shape)
    if not size:
        raise ShapeError(
            f"{loss}({a_name}, {b_name}): the batch is empty, shape {a_shape}; a mean over nothing has no value"
        )
    return size


def _size(x: Any) -> Any:
    return 1 if type(x) is float else x.size


def _difference(a: Any, b: Any) -> Any:
    error = a - b
    if type(error) is np.ndarray and error.dtype.char not in "fd":  # small integers wrap, float16 overflows
        error = np.subtract(a, b, dtype=np.float64)
    return error


@operation(
    dprediction=lambda g, y, prediction, target: (prediction - target) * (g * (2.0 / _size(prediction))),
    dtarget=lambda g, y, prediction, target: (target - prediction) * (g * (2.0 / _size(prediction))),
)
def mean_squared_error(prediction: Any, target: Any) -> Any:
    """mean((prediction - target)²); both of one shape."""
    size = _same_shape("mean_squared_error", "prediction", prediction, "target", target)
    error = _difference(prediction, target)
    if isinstance(error, Value):
        return total(error * error) / size
    return error * error if type(error) is float else float(np.vdot(error, error)) / size


@operation(
    dprediction=lambda g, y, prediction, target: sign(prediction - target) * (g * (1.0 / _size(prediction))),
    dtarget=lambda g, y, prediction, target: sign(target - prediction) * (g * (1.0 / _size(prediction))),
)
def mean_absolute_error(prediction: Any, target: Any) -> Any:
    """Mean of the distances between prediction and target, both of one shape; where they are equal, the slope is 0."""
    size = _same_shape("mean_absolute_error", "prediction", prediction, "target", target)
    return total(absolute(_difference(prediction, target))) / size


@operation(
    dprediction=lambda g, y, prediction, target, delta: (
        clip(prediction - target, -delta, delta) * (g * (1.0 / _size(prediction)))
    ),
    dtarget=lambda g, y, prediction, target, delta: (
        clip(target - prediction, -delta, delta) * (g * (1.0 / _size(prediction)))
    ),
)
def huber(prediction: Any, target: Any, delta: float = 1.0) -> Any:
    """Half the squared error up to ``delta``, a straight line beyond; the mean of it (Huber, 1964); both of one shape.

    Outliers pull no harder than ``delta``. With the error e and c = e kept between -δ and δ, it is c · (e - c/2).
    """
    if not delta > 0.0:
        raise ValueError(f"delta is the error at which the line starts and must be above 0, got {delta!r}")
    size = _same_shape("huber", "prediction", prediction, "target", target)
    error = _difference(prediction, target)
    small = clip(error, -delta, delta)
    return total(small * (error - 0.5 * small)) / size


def _zero_to_one(targets: Any) -> None:
    low, high = np.minimum.reduce(targets, axis=None), np.maximum.reduce(targets, axis=None)
    if low < 0 or high > 1:
        raise ValueError(
            f"binary_cross_entropy takes targets from 0 to 1, these go from {low} to {high}; (y + 1) / 2 for -1 and 1?"
        )


def _one_or_minus_one(targets: Any) -> None:
    if (np.abs(targets) != 1).any():
        raise ValueError(
            f"hinge_loss takes targets -1 and 1, these have {np.unique(targets)[:5]}; 2 * y - 1 for 0 and 1?"
        )


TARGETS: dict[Callable[..., Any], Callable[[Any], None]] = {}  # what looks at all targets of a loss


def _of_targets(check: Callable[[Any], None]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let what users call raise ``ValueError`` for targets that a loss would make nonsense of without a word.

    The row itself takes any: there are derivatives by targets that are Values.
    """

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def loss(scores: Any, targets: Any) -> Any:
            result = function(scores, targets)  # which looks at the shapes
            if not isinstance(targets, Value):
                check(np.asarray(targets))
            elif targets.options is TRACED or targets.options is UNRECORDED:
                check(targets._data)  # in a program, or under no_grad, they are as good as plain numbers
            return result

        TARGETS[loss] = check
        return loss

    return enter


@_of_targets(_zero_to_one)
@takes
@operation(
    dlogits=lambda g, y, logits, targets: (sigmoid(logits) - targets) * (g * (1.0 / _size(logits))),
    dtargets=lambda g, y, logits, targets: logits * (g * (-1.0 / _size(logits))),
)
def binary_cross_entropy(logits: Any, targets: Any) -> Any:
    """mean(softplus(logits) - logits · targets): -log of the probability given to targets in [0, 1].

    ``logits`` are scores before the sigmoid; both of one shape.
    """
    size = _same_shape("binary_cross_entropy", "logits", logits, "targets", targets)
    return total(softplus(logits) - logits * targets) / size


@_of_targets(_one_or_minus_one)
@takes
@operation(
    dscores=lambda g, y, scores, targets: targets * (1.0 - targets * scores > 0.0) * (g * (-1.0 / _size(scores))),
    dtargets=lambda g, y, scores, targets: scores * (1.0 - targets * scores > 0.0) * (g * (-1.0 / _size(scores))),
)
def hinge_loss(scores: Any, targets: Any) -> Any:
    """mean(max(0, 1 - targets · scores)) with targets -1 or 1 (Cortes and Vapnik, 1995); both of one shape."""
    size = _same_shape("hinge_loss", "scores", scores, "targets", targets)
    return total(maximum(1.0 - targets * scores, 0.0)) / size


# -- of probabilities ------------------------------------------------------------------------------------------------


def _rows(log_prediction: Any) -> int:
    """The size of the batch: whatever stands before the classes."""
    return math.prod(log_prediction.shape[:-1])


@takes
@operation(
    dlog_prediction=lambda g, y, log_prediction, target: target * (g * (-1.0 / _rows(log_prediction))),
    dtarget=lambda g, y, log_prediction, target: (
        (log(target) + 1.0 - log_prediction) * (g * (1.0 / _rows(log_prediction)))
    ),
)
def kl_divergence(log_prediction: Any, target: Any) -> Any:
    """Mean over the batch of Σ target · (log(target) - log_prediction) (Kullback and Leibler, 1951).

    Both (…, classes): ``log_prediction`` are log-probabilities, such as `log_softmax` gives, and ``target``
    probabilities, of which 0 counts nothing. PyTorch's ``kl_div`` with ``reduction="batchmean"``.
    """
    if not np.ndim(log_prediction):
        raise ShapeError("kl_divergence(log_prediction, target): one number is no distribution; give (…, classes)")
    _same_shape("kl_divergence", "log_prediction", log_prediction, "target", target)
    surprise = log(where(target == 0.0, 1.0, target)) - log_prediction
    return total(target * surprise) / _rows(log_prediction)


# -- of classes ------------------------------------------------------------------------------------------------------


def _class_numbers(call: str, scores: Any, labels: Any) -> Any:
    """``labels`` as a flat array of integers, after a look at them."""
    labels = whole(labels)
    shape = np.shape(scores)
    if labels.shape != shape[:-1] or not shape:
        what = call.partition("(")[2].partition(",")[0]
        remedy = "; labels.argmax(axis=-1) of one-hot rows" if labels.shape == shape else ""
        if shape and labels.size == math.prod(shape[:-1]) and not remedy:
            remedy = f"; labels.reshape{shape[:-1]}"
        raise ShapeError(
            f"{call}: {what} have shape {shape} and labels {labels.shape}; "
            f"{what} must be (…, classes) and labels (…), one class number for each row of {what}{remedy}"
        )
    if 0 in shape:
        raise ShapeError(f"{call}: the batch is empty, shape {shape}; a mean over nothing has no value")
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"labels must be integers, a class for each row, got {labels.dtype} such as {labels.flat[0]}; astype(int)?"
        )
    labels = labels.ravel()
    if labels.dtype.kind == "i" and np.minimum.reduce(labels) < 0:  # an index that NumPy would take, from the end
        raise out_of_range(labels, f"{shape[-1]} classes", shape[-1])
    return labels


def _picked(call: str, scores: Any, labels: Any) -> tuple[Any, Any]:
    """Each row's score at its label, and the labels, both flat."""
    classes = np.shape(scores)[-1] if np.ndim(scores) else 1
    if isinstance(scores, Value):
        if isinstance(labels, Value) and type(labels._data) is float:
            replayable("a label that is a single number", "give labels as an array of whole numbers")
        labels = whole(labels)
        if labels.ndim != 1:
            scores, labels = reshape(scores, (-1, classes)), np.reshape(labels, -1)
        return pick(scores, labels), labels
    labels = _class_numbers(call, scores, labels)
    try:
        return scores.reshape(-1, classes)[np.arange(labels.size), labels], labels
    except IndexError:
        raise out_of_range(labels, f"{classes} classes", classes) from None


def _hot(scores: Any, labels: Any) -> Any:
    """The truth as probabilities."""
    hot = one_hot if isinstance(scores, Value) else one_hot_rows
    return hot(whole(labels), scores.shape[-1], scores.dtype)


def _weights(scores: Any, class_weights: Any) -> Any:
    """``class_weights`` as an array for these scores, or 1.0 for all."""
    if class_weights is None:
        return 1.0
    weights = as_array(class_weights).astype(scores.dtype if scores.dtype.kind == "f" else np.float64)
    if weights.shape != scores.shape[-1:]:
        raise ShapeError(
            f"class_weights have shape {weights.shape}; give one number for each of {scores.shape[-1]} classes"
        )
    return weights


def _of_labels(weights: Any, labels: Any) -> Any:
    """What each label weighs; its sum is what a weighted mean is divided by."""
    return np.ones(np.size(labels)) if type(weights) is float else take(weights, labels, axis=0)


def _log_likelihood_da(g: Any, y: Any, log_probabilities: Any, labels: Any, class_weights: Any) -> Any:
    weights = _weights(log_probabilities, class_weights)
    share = divide(-g, total(_of_labels(weights, labels)))
    return _hot(log_probabilities, labels) * weights * share


@takes
@operation(dlog_probabilities=_log_likelihood_da, dlabels=None, below=lambda shape, **_: shape[-1])
def negative_log_likelihood(log_probabilities: Any, labels: Any, class_weights: Any = None) -> Any:
    """Mean of -log_probabilities[label], weighted with the label's of ``class_weights``, if they are given.

    ``log_probabilities`` (…, classes), such as `log_softmax` gives; ``labels`` (…) are integers from 0 to classes - 1.
    """
    right, flat = _picked("negative_log_likelihood(log_probabilities, labels)", log_probabilities, labels)
    weights = _of_labels(_weights(log_probabilities, class_weights), flat)
    return divide(-total(right * weights), total(weights))


def _cross_entropy_da(
    g: Any, y: Any, logits: Any, labels: Any, label_smoothing: float, class_weights: Any, shared: Any
) -> Any:
    # softmax(logits) less the truth, each row's share of the mean
    _, e, e_sum = shared
    hot = _hot(logits, labels)
    if not label_smoothing and class_weights is None:
        return (e / e_sum - hot) * (g * (1.0 / np.size(labels)))
    weights = _weights(logits, class_weights)
    truth = (hot * (1.0 - label_smoothing) + label_smoothing / logits.shape[-1]) * weights
    share = divide(g, total(_of_labels(weights, labels)))
    return (e / e_sum * sum(truth, -1, True) - truth) * share


def _exponentials(logits: Any, labels: Any, label_smoothing: float = 0.0, class_weights: Any = None) -> Any:
    """z = logits - max(logits), exp(z), and the sum of that along the last axis: all that log(softmax) is made of."""
    z = logits - np.maximum.reduce(logits, axis=-1, keepdims=True)
    e = np.exp(z)
    if type(e) is np.ndarray and e.ndim == 2 and e.dtype.char in "fd":
        return z, e, e.dot(ones(e.shape[1], e.dtype))[:, None]
    return z, e, np.add.reduce(e, axis=-1, keepdims=True)


@takes
@operation(shared=_exponentials, dlogits=_cross_entropy_da, dlabels=None, below=lambda shape, **_: shape[-1])
def cross_entropy(
    logits: Any, labels: Any, label_smoothing: float = 0.0, class_weights: Any = None, *, shared: Any
) -> Any:
    """Mean of -log(softmax(logits)[label]): how surprised the scores are by the true classes.

    ``logits`` (…, classes) are scores before the softmax, ``labels`` (…) are integers from 0 to classes - 1. With
    ``label_smoothing`` ε the truth is 1 - ε on the label and ε spread evenly over all classes (Szegedy et al., 2016).
    ``class_weights``, one number for each class, weight the mean by the labels, as in PyTorch.
    """
    z, _, e_sum = shared
    right, flat = _picked("cross_entropy(logits, labels)", z, labels)
    log_sum = np.log(e_sum)
    if not label_smoothing and class_weights is None:
        return (total(log_sum) - total(right)) / np.size(labels)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing is a share of the truth, from 0 to 1, got {label_smoothing!r}")
    weights = _weights(z, class_weights)
    of_labels = _of_labels(weights, flat)
    surprise = total((reshape(log_sum, (-1,)) - right) * of_labels) * (1.0 - label_smoothing)
    if label_smoothing:
        surprise = surprise + total((log_sum - z) * weights) * (label_smoothing / z.shape[-1])
    return divide(surprise, total(of_labels))
