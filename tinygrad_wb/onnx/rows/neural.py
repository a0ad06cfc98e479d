"""Neural operations: softmax, labels, normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tinygrad_wb.onnx.graph import Tensor, make
from tinygrad_wb.onnx.rows.arranging import taken
from tinygrad_wb.onnx.rows.indexing import as_places
from tinygrad_wb.onnx.rows.scans import cumsum
from tinygrad_wb.onnx.rows.shaping import expanded
from tinygrad_wb.onnx.table import exact, row

__all__: list[str] = []


@row
def softmax(a: Tensor, axis: int) -> Tensor:
    return make("Softmax", a, axis=axis)


@row
def log_softmax(a: Tensor, axis: int) -> Tensor:
    return make("LogSoftmax", a, axis=axis)


@row
def one_hot(labels: Tensor, classes: int, dtype: Any) -> Tensor:
    return taken(labels.graph.constant(np.eye(classes, dtype=dtype)), as_places(labels), 0)


@row
def pick(a: Tensor, labels: Tensor) -> Tensor:
    columns = make("Unsqueeze", as_places(labels), [1])
    return make("Squeeze", make("GatherElements", a, columns, axis=1), [1])


@row
def embedding(weight: Tensor, labels: Tensor) -> Tensor:
    return taken(weight, as_places(labels), 0)


@row
def layer_norm(a: Tensor, weight: Tensor, bias: Tensor, axis: Any, epsilon: float) -> Tensor | None:
    ndim = len(a.axes)
    axes = sorted(normalize_axis_tuple(axis, ndim))
    if axes != list(range(axes[0], ndim)) or exact(a):
        return None  # the word is for the last axes, and may compute in float32
    features = a.axes[axes[0] :]
    return make(
        "LayerNormalization", a, expanded(weight, features), expanded(bias, features), axis=axes[0], epsilon=epsilon
    )


@row
def first_equal(a: Tensor, b: Tensor, axis: int) -> Tensor:
    same = a.equals(b) | ~a.equals(a)
    return same & cumsum(same.cast(np.int64), axis).equals(1)
