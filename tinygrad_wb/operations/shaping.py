"""The table of shaping: the same numbers, in the same order, under other axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.operation import operation, plain
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "astype", "broadcast_to", "expand_dims", "moveaxis", "ravel", "reshape", "squeeze", "swapaxes", "transpose",
]  # fmt: skip


def shape_of(x: Any) -> tuple[int, ...]:
    """Shape of a Value, a number or an array."""
    return x.shape if isinstance(x, Value) else np.shape(x)


@operation(numpy="np.reshape({a}, {shape})", da=lambda g, y, a, shape: reshape(g, shape_of(a)))
def reshape(a: Any, shape: Any) -> Any:
    """The same numbers, in the same order, in another shape; one length may be -1."""
    return plain(np.reshape(a, shape))


def _undo(axes: Any) -> Any:
    """The order that puts transposed axes back."""
    return None if axes is None else tuple(int(i) for i in np.argsort(np.mod(axes, np.size(axes)), axis=None))


def _transposed(axes: Any) -> str:
    return "{a}.T" if axes is None else "np.transpose({a}, {axes})"


@operation(numpy=_transposed, scalar="+{a}", da=lambda g, y, a, axes: transpose(g, _undo(axes)))
def transpose(a: Any, axes: Any = None) -> Any:
    """The axes in the order ``axes``; reversed by default."""
    return plain(np.transpose(a, axes))


@operation(numpy="np.broadcast_to({a}, {shape})", da=lambda g, y, a, shape: g)
def broadcast_to(a: Any, shape: Any) -> Any:
    """a, repeated along new axes and along those of length 1 until it has ``shape``."""
    return plain(np.array(np.broadcast_to(a, shape)))


@operation(numpy="{a}.astype({dtype})", scalar="+{a}", da=lambda g, y, a, dtype: g)
def astype(a: Any, dtype: Any) -> Any:
    """a as float16, float32 or float64; a scalar stays a Python float."""
    if np.dtype(dtype) not in (np.float16, np.float32, np.float64):
        raise TypeError(f"a Value holds float16, float32 or float64, not {dtype!r}")
    return a if type(a) is float else a.astype(dtype)


# -- reshape and transpose under the names that NumPy has for special cases -----------------------------------------


def _numpys(function: Callable[..., Any], dummy: Any, shape: tuple[int, ...], *args: Any) -> tuple[int, ...]:
    """The shape of NumPy's ``function(dummy, *args)``; ``dummy`` stands for an array of ``shape``."""
    try:
        return np.shape(function(dummy, *args))
    except ValueError as error:
        told = "".join(f", {x}" for x in args)
        kind = IndexError if isinstance(error, IndexError) else ShapeError
        raise kind(f"{function.__name__}(a{told}): a has shape {shape}; {error}") from None


def laid_out(a: Any, function: Callable[..., Any], *args: Any) -> tuple[int, ...]:
    """The shape that NumPy's ``function`` gives a, without a look at the numbers."""
    return _numpys(function, np.broadcast_to(0.0, shape_of(a)), shape_of(a), *args)


def _order(a: Any, function: Callable[..., Any], *args: Any) -> tuple[int, ...]:
    """The order that NumPy's ``function`` gives a's axes: if axis i had length i, it would be the result's shape."""
    return _numpys(function, np.empty(range(len(shape_of(a)))), shape_of(a), *args)


def expand_dims(a: Any, axis: Any) -> Any:
    """``reshape`` with new axes of length 1, which stand at ``axis`` in the result: an integer or a tuple."""
    return reshape(a, laid_out(a, np.expand_dims, axis))


def squeeze(a: Any, axis: Any = None) -> Any:
    """``reshape`` without axes of length 1: all of them, or those in ``axis``."""
    return reshape(a, laid_out(a, np.squeeze, axis))


def ravel(a: Any) -> Any:
    """``reshape`` to one axis; as a method also ``v.flatten()``."""
    return reshape(a, (-1,))


def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """``transpose`` with two axes exchanged."""
    return transpose(a, _order(a, np.swapaxes, axis1, axis2))


def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """``transpose`` with the axes ``source`` at ``destination`` (integers or tuples), the others in their order."""
    return transpose(a, _order(a, np.moveaxis, source, destination))


def matrices_transposed(a: Any) -> Any:
    """A stack of matrices, each transposed."""
    ndim = len(shape_of(a))
    return a.T if ndim == 2 else transpose(a, (*range(ndim - 2), ndim - 1, ndim - 2))
