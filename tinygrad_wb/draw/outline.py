"""What there is to draw: the items behind a result, with the layers that are closed as one item each.

An `Item` is a Value, a constant, a closed layer, or an operation that failed; it knows the items that it reads. Folding
and selecting work on items; only what is left in the end is described.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.constants import Constants
from tinygrad_wb.errors import Failed
from tinygrad_wb.nn.calls import Call, calls_around
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Item", "Layer", "LeftOut", "Turn", "behind", "in_order", "outline"]


class Layer(NamedTuple):
    """A closed layer: one call of a Module, and what was computed in it, in order."""

    call: Call
    made: list[Value]


class LeftOut(str):
    """What is said in place of items that are not drawn."""

    __slots__ = ()


class Item:
    """Something to draw.

    ``inputs`` are what it reads: of an operation, one for each of its inputs. None stands for one that is not drawn.
    ``calls`` are the open layers around it. ``times`` is how many like it, one after another, it stands for; ``more``
    how many beside it; ``turn`` what it is repeated together with.
    """

    __slots__ = ("calls", "inputs", "more", "thing", "times", "turn")

    def __init__(self, thing: Any, calls: tuple[Call, ...] = ()) -> None:
        self.thing = thing
        self.calls = calls
        self.inputs: list[Item | None] = []
        self.times = 1
        self.more = 0
        self.turn: Turn | None = None

    @property
    def result(self) -> Any:
        """The Value that others read of it; None for a constant."""
        return self.thing.made[-1] if type(self.thing) is Layer else self.thing if type(self.thing) is Value else None


class Turn(NamedTuple):
    """Items that are repeated together, ``times`` times, each time from what the time before gave."""

    start: int
    times: int
    same: bool  # with the same parameters each time


def in_order(ends: Iterable[Value]) -> list[Value]:
    """What operations made behind ``ends``, in order of execution.

    Backprop's `history` refuses a stale graph, and should; a picture of one is what helps to understand it.
    """
    found = list(dict.fromkeys(ends))
    seen = set(found)
    for value in found:  # it grows while it is walked
        for x in value.inputs:
            if type(x) is Value and x not in seen:
                seen.add(x)
                found.append(x)
    return sorted((value for value in found if value.inputs), key=attrgetter("tick"))


def outline(
    ends: Sequence[Any], made: Sequence[Value], is_open: Callable[[Call, int, bool], bool]
) -> tuple[list[Item], list[Item]]:
    """The items of a computation, each after those that it reads; and those of its ends.

    ``is_open`` says of a call, its level (0 for the outermost) and whether there are other calls in it, if it is drawn
    opened up. An end may be an operation that failed.
    """
    around = calls_around(made)
    holding = {call.start for calls in around.values() for call in calls[:-1]}
    opened: dict[int, bool] = {}
    layers: dict[int, Item] = {}
    item_of: dict[Value, Item] = {}
    last: dict[Item, int] = {}
    for value in made:
        calls = around.get(value, ())
        for level, call in enumerate(calls):
            if call.start not in opened:
                opened[call.start] = is_open(call, level, call.start in holding)
            if not opened[call.start]:
                if call.start not in layers:
                    layers[call.start] = Item(Layer(call, []), calls[:level])
                item = layers[call.start]
                item.thing.made.append(value)
                break
        else:
            item = Item(value, calls)
        item_of[value] = item
        last[item] = value.tick
    failed = {id(end): Item(end) for end in ends if type(end) is Failed}
    leaves = _Leaves(item_of, around)
    out: list[Item] = []
    for item in (*sorted(last, key=last.__getitem__), *failed.values()):
        leaves.connect(item)
        out += leaves.new()
        out.append(item)
    last_items = [failed.get(id(end)) or item_of.get(end) or leaves.alone(end) for end in ends]
    out += leaves.new()
    leaves.move_in()
    return out, list(dict.fromkeys(last_items))


class _Leaves:
    """Finds the items of leaves and constants while those that read them are connected."""

    def __init__(self, item_of: dict[Value, Item], around: dict[Value, tuple[Call, ...]]) -> None:
        self.item_of = item_of
        self.around = around
        self.constants = Constants(item_of)
        self.by_identity: dict[int, Item] = {}
        self.readers: dict[int, list[tuple[Call, ...]]] = {}
        self.owner: dict[int, set[Item]] = {}  # the items that read a leaf or an array
        self.owned: dict[int, set[int]] = {}  # the parameters of a Module
        self.given: dict[int, set[int]] = {}  # what a call was given, by its start
        self.inside: dict[int, bool] = {}  # what `_is_inside` found of a leaf or an array
        self._new: list[Item] = []
        for value, item in item_of.items():
            for x in map(self.constants.first, value.inputs):
                if type(x) is np.ndarray or (type(x) is Value and not x.inputs):
                    self.owner.setdefault(id(x), set()).add(item)

    def new(self) -> list[Item]:
        found, self._new = self._new, []
        return found

    def alone(self, leaf: Value) -> Item:
        """A leaf that was asked for itself."""
        return self._read(leaf, ())

    def connect(self, item: Item) -> None:
        """Let ``item`` know what it reads."""
        if type(item.thing) is not Layer:
            item.inputs = [self._read(x, item.calls) for x in item.thing.inputs]
            return
        layer = item.thing
        sources: dict[Item, None] = {}
        inner: list[Any] = []
        for value in layer.made:
            for x in map(self.constants.first, value.inputs):
                if type(x) is Value and x.inputs:
                    if self.item_of[x] is not item:
                        sources[self.item_of[x]] = None
                elif type(x) is not float:
                    if self._is_given(layer.call, x) or not self._is_inside(x):
                        sources[self._read(x, item.calls)] = None
                    elif type(x) is np.ndarray:
                        inner.append(x)
        if not sources:  # it was given a list, say, that became an array
            sources = {self._read(x, item.calls): None for x in inner[:1]}
        item.inputs = list(sources)

    def _is_given(self, call: Call, x: Any) -> bool:
        """Whether ``x`` itself is among the arguments of the call, or in a list, tuple or dictionary of them."""
        if call.start not in self.given:
            found = self.given[call.start] = set(map(id, call.arguments))
            for argument in call.arguments:
                if isinstance(argument, (list, tuple, dict)):
                    found.update(map(id, argument.values() if isinstance(argument, dict) else argument))
        return id(self.constants.given(x)) in self.given[call.start]

    def _is_inside(self, x: Any) -> bool:
        """Whether ``x`` is a part of every item that reads it: a layer's parameter, or what only one layer reads."""
        if id(x) not in self.inside:
            readers = self.owner[id(x)]
            alone = len(readers) == 1
            self.inside[id(x)] = all(
                type(reader.thing) is Layer and (alone or id(x) in self._parameters(reader.thing.call))
                for reader in readers
            )
        return self.inside[id(x)]

    def _parameters(self, call: Call) -> set[int]:
        """The identities of the parameters of what was called."""
        module = call.module()
        if id(module) not in self.owned:
            self.owned[id(module)] = set(map(id, module.parameters())) if module is not None else set()
        return self.owned[id(module)]

    def _read(self, x: Any, calls: tuple[Call, ...]) -> Item:
        if type(x) is Value and x.inputs:
            return self.item_of[x]
        if type(x) is float:  # drawn wherever it is read
            found = Item(x, calls)
            self._new.append(found)
            return found
        x = self.constants.first(x)
        if id(x) not in self.by_identity:
            self.by_identity[id(x)] = Item(x)
            self._new.append(self.by_identity[id(x)])
        found = self.by_identity[id(x)]
        self.readers.setdefault(id(x), []).append(calls)
        return found

    def move_in(self) -> None:
        """Put each leaf into the innermost layer that all its readers are in, unless that was given it."""
        for identity, item in self.by_identity.items():
            shared = None
            for calls in self.readers.get(identity, [()]):
                shared = calls if shared is None else _common(shared, calls)
            inside: list[Call] = []
            for call in shared or ():
                if self._is_given(call, item.thing):
                    break
                inside.append(call)
            item.calls = tuple(inside)


def _common(a: tuple[Call, ...], b: tuple[Call, ...]) -> tuple[Call, ...]:
    """The calls that both begin with."""
    n = 0
    while n < min(len(a), len(b)) and a[n].start == b[n].start:
        n += 1
    return a[:n]


def behind(items: Sequence[Item], ends: Iterable[Item]) -> list[Item]:
    """Those of ``items`` that ``ends`` still depend on, in the same order."""
    needed = set(ends)
    for item in reversed(items):
        if item in needed:
            needed.update(x for x in item.inputs if x is not None)
    return [item for item in items if item in needed]
