"""The table of neural operations: softmax and the losses. A loss is the mean over the batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.operation import ones, operation, plain
from tinygrad_wb.operations.arithmetic import maximum
from tinygrad_wb.operations.functions import exp, sigmoid, softplus
from tinygrad_wb.operations.indexing import whole
from tinygrad_wb.operations.reductions import sum, total
from tinygrad_wb.operations.shaping import reshape
from tinygrad_wb.recording import replayable
from tinygrad_wb.value import Value

__all__ = [
    "binary_cross_entropy", "cross_entropy", "hinge_loss", "log_softmax", "mean_squared_error", "one_hot", "softmax",
]  # fmt: skip


@operation(da=lambda g, y, a, axis: y * (g - sum(g * y, axis, True)))
def softmax(a: Any, axis: int = -1) -> Any:
    """exp(a) / sum(exp(a)) along ``axis``: scores to probabilities, without overflow."""
    y = np.exp(a - np.maximum.reduce(a, axis=axis, keepdims=True))
    return plain(y / np.add.reduce(y, axis=axis, keepdims=True))


@operation(da=lambda g, y, a, axis: g - exp(y) * sum(g, axis, True))
def log_softmax(a: Any, axis: int = -1) -> Any:
    """log(softmax(a)) along ``axis``, exact also where softmax rounds to 0."""
    y = a - np.maximum.reduce(a, axis=axis, keepdims=True)
    return plain(y - np.log(np.add.reduce(np.exp(y), axis=axis, keepdims=True)))


# -- losses ------------------------------------------------------------------------------------------------


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


@operation(
    dprediction=lambda g, y, prediction, target: (prediction - target) * (g * (2.0 / _size(prediction))),
    dtarget=lambda g, y, prediction, target: (target - prediction) * (g * (2.0 / _size(prediction))),
)
def mean_squared_error(prediction: Any, target: Any) -> Any:
    """mean((prediction - target)²); both of one shape."""
    size = _same_shape("mean_squared_error", "prediction", prediction, "target", target)
    error = prediction - target
    if type(error) is Value:
        return total(error * error) / size
    if type(error) is np.ndarray and error.dtype.char not in "fd":  # small integers wrap, float16 overflows
        error = np.subtract(prediction, target, dtype=np.float64)
    return error * error if type(error) is float else float(np.vdot(error, error)) / size


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


@operation(
    dscores=lambda g, y, scores, targets: targets * (1.0 - targets * scores > 0.0) * (g * (-1.0 / _size(scores))),
    dtargets=lambda g, y, scores, targets: scores * (1.0 - targets * scores > 0.0) * (g * (-1.0 / _size(scores))),
)
def hinge_loss(scores: Any, targets: Any) -> Any:
    """mean(max(0, 1 - targets · scores)) with targets -1 or 1 (Cortes and Vapnik, 1995); both of one shape."""
    size = _same_shape("hinge_loss", "scores", scores, "targets", targets)
    return total(maximum(1.0 - targets * scores, 0.0)) / size


@operation(numpy="np.eye({classes}, dtype={dtype})[{labels}]", dlabels=None)
def one_hot(labels: Any, classes: int, dtype: Any = np.float64) -> Any:
    """Rows of zeros with a 1 at each label: (…,) integers to a plain array (…, classes)."""
    labels = np.asarray(whole(labels))
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if ((labels < 0) | (labels >= classes)).any():
        raise _out_of_range(labels, classes)
    return _one_hot(labels, classes, dtype)


def _one_hot(labels: Any, classes: int, dtype: Any) -> Any:
    y = np.zeros((labels.size, classes), dtype)
    y[np.arange(labels.size), labels.ravel()] = 1.0
    return y if labels.ndim == 1 else y.reshape((*labels.shape, classes))


def _class_numbers(logits: Any, labels: Any) -> Any:
    """``labels`` as a flat array of integers, after a look at them."""
    labels = whole(labels)
    shape = np.shape(logits)
    if labels.shape != shape[:-1] or not shape:
        raise ShapeError(
            f"cross_entropy(logits, labels): logits have shape {shape} and labels {labels.shape}; "
            "logits must be (…, classes) and labels (…), one class number for each row of logits"
        )
    if 0 in shape:
        raise ShapeError(
            f"cross_entropy: the batch is empty, logits of shape {shape}; a mean over nothing has no value"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"labels must be integers, a class for each row, got {labels.dtype} such as {labels.flat[0]}; astype(int)?"
        )
    labels = labels.ravel()
    if labels.dtype.kind == "i" and np.minimum.reduce(labels) < 0:  # an index that NumPy would take, from the end
        raise _out_of_range(labels, shape[-1])
    return labels


def _out_of_range(labels: Any, classes: int) -> ValueError:
    wrong = labels[(labels < 0) | (labels >= classes)][0]
    return ValueError(f"labels must be from 0 to {classes - 1} for logits of {classes} classes, got {wrong}")


@operation(
    numpy="{a}[np.arange({labels}.size), {labels}]",
    da=lambda g, y, a, labels: reshape(g, (-1, 1)) * one_hot(labels, a.shape[1], a.dtype),
    dlabels=None,
)
def pick(a: Any, labels: Any) -> Any:
    """Each row's entry at its label: (n, classes) and integers (n,) to (n,)."""
    return a[np.arange(len(a)), labels]


def _cross_entropy_da(g: Any, y: Any, logits: Any, labels: Any, shared: Any) -> Any:
    # softmax(logits) less the truth, each row's share of the mean
    _, e, e_sum = shared
    hot = one_hot if type(logits) is Value else _one_hot
    return (e / e_sum - hot(whole(labels), logits.shape[-1], logits.dtype)) * (g * (1.0 / np.size(labels)))


def _exponentials(logits: Any, labels: Any) -> Any:
    """z = logits - max(logits), exp(z), and the sum of that along the last axis: all that log(softmax) is made of."""
    z = logits - np.maximum.reduce(logits, axis=-1, keepdims=True)
    e = np.exp(z)
    if type(e) is np.ndarray and e.ndim == 2 and e.dtype.char in "fd":
        return z, e, e.dot(ones(e.shape[1], e.dtype))[:, None]
    return z, e, np.add.reduce(e, axis=-1, keepdims=True)


@operation(shared=_exponentials, dlogits=_cross_entropy_da, dlabels=None)
def cross_entropy(logits: Any, labels: Any, *, shared: Any) -> Any:
    """Mean of -log(softmax(logits)[label]): how surprised the scores are by the true classes.

    ``logits`` (…, classes) are scores before the softmax, ``labels`` (…) are integers from 0 to classes - 1.
    """
    z, _, e_sum = shared
    size, classes = np.size(labels), np.shape(z)[-1]
    if type(z) is Value:
        if type(labels) is Value and type(labels._data) is float:
            replayable("a label that is a single number", "give labels as an array of whole numbers")
        labels = whole(labels)
        if labels.ndim != 1:
            z, labels = reshape(z, (-1, classes)), np.reshape(labels, -1)
        right = pick(z, labels)
        return (total(np.log(e_sum)) - total(right)) / size
    labels = _class_numbers(z, labels)
    rows = z.reshape(-1, classes)
    try:
        right = rows[np.arange(labels.size), labels]
    except IndexError:
        raise _out_of_range(labels, classes) from None
    return (total(np.log(e_sum)) - total(right)) / size
