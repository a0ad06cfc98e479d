"""Timing: what one turn gives, and how the time of a step is taken."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKED = 8  # first steps, whose losses are held against the reference: what compiles has compiled long before
QUICK = 4  # a short run times this fraction of the steps


@dataclass(frozen=True)
class Measured:
    """What one turn of one framework gave."""

    value: float
    losses: list[float]


def timed(step: Callable[[], Any], steps: int, seconds: float = 0.0) -> Measured:
    """The median time of one of ``steps`` steps, after the checked ones and a warm-up, which are not counted.

    Of more steps, if they don't fill so many ``seconds``.
    """
    losses = [float(step()) for _ in range(CHECKED)]
    return Measured(median_time(step, steps, seconds), losses)


def median_time(step: Callable[[], Any], steps: int, seconds: float = 0.0) -> float:
    for _ in range(steps // 5):
        step()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < steps or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def distance(y: Any) -> float:
    """One number for a whole array: the root mean square distance from 1. A wrong element shows, and a wrong sign."""
    return float(np.sqrt(np.mean(np.square(np.asarray(y, np.float64) - 1.0))))
