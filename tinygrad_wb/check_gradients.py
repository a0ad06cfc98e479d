"""`check_gradients`: derivatives held against finite differences.

For a function f, directions vᵢ of the inputs and a weighting u of the result, the two sides of

    u · (f(x + εv) - f(x - εv)) / 2ε   =   Σᵢ vᵢ · ∂(u·f)/∂xᵢ

must agree. One random direction tests every element at once, because a wrong partial would have to be orthogonal
to it by chance; each input has its own direction, so that errors can't cancel between inputs. Order 2 asks the
same of the function (x, u) → v · ∂(u·f)/∂x, and so on. The weighting is what the partials are given as g: its
derivative is there only if each of them keeps the history of g.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.backprop import pull_back
from tinygrad_wb.derivatives import checked
from tinygrad_wb.differences import Comparison, Line, compared
from tinygrad_wb.errors import GradientError
from tinygrad_wb.foreign import as_array
from tinygrad_wb.operations.reductions import sum
from tinygrad_wb.recording import recording
from tinygrad_wb.value import Value, raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["check_gradients"]

LOOKS = 20  # calls at one point, to tell a random function
MOST_ELEMENTS = 10_000  # of an argument, to look at each of them


class _Argument(NamedTuple):
    """What a derivative is taken by: an argument of the user's function, or the weighting of its result."""

    name: str
    point: Any
    remark: str = ""  # what a wrong derivative by it tells


def check_gradients(
    f: Callable[..., Any], *args: Any, order: int = 2, rtol: float = 1e-6, atol: float = 1e-8, seed: int = 0
) -> None:
    """Raise `GradientError` unless f's derivatives, up to ``order``, agree with finite differences at ``args``.

    Every argument is a number or array, taken in float64; f returns one Value, of any shape, and the same one each
    time. At a kink (relu at 0) finite differences can't judge, and the error says so: check beside it. An argument that
    f holds fixed belongs into a lambda.

    >>> import tinygrad_wb as wb
    >>> wb.check_gradients(lambda a, b: wb.tanh(a) * b, [0.1, 0.2], 3.0)
    """
    if order < 1 or not args:
        raise ValueError(
            f"check_gradients(f, *args, order): needs an argument and order ≥ 1, got {len(args)} and {order}"
        )
    points = [as_array(raw(x)).astype(np.float64) for x in args]
    for i, point in enumerate(points):
        if not np.isfinite(point).all():
            raise ValueError(f"check_gradients: argument {i} is not finite, nothing can be compared there")
    arguments = [_Argument(f"argument {i}", point) for i, point in enumerate(points)]
    with recording(True):
        _check(f, arguments, 1, order, rtol, atol, np.random.default_rng(seed))


def _check(
    f: Callable[..., Any],
    arguments: list[_Argument],
    n: int,
    order: int,
    rtol: float,
    atol: float,
    rng: np.random.Generator,
) -> None:
    points = [argument.point for argument in arguments]
    inputs = [Value(x) for x in points]
    result = checked(f, f(*inputs))
    if not isinstance(result, Value):
        result = Value(result)  # it does not depend on its inputs: all derivatives must be 0
    u = _like(result, rng.uniform(0.5, 1.5, result.shape) * rng.choice([-1.0, 1.0], result.shape))
    gradients = pull_back(result, u)
    # Along large numbers larger steps: a small one would be lost in their rounding.
    directions = [
        rng.uniform(0.5, 1.5, x.shape) * rng.choice([-1.0, 1.0], x.shape) * np.maximum(1.0, np.abs(x)) for x in points
    ]

    for i, x in enumerate(inputs):
        gradient = np.asarray(gradients.get(x, np.zeros(x.shape)))
        slope = float(np.vdot(gradient, directions[i]))
        scale = float(np.vdot(np.abs(gradient), np.abs(directions[i])))
        found = compared(Line(f, points, i, directions[i], u), slope, scale, rtol, atol)
        if found.agrees:
            continue
        of = f"order {n}, {arguments[i].name}"
        if not np.isfinite(found.measured):
            raise GradientError(
                f"{of}: finite differences are {found.measured} here, so nothing can be compared; "
                "is the point at the edge of where the function is defined?"
            )
        _refuse_random(f, points)
        raise GradientError(
            f"{of} of shape {x.shape}: {_complaint(f, arguments, i, n, gradient, u, slope, found, rtol, atol)}"
        )

    if n < order:
        fixed = [_like(x, v) for x, v in zip(inputs, directions, strict=True)]

        def slope_of(*given: Value) -> Any:
            # v · ∂(u·f)/∂x, as a function of x and u that can itself be differentiated
            *xs, weighting = given
            y = f(*xs)
            if not isinstance(y, Value):
                return 0.0
            found = pull_back(y, weighting, record=True)
            return _total([sum(found[x] * v) for x, v in zip(xs, fixed, strict=True) if x in found])

        weighting = _Argument("the weighting g", np.asarray(u), HISTORY_OF_G)
        _check(slope_of, [*arguments, weighting], n + 1, order, rtol, atol, rng)


