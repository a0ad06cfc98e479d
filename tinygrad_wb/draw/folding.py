"""Folding: what is repeated is drawn once, with how often.

A *chain* follows, from an item back through its inputs, the longest way. Where a chain repeats itself, such as the
cell of a recurrent network or a sum over a hundred samples, one turn of it stands for all. What fed only the other
turns is then not needed any more, and what is left may repeat itself again, until nothing does: a network of sixty
thousand operations on scalars comes down to a few neurons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.draw.outline import Item, Layer, Turn, behind
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["folded"]

FEWEST = 3  # turns that are folded
LONGEST = 12  # items in a turn
ALIKE = 5  # how far back two items are compared to be called alike
MANY = 1_000_000  # items that are compared; of more, not so far back


def folded(items: list[Item], ends: Sequence[Item]) -> list[Item]:
    """``items`` with repeats folded. Changes the items; ``ends`` stay."""
    while True:
        before = len(items)
        _fold_once(items, set(ends))
        items = behind(items, ends)
        if len(items) == before:
            return items


def _fold_once(items: Sequence[Item], ends: set[Item]) -> None:
    readers: dict[Item, int] = dict.fromkeys(items, 0)
    height: dict[Item, int] = {}
    for item in items:
        tallest = 0
        for x in item.inputs:
            if x is not None:
                readers[x] += 1
                tallest = max(tallest, height[x])
        height[item] = tallest + 1
    known: dict[Any, int] = {}
    kinds = {item: known.setdefault(_kind(item), len(known)) for item in items}
    likeness = _likeness(items, kinds)
    followed: set[Item] = set()
    for item in reversed(items):
        if item in followed or not item.inputs:
            continue
        chain, places = [item], [_way_back(item, kinds, height, None, -1)]
        while places[-1] >= 0:
            ahead: Any = chain[-1].inputs[places[-1]]
            if ahead is None or readers[ahead] != 1 or ahead in ends or not ahead.inputs:
                break
            places.append(_way_back(ahead, kinds, height, chain[-1], places[-1]))
            chain.append(ahead)
            followed.add(ahead)
        if len(chain) >= FEWEST:
            _fold_chain(chain, places, [kinds[x] for x in chain], likeness)


def _way_back(item: Item, kinds: dict[Item, int], height: dict[Item, int], after: Item | None, at: int) -> int:
    """Which input a chain follows: one that does the same, as in a sum; else the tallest. -1 if there is none.

    ``at`` is the input by which ``item`` was reached from ``after``; the first of a sum is read at the same place.
    """
    best, found = 0, -1
    own = kinds[item]
    for i, x in enumerate(item.inputs):
        if x is not None:
            rank = height[x] + (1 << 60 if kinds[x] == own else 0)
            if rank > best:
                best, found = rank, i
    if best < 1 << 60 and after is not None and kinds[after] == own and item.inputs[at] is not None:
        return at
    return found


def _likeness(items: Sequence[Item], kinds: dict[Item, int]) -> dict[Item, int]:
    """A number for each item: equal for those that do the same, as far back as `ALIKE` items."""
    found = kinds
    for _ in range(max(1, min(ALIKE, MANY // len(items)))):
        known: dict[Any, int] = {}
        before = found
        found = {
            item: known.setdefault(
                (kinds[item], *[before[x] if x is not None else -1 for x in item.inputs]), len(known)
            )
            for item in items
        }
    return found


def _kind(item: Item) -> Any:
    """What an item is, without what it reads."""
    thing = item.thing
    if type(thing) is float:
        return float
    marks = (item.times, item.more, item.turn and item.turn[1:], len(item.calls))
    if type(thing) is Layer:
        module = thing.call.module()
        return "layer", type(module), module and module.describe(), np.shape(thing.made[-1]._data), marks
    if type(thing) is Value:
        shape = () if type(thing._data) is float else thing._data.shape
        return (thing.op, shape, marks, _settings(thing.options) if thing.options else ()) if thing.inputs else shape
    return ("constant", thing.shape) if type(thing) is np.ndarray else id(thing)


def _settings(options: Any) -> tuple[Any, ...]:
    """The options, but for which part of an array is taken."""
    return tuple(
        (name, str(option))
        for name, option in options.items()
        if name != "index" and isinstance(option, (bool, int, float, str, tuple, type(None)))
    )


def _fold_chain(chain: Sequence[Item], places: Sequence[int], kinds: Sequence[int], likeness: dict[Item, int]) -> None:
    """Fold each stretch of ``chain``, from its end backwards, that repeats itself."""
    # What an item does with the one before it in the chain, and with what else.
    known: dict[Any, int] = {}
    labels = [
        known.setdefault(
            (kind, at, *[likeness[x] for i, x in enumerate(item.inputs) if i != at and x is not None]), len(known)
        )
        for item, at, kind in zip(chain, places, kinds, strict=True)
    ]
    start = 0
    while start < len(chain):
        length, times = _period(labels, start, chain)
        if times >= FEWEST:
            stretch = slice(start, start + length * times)
            _fold_turns(chain[stretch], places[stretch], length, likeness)
            start += length * times
        else:
            start += 1


def _period(labels: Sequence[Any], start: int, chain: Sequence[Item]) -> tuple[int, int]:
    """The turn that repeats itself from ``start`` on and covers most: its length, and how many times it is done."""
    best = (1, 1)
    for length in range(1, min(LONGEST, (len(labels) - start) // FEWEST) + 1):
        if not _in_one_box(chain[start : start + length]):
            continue
        end = start + length
        while end < len(labels) and labels[end] == labels[end - length]:
            end += 1
        times = (end - start) // length
        if times >= FEWEST and length * times > best[0] * best[1]:
            best = (length, times)
    return best


def _in_one_box(turn: Sequence[Item]) -> bool:
    """Whether a box can be drawn around them: they are in the same layers, and in no such box yet."""
    if len(turn) == 1:
        return turn[0].turn is None
    return len({tuple(call.start for call in x.calls) for x in turn}) == 1 and all(x.turn is None for x in turn)


def _one_module(items: Iterable[Any]) -> bool:
    """Whether they are calls of one and the same Module."""
    things = [item.thing for item in items if item is not None]
    return all(type(x) is Layer for x in things) and len({id(x.call.module()) for x in things}) == 1


def _fold_turns(chain: Sequence[Item], places: Sequence[int], length: int, likeness: dict[Item, int]) -> None:
    """Keep the last turn of a stretch of chain, which comes first in it, and let it read what the first turn read."""
    turns = len(chain) // length
    kept, at = chain[:length], places[length - 1]
    first = chain[-1].inputs[at]
    same = True  # what is learnt is the same in every turn
    for offset, item in enumerate(kept):
        others = [chain[offset + turn * length] for turn in range(turns)]
        for i, x in enumerate(item.inputs):
            if x is not None and i != places[offset]:
                different = {other.inputs[i] for other in others}
                if len(different) > 1 and _one_module(different):
                    x.times += len(different) - 1
                else:
                    x.more += len(different) - 1
                    same = same and (len(different) == 1 or type(x.thing) in (float, np.ndarray))
        if type(item.thing) is Layer:
            same = same and _one_module(others)
    kept[-1].inputs[at] = first
    if length > 1:
        turn = Turn(id(kept[0]), turns, same)
        for item in kept:
            item.turn = turn
        return
    (only,) = kept
    if type(only.thing) is Layer and not same:
        only.more += turns - 1
        return
    only.times = sum(item.times for item in chain)
    beside = [x for i, x in enumerate(only.inputs) if i != at]
    if first is not None and len(beside) == 1 and beside[0] is not None and likeness[first] == likeness[beside[0]]:
        only.inputs[at] = None  # the first of a sum is one of its terms
        beside[0].more += 1
