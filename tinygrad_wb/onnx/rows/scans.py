"""Scans: what has come together so far along an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from tinygrad_wb.onnx.graph import Tensor, make, make_all, onnx
from tinygrad_wb.onnx.rows.shaping import concatenate, expanded, flat
from tinygrad_wb.onnx.table import row

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__: list[str] = []


@row
def cumsum(a: Tensor, axis: int | None) -> Tensor:
    if axis is None or not a.axes:
        a, axis = flat(a), 0
    return make("CumSum", a, a.graph.number(axis, np.int64))


@row
def cumprod(a: Tensor, axis: int | None) -> Tensor:
    if axis is None or not a.axes:
        a, axis = flat(a), 0
    if 0 in a.axes:
        return a  # onnxruntime does not get through a scan of nothing
    return _scanned(a, axis, 1.0, [a], [("Mul", ("y", "x0"))])


@row
def recurrence(a: Tensor, b: Tensor, axis: int) -> Tensor:
    axis = normalize_axis_index(axis, len(b.axes))
    if 0 in b.axes:
        return b
    first = expanded(a.graph.number(0.0, a.dtype), [1 if i == axis else n for i, n in enumerate(b.axes)])
    return _scanned(b, axis, 0.0, [concatenate([first, a], axis), b], [("Mul", ("x0", "y")), ("Add", ("z0", "x1"))])


def _scanned(
    like: Tensor, axis: int, start: float, inputs: list[Tensor], steps: Sequence[tuple[str, tuple[str, ...]]]
) -> Tensor:
    """Every y that comes about; ``steps`` make the next one of it and of what stands next in each input (x0, x1, …)."""
    helper, graph = onnx().helper, like.graph
    axis = normalize_axis_index(axis, len(like.axes))
    kind = helper.np_dtype_to_tensor_dtype(like.dtype)
    results = [f"z{i}" for i in range(len(steps))]
    nodes = [helper.make_node(word, given, [z]) for (word, given), z in zip(steps, results, strict=True)]
    nodes.append(helper.make_node("Identity", [results[-1]], ["here"]))
    each = [None] * (len(like.axes) - 1)
    told = {name: helper.make_tensor_value_info(name, kind, each) for name in ("y", "x0", "x1", results[-1], "here")}
    body = helper.make_graph(
        nodes, "step", [told["y"], *(told[f"x{i}"] for i in range(len(inputs)))], [told[results[-1]], told["here"]]
    )
    first = expanded(graph.number(start, like.dtype), [n for i, n in enumerate(like.axes) if i != axis])
    _, y = make_all(
        2, "Scan", first, *inputs, body=body, num_scan_inputs=len(inputs),
        scan_input_axes=[axis] * len(inputs), scan_output_axes=[axis],
    )  # fmt: skip
    return y
