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

from tinygrad_wb.constants import given_inputs
from tinygrad_wb.following import SHOWN, STORED, goal_of
from tinygrad_wb.notices import warn_user
from tinygrad_wb.recording import inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import CodeType

    from tinygrad_wb.value import Value

__all__ = ["note_copied", "note_taken", "taken", "warn_of_taken"]

NEAR = 100  # operations


class Taken(NamedTuple):
    """A number that was taken: when, from what, the leaves behind that, and where it went."""

    tick: int
    sources: list[weakref.ref[Value]]  # the Value and the leaves behind it
    kept: Callable[[], Any] | None  # gives what holds the number now; None if it went into arithmetic
    copies: list[weakref.ref[Value]]  # Values that were made of the array it was written into
    line: str


taken: dict[tuple[CodeType, int], Taken] = {}  # the latest for each place in the code


def note_taken(value: Value, number: float, tick: int) -> None:
    """Remember that ``float(value)`` returned ``number``, unless the number is only shown."""
    if value.inputs and value.grad is not None:
        return  # backward() has found its gradient already: nothing more is to come back
    frame = sys._getframe(2)
    if inside[frame.f_code.co_filename]:
        return
    goal, kept = goal_of(frame)
    if goal > SHOWN:
        line = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        # A stored number is recognised by itself: its sources only give it a name, and looking far takes long.
        sources = [weakref.ref(x) for x in _sources(value, NEAR if kept or goal == STORED else sys.maxsize)]
        taken[frame.f_code, frame.f_lasti] = Taken(
            tick, sources, (kept or (lambda: number)) if goal == STORED else None, [], line
        )


def note_copied(array: Any, value: Value) -> None:
    """Remember that ``value`` holds a copy of ``array``, if a number was written into that."""
    for entry in tuple(taken.values()):
        held = entry.kept and entry.kept()
        if type(array) is type(held) is np.ndarray and np.may_share_memory(array, held):
            entry.copies.append(weakref.ref(value))


def _sources(value: Value, most: int) -> Iterator[Value]:
    """The Value and the leaves behind it that are still as it read them, of its nearest ``most`` operations."""
    yield value
    ahead, met = [value], {value}
    while ahead and len(met) <= most:
        for x in ahead.pop().inputs:
            if hasattr(x, "inputs") and x not in met:
                met.add(x)
                ahead.append(x)
                if not x.inputs and x.tick < value.tick:
                    yield x


def warn_of_taken(loss: Value, nodes: Sequence[Value]) -> None:
    """Warn if a number that was taken out of what is behind ``loss`` can have gone into it by another way."""
    read = {id(x): x for node in nodes for x in given_inputs(node)}
    for place, entry in list(taken.items()):
        if entry.tick > loss.tick:
            continue
        taken.pop(place, None)  # another thread may have done so
        sources = [x for ref in entry.sources if (x := ref()) is not None and x.tick < entry.tick]
        if entry.sources[0]() is loss:
            continue
        kept = loss if entry.kept is None else entry.kept()
        into_value = hasattr(kept, "inputs")  # such as the loss
        hit = any(id(x) in read for x in sources) if into_value else _is_read(kept, read)
        if hit or any(id(copy()) in read for copy in entry.copies):
            names = [repr(x.name) for x in sources if x.name] or ["a Value"]
            warn_user(
                f"a plain number was taken out of {names[0]} by float() or a function of math ({entry.line}), and this "
                "loss uses it: no gradient flows through that number. Compute with Values, by wb.exp(v) or np.exp(v), "
                "and by wb.stack([…]) in place of writing into an array; where a plain number is meant, write v.item()"
            )


def _is_read(kept: Any, read: dict[int, Any]) -> bool:
    """Whether a graph reads this very number, or the memory of this array."""
    if type(kept) is np.ndarray:
        return any(type(x) is np.ndarray and np.may_share_memory(x, kept) for x in read.values())
    return type(kept) is float and id(kept) in read
