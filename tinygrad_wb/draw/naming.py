"""What everything is called: by the user's own names wherever there are any, never by addresses."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.constants import Constants
from tinygrad_wb.draw.outline import Layer, LeftOut
from tinygrad_wb.draw.wording import constant_text, cropped, option_text, printable
from tinygrad_wb.errors import Failed
from tinygrad_wb.program.source import assigned
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tinygrad_wb.draw.outline import Item
    from tinygrad_wb.nn.calls import Call

__all__ = ["Called", "name_of"]

NAME_LENGTH = 32


class Called:
    """The names of items, and of the Values and arrays in them; ``given`` has the identities of those that a user
    named.

    A name is ``name=``, a parameter's path, or a variable; else what the thing is, with a number. Of several of one
    name, the second is ``h_2``, as in a program.
    """

    def __init__(self, items: Sequence[Item], variables: Mapping[int, str]) -> None:
        self._names: dict[int, str] = {}
        self.given: set[int] = set()
        self._taken: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._constants = Constants(value for item in items for value in _made_of(item.thing))
        self._variables = variables = self._constants.named(variables)
        places = assigned(item.thing for item in items if type(item.thing) is Value and item.thing.inputs)
        nameless: list[Item] = []
        for item in items:  # the user's names first, so that nothing else takes one
            thing, result = item.thing, item.result
            word = "" if type(thing) is float else name_of(thing if result is None else result, variables)
            if not word and type(thing) is Value:
                word = printable(places.get(thing, ""))
            if word:
                self.given.update((id(thing), id(result)))
                self._name(item, word)
            else:
                nameless.append(item)
        for item in nameless:
            if type(item.thing) is Layer:
                self._name(item, _layer_word(item.thing.call, variables))
            elif type(item.thing) in (Value, Failed):  # all others are written as they are
                self._name(item, "leaf" if _is_leaf(item.thing) else item.thing.op.name, numbered=True)

    def _name(self, item: Item, word: str, numbered: bool = False) -> None:
        """Call an item ``word``, or ``word_2`` and so on; with ``numbered``, begin with ``word_1``."""
        name = word
        self._counts[word] += 1
        while numbered or name in self._taken:
            name, numbered = f"{word}_{self._counts[word]}", False
            if name in self._taken:
                self._counts[word] += 1
        self._taken.add(name)
        self._names[id(item.thing)] = name
        if item.result is not None:
            self._names[id(item.result)] = name

    def __call__(self, x: Any) -> str:
        """The name of a Value or Layer; a constant as it is written."""
        if type(x) is float:
            return constant_text(x)
        if type(x) is LeftOut:
            return x
        x = self._constants.first(x)
        name = self._names.get(id(x))
        if name is not None:
            return name
        known = name_of(x, self._variables)  # of what is not drawn
        return known or (_written(x) if type(x) is not Value else "…")


def _made_of(thing: Any) -> Sequence[Value]:
    """The operations in what is drawn as one thing."""
    return thing.made if type(thing) is Layer else [thing] if type(thing) is Value else ()


def name_of(x: Any, variables: Mapping[int, str]) -> str:
    """The name that the user gave a Value or array, fit to be shown; "" without one."""
    name = x.name if type(x) is Value and x.name is not None else ""
    if not printable(name).strip():
        # Python shares small things, such as None, among all that hold them.
        name = variables.get(id(x), "") if isinstance(x, (Value, np.ndarray, list)) else ""
        if not name and type(x) is Value and not x.inputs and type(x._data) is np.ndarray:
            name = variables.get(id(x._data), "")
    return cropped(printable(name).strip(), NAME_LENGTH)


def _layer_word(call: Call, variables: Mapping[int, str]) -> str:
    """What a layer is called: by its path in the model, its variable, or what it is."""
    path = cropped(printable(call.path), NAME_LENGTH)
    if path:
        return f"layer_{path}" if path[0].isdigit() else path
    module = call.module()
    return "layer" if module is None else variables.get(id(module), "") or type(module).__name__


def _written(x: Any) -> str:
    """A constant; of an operation that failed, whatever it was given."""
    return constant_text(x) if type(x) in (float, np.ndarray) else cropped(option_text(x), NAME_LENGTH)


def _is_leaf(thing: Any) -> bool:
    return type(thing) is Value and not thing.inputs
