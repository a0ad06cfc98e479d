"""Learning-rate schedules: functions from the number of steps taken to η, given as ``learning_rate``.

A step is one call of ``optimizer.step()``: one batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CosineDecay", "StepDecay", "WarmUp"]


@dataclass(frozen=True)
class StepDecay:
    """``initial``, multiplied by ``factor`` after every ``every`` steps.

    >>> import tinygrad_wb as wb
    >>> schedule = wb.StepDecay(0.1, every=10, factor=0.5)
    >>> schedule(9), schedule(10)
    (0.1, 0.05)
    """

    initial: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"StepDecay: every must be at least one step, got {self.every}")

    def __call__(self, step: int) -> float:
        return self.initial * self.factor ** (step // self.every)


@dataclass(frozen=True)
class CosineDecay:
    """From ``initial`` down to ``final`` along half a cosine, over ``steps`` steps, then level (Loshchilov, 2017).

    >>> import tinygrad_wb as wb
    >>> schedule = wb.CosineDecay(1.0, steps=100)
    >>> schedule(0), round(schedule(50), 9), schedule(100)
    (1.0, 0.5, 0.0)
    """

    initial: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"CosineDecay: steps must be at least 1, got {self.steps}")

    def __call__(self, step: int) -> float:
        done = min(step / self.steps, 1.0)
        return self.final + (self.initial - self.final) * 0.5 * (1.0 + math.cos(math.pi * done))


@dataclass(frozen=True)
class WarmUp:
    """Up to the start of ``then`` in a straight line over ``steps`` steps; after that, ``then``: a schedule or number.

    >>> import tinygrad_wb as wb
    >>> schedule = wb.WarmUp(steps=4, then=0.8)
    >>> [round(schedule(step), 9) for step in range(6)]
    [0.2, 0.4, 0.6, 0.8, 0.8, 0.8]
    """

    steps: int
    then: float | Callable[[int], float]

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"WarmUp: steps must be at least 1, got {self.steps}")

    def __call__(self, step: int) -> float:
        if step < self.steps:
            return self._then(0) * (step + 1) / self.steps
        return self._then(step - self.steps)

    def _then(self, step: int) -> float:
        return float(self.then(step) if callable(self.then) else self.then)
