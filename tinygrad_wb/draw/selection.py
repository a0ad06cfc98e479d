"""Which items are drawn: those around one, those on the ways between two, and no more than fit."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tinygrad_wb.draw.outline import Item, Layer
from tinygrad_wb.errors import Failed
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["around", "left_out", "nearest", "on_the_ways"]


def around(items: Sequence[Item], centre: Iterable[Item], hops: int) -> list[Item]:
    """Those that are at most ``hops`` edges away from ``centre``, whichever way the edges go."""
    neighbours: dict[Item, list[Item]] = {item: [] for item in items}
    for item in items:
        for x in item.inputs:
            if x is not None:
                neighbours[item].append(x)
                neighbours[x].append(item)
    found = dict.fromkeys(centre, 0)
    ahead = list(found)
    for item in ahead:  # it grows while it is walked: breadth first
        if found[item] < hops:
            for x in neighbours[item]:
                if x not in found:
                    found[x] = found[item] + 1
                    ahead.append(x)
    return [item for item in items if item in found]


def on_the_ways(items: Sequence[Item], end: Item, start: Item) -> tuple[list[Item], int]:
    """Those on the ways from ``end`` back to ``start``, and how many ways there are."""
    ways: dict[Item, int] = {}  # from each item back to the start
    for item in items:
        ways[item] = 1 if item is start else sum(ways[x] for x in item.inputs if x is not None)
        if item is end:
            break
    needed = {end}
    for item in reversed(items):
        if item in needed and item is not start:
            needed.update(x for x in item.inputs if x is not None and ways.get(x))
    return [item for item in items if item in needed and ways.get(item)], ways.get(end, 0)


def nearest(items: Sequence[Item], ends: Iterable[Item], most: int) -> list[Item]:
    """The ``most`` items that are nearest to the ends."""
    kept = dict.fromkeys(ends)
    ahead = list(kept)
    for item in ahead:  # it grows while it is walked: breadth first
        for x in item.inputs:
            if x is not None and x not in kept and len(kept) < most:
                kept[x] = None
                ahead.append(x)
    return [item for item in items if item in kept]


KINDS = {
    "operation": ("operation", "operations"),
    "layer": ("layer", "layers"),
    "leaf": ("leaf", "leaves"),
    "constant": ("constant", "constants"),
}


def left_out(missing: Iterable[Item]) -> str:
    """What is missing, counted in words: "2 operations, 1 leaf"; "" for nothing."""
    counts = Counter(_kind(item.thing) for item in missing)
    return ", ".join(f"{n:,} {words[n > 1]}" for kind, words in KINDS.items() if (n := counts[kind]))


def _kind(thing: Any) -> str:
    if type(thing) is Layer:
        return "layer"
    if type(thing) is Value:
        return "operation" if thing.inputs else "leaf"
    return "operation" if type(thing) is Failed else "constant"
