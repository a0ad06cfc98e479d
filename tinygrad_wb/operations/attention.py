"""The table of attention: each query takes a mean of the values, weighted by how well their keys match it.

weights = softmax(query · keyᵀ / √d)        y = weights · value
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.operation import operation
from tinygrad_wb.operations.arithmetic import where
from tinygrad_wb.operations.neural import softmax
from tinygrad_wb.operations.reductions import sum
from tinygrad_wb.operations.shaping import matrices_transposed, shape_of
from tinygrad_wb.value import raw

__all__ = ["scaled_dot_product_attention"]


def _factor(query: Any, scale: float | None) -> float:
    return 1.0 / math.sqrt(shape_of(query)[-1]) if scale is None else scale


def _check(query: Any, key: Any, value: Any, mask: Any) -> None:
    q, k, v = map(shape_of, (query, key, value))
    call = f"scaled_dot_product_attention(query, key, value): query has shape {q}, key {k} and value {v}"
    if min(map(len, (q, k, v))) < 2:
        raise ShapeError(f"{call}; they must be (…, queries, features), (…, keys, features) and (…, keys, values)")
    if q[-1] != k[-1] or not q[-1]:
        raise ShapeError(f"{call}; a query and a key must have as many features, the last length, and one at least")
    if k[-2] != v[-2] or not k[-2]:
        raise ShapeError(f"{call}; there must be one value for each key, the second last length, and one at least")
    try:
        np.broadcast_shapes(q[:-2], k[:-2], v[:-2])
    except ValueError:
        raise ShapeError(f"{call}; the lengths before the last two must broadcast") from None
    rows = (*np.broadcast_shapes(q[:-2], k[:-2]), q[-2], k[-2])
    try:
        fits = np.broadcast_shapes(rows, shape_of(mask)) == rows
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{call}; mask, of shape {shape_of(mask)}, must broadcast to (…, queries, keys), {rows}")


def _weights(query: Any, key: Any, value: Any, mask: Any, causal: bool, scale: float | None) -> Any:
    """How much of each value each query takes: (…, queries, keys), rows that add up to 1."""
    _check(query, key, value, mask)
    scores = query @ matrices_transposed(key) * _factor(query, scale)
    visible = np.tri(*shape_of(scores)[-2:], dtype=np.bool_) if causal else None
    if shape_of(mask):
        if raw(mask).dtype.kind == "b":
            visible = mask if visible is None else mask & visible
        else:
            scores = scores + mask
    if visible is None:
        return softmax(scores)
    # What is hidden scores so low that softmax gives 0, but not -∞: a query that sees nothing would get -∞ - -∞, nan.
    # It takes nothing instead, as in PyTorch.
    low = max(-1e15, float(np.finfo(scores.dtype).min))
    return softmax(where(visible, scores, low)) * visible


def _dscores(g: Any, y: Any, value: Any, weights: Any) -> Any:
    # through the weighted mean, then softmax; Σⱼ (∂Loss/∂weightⱼ · weightⱼ) is g · y
    return weights * (g @ matrices_transposed(value) - sum(g * y, -1, True))


@operation(
    shared=_weights,
    dquery=lambda g, y, query, key, value, mask, causal, scale, shared: (
        _dscores(g, y, value, shared) @ key * _factor(query, scale)
    ),
    dkey=lambda g, y, query, key, value, mask, causal, scale, shared: (
        matrices_transposed(_dscores(g, y, value, shared)) @ query * _factor(query, scale)
    ),
    dvalue=lambda g, y, query, key, value, mask, causal, scale, shared: matrices_transposed(shared) @ g,
    dmask=lambda g, y, query, key, value, mask, causal, scale, shared: _dscores(g, y, value, shared),
)
def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, mask: Any = 0.0, causal: bool = False, scale: float | None = None, *, shared: Any
) -> Any:
    """softmax(query @ keyᵀ · scale + mask) @ value: for each query, what the keys that match it stand for.

    query (…, queries, features), key (…, keys, features) and value (…, keys, values) give (…, queries, values) (Vaswani
    et al., 2017). ``mask`` broadcasts to (…, queries, keys): booleans, True where a query may look, or numbers that are
    added to the scores. With ``causal``, query i sees keys 0 to i only. ``scale`` is 1 / √features by default.

    >>> import tinygrad_wb as wb
    >>> x = [[1.0, 0.0], [0.0, 1.0]]
    >>> wb.scaled_dot_product_attention(x, x, [[3.0], [5.0]], causal=True)[0]  # the first sees itself alone
    array([3.])
    """
    return shared @ value
