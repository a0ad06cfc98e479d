"""How operations are written into memory that is there already: a rule adds the lines, or says False if it can't."""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tinygrad_wb.compiling.lowering.matmul import matmul, row_of_ones
from tinygrad_wb.compiling.lowering.windows import fold, unfold
from tinygrad_wb.compiling.plan import Step, data_of
from tinygrad_wb.compiling.strides import axes_in_memory, in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tinygrad_wb.compiling.codegen import FastForm

__all__ = ["ARRAYS", "ELEMENTWISE", "REDUCED", "VIEWS", "elementwise", "with_products"]

SHORT = 1 << 12  # elements up to which BLAS adds up as well as NumPy does, and starts sooner
NARROW = 64  # columns up to which the largest of each row is found quicker in a transposed copy
SMALL = 1 << 16  # elements up to which that copy stays in the cache

ELEMENTWISE = {
    "absolute", "add", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cbrt", "ceil", "cos",
    "cosh", "divide", "equal", "exp", "expm1", "floor", "floor_divide", "greater", "greater_equal", "hypot", "isfinite",
    "less", "less_equal", "log", "log10", "log1p", "log2", "logaddexp", "logical_and", "maximum", "minimum", "mod",
    "multiply", "negative", "not_equal", "power", "reciprocal", "rint", "sign", "sin", "sinh", "sqrt", "square",
    "subtract", "tan", "tanh", "trunc",
}  # fmt: skip
VIEWS = {"broadcast_to", "getitem", "reshape", "transpose"}
VDOT = SimpleNamespace(name="vdot", numpy="np.vdot({a}, {b})", scalar=None)


def with_products(steps: Sequence[Step]) -> list[Step]:
    """Sums of products that are used for nothing else as one step: the dot product of the two."""
    out, folded = [], set()
    for step in steps:
        if step.op.name == "sum" and step.number and type(step.inputs[0]) is Step:
            (product,) = step.inputs
            pair = product.inputs * 2 if product.op.name == "square" else product.inputs
            if (
                product.op.name in ("multiply", "square")
                and product.uses == 1
                and all(map(_plain, pair, (product,) * 2))
            ):
                step.inputs, step.op = pair, VDOT
                folded.add(product)
        out.append(step)
    return [step for step in out if step not in folded]


def _plain(x: Any, like: Step) -> bool:
    data = data_of(x)
    return (
        isinstance(data, np.ndarray)
        and data.shape == like.data.shape
        and data.dtype == like.data.dtype
        and data.dtype.char in "fd"
        and data.flags.c_contiguous
        and type(x) is Step
    )


def elementwise(form: FastForm, step: Step) -> bool:
    name = step.op.name
    whole = name in ("maximum", "minimum")
    operands = [form._weak(x, step, whole) for x in step.inputs]
    place = form._place(step, step.inputs, as_numpy=True)
    form.lines.append(
        f"{form._function(name, getattr(np, name))}({', '.join(operands)}, {'out=' if whole else ''}{place})"
    )
    return True


def _sum(form: FastForm, step: Step) -> bool:
    (a,) = step.inputs
    data, axis, keepdims = data_of(a), step.options["axis"], step.options["keepdims"]
    matrix = _as_matrix(form, a, axis) if data.dtype.kind == "f" and data.dtype.itemsize >= 4 and data.size else None
    if matrix is None:
        return _reduce(form, step, "add")
    # The product with a row of ones adds up too, and BLAS is quicker at it.
    text, shape, side = matrix
    ones = row_of_ones(form, shape[side], data.dtype)
    place = form._place(step)
    if keepdims or step.data.ndim > 1:
        place = form._seen_as(place, (-1,))
    pair = (ones, text) if side == 0 else (text, ones)
    form.lines.append(f"{form._function('dot', np.dot)}({', '.join(pair)}, {place})")
    return True


