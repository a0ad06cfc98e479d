"""Derivatives of functions, as functions: `grad`, `value_and_grad`, `jacobian`, `hessian`, `hvp`.

They leave every ``.grad`` alone, and they nest: where Values are behind the result, as arguments or closed over,
they return a Value that remembers it, so that ``grad(grad(f))`` is the second derivative; otherwise plain data.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.backprop import history, pull_back, refuse_lost_history
from tinygrad_wb.decorated import derived
from tinygrad_wb.errors import ShapeError
from tinygrad_wb.on_gradient import with_stops
from tinygrad_wb.operations.arithmetic import positive
from tinygrad_wb.operations.joining import stack
from tinygrad_wb.operations.reductions import sum
from tinygrad_wb.operations.shaping import reshape, shape_of
from tinygrad_wb.recording import is_recording, recording, tracing
from tinygrad_wb.value import Value, constant, raw

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["checked", "grad", "hessian", "hvp", "jacobian", "value_and_grad"]


def backward_pass(result: Value, seed: Any, record: bool) -> dict[Value, Any]:
    """Every derivative here comes from this function. While a script is stepped through, it is another one."""
    return pull_back(result, seed, record, with_stops)


class _Trace:
    """One run of f on a Value of its own, ``x``.

    Of a given Value, x is a copy that remembers it. If other Values than x are behind the result, given or closed
    over, the derivative depends on them too: then the partials are recorded, and the derivative is a Value.
    """

    def __init__(self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: Any, argnum: int) -> None:
        if not isinstance(argnum, int) or not -len(args) <= argnum < len(args):
            raise TypeError(f"{_called(f)} was called with {len(args)} arguments: there is no argument number {argnum}")
        given = args[argnum]
        tracked = is_recording()
        with tracing():
            self.x = positive(given) if isinstance(given, Value) else _leaf(f, given, argnum)
            changed = list(args)
            changed[argnum] = self.x
            self.result = checked(f, f(*changed, **kwargs))
        others = isinstance(given, Value) or _has_older_leaves(self.result, self.x)
        self.record = tracked and others

    def slope(self, seed: Any) -> Any:
        """∂result/∂x, weighted by ``seed``; zeros where the result does not depend on x."""
        x = self.x
        with recording(True):
            found = backward_pass(self.result, seed, self.record) if type(self.result) is Value else {}
            return self._told(found.get(x, 0.0 if x.shape == () else np.zeros(x.shape, x.dtype)))

    def value(self) -> Any:
        return self._told(self.result)

    def _told(self, answer: Any) -> Any:
        """A Value where the derivative is one, also when this answer happens to be constant."""
        if not self.record:
            return raw(answer)
        return answer if isinstance(answer, Value) else Value(answer)


def _leaf(f: Callable[..., Any], given: Any, argnum: int) -> Value:
    """A Value of an argument that is a number or an array; ``TypeError`` for anything else, with the way round."""
    try:
        return Value(given)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"argument {argnum} of {_called(f)} is a {type(given).__name__}, and a derivative is by one number or "
            "array: give parameters as separate arguments and choose one by argnum=, or make each a Value and call "
            f"backward() on the result, which fills the .grad of all of them. Got {given!r:.60} ({error})"
        ) from None


def _has_older_leaves(result: Any, x: Value) -> bool:
    """Whether Values that were there before x, and so before f ran, are behind the result."""
    if not isinstance(result, Value):
        return False
    behind = [result, *(i for node in history(result) for i in node.inputs)]
    return any(isinstance(v, Value) and not v.inputs and v.tick < x.tick for v in behind)


def _function(f: Any) -> Callable[..., Any]:
    if not callable(f):
        raise TypeError(
            f"a function is wanted, got {f!r:.80}; of a loss that is computed already, call loss.backward()"
        )
    return f  # type: ignore[no-any-return]


def checked(f: Callable[..., Any], result: Any) -> Any:
    """What f returned, if it can have a derivative: a Value, or a plain number or array (whose derivative is 0)."""
    if isinstance(result, Value):
        if not result.inputs:
            refuse_lost_history(result, f"the derivative of {_called(f)}")
        return result
    if isinstance(result, (int, float, np.ndarray, np.generic)) and np.asarray(result).dtype.kind in "fiu":
        return result
    if result is None:
        remedy = "is a return missing?"
    elif isinstance(result, (list, tuple)):
        remedy = "return one Value: wb.stack([…]) makes one of several"
    else:
        remedy = "return the Value that was computed from the argument"
    raise TypeError(f"{_called(f)} returned {result!r:.80}, which has no derivative; {remedy}")


def _called(f: Callable[..., Any]) -> str:
    return getattr(f, "__name__", "the function") + "()"


def value_and_grad(f: Callable[..., Any], argnum: int = 0) -> Callable[..., tuple[Any, Any]]:
    """A function that returns f's value and its gradient by argument number ``argnum``.

    f must return one number; the gradient has the argument's shape.

    >>> import tinygrad_wb as wb
    >>> wb.value_and_grad(lambda x: wb.sin(x) * x)(0.0)
    (0.0, 0.0)
    """

    @derived(value_and_grad, _function(f), argnum)
    def both(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        trace = _Trace(f, args, kwargs, argnum)
        if shape_of(trace.result) != ():
            raise ShapeError(
                f"grad: {_called(f)} returned shape {shape_of(trace.result)}, a gradient is of one number; "
                "reduce it (.sum(), .mean()) or use jacobian"
            )
        return trace.value(), trace.slope(1.0)

    return both


def grad(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function that returns the gradient of f by argument number ``argnum``.

    >>> import tinygrad_wb as wb
    >>> wb.grad(wb.grad(lambda x: x**3))(2.0)
    12.0
    """
    both = value_and_grad(_function(f), argnum)

    @derived(grad, f, argnum)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


def jacobian(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function that returns ∂fᵢ/∂xⱼ for every element: of the result's shape followed by the argument's.

    >>> import tinygrad_wb as wb
    >>> wb.jacobian(lambda x: x * x)([1.0, 2.0])
    array([[2., 0.],
           [0., 4.]])
    """

    @derived(jacobian, _function(f), argnum)
    def full(*args: Any, **kwargs: Any) -> Any:
        trace = _Trace(f, args, kwargs, argnum)
        shape = shape_of(trace.result)
        if shape == ():
            return trace.slope(1.0)
        size = math.prod(shape)
        if size == 0:
            return np.zeros(shape + trace.x.shape, trace.x.dtype)
        seeds = np.eye(size, dtype=raw(trace.result).dtype).reshape(size, *shape)
        return reshape(stack([trace.slope(seed) for seed in seeds]), shape + trace.x.shape)

    return full


def hessian(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function that returns ∂²f/∂xᵢ∂xⱼ: of the argument's shape, twice.

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

    @derived(hvp, f, argnum)
    def product(*args: Any, **kwargs: Any) -> Any:
        if len(args) < 2:
            raise ShapeError("hvp: give the arguments of the function, and last the direction v, of argument's shape")
        *inputs, v = args
        if -len(inputs) <= argnum < len(inputs) and shape_of(v) != shape_of(inputs[argnum]):
            raise ShapeError(
                f"hvp: the direction has shape {shape_of(v)}, argument {argnum} {shape_of(inputs[argnum])}; "
                "they must be the same"
            )
        v = v if isinstance(v, Value) else constant(v)
        return grad(lambda *xs: sum(gradient(*xs, **kwargs) * v), argnum)(*inputs)

    return product
