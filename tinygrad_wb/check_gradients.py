"""`check_gradients`: derivatives held against finite differences.

For a function f, directions vᵢ of the inputs and a weighting u of the result, the two sides of

    u · (f(x + εv) - f(x - εv)) / 2ε   =   Σᵢ vᵢ · ∂(u·f)/∂xᵢ

must agree. One random direction tests every element at once, because a wrong partial would have to be orthogonal
to it by chance; each input has its own direction, so that errors can't cancel between inputs. Order 2 asks the
same of the function x → v · ∂(u·f)/∂x, and so on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.backprop import pull_back
from tinygrad_wb.errors import GradientError
from tinygrad_wb.foreign import as_array
from tinygrad_wb.operations.reductions import sum
from tinygrad_wb.recording import recording
from tinygrad_wb.value import Value, raw

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_gradients", "difference"]

# Five points, so that the truncation error is of order ε⁴: about 1e-14, below the rounding error of 1e-12.
STEP = 2e-4
WEIGHTS = ((1.0, 8.0 / 12.0), (-1.0, -8.0 / 12.0), (2.0, -1.0 / 12.0), (-2.0, 1.0 / 12.0))


def check_gradients(
    f: Callable[..., Any], *args: Any, order: int = 2, rtol: float = 1e-6, atol: float = 1e-8, seed: int = 0
) -> None:
    """Raise `GradientError` unless f's derivatives, up to ``order``, agree with finite differences at ``args``.

    Every argument is a number or array, taken in float64; f returns one Value, of any shape. At a kink (relu at 0) the
    two have no reason to agree: check beside it. An argument that f holds fixed belongs into a lambda.

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
    with recording(True):
        _check(f, points, 1, order, rtol, atol, np.random.default_rng(seed))


def _check(
    f: Callable[..., Any], points: list[Any], n: int, order: int, rtol: float, atol: float, rng: np.random.Generator
) -> None:
    inputs = [Value(x) for x in points]
    result = f(*inputs)
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
        exact = float(np.vdot(gradient, directions[i]))
        near = difference(f, points, i, directions[i], u)
        # Rounding is in proportion to what is summed, not to the sum, which may cancel.
        scale = float(np.vdot(np.abs(gradient), np.abs(directions[i])))
        if not np.isfinite(near):
            raise GradientError(
                f"order {n}, argument {i}: finite differences are {near} here, so nothing can be compared; "
                "is the point at the edge of where the function is defined?"
            )
        if not np.isfinite(exact) or not abs(exact - near) <= atol + rtol * max(scale, abs(near)):
            raise GradientError(_complaint(f, points, i, gradient, u, n, exact, near))

    if n < order:
        fixed = [_like(x, v) for x, v in zip(inputs, directions, strict=True)]

        def slope(*xs: Value) -> Any:
            # v · ∂(u·f)/∂x, as a function of x that can itself be differentiated
            y = f(*xs)
            if not isinstance(y, Value):
                return 0.0
            found = pull_back(y, u, record=True)
            return _total([sum(found[x] * v) for x, v in zip(xs, fixed, strict=True) if x in found])

        _check(slope, points, n + 1, order, rtol, atol, rng)


def _total(terms: list[Any]) -> Any:
    total: Any = 0.0
    for term in terms:
        total = total + term
    return total


def _like(x: Value, v: Any) -> Any:
    return float(v) if x.shape == () else v


def difference(f: Callable[..., Any], points: list[Any], i: int, direction: Any, u: Any) -> float:
    """The slope of u·f along ``direction`` of argument i, by finite differences."""
    total = 0.0
    for steps, weight in WEIGHTS:
        moved = [Value(x + direction * (STEP * steps) if j == i else x) for j, x in enumerate(points)]
        total += weight * float(np.vdot(raw(f(*moved)), u))
    return total / STEP


def _complaint(
    f: Callable[..., Any], points: list[Any], i: int, gradient: Any, u: Any, n: int, exact: float, near: float
) -> str:
    """The error's text: which derivative, both numbers, and the element that differs most."""
    text = (
        f"order {n}, argument {i} of shape {points[i].shape}: the gradient gives a slope of {exact:.9g} along a random "
        f"direction, finite differences give {near:.9g}"
    )
    if points[i].size > 10_000:
        return text
    each = np.empty(points[i].shape)
    for index in np.ndindex(*points[i].shape):
        one = np.zeros(points[i].shape)
        one[index] = 1.0
        each[index] = difference(f, points, i, one, u)
    worst = np.unravel_index(np.argmax(np.nan_to_num(np.abs(gradient - each), nan=np.inf)), points[i].shape)
    where = f"[{', '.join(map(str, worst))}]" if worst else ""
    return f"{text}. Worst at argument {i}{where}: {gradient[worst]:.9g}, should be {each[worst]:.9g}"