def _as_matrix(form: FastForm, a: Any, axis: Any) -> tuple[str, tuple[int, int], int] | None:
    """An array as a matrix, its shape, and which of the two is ``axis``, if that lies outermost or innermost."""
    data, text = data_of(a), form._text(a)
    axes = normalize_axis_tuple(axis if axis is not None else range(data.ndim), data.ndim)
    memory = form.namespace.get(text) if data.ndim != 2 else data
    if len(axes) in (0, data.ndim) or not isinstance(memory, np.ndarray):
        return None
    order = axes_in_memory(memory) if data.ndim != 2 else (0, 1)
    kept = [i for i in order if i not in axes]
    if kept != sorted(kept) or {*axes} not in ({*order[: len(axes)]}, {*order[len(kept) :]}):
        return None
    side = int(order[0] in kept)
    split = len(kept) if side else len(axes)
    shape = math.prod(data.shape[i] for i in order[:split]), math.prod(data.shape[i] for i in order[split:])
    if data.ndim == 2:
        return text, shape, side
    if not in_order(memory).flags.c_contiguous:
        return None
    return form._kept(in_order(memory).reshape(shape)), shape, side


def _reduce(form: FastForm, step: Step, ufunc: str) -> bool:
    (a,) = step.inputs
    axis, keepdims = step.options["axis"], step.options["keepdims"]
    name = form._function(f"{ufunc}_reduce", getattr(np, ufunc).reduce)
    data, text = data_of(a), form._text(a)
    matrix = _as_matrix(form, a, axis) if ufunc != "add" and data.size <= SMALL else None
    if matrix is not None and matrix[2] == 1 and 1 < matrix[1][1] <= NARROW:
        whole, shape, _ = matrix
        memory = np.empty(shape[::-1], data.dtype)
        columns, turned = form._kept(memory, "t"), form._kept(memory.T)
        place = form._place(step)
        if keepdims or step.data.ndim > 1:
            place = form._seen_as(place, (-1,))
        form.lines.append(f"{form._function('copyto', np.copyto)}({turned}, {whole})")
        form.lines.append(f"{name}({columns}, 0, None, {place})")
        return True
    if ufunc in ("maximum", "minimum"):
        # With a place given, NumPy before 2.1.4 is wrong along reversed axes, and all are slow across rows.
        form.called[step] = place = form.names.numbered("a")
        form.lines.append(f"{place} = {name}({text}, {axis!r}, None, None, {keepdims})")
        return True
    form.lines.append(f"{name}({text}, {axis!r}, None, {form._place(step)}, {keepdims})")
    return True


def _mean(form: FastForm, step: Step) -> bool:
    if step.data.dtype.itemsize < 4 or not step.data.size:
        return False  # NumPy adds up float16 in float32
    count = float(data_of(step.inputs[0]).size / step.data.size)
    if not _sum(form, step):
        return False
    place = form.called[step]
    name = form._kept(np.array(count, step.data.dtype), "c")
    form.lines.append(f"{form._function('divide', np.divide)}({place}, {name}, {place})")
    return True


def _one_hot(form: FastForm, step: Step) -> bool:
    (labels,) = step.inputs
    if np.ndim(data_of(labels)) != 1 or not step.data.size:
        return False
    classes, dtype = step.options["classes"], np.dtype(step.options["dtype"])
    rows = form._function(f"rows_{classes}_{dtype.name}", np.eye(classes, dtype=dtype).take)
    _refuse_negative(form, labels)
    form.lines.append(f"{rows}({form._text(labels)}, 0, {form._place(step)})")  # which refuses what is too large
    return True


