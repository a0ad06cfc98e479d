"""Finite differences: the slope of a function along a line, measured without any derivative.

A difference over a step says nothing about the slope where the function bends sharply within that step. So what
contradicts a slope at first is looked at again with smaller steps, and on either side of the point.
"""

from __future__ import annotations

import itertools
from math import isfinite, nan
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.value import Value, raw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Comparison", "Line", "compared"]

# Five points, so that the truncation error is of order ε⁴: about 1e-14 at the first step, below the rounding error of
# 1e-12. The smaller steps are for points beside a kink or a pole.
STEPS = (2e-4, 2e-5, 2e-6, 2e-7, 2e-8)
WEIGHTS = ((1.0, 8.0 / 12.0), (-1.0, -8.0 / 12.0), (2.0, -1.0 / 12.0), (-2.0, 1.0 / 12.0))
SIDE_STEP = 2e-6
EPSILON = float(np.finfo(np.float64).eps)


class Line:
    """u·f along a straight line: a function of t, in which argument i is xᵢ + t·direction."""

    def __init__(self, f: Callable[..., Any], points: Sequence[Any], i: int, direction: Any, u: Any) -> None:
        self.f, self.points, self.i, self.direction, self.u = f, points, i, direction, u

    def __call__(self, t: float) -> float:
        return float(np.vdot(self._result(t), self.u))

    def _result(self, t: float) -> Any:
        moved = [Value(x + self.direction * t if j == self.i else x) for j, x in enumerate(self.points)]
        return raw(self.f(*moved))

    def slope(self, step: float = STEPS[0]) -> float:
        """The slope at t = 0, from two points on either side."""
        total = 0.0
        for steps, weight in WEIGHTS:
            total += weight * self(step * steps)
        return total / step

    def sides(self, step: float) -> tuple[float, float]:
        """The slope at t = 0 as seen from the left alone, and from the right alone: at a kink they differ."""
        here = self(0.0)
        left, right = ((4.0 * self(t) - self(2.0 * t) - 3.0 * here) / (2.0 * t) for t in (-step, step))
        return left, right

    def rounding(self, step: float) -> float:
        """How far the rounding of f's result can put a slope off that is measured over ``step``."""
        return EPSILON * float(np.vdot(np.abs(self._result(0.0)), np.abs(self.u))) / step


class Comparison(NamedTuple):
    """What finite differences say to a slope: the one that they measure, and whether the two agree.

    Where they do not, ``left`` and ``right`` are the slopes on either side of the point. ``bend`` is "kink" where these
    differ and the given slope lies between them, and "jump" where the function has another value right beside the
    point: there finite differences can't judge. Otherwise it is "", and the given slope is wrong.
    """

    measured: float
    agrees: bool
    left: float = nan
    right: float = nan
    bend: str = ""


def compared(line: Line, slope: float, scale: float, rtol: float, atol: float) -> Comparison:
    """Hold ``slope`` against finite differences along ``line``: agreement at one of the steps is enough.

    Rounding is in proportion to what is summed, ``scale``, and not to the sum, which may cancel.
    """
    measured: list[float] = []

    def agrees(step: float, *slopes: float) -> bool:
        tolerance = atol + rtol * max(scale, *map(abs, slopes))
        # A smaller step must not compare rounding errors.
        fine = step == STEPS[0] or not line.rounding(step) > tolerance
        return fine and isfinite(slope) and all(abs(slope - near) <= tolerance for near in slopes)

    for step in STEPS:
        near = line.slope(step)
        if agrees(step, near):
            return Comparison(near, True)
        measured.append(near)
    left, right = line.sides(SIDE_STEP)
    if agrees(SIDE_STEP, left, right):  # at a kink of the slope
        return Comparison((left + right) / 2.0, True)
    return Comparison(_settled(measured), False, left, right, _bend(line, slope, left, right))


def _bend(line: Line, slope: float, left: float, right: float) -> str:
    size, noise = abs(left) + abs(right), 1e3 * line.rounding(SIDE_STEP)
    closer = sum(map(abs, line.sides(SIDE_STEP / 10.0)))
    if size > noise and closer > 5.0 * size:  # over a tenth of the step: the difference stays, however small the step
        return "jump"
    margin = 1e-4 * size
    between = min(left, right) - margin <= slope <= max(left, right) + margin
    return "kink" if abs(left - right) > 1e-6 * size + noise and between else ""


def _settled(slopes: list[float]) -> float:
    """The slope that the next smaller step confirms; if none is, the last that is a number."""
    for near, nearer in itertools.pairwise(slopes):
        if abs(near - nearer) <= 1e-4 * max(abs(near), abs(nearer)):
            return near
    return next((near for near in reversed(slopes) if isfinite(near)), slopes[0])
