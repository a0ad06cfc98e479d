"""Arrays that were changed in place after an operation had read them: a copy of each, and a look before going back."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from tinygrad_wb.constants import large_arrays
from tinygrad_wb.debug.report import Called, at_index, labelled, names_of, origin, user_frame, where_rows
from tinygrad_wb.debug.rules import number, where
from tinygrad_wb.errors import StaleGraphError
from tinygrad_wb.program.names import variables_in
from tinygrad_wb.value import Value, next_tick

__all__ = ["Copies"]

# What an operation read or made: the number of the input, the name of the option or RESULT; who holds the array (None
# for the result, which would hold itself); the array; and what was in it.
Part = tuple[Any, Any, Any, Any]


class Kept(weakref.ref[Value]):
    """The parts that are kept of a Value's operation, under a key, as long as it is alive."""

    __slots__ = ("key", "parts")
    key: int
    parts: list[Part]


class Copies:
    """What each operation read and made, as it was then; kept as long as its Value is alive."""

    def __init__(self) -> None:
        self._since = next_tick()
        self._kept: dict[int, Kept] = {}  # by identity: Values compare by their data

    def __contains__(self, value: Value) -> bool:
        """Whether it was computed in the block."""
        return id(value) in self._kept or (value.op is not None and value.tick > self._since)

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, value: Value) -> None:
        """Copy what an operation read and made; the results of the block's own operations were when they were made."""
        parts: list[Part] = []
        if value.op is not None:
            known = self._kept
            for i, x in enumerate(value.inputs):
                if type(x) is Value and type(x._data) is np.ndarray and not (x.inputs and id(x) in known):
                    parts.append((i, x, x._data, x._data.tobytes()))
            # Of small arrays the record itself holds copies.
            parts += [(which, array, array, array.tobytes()) for which, array in large_arrays(value)]
            if type(value._data) is np.ndarray:
                parts.append((RESULT, None, value._data, value._data.tobytes()))
            if not parts:  # of numbers alone, which nobody can change
                return
        kept = Kept(value, self._forget)
        kept.key, kept.parts = id(value), parts
        self._kept[kept.key] = kept

    def _forget(self, kept: Kept) -> None:
        del self._kept[kept.key]

    def check(self, made: list[Value]) -> None:
        """Raise `StaleGraphError` where an array is no longer what an operation of ``made`` read."""
        for node in reversed(made):
            kept = self._kept.get(id(node))
            for part in () if kept is None else kept.parts:
                if part[2].tobytes() != part[3]:
                    raise _changed(node, part, made)


RESULT = "result"


def _bits(array: Any) -> Any:
    """The bytes of each number: NaN equals NaN, and -0 is not 0."""
    return np.ascontiguousarray(array).view(np.uint8).reshape(*array.shape, array.itemsize)


def _changed(node: Value, part: Part, made: list[Value]) -> StaleGraphError:
    op: Any = node.op
    which, holder, array, copy = part
    called = Called(variables_in(user_frame()))
    if which is RESULT:
        what = labelled("its result", called(node))
    else:
        what = (
            f"its option {which}"
            if type(which) is str
            else labelled(f"its input {names_of(op, node.inputs)[which]}", called(holder))
        )
    before = np.frombuffer(copy, array.dtype).reshape(array.shape)
    index, count = where((_bits(array) != _bits(before)).any(axis=-1))
    at = f" ({count:,} of {array.size:,} numbers, first {at_index(index).strip()}: "
    at += f"it was {number(before[index])}, it is {number(array[index])})"
    told = "".join(f"\n  {label}  {text}" for label, text in where_rows(*origin(node, made)))
    return StaleGraphError(
        f"backward() through {op.name}: {what} was changed in place after the operation had read it{at}, so the "
        f"gradient would be wrong.{told}\nMake a new array instead (x = x + 1, not x += 1), or give each pass a copy"
    )
