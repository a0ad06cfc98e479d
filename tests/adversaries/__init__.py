"""User-like functions that a compiler could freeze, defer or reorder wrongly, by subject; `ROWS` is the table of all."""

from adversaries import (
    arrays,
    chance,
    control,
    fitting,
    holding,
    kinds,
    learning,
    modes,
    reading,
    recurrent,
    results,
    scalars,
    slopes,
    state,
    surroundings,
    targets,
)  # fmt: skip
from adversaries.stage import ROWS

__all__ = [
    "ROWS", "arrays", "chance", "control", "fitting", "holding", "kinds", "learning", "modes", "reading", "recurrent", "results", "scalars", "slopes",
    "state", "surroundings", "targets",
]  # fmt: skip
