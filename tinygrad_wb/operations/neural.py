"""The table of neural operations: softmax, and whole numbers as labels, words and classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.operation import operation, plain
from tinygrad_wb.operations.functions import exp
from tinygrad_wb.operations.indexing import scatter, whole
from tinygrad_wb.operations.reductions import sum, top
from tinygrad_wb.operations.shaping import reshape, shape_of
from tinygrad_wb.recording import drawn
from tinygrad_wb.value import constant, traced

__all__ = ["dropout", "embedding", "log_softmax", "one_hot", "softmax"]


@operation(da=lambda g, y, a, axis: y * (g - sum(g * y, axis, True)))
def softmax(a: Any, axis: int = -1) -> Any:
    """exp(a) / sum(exp(a)) along ``axis``: scores to probabilities, without overflow."""
    y = np.exp(a - top(a, axis))
    return plain(y / np.add.reduce(y, axis=axis, keepdims=True))


@operation(da=lambda g, y, a, axis: g - exp(y) * sum(g, axis, True))
def log_softmax(a: Any, axis: int = -1) -> Any:
    """log(softmax(a)) along ``axis``, exact also where softmax rounds to 0."""
    y = a - top(a, axis)
    return plain(y - np.log(np.add.reduce(np.exp(y), axis=axis, keepdims=True)))


# -- by labels ----------------------------------------------------------------------------------------------------


@operation(numpy="np.eye({classes}, dtype={dtype})[{labels}]", dlabels=None)
def one_hot(labels: Any, classes: int, dtype: Any = np.float64) -> Any:
    """Rows of zeros with a 1 at each label: (…,) integers to a plain array (…, classes)."""
    labels = np.asarray(whole(labels))
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if ((labels < 0) | (labels >= classes)).any():
        raise out_of_range(labels, f"{classes} classes", classes)
    return one_hot_rows(labels, classes, dtype)


def one_hot_rows(labels: Any, classes: int, dtype: Any) -> Any:
    """The rows of labels that are known to be right."""
    y = np.zeros((labels.size, classes), dtype)
    y[np.arange(labels.size), labels.ravel()] = 1.0
    return y if labels.ndim == 1 else y.reshape((*labels.shape, classes))


def out_of_range(labels: Any, what: str, count: int) -> ValueError:
    """The error that says which label it is."""
    wrong = labels[(labels < 0) | (labels >= count)][0]
    return ValueError(f"labels must be from 0 to {count - 1} for {what}, got {wrong}")


@operation(
    numpy="{a}[np.arange({labels}.size), {labels}]",
    da=lambda g, y, a, labels: reshape(g, (-1, 1)) * one_hot(labels, a.shape[1], a.dtype),
    dlabels=None,
    below=lambda shape: shape[-1],
)
def pick(a: Any, labels: Any) -> Any:
    """Each row's entry at its label: (n, classes) and integers (n,) to (n,)."""
    return a[np.arange(len(a)), labels]


def embedded(weight: Any, labels: Any) -> Any:
    """The rows that the labels name; from a negative one, NumPy would count from the end."""
    if np.size(labels) and np.min(labels) < 0:
        raise IndexError("a label is negative")
    return weight[labels]


@operation(
    numpy="embedded({weight}, {labels})",
    helper=embedded,
    dweight=lambda g, y, weight, labels: scatter(g, labels, shape_of(weight), axis=0),
    dlabels=None,
    below=lambda shape: shape[0],
)
def embedding(weight: Any, labels: Any) -> Any:
    """The rows of weight that the labels name: (rows, …) and integers (…) to (…, …).

    A single integer gives one row. A row that is named several times gets the sum of its gradients.

    >>> import tinygrad_wb as wb
    >>> wb.embedding([[0.0, 1.0], [2.0, 3.0]], [1, 1, 0])
    array([[2., 3.],
           [2., 3.],
           [0., 1.]])
    """
    if not np.ndim(weight):
        raise ShapeError("embedding(weight, labels): weight is a number; it must be (rows, features)")
    labels = whole(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    try:
        return plain(embedded(weight, labels))
    except IndexError:
        raise out_of_range(labels, f"an embedding of {len(weight)} rows", len(weight)) from None


# -- noise ----------------------------------------------------------------------------------------------------------


def dropout(x: Any, rate: float, seed: int | np.random.Generator | None = None) -> Any:
    """Each number set to 0 with probability ``rate``, the others scaled by 1 / (1 - rate) (Srivastava et al., 2014).

    ``seed`` is a number or a NumPy Generator; a compiled function draws from it anew at each call. The layer `Dropout`
    does this in training alone.
    """
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"dropout: rate is a probability from 0 to below 1, got {rate!r}")
    if rate == 0.0:
        return x
    rng = np.random.default_rng(seed)
    shape, dtype = shape_of(x), getattr(x, "dtype", np.dtype(np.float64))

    def scales() -> Any:
        keep = rng.random(shape) >= rate
        return constant((keep / (1.0 - rate)).astype(dtype if dtype.kind == "f" else np.float64))

    return x * drawn(scales, traced)
