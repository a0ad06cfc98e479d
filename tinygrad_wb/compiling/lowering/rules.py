"""How operations on arrays are written into memory that is there already: a table, a row for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tinygrad_wb.compiling.buffers import Demand
from tinygrad_wb.compiling.lowering import labels, reductions, windows
from tinygrad_wb.compiling.lowering.elementwise import ELEMENTWISE, elementwise
from tinygrad_wb.compiling.lowering.matmul import matmul

if TYPE_CHECKING:
    from collections.abc import Callable

    from tinygrad_wb.compiling.buffers import Memory
    from tinygrad_wb.compiling.emitter import Emitter
    from tinygrad_wb.compiling.plan import Step

__all__ = ["demand", "write_array"]


def always(step: Step, memory: Memory) -> bool:
    return True


class Rule(NamedTuple):
    """What an operation asks of its result's memory, if the rule fits; and what adds its lines."""

    write: Callable[[Emitter, Step], None]
    asks: Demand = Demand()
    fits: Callable[[Step, Memory], bool] = always


AS_NUMPY = Demand(order="K")
IN_PLACE = Demand(order="K", in_place=True)

RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, Rule(elementwise, IN_PLACE)),
    "isfinite": Rule(elementwise),  # NumPy's is wrong where its result is not contiguous
    "matmul": Rule(matmul),
    "sum": Rule(reductions.sum_),
    "mean": Rule(reductions.mean, fits=reductions.fits_mean),
    "max": Rule(reductions.extreme, fits=reductions.fits_extreme),
    "min": Rule(reductions.extreme, fits=reductions.fits_extreme),
    "prod": Rule(reductions.prod),
    "one_hot": Rule(labels.one_hot, fits=labels.fits_one_hot),
    "pick": Rule(labels.pick, fits=labels.fits_pick),
    "first_equal": Rule(labels.first_equal, AS_NUMPY, labels.fits_first_equal),
    "unfold": Rule(windows.unfold, AS_NUMPY, windows.fits_unfold),
    "fold": Rule(windows.fold, AS_NUMPY, windows.fits_fold),
}
# Those that have a quicker expression for a new array than the readable form's.
NEW: dict[str, Callable[[Emitter, Step], str]] = {"max": reductions.new_extreme, "min": reductions.new_extreme}


def demand(step: Step, memory: Memory) -> Demand | None:
    """What a step asks of its result's memory; None if its result is a new array."""
    rule = RULES.get(step.op.name)
    return rule.asks if rule and rule.fits(step, memory) else None


def write_array(emitter: Emitter, step: Step) -> None:
    """A step whose result is an array: written into its memory, if it was assigned some."""
    if emitter.memory.has(step):
        RULES[step.op.name].write(emitter, step)
        return
    text = NEW[step.op.name](emitter, step) if step.op.name in NEW else emitter.expression(step)
    emitter.stands_for(step, emitter.assign(text))
