"""Numbers that were taken out of Values by ``float(v)`` or by functions of `math`, which call it.

Such a number has no history, so what is computed from it has no gradient. Most are shown or logged, which is right. So
the source is read where a number is taken, to see where it goes, and ``backward()`` warns if one that does not end on
the screen can have gone into its loss. ``v.item()`` says that a plain number is meant, and is never warned about.
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.following import SHOWN, STORED, goal_of
from tinygrad_wb.notices import warn_user
from tinygrad_wb.recording import inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import CodeType

    from tinygrad_wb.value import Value

__all__ = ["note_taken", "taken", "warn_of_taken"]


class Taken(NamedTuple):
    """A number that was taken: when, from what, the leaves behind that, and where it went."""

    tick: int
    sources: list[weakref.ref[Value]]  # the Value and the leaves behind it
    kept: Callable[[], Any] | None  # gives what holds the number now; None if it went into arithmetic
    line: str


taken: dict[tuple[CodeType, int], Taken] = {}  # the latest for each place in the code


def note_taken(value: Value, number: float, tick: int) -> None:
    """Remember that ``float(value)`` gave ``number`` away, unless it is only shown."""
    if value.inputs and value.grad is not None:
        return  # backward() has found its gradient already: nothing more is to come back
    frame = sys._getframe(2)
    if inside[frame.f_code.co_filename]:
        return
    goal, kept = goal_of(frame)
    if goal > SHOWN:
        line = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        sources = [weakref.ref(x) for x in _sources(value)]
        taken[frame.f_code, frame.f_lasti] = Taken(
            tick, sources, (kept or (lambda: number)) if goal == STORED else None, line
        )


def _sources(value: Value) -> Iterator[Value]:
    """The Value and the leaves behind it that are still as it read them."""
    yield value
    ahead, met = [value], {value}
    while ahead:
        for x in ahead.pop().inputs:
            if hasattr(x, "inputs") and x not in met:
                met.add(x)
                ahead.append(x)
                if not x.inputs and x.tick < value.tick:
                    yield x


def warn_of_taken(loss: Value, nodes: Sequence[Value]) -> None:
    """Warn if a number that was taken out of what is behind ``loss`` can have gone into it by another way."""
    read = {id(x): x for node in nodes for x in node.inputs}
    for place, entry in list(taken.items()):
        if entry.tick > loss.tick:
            continue
        del taken[place]
        sources = [x for ref in entry.sources if (x := ref()) is not None and x.tick < entry.tick]
        if entry.sources[0]() is loss:
            continue
        kept = entry.kept
        if any(id(x) in read for x in sources) if kept is None else _is_read(kept(), loss, read):
            names = [repr(x.name) for x in sources if x.name] or ["a Value"]
            warn_user(
                f"a plain number was taken out of {names[0]} by float() or a function of math ({entry.line}), and went "
                "into this loss: by that way no gradient comes back. Compute with Values, by wb.exp(v) or np.exp(v), "
                "and wb.stack([…]) in place of writing into an array; where a plain number is meant, write v.item()"
            )


def _is_read(kept: Any, loss: Value, read: dict[int, Any]) -> bool:
    """Whether the graph of ``loss`` reads this very number, the memory of this array, or this Value."""
    if type(kept) is np.ndarray:
        return any(type(x) is np.ndarray and np.may_share_memory(x, kept) for x in read.values())
    return kept is loss or id(kept) in read
