"""What this package set itself to reach. A new target is one more row."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peers import FOLLOWED, KNOWN, OURS, PROMISED
from turns import ratio
from work import (
    AROUND,
    CHAIN,
    CHAIN_MEMORY,
    COMPILING,
    CONVOLUTION,
    CURVATURE,
    DIGITS,
    FIT,
    GUARDING,
    LABELS,
    LETTERS,
    LOOKING,
    MOONS,
    OWN,
    ROW,
    SCALAR_MEMORY,
    SMALL,
    STEP_MEMORY,
    TRANSFORMER,
    WIDE,
)

if TYPE_CHECKING:
    from turns import Results

IMPORTING = "import"


@dataclass(frozen=True)
class Target:
    """``of`` divided by ``to``, side by side in one run; or their difference in ``unit``; without a ``to``, ``of`` alone."""

    work: str
    of: str
    to: str | None = None
    at_most: float | None = None
    at_least: float | None = None
    unit: str = "×"

    def __str__(self) -> str:
        bound = f"≤ {self.at_most:g}" if self.at_most is not None else f"≥ {self.at_least:g}"
        if self.to is None:
            return f"{self.work}: {self.of} {bound} {self.unit}"
        if self.unit == "×":
            return f"{self.work}: {self.of} / {self.to} {bound}"
        return f"{self.of} − {self.to} {bound} {self.unit}"

    def measured(self, results: Results) -> float | None:
        outcomes = results.get(self.work, {})
        if self.to is None:
            alone = outcomes.get(self.of)
            return None if alone is None or alone.problem else alone.median
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


*SMALLER, LARGER = OWN

TARGETS = (
    Target(SMALL.name, OURS, "PyTorch", at_most=0.45),
    Target(LABELS.name, OURS, "PyTorch", at_most=0.45),
    Target(DIGITS.name, OURS, "PyTorch", at_most=0.8),
    Target(WIDE.name, OURS, "PyTorch", at_most=1.0),
    Target(MOONS.name, "micrograd", OURS, at_least=7.0),
    Target(SCALAR_MEMORY.name, OURS, "micrograd", at_most=1.0),
    *(Target(looking.name, OURS, at_most=2.0) for looking in LOOKING),
    Target(IMPORTING, "import tinygrad_wb", "import numpy", at_most=25.0, unit="ms"),
    Target(SMALL.name, PROMISED, "jax.jit", at_most=0.85),
    Target(LABELS.name, PROMISED, "jax.jit", at_most=0.85),
    Target(DIGITS.name, PROMISED, "jax.jit", at_most=0.85),
    Target(WIDE.name, PROMISED, "jax.jit", at_most=1.0),
    Target(SMALL.name, PROMISED, "NumPy by hand", at_most=0.9),
    Target(LABELS.name, PROMISED, "NumPy by hand", at_most=0.9),
    Target(DIGITS.name, PROMISED, "NumPy by hand", at_most=0.95),
    Target(WIDE.name, PROMISED, "NumPy by hand", at_most=0.95),
    Target(SMALL.name, PROMISED, "PyTorch", at_most=0.35),
    Target(LABELS.name, PROMISED, "PyTorch", at_most=0.35),
    Target(CONVOLUTION.name, PROMISED, "PyTorch", at_most=1.0),
    Target(LETTERS.name, PROMISED, "PyTorch", at_most=1.0),
    Target(TRANSFORMER.name, PROMISED, "PyTorch", at_most=1.0),
    Target(CURVATURE.name, OURS, "HIPS autograd", at_most=0.5),
    Target(STEP_MEMORY.name, PROMISED, "PyTorch", at_most=1.0),
    Target(FIT.name, KNOWN, at_most=15.0, unit=FIT.unit),
    Target(ROW.name, PROMISED, "PyTorch", at_most=0.5),
    Target(CHAIN.name, PROMISED, "NumPy by hand", at_most=0.6),
    Target(CHAIN_MEMORY.name, PROMISED, at_most=4.0, unit=CHAIN_MEMORY.unit),
    Target(MOONS.name, "micrograd", PROMISED, at_least=250.0),
    Target(COMPILING.name, PROMISED, "micrograd", at_most=2.0),
    *(Target(work.name, FOLLOWED, OURS, at_most=0.75) for work in (*SMALLER, LETTERS, TRANSFORMER)),
    Target(LARGER.name, FOLLOWED, OURS, at_most=1.03),
    *(Target(around.name, FOLLOWED, at_most=20.0, unit=around.unit) for around in AROUND),
    Target(GUARDING.name, KNOWN, at_most=30.0, unit=GUARDING.unit),
)
