"""From a target to the description of a picture: what is opened, what is chosen, what gives way if it is too much."""

from __future__ import annotations

import difflib
import functools
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from tinygrad_wb.draw.describe import Description
from tinygrad_wb.draw.folding import folded
from tinygrad_wb.draw.naming import Called, name_of
from tinygrad_wb.draw.outline import Item, Layer, LeftOut, in_order, outline
from tinygrad_wb.draw.selection import around, left_out, nearest, on_the_ways
from tinygrad_wb.draw.wording import count_text
from tinygrad_wb.memory import without_collection
from tinygrad_wb.nn.calls import Call, calls_around, notes_on
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tinygrad_wb.draw.graph import Graph
    from tinygrad_wb.draw.target import Target

__all__ = ["Wishes", "composed", "with_items"]


class Wishes(NamedTuple):
    """What `draw` was told."""

    depth: int | None
    around: Any
    hops: int
    path: tuple[Any, Any] | None
    highlight: Sequence[Any]
    by_gradient: bool
    max_nodes: int


class Choice(NamedTuple):
    """Items that could be drawn, and what must be said of them."""

    items: list[Item]
    ends: list[Item]
    caption: list[str]
    named: list[Item]  # among which they get their numbers, so that a part of a picture has the names of the whole


def composed(target: Target, wishes: Wishes) -> tuple[Graph, Graph]:
    """The description of a target, in `max_nodes` nodes at most; and with every layer open, if that fits too."""
    with without_collection():
        values = [x for end in target.ends for x in ([end] if type(end) is Value else end.inputs) if type(x) is Value]
        made = in_order(values)
        composer = _Composer(target, made, wishes)
        choice = composer.within_budget()
        graph = composer.described(choice)
        opened = composer.opened(choice)
        return graph, graph if opened is None else composer.described(opened)


def with_items(target: Target, wishes: Wishes) -> tuple[Graph, list[Item]]:
    """The description of Values, in `max_nodes` nodes at most, with the item that each of its nodes describes."""
    with without_collection():
        composer = _Composer(target, in_order(target.ends), wishes)
        choice = composer.within_budget()
        return composer.described(choice), choice.items


