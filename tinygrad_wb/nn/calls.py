"""Which Module made what: each call leaves a note on what it returned, and from the notes the layers of a graph follow.

Whatever was recorded between the start of a call and its result was done in that call. So one note for each call is
enough, and the operations themselves need none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from weakref import ReferenceType

    from tinygrad_wb.nn.module import Module

__all__ = ["Call", "calls_around", "note", "notes_on", "paths"]


ALONE = (Value, np.ndarray)  # what a call is mostly given, and can't come to hold the result


class Call(NamedTuple):
    """One call of a Module: what was called, where it stood in its model, since when it ran, and what it was given."""

    module: ReferenceType[Module]  # weak: a Module may keep what it returned
    path: str
    start: int
    arguments: tuple[Any, ...]


def note(result: Any, call: tuple[Any, ...]) -> None:
    """Leave the note of a `Call`, as a plain tuple, on the Values that it made."""
    if type(result) is Value:
        if result.tick > call[2] and result.inputs:
            given = call[3]
            if not (len(given) == 1 and type(given[0]) in ALONE) and any(isinstance(x, (list, dict)) for x in given):
                # which could come to hold the result
                call = (*call[:3], tuple(x for x in _parts(call[3]) if type(x) is not Value or x.tick < call[2]))
            result.calls = (*notes_on(result), call)
        elif result.tick > call[2] and call[0]()._beside:  # not recorded: nothing is drawn, but it may be unpacked
            result.calls = (*notes_on(result), (*call[:3], ()))
    elif isinstance(result, (tuple, list)):
        for part in result:
            note(part, call)
    elif isinstance(result, dict):
        for part in result.values():
            note(part, call)


def notes_on(value: Value) -> tuple[Any, ...]:
    """The notes that calls left on it, each as the plain tuple of a `Call`."""
    return getattr(value, "calls", ())


def _parts(arguments: Iterable[Any]) -> Iterator[Any]:
    for x in arguments:
        if isinstance(x, (list, dict)):
            yield from x.values() if isinstance(x, dict) else x
        else:
            yield x


def calls_around(made: Sequence[Value]) -> dict[Value, tuple[Call, ...]]:
    """The calls that each of ``made``, Values in order of execution, was computed in, the outermost first.

    Values that were computed in none are left out.
    """
    ends: dict[int, tuple[int, Call]] = {}  # by the tick at which a call began, which no other has
    for value in made:
        for noted in notes_on(value):
            ends[noted[2]] = (value.tick, Call._make(noted))  # the last counts, where a call returned several
    around: dict[Value, tuple[Call, ...]] = {}
    # Calls begin and end like brackets: of two that share an operation, one lies within the other.
    ahead = sorted(ends, reverse=True)
    open_: tuple[Call, ...] = ()
    for value in made if ends else ():
        while open_ and ends[open_[-1].start][0] < value.tick:
            open_ = open_[:-1]
        while ahead and ahead[-1] < value.tick:
            end, call = ends[ahead.pop()]
            if end >= value.tick:
                open_ = (*open_, call)
        if open_:
            around[value] = open_
    return around


def paths(made: Iterable[Value]) -> dict[Value, str]:
    """The path of the innermost Module that each of ``made`` was computed in; without those computed in none."""
    return {value: calls[-1].path for value, calls in calls_around(sorted(made, key=lambda v: v.tick)).items()}
