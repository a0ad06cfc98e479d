"""What everything is called: by the user's own names wherever there are any, never by addresses."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.draw.outline import Layer
from tinygrad_wb.draw.wording import constant_text, cropped, printable
from tinygrad_wb.program.source import assigned
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tinygrad_wb.draw.outline import Item

__all__ = ["Called", "name_of"]

NAME_LENGTH = 32


class Called:
    """The names of items, and of the Values and arrays in them; ``given`` has the identities of those that a user named.

    A name is ``name=``, a parameter's path, or a variable; else what the thing is, with a number. Of several of one name,
    the second is ``h_2``, as in a program.
    """

    def __init__(self, items: Sequence[Item], variables: Mapping[int, str]) -> None:
        self._names: dict[int, str] = {}
        self.given: set[int] = set()
        taken: set[str] = set()
        counts: Counter[str] = Counter()
        places = assigned(item.thing for item in items if type(item.thing) is Value and item.thing.inputs)
        for item in items:
            thing, result = item.thing, item.result
            word = "" if type(thing) is float else name_of(thing if result is None else result, variables)
            if not word and type(thing) is Layer and not thing.call.path:
                word = variables.get(id(thing.call.module()), "")
            if not word and type(thing) is Value:
                word = printable(places.get(thing, ""))
            numbered = False
            if word:
                self.given.update((id(thing), id(result)))
            elif type(thing) in (float, np.ndarray):
                continue  # written as the number, or the shape, that it is
            else:
                word, numbered = _word(thing), type(thing) is not Layer
            name = word
            while numbered or name in taken:
                counts[word] += 1
                name, numbered = f"{word}_{counts[word] + (word in taken)}", False
            taken.add(name)
            self._names[id(thing)] = name
            if result is not None:
                self._names[id(result)] = name

    def __call__(self, x: Any) -> str:
        """The name of a Value or Layer; a constant as it is written."""
        if type(x) is float:
            return constant_text(x)
        name = self._names.get(id(x))
        if name is not None:
            return name
        return constant_text(x) if type(x) is not Value else name_of(x, {}) or "…"  # not drawn


def name_of(x: Any, variables: Mapping[int, str]) -> str:
    """The name that the user gave a Value or array, fit to be shown; "" without one."""
    name = x.name if type(x) is Value and x.name is not None else ""
    if not printable(name).strip():
        name = variables.get(id(x), "")
        if not name and type(x) is Value and not x.inputs and type(x._data) is np.ndarray:
            name = variables.get(id(x._data), "")
    return cropped(printable(name).strip(), NAME_LENGTH)


def _word(thing: Any) -> str:
    """What a thing without a name is called, before its number."""
    if type(thing) is Layer:
        path = cropped(printable(thing.call.path), NAME_LENGTH)
        return f"layer_{path}" if path[:1].isdigit() else path or type(thing.call.module()).__name__
    op = thing.op if type(thing) is not Value or thing.inputs else None
    return "leaf" if op is None else op.name