class _Composer:
    def __init__(self, target: Target, made: list[Value], wishes: Wishes) -> None:
        self.target, self.made, self.wishes = target, made, wishes
        leaves = dict.fromkeys(x for v in made for x in v.inputs if type(x) is Value and not x.inputs)
        leaves |= {x: None for x in target.ends if type(x) is Value}
        self.values = [*leaves, *made]
        self.known = set(map(id, self.values))
        asked = [wishes.around, *(wishes.path or ()), *wishes.highlight]
        self.asked = [thing for thing in asked if thing is not None]
        self.titles: dict[str, Value] = {}  # of what was asked for by the title that it is shown with
        self.wanted = {id(x) for thing in self.asked for x in self._values_of(thing)}
        self.must_open = self._closed_around()

    def described(self, choice: Choice) -> Graph:
        """The description of a choice of items."""
        marked = set(self.items_of(self.wishes.highlight, choice.items, choice.named))
        description = Description(
            choice.items, choice.named, choice.ends, self.made, self.target.variables, marked, self.target.error
        )
        return description.graph(choice.caption, self.wishes.by_gradient)

    def opened(self, choice: Choice) -> Choice | None:
        """The same with every layer open; None if none is closed, or there are too many nodes in them."""
        layers = [item.thing for item in choice.items if type(item.thing) is Layer]
        if not layers or sum(len(layer.made) for layer in layers) + len(choice.items) > self.wishes.max_nodes:
            return None
        if not all(map(self._is_known_open, self.asked)):
            return None
        opened = self._chosen(len(self.made))
        return opened if len(opened.items) <= self.wishes.max_nodes else None

    def _is_known_open(self, thing: Any) -> bool:
        """Whether what was asked for is the same with every layer open: a number in a name may be another then."""
        if self._values_of(thing):
            return True
        layers = {call.path for calls in calls_around(self.made).values() for call in calls}
        return thing in layers and thing not in (self.wishes.path or ())

    # -- what was asked for ---------------------------------------------------------------------------------------

    def _values_of(self, thing: Any) -> list[Value]:
        """The Values that a name, or a Value, means; none for the name of a layer."""
        if type(thing) is Value:
            if id(thing) not in self.known:
                raise ValueError(f"{thing!r:.60} is not in the graph that is drawn")
            return [thing]
        if not isinstance(thing, str):
            raise TypeError(f"around, path and highlight take names and Values, got {thing!r:.60}")
        if thing in self.titles:
            return [self.titles[thing]]
        return self._by_name.get(thing, []) if thing else []

    @functools.cached_property
    def _by_name(self) -> dict[str, list[Value]]:
        """The Values of each name that the user gave, or that is shown."""
        found: dict[str, list[Value]] = defaultdict(list)
        for x in self.values:
            for name in {x.name, name_of(x, self.target.variables)} - {None}:
                found[str(name)].append(x)
        return found

    def _closed_around(self) -> set[int]:
        """The calls that must be opened for the Values that were asked for to be seen."""
        if not self.wanted:
            return set()
        calls = calls_around(self.made)
        opened: set[int] = set()
        given: dict[int, set[int]] = {}  # what each call was given
        for value in self.made:
            if id(value) in self.wanted:
                returned = {noted[2] for noted in notes_on(value)}
                opened.update(call.start for call in calls.get(value, ()) if call.start not in returned)
            for x in value.inputs:
                if type(x) is Value and not x.inputs and id(x) in self.wanted:
                    for call in calls.get(value, ()):
                        if call.start not in given:
                            given[call.start] = set(map(id, call.arguments))
                        if id(x) not in given[call.start]:
                            opened.add(call.start)
        return opened

    def items_of(self, things: Sequence[Any], items: Sequence[Item], named: Sequence[Item] | None = None) -> list[Item]:
        """The items that names and Values stand for, with the names that they have among ``named``."""
        if not things:
            return []
        called: Called | None = None
        found: list[Item] = []
        shown = _Shown(items)
        for thing in things:
            values = self._values_of(thing)
            own = shown.of(values)
            if not own and isinstance(thing, str):
                called = called or Called(named or items, self.target.variables)
                own = [x for x in items if _path(x) == thing] or [x for x in items if called(x.thing) == thing]
                if own and _path(own[0]) != thing and own[0].result is not None:
                    self.titles[thing] = own[0].result  # its number is another when layers close
                own = own or [x for x in items if any(call.path == thing for call in x.calls)]
            if not own and isinstance(thing, str) and not values:
                raise ValueError(self._unknown(thing, items))
            found += own
        return found

    def _unknown(self, name: str, items: Sequence[Item]) -> str:
        called = Called(items, self.target.variables)
        known = list(dict.fromkeys(called(x.thing) for x in items if x.result is not None))
        near = difflib.get_close_matches(name, known, n=3) or known[:8]
        return f"nothing in this graph is called {name!r:.60}; there are: {', '.join(near)}"

    # -- what is drawn --------------------------------------------------------------------------------------------

    def _is_open(self, depth: int | None) -> Any:
        def is_open(call: Call, level: int, holds_others: bool) -> bool:
            if call.start in self.must_open:
                return True
            return holds_others if depth is None else level < depth

        return is_open

    def within_budget(self) -> Choice:
        """As was asked; else with layers closed; else with repeats folded too; else what is nearest to the ends."""
        depth, most = self.wishes.depth, self.wishes.max_nodes
        choice = asked = self._chosen(depth)
        self.items_of(self.wishes.highlight, choice.items, choice.named)
        said = "layers are closed" if depth is not None else ""
        ways: list[tuple[int | None, bool]] = [(None, False)] if depth is not None else []
        ways += [(None, True), (1, True), (0, True)]
        for closed, fold in ways:
            if len(choice.items) <= most:
                return choice
            if closed is not None and not any(item.calls for item in choice.items):
                break  # there are no layers to close
            if closed != depth:
                choice = self._chosen(closed)
            if fold:
                items = folded(choice.items, choice.ends)
                choice = choice._replace(items=items, named=items)
                said = "repeats are folded" + (", and layers closed" if closed is not None else "")
            if len(choice.items) < len(asked.items):
                note = f"{_sizes(asked)}: too many for max_nodes={most}, so {said}."
                choice = choice._replace(caption=[*asked.caption, note])
        return choice if len(choice.items) <= most else self._cropped(choice, asked)

    def _chosen(self, depth: int | None) -> Choice:
        items, ends = outline(self.target.ends, self.made, self._is_open(depth))
        caption: list[str] = []
        wishes = self.wishes
        whole = items
        if wishes.path is not None:
            end, start = (self._one(thing, items) for thing in wishes.path)
            items, count = on_the_ways(items, end, start)
            if not items:
                raise ValueError(f"path={wishes.path!r:.80}: there is no way from the first back to the second")
            ends = [end]
            ways = "1 way" if count == 1 else f"{count_text(count)} ways"
            caption.append(f"{ways} from the end to the start; nothing else is drawn.")
        if wishes.around is not None:
            items = around(items, self.items_of([wishes.around], items), wishes.hops)
            missing = left_out(set(whole) - set(items))
            if missing:
                steps = "1 step" if wishes.hops == 1 else f"{wishes.hops} steps"
                caption.append(f"What is within {steps} of {_told(wishes.around)}; {missing} not drawn.")
        if len(items) < len(whole):
            kept = set(items)
            for item in items:
                item.inputs = [x if x in kept else None for x in item.inputs]
            read = {x for item in items for x in item.inputs}
            ends = [item for item in items if item in ends or item not in read]
        return Choice(items, ends, caption, whole)

    def _one(self, thing: Any, items: Sequence[Item]) -> Item:
        found = self.items_of([thing], items)
        if len(found) != 1:
            raise ValueError(f"path=…: {_told(thing)} must be one thing, and {len(found)} are called so")
        return found[0]

    def _cropped(self, choice: Choice, asked: Choice) -> Choice:
        """The nearest to the ends, and something that says what was left out."""
        kept = nearest(choice.items, choice.ends, self.wishes.max_nodes)
        known = set(kept)
        more = Item(LeftOut(f"… {left_out(x for x in choice.items if x not in known)} not drawn".replace(" ", " ", 1)))
        for item in kept:
            item.inputs = [x if x is None or x in known else more for x in item.inputs]
        note = f"{_sizes(asked)}: the {len(kept):,} that are nearest to the end are drawn; max_nodes={len(kept)}."
        return Choice([more, *kept], choice.ends, [*asked.caption, note], [more, *kept])


class _Shown:
    """Which items show a Value: as themselves, or else as the closed layer that it is in."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.order = {item: i for i, item in enumerate(items)}
        self.as_itself: dict[int, list[Item]] = defaultdict(list)
        self.in_layer: dict[int, list[Item]] = defaultdict(list)
        for item in items:
            for x in {id(item.thing), id(item.result)}:
                self.as_itself[x].append(item)
            if type(item.thing) is Layer:
                for value in item.thing.made:
                    self.in_layer[id(value)].append(item)

    def of(self, values: Iterable[Value]) -> list[Item]:
        """The items that show any of ``values``, in order."""
        for shown in (self.as_itself, self.in_layer):
            if found := {item for x in values for item in shown.get(id(x), ())}:
                return sorted(found, key=self.order.__getitem__)
        return []


def _path(item: Item) -> str | None:
    return item.thing.call.path if type(item.thing) is Layer else None


def _sizes(choice: Choice) -> str:
    return f"{len(choice.items):,} nodes"


def _told(thing: Any) -> str:
    return repr(thing) if isinstance(thing, str) else repr(thing.name or "the Value given")