HISTORY_OF_G = (
    ". g is what the partials are given; the first derivative is right, so one of them loses the history of g, as "
    "raw(g) and g.data do"
)


def _total(terms: list[Any]) -> Any:
    total: Any = 0.0
    for term in terms:
        total = total + term
    return total


def _like(x: Value, v: Any) -> Any:
    return float(v) if x.shape == () else v


def _refuse_random(f: Callable[..., Any], points: list[Any]) -> None:
    """Raise where f gives another result for the same arguments: then no difference of two results is a slope."""
    first = np.asarray(raw(f(*map(Value, points))))
    for _ in range(LOOKS):
        again = np.asarray(raw(f(*map(Value, points))))
        if not np.allclose(first, again, rtol=1e-9, atol=1e-12, equal_nan=True):  # more than rounding
            at = tuple(np.argwhere(first != again)[0])
            raise GradientError(
                "the function is random, so finite differences can't be taken: called twice at the same point, it "
                f"gave {first[at]:.6g} and then {again[at]:.6g}{' at ' * bool(at)}{_index(at)}. Let it draw the same "
                "numbers each time: seed the generator inside the function, as in wb.dropout(x, 0.5, seed=0), or turn "
                "the model's dropout off by model.eval()"
            )


def _complaint(
    f: Callable[..., Any], arguments: list[_Argument], i: int, n: int, gradient: Any, u: Any, slope: float,
    found: Comparison, rtol: float, atol: float,
) -> str:  # fmt: skip
    """What is wrong: both slopes, and the element that differs most; or that the point is at a kink."""
    name, point, remark = arguments[i]
    wrong = (
        f"the gradient gives a slope of {slope:.9g} along a random direction, "
        f"finite differences give {found.measured:.9g}"
    )
    bends = []
    if point.size <= MOST_ELEMENTS:
        points = [argument.point for argument in arguments]
        for index, got, one in _contradicted(f, points, i, gradient, u, rtol, atol):
            where = f"{name}{_index(index)}"
            if not one.bend:
                return f"{wrong}. Worst at {where}: {got:.9g}, should be {one.measured:.9g}{remark}"
            bends.append((f"at {where}", got, one))
    if found.bend:
        bends.append((f"along a random direction from {name}", slope, found))
    return _at_kink(n, *bends[0]) if bends else f"{wrong}{remark}"


def _contradicted(
    f: Callable[..., Any], points: list[Any], i: int, gradient: Any, u: Any, rtol: float, atol: float
) -> Iterator[tuple[tuple[int, ...], float, Comparison]]:
    """The elements of argument i where finite differences contradict ``gradient``, the worst first."""

    def line(index: tuple[int, ...]) -> Line:
        one = np.zeros(points[i].shape)
        one[index] = 1.0
        return Line(f, points, i, one, u)

    every = list(np.ndindex(*points[i].shape))
    gaps = [abs(gradient[index] - line(index).slope()) for index in every]
    for k in np.argsort(-np.nan_to_num(gaps, nan=np.inf), kind="stable"):
        got = float(gradient[every[k]])
        if not (found := compared(line(every[k]), got, abs(got), rtol, atol)).agrees:
            yield every[k], got, found


def _at_kink(n: int, where: str, got: float, found: Comparison) -> str:
    """That finite differences can't judge at a point like this, and why."""
    whose, bend = "the function", "has a kink" if found.bend == "kink" else "jumps"
    if n > 1:
        whose = f"the point is at a kink of the function: its derivative of order {n - 1}"
    sides = (
        f"; {where} the slope of the result (weighted at random) is {found.left + 0.0:.6g} on the left and "
        f"{found.right + 0.0:.6g} on the right, and the gradient, {got + 0.0:.6g}, is between them"
    )
    return (
        f"{whose} {bend} there, so finite differences can't judge the gradient{sides if found.bend == 'kink' else ''}. "
        "Check at a point beside it"
    )


def _index(index: Any) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""
