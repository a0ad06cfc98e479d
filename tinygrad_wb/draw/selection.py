"""Which Values are drawn, in which order, under which names."""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.draw.wording import cropped, printable
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["given_name", "in_order", "key", "left_out", "names", "nearest"]

NAME_LENGTH = 32


def in_order(target: Value) -> list[Value]:
    """All Values behind ``target`` in order of execution, a leaf just before the operation that reads it first.

    Backprop's `history` refuses a stale graph, and should; a picture of one is what helps to understand it.
    """
    behind = [target]
    seen = {target}
    for value in behind:  # it grows while it is walked
        for x in value.inputs:
            if type(x) is Value and x not in seen:
                seen.add(x)
                behind.append(x)
    made = sorted((value for value in behind if value.op is not None), key=attrgetter("tick"))
    order = dict.fromkeys(x for value in made for x in (*value.inputs, value) if type(x) is Value)
    return list(order) or [target]


def key(x: Any, reader: Value, position: int) -> Any:
    """What makes two inputs one node: being the same Value or array. A plain number is drawn wherever it is read."""
    return (id(reader), position) if type(x) is float else id(x)


def nearest(target: Value, max_nodes: int) -> set[Any]:
    """The keys of the nodes nearest to ``target``, Values and constants alike."""
    kept = {id(target)}
    ahead = [target]
    for value in ahead:  # it grows while it is walked: breadth first
        for position, x in enumerate(value.inputs):
            if len(kept) == max_nodes:
                return kept
            if (own := key(x, value, position)) not in kept:
                kept.add(own)
                if type(x) is Value:
                    ahead.append(x)
    return kept


def left_out(history: Sequence[Value], kept: set[Any]) -> str:
    """What is not ``kept``, counted in words; "" if everything is."""
    missing = [value for value in history if id(value) not in kept]
    leaves = sum(value.op is None for value in missing)
    numbers = sum(type(x) is float for value in history for x in value.inputs)
    arrays = len({id(x) for value in history for x in value.inputs if type(x) is np.ndarray})
    kept_constants = len(kept) - (len(history) - len(missing))
    counts = {
        ("operation", "operations"): len(missing) - leaves,
        ("leaf", "leaves"): leaves,
        ("constant", "constants"): numbers + arrays - kept_constants,
    }
    words = [f"{count:,} {one if count == 1 else many}" for (one, many), count in counts.items() if count]
    return ", ".join(words).replace(" ", " more ", 1)


def given_name(value: Value) -> str:
    """The name its user gave it, fit to be shown; "" without one."""
    name = "" if value.name is None else printable(value.name).strip()
    return cropped(name, NAME_LENGTH)


def names(history: Iterable[Value]) -> dict[Value, str]:
    """A name for each: the one it was given, else what it is, with a number where there are several."""
    found = {value: given_name(value) for value in history}
    words = {value: "leaf" if value.op is None else value.op.name for value, name in found.items() if not name}
    totals, counts = Counter(words.values()), Counter[str]()
    for value, word in words.items():
        counts[word] += 1
        found[value] = f"{word} {counts[word]}" if totals[word] > 1 or word == "leaf" else word
    return found