def _pick(form: FastForm, step: Step) -> bool:
    """Entries of rows, by their place in all rows laid end to end."""
    a, labels = step.inputs
    (rows, classes), text = data_of(a).shape, form._text(labels)
    fits = type(a) is Step and a.data.flags.c_contiguous and data_of(labels).dtype == np.intp and step.data.size
    if not fits:
        return False
    _refuse_negative(form, labels)
    if not any(x.op.name == "one_hot" and x.inputs[0] is labels for x in form.plan.steps):  # which refuses them as well
        greatest = form._function("maximum_reduce", np.maximum.reduce)
        form.lines.append(f"if {greatest}({text}) >= {classes}: raise IndexError")
    places = form._kept(np.empty(rows, np.intp), "places")
    starts = form._kept(np.arange(0, rows * classes, classes), "starts")
    form.lines.append(f"{form._function('add', np.add)}({starts}, {text}, {places})")
    form.lines.append(f"{form._text(a)}.take({places}, None, {form._place(step)}, 'clip')")
    return True


def _first_equal(form: FastForm, step: Step) -> bool:
    """Along the axis, what is equal and has not been found before."""
    (a, b), axis = step.inputs, step.options["axis"]
    data = data_of(a)
    if not data.size or data.shape != step.data.shape or not type(a) is type(b) is Step:
        return False
    left, right, place = form._text(a), form._text(b), form._place(step, as_numpy=True)
    form.lines.append(f"{form._function('equal', np.equal)}({left}, {right}, {place})")
    differs, either = form._function("not_equal", np.not_equal), form._function("logical_or", np.logical_or)
    form.lines.append(f"if {differs}({right}, {right}).any(): {either}({place}, {differs}({left}, {left}), {place})")
    first, *later = np.moveaxis(form.namespace[place], axis, 0)
    unfound = form._kept(np.empty_like(first), "unfound")
    form.lines.append(f"{form._function('logical_not', np.logical_not)}({form._kept(first, 'part')}, {unfound})")
    for part in later:
        name = form._kept(part, "part")
        form.lines.append(f"{form._function('logical_and', np.logical_and)}({name}, {unfound}, {name})")
        form.lines.append(f"{form._function('greater', np.greater)}({unfound}, {name}, {unfound})")
    return True


def _refuse_negative(form: FastForm, labels: Any) -> None:
    """NumPy would take a negative label from the end. Refused, the function itself is run, and says what is wrong."""
    if ("labels", labels) not in form._constants:
        text = form._constants["labels", labels] = form._text(labels)
        form.lines.append(f"if {form._function('minimum_reduce', np.minimum.reduce)}({text}) < 0: raise IndexError")


def _total(form: FastForm, step: Step) -> str:
    (a,) = step.inputs
    data, text = data_of(a), form._text(a)
    ours = type(a) is Step and not a.number and data.dtype.char in "fd" and data.flags.c_contiguous
    if ours and 0 < data.size <= SHORT:
        return f"float({form._function('vdot', np.vdot)}({row_of_ones(form, data.size, data.dtype)}, {text}))"
    return f"float({form._function('add_reduce', np.add.reduce)}({text}, None))"


def _full_mean(form: FastForm, step: Step) -> str:
    data = data_of(step.inputs[0])
    return (
        "" if not isinstance(data, np.ndarray) or data.dtype.itemsize < 4 else f"{_total(form, step)} / {data.size}.0"
    )


def _vdot(form: FastForm, step: Step) -> str:
    a, b = map(form._text, step.inputs)
    return f"float({form._function('vdot', np.vdot)}({a}, {b}))"


ARRAYS: dict[str, Callable[[FastForm, Step], bool]] = {
    "matmul": matmul,
    "sum": _sum,
    "mean": _mean,
    "max": functools.partial(_reduce, ufunc="maximum"),
    "min": functools.partial(_reduce, ufunc="minimum"),
    "prod": functools.partial(_reduce, ufunc="multiply"),
    "one_hot": _one_hot,
    "pick": _pick,
    "first_equal": _first_equal,
    "unfold": unfold,
    "fold": fold,
}
REDUCED: dict[str, Callable[[FastForm, Step], str]] = {"sum": _total, "mean": _full_mean, "vdot": _vdot}
