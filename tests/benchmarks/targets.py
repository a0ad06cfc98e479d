"""What this package set itself to reach. A new target is one more row."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peers import OURS
from turns import ratio
from work import WORK

if TYPE_CHECKING:
    from turns import Results

IMPORTING = "import"
SMALL, LABELS, DIGITS, WIDE, MOONS, MEMORY = (work.name for work in WORK)


@dataclass(frozen=True)
class Target:
    """``of`` divided by ``to`` (or their difference in ``unit``), side by side in one run."""

    work: str
    of: str
    to: str
    at_most: float | None = None
    at_least: float | None = None
    unit: str = "×"

    def __str__(self) -> str:
        bound = f"≤ {self.at_most:g}" if self.at_most is not None else f"≥ {self.at_least:g}"
        if self.unit == "×":
            return f"{self.work}: {self.of} / {self.to} {bound}"
        return f"{self.of} − {self.to} {bound} {self.unit}"

    def measured(self, results: Results) -> float | None:
        outcomes = results.get(self.work, {})
        if self.unit == "×":
            return ratio(outcomes, self.of, self.to)
        if ratio(outcomes, self.of, self.to) is None:
            return None
        return statistics.median(a - b for a, b in zip(outcomes[self.of].rounds, outcomes[self.to].rounds))

    def verdict(self, results: Results) -> str:
        got = self.measured(results)
        if got is None:
            return "not measured"
        if self.at_most is not None:
            return "met" if got <= self.at_most else f"missed by {got / self.at_most - 1.0:.0%}"
        return "met" if got >= self.at_least else f"missed by {1.0 - got / self.at_least:.0%}"


TARGETS = (
    Target(SMALL, OURS, "PyTorch", at_most=0.45),
    Target(LABELS, OURS, "PyTorch", at_most=0.45),
    Target(DIGITS, OURS, "PyTorch", at_most=0.8),
    Target(WIDE, OURS, "PyTorch", at_most=1.0),
    Target(MOONS, "micrograd", OURS, at_least=7.0),
    Target(MEMORY, OURS, "micrograd", at_most=1.0),
    Target(IMPORTING, "import tinygrad_wb", "import numpy", at_most=25.0, unit="ms"),
)
