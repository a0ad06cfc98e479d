"""Derivatives of functions, as functions: `grad`, `value_and_grad`, `jacobian`, `hessian`, `hvp`.

They leave every ``.grad`` alone, and they nest: given a Value they return a Value, so that
``grad(grad(f))`` is the second derivative.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.backprop import itself, pull_back
from tinygrad_wb.errors import ShapeError
from tinygrad_wb.operations.arithmetic import positive
from tinygrad_wb.operations.reductions import sum
from tinygrad_wb.operations.shaping import reshape, shape_of, stack
from tinygrad_wb.value import Value, raw, recording

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["grad", "hessian", "hvp", "jacobian", "value_and_grad"]


def _trace(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: Any, argnum: int
) -> tuple[Value, Any, Callable[[Any], Any]]:
    """Run f on a Value of its own: that Value, the result, and how to read the graph between them.

    Of a Value, the new one is a copy that remembers it, so that derivatives of derivatives reach it.
    """
    if not -len(args) <= argnum < len(args):
        raise TypeError(f"{_called(f)} was called with {len(args)} arguments: there is no argument number {argnum}")
    args_list = list(args)
    given = args_list[argnum]
    args_list[argnum] = x = positive(given) if type(given) is Value else Value(given)
    return x, f(*args_list, **kwargs), itself if type(given) is Value else raw


def _called(f: Callable[..., Any]) -> str:
    return getattr(f, "__name__", "the function") + "()"


def _slope(x: Value, result: Any, seed: Any, read: Callable[[Any], Any]) -> Any:
    """∂result/∂x, weighted by seed; zeros where the result does not depend on x."""
    if type(result) is Value:
        d = pull_back(result, seed, read).get(x)
        if d is not None:
            return d
    return 0.0 if x.shape == () else np.zeros(x.shape, x.dtype)


def value_and_grad(f: Callable[..., Any], argnum: int = 0) -> Callable[..., tuple[Any, Any]]:
    """A function that returns f's value and its gradient by argument number ``argnum``.

    f must return one number; the gradient has the argument's shape.

    >>> import tinygrad_wb as wb
    >>> wb.value_and_grad(lambda x: wb.sin(x) * x)(0.0)
    (0.0, 0.0)
    """

    @functools.wraps(f)
    def both(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        with recording(True):
            x, result, read = _trace(f, args, kwargs, argnum)
            if shape_of(result) != ():
                raise ShapeError(
                    f"grad: {_called(f)} returned shape {shape_of(result)}, a gradient is of one number; "
                    "reduce it (.sum(), .mean()) or use jacobian"
                )
            return (result if read is itself else raw(result)), _slope(x, result, 1.0, read)

    return both


def grad(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function that returns the gradient of f by argument number ``argnum``.

    >>> import tinygrad_wb as wb
    >>> wb.grad(wb.grad(lambda x: x**3))(2.0)
    12.0
    """
    both = value_and_grad(f, argnum)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


def jacobian(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function that returns ∂fᵢ/∂xⱼ for every element: shape (*shape of f's result, *shape of the argument).

    >>> import tinygrad_wb as wb
    >>> wb.jacobian(lambda x: x * x)([1.0, 2.0])
    array([[2., 0.],
           [0., 4.]])
    """

    @functools.wraps(f)
    def full(*args: Any, **kwargs: Any) -> Any:
        with recording(True):
            x, result, read = _trace(f, args, kwargs, argnum)
            shape = shape_of(result)
            if shape == ():
                return _slope(x, result, 1.0, read)
            seeds = np.eye(int(np.prod(shape)), dtype=raw(result).dtype).reshape(-1, *shape)
            rows = [_slope(x, result, seed, read) for seed in seeds]
            return reshape(stack(rows), shape + x.shape) if rows else np.zeros(shape + x.shape, x.dtype)

    return full


def hessian(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function that returns ∂²f/∂xᵢ∂xⱼ: shape (*shape of the argument, *shape of the argument).

    >>> import tinygrad_wb as wb
    >>> wb.hessian(lambda x: x[0] * x[0] * x[1])([1.0, 3.0])
    array([[6., 2.],
           [2., 0.]])
    """
    return jacobian(grad(f, argnum), argnum)


def hvp(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function of f's arguments and, last, a direction v: the Hessian times v, without forming the Hessian.

    It costs two backward passes, whatever the size (Pearlmutter, 1994).

    >>> import tinygrad_wb as wb
    >>> wb.hvp(lambda x: x[0] * x[0] * x[1])([1.0, 3.0], [1.0, 0.0])
    array([6., 2.])
    """
    gradient = grad(f, argnum)

    @functools.wraps(f)
    def product(*args: Any, **kwargs: Any) -> Any:
        *inputs, v = args
        if not inputs or shape_of(v) != shape_of(inputs[argnum]):
            raise ShapeError(
                f"hvp: the last argument is the direction, of the shape of argument {argnum}; "
                f"got shapes {[shape_of(a) for a in args]}"
            )
        return grad(lambda *xs: sum(gradient(*xs, **kwargs) * v), argnum)(*inputs)

    return product
