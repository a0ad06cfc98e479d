"""From items to their description: names, numbers, gradients, and on each edge the local derivative."""

from __future__ import annotations

import linecache
import math
import os
import textwrap
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.backprop import latest
from tinygrad_wb.draw.formula import Partial, partials, typeset
from tinygrad_wb.draw.graph import OLD, Edge, Facts, Graph, Group, Kind, Node
from tinygrad_wb.draw.naming import Called
from tinygrad_wb.draw.notation import argument_names, statement, symbol, told_options
from tinygrad_wb.draw.outline import Item, Layer, LeftOut
from tinygrad_wb.draw.wording import (
    NOT_COMPUTED,
    amount,
    cropped,
    in_full,
    number,
    printable,
    shape_text,
    value_text,
)  # fmt: skip
from tinygrad_wb.errors import Failed
from tinygrad_wb.nn.calls import notes_on
from tinygrad_wb.nn.summary import size_text
from tinygrad_wb.program.names import line_of
from tinygrad_wb.value import Value, raw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tinygrad_wb.nn.calls import Call
    from tinygrad_wb.nn.module import Module

__all__ = ["Description", "layer_text", "parameter_text"]

STATEMENT_LENGTH = 80
FORMULA_LENGTH = 64
MESSAGE_WIDTH = 60
CONTRIBUTIONS = 4  # told one by one


class Description:
    """Describes items: the whole of what is drawn, numbered among ``named``.

    ``made``, all Values behind it, tell what is stale.
    """

    def __init__(
        self,
        items: Sequence[Item],
        named: Sequence[Item],
        ends: Sequence[Item],
        made: Sequence[Value],
        variables: Mapping[int, str],
        marked: set[Item],
        error: str = "",
    ) -> None:
        self.items, self.ends, self.marked, self.error = items, set(ends), marked, error
        self.called = Called(named, variables)
        self.ids = {item: f"n{i}" for i, item in enumerate(items, 1)}
        read_late = {x for value in made for x in value.inputs if type(x) is Value and x.tick > value.tick}
        self.stale = {item.thing for item in items if type(item.thing) is Value and item.thing in read_late}
        self.outdated = bool(read_late)
        self.partials = {
            item: self._positions(item) for item in items if type(item.thing) is Value and item.thing.inputs
        }
        drawn = {item.thing for item in items if type(item.thing) is Value}
        self.uses = Counter(x for value in made for x in value.inputs if type(x) is Value and x in drawn)
        self.contributions: dict[Value, list[tuple[str, Any]]] = defaultdict(list)
        for item, found in self.partials.items():
            times = Counter(map(id, item.thing.inputs))
            for at, partial in found.items():
                if partial.contribution is not None:
                    x = item.thing.inputs[at]
                    use = self._use(item.thing, at, times[id(x)])
                    self.contributions[x].append((use, partial.contribution))

    def graph(self, caption: Sequence[str], by_gradient: bool) -> Graph:
        """The description, as plain data."""
        groups, group_of = self._groups()
        scale = self._scale() if by_gradient else None
        nodes = tuple(self._node(item, group_of.get(item, ""), scale) for item in self.items)
        edges = (*(edge for item in self.items for edge in self._edges(item)), *self._turns())
        return Graph(nodes, edges, groups, tuple(caption), scale)

    def _use(self, node: Value, at: int, times: int) -> str:
        """What an operation is called as the reader of one of its inputs, which it reads so many ``times``."""
        op: Any = node.op
        name = self.called(node)
        if times < 2:
            return name
        return f"{name}, as {at if op.variadic else op.inputs[at]}"

    # -- nodes -----------------------------------------------------------------------------------------------------

    def _node(self, item: Item, group: str, scale: tuple[float, float] | None) -> Node:
        thing = item.thing
        title, given = self.called(thing), id(thing) in self.called.given
        kind: Kind
        sign, code = "", title
        facts: Facts = ()
        details: Facts = ()
        if type(thing) is LeftOut:
            kind, title, code = "left out", thing, thing
        elif type(thing) is Layer:
            kind, (sign, facts) = "layer", self._layer(thing)
            code, details = f"{title} = {sign}", self._details(thing.made[-1])
        elif type(thing) is Failed:
            kind, sign = "failed", symbol(thing.op, thing.options)
            code, facts = self._statement(thing, title), self._message()
        elif type(thing) is not Value:
            kind, given = "constant", True
            facts = _array_facts(thing) if type(thing) is np.ndarray else ()
        else:
            facts, details = self._facts(thing), self._details(thing)
            kind = "leaf"
            if thing.inputs:
                op: Any = thing.op
                kind = "result" if item in self.ends else "operation"
                sign, code = symbol(op, thing.options), self._statement(thing, title)
                # reshape has an option `shape`, which says no more than the result's own
                known = {word for word, _ in facts}
                facts = (*(told for told in told_options(op, thing.options) if told[0] not in known), *facts)
        return Node(
            self.ids[item], kind, title, given, sign, code, facts, details,
            group, _repeated(item), self._heat(item, scale), item in self.marked,
        )  # fmt: skip

    def _statement(self, thing: Any, title: str) -> str:
        op: Any = thing.op
        arguments = [self.called(x) for x in thing.inputs]
        return cropped(f"{title} = {statement(op, arguments, thing.options)}", STATEMENT_LENGTH)

    def _message(self) -> Facts:
        lines: list[str] = []
        for line in self.error.splitlines():
            lines += textwrap.wrap(line, MESSAGE_WIDTH) if len(line) > MESSAGE_WIDTH else [line]
        return tuple(("", line) for line in lines if line.strip())

    def _layer(self, layer: Layer) -> tuple[str, Facts]:
        result = layer.made[-1]
        module = layer.call.module()
        if module is None:
            return "layer", self._facts(result)
        own = [(name, parameter_text(p)) for name, p in module.own_parameters()]
        count = sum(p.size for p in module.parameters())
        return layer_text(module), (("parameters", f"{count:,}"), *own, *self._facts(result))

    def _facts(self, value: Value) -> Facts:
        """What is told of a Value: shape, value, gradient, and the contributions that the gradient is the sum of."""
        data = value._data
        facts = [*_array_facts(data)] if np.ndim(data) else [("value", number(data))]
        facts.append(("gradient", self._slope(value)))
        facts += self._parts(value)
        if value in self.stale:
            facts.append(("", "assigned after it was read"))
        return tuple(facts)

    def _slope(self, value: Value) -> str:
        return slope_text(value, self.outdated)

    def _parts(self, value: Value) -> list[tuple[str, str]]:
        """The contributions to a gradient, where there are several."""
        parts = self.contributions.get(value, [])
        if value.grad is None or len(parts) < 2:
            return []
        rows = [(f"from {name}", _contribution(d)) for name, d in parts[:CONTRIBUTIONS]]
        if len(parts) > CONTRIBUTIONS:
            rows.append((f"from {len(parts) - CONTRIBUTIONS} more", ""))
        if self.uses[value] > len(parts):
            rows.append((f"from {self.uses[value] - len(parts)} not drawn", ""))
        elif not value.inputs and not np.allclose(sum(d for _, d in parts), raw(value.grad), rtol=1e-5, equal_nan=True):
            rows.append(("other passes", "added before, or after"))
        return rows

    def _details(self, value: Value) -> Facts:
        """Numbers in full, and where the Value was computed."""
        details = [("value", in_full(value._data))]
        if value.grad is not None:
            details.append(("gradient", in_full(value.grad)))
        if hasattr(value, "place"):
            file, line = value.place.code.co_filename, line_of(value.place)
            details.append(("where", f"{os.path.basename(file)}:{line}"))  # noqa: PTH119 - it may be no path
            details.append(("source", linecache.getline(file, line).strip()))
        return tuple(details)

    # -- colours ---------------------------------------------------------------------------------------------------

    def _scale(self) -> tuple[float, float] | None:
        sizes = [size for item in self.items if (size := _size(item)) and math.isfinite(size)]
        return (min(sizes), max(sizes)) if sizes else None

    def _heat(self, item: Item, scale: tuple[float, float] | None) -> float | None:
        size = _size(item) if scale else None
        if scale is None or size is None:
            return None
        if not 0.0 < size < math.inf:
            return 0.0 if size == 0.0 else 1.0
        low, high = map(math.log, scale)
        return 1.0 if high - low < 1e-9 else (math.log(size) - low) / (high - low)

    # -- edges -----------------------------------------------------------------------------------------------------

    def _positions(self, item: Item) -> dict[int, Partial]:
        """The partials of an operation, by the position of the input."""
        found = partials(item.thing, self.called)
        at, out = 0, {}
        for x, partial in found:
            while item.thing.inputs[at] is not x:
                at += 1
            out[at], at = partial, at + 1
        return out

    def _edges(self, item: Item) -> list[Edge]:
        own = self.ids[item]
        thing = item.thing
        edges = []
        names: Sequence[str] = [""] * len(item.inputs)
        if type(thing) is not Layer and item.inputs:
            names = argument_names(thing.op, symbol(thing.op, thing.options), len(item.inputs))
        for at, (x, name) in enumerate(zip(item.inputs, names, strict=True)):
            if x is None:
                continue
            partial = self.partials.get(item, {}).get(at)
            formula = cropped(partial.formula, FORMULA_LENGTH) if partial else ""
            shown = number(partial.number) if partial and partial.number is not None else ""
            if typeset(shown) == formula:
                shown = ""
            both = item in self.marked and x in self.marked
            local = partial is None or partial.local or formula == "…"
            edges.append(Edge(self.ids[x], own, name, formula, shown, local, marked=both))
        return edges

    def _turns(self) -> list[Edge]:
        """From the end of what is repeated back to its beginning."""
        ends: dict[int, list[str]] = defaultdict(list)
        for item in self.items:
            if item.turn is not None:
                ends[item.turn.start].append(self.ids[item])
        return [Edge(ids[-1], ids[0], again=True) for ids in ends.values()]

    # -- boxes -----------------------------------------------------------------------------------------------------

    def _groups(self) -> tuple[tuple[Group, ...], dict[Item, str]]:
        groups: dict[Any, Group] = {}
        inside: dict[Item, str] = {}
        results: dict[int, list[Value]] = defaultdict(list)  # of each call, by its start
        for item in self.items:
            if type(item.thing) is Value and item.thing.inputs:
                for start in dict.fromkeys(noted[2] for noted in notes_on(item.thing)):
                    results[start].append(item.thing)
        for item in self.items:
            parent = ""
            for call in item.calls:
                if call.start not in groups:
                    name = f"g{len(groups) + 1}"
                    closed = self._closed(call, name, results[call.start])
                    groups[call.start] = Group(name, "layer", _heading(call), parent, closed)
                parent = groups[call.start].id
            if item.turn is not None:
                if item.turn.start not in groups:
                    title = f"×{item.turn.times:,}" + ", the same parameters each time" * item.turn.same
                    groups[item.turn.start] = Group(f"g{len(groups) + 1}", "repeat", title, parent)
                parent = groups[item.turn.start].id
            inside[item] = parent
        return tuple(groups.values()), inside

    def _closed(self, call: Call, name: str, results: list[Value]) -> Node | None:
        """The node that an open layer is when it is closed, with what the call returned."""
        if not results:
            return None
        what, facts = self._layer(Layer(call, results))
        title = self.called(results[-1])  # which formulas know it by
        return Node(name, "layer", title, False, what, f"{title} = {what}", facts, self._details(results[-1]))


def _array_facts(data: Any) -> Facts:
    return ("shape", shape_text(data)), ("value", value_text(data))


def _contribution(d: Any) -> str:
    return number(d) if np.ndim(d) == 0 else f"norm {number(amount(d), 3)}"


def _repeated(item: Item) -> str:
    times = f"×{item.times:,}" if item.times > 1 else ""
    more = f"+{item.more:,} more" if item.more else ""
    return f"{times} {more}".strip()


def _size(item: Item) -> float | None:
    """Root mean square of an item's gradient; of a layer, of all its parameters'."""
    gradients = [item.result.grad] if item.result is not None else []
    if type(item.thing) is Layer and (module := item.thing.call.module()) is not None:
        gradients = [p.grad for p in module.parameters()] or gradients
    found = [raw(g) for g in gradients if g is not None]
    count = sum(int(np.size(g)) for g in found)
    return math.hypot(*map(amount, found)) / math.sqrt(count) if count else None


def slope_text(value: Value, outdated: bool = False) -> str:
    """A gradient in words; one that is from before the last update of the leaf, or of the graph's leaves, is marked."""
    if value.grad is None:
        return NOT_COMPUTED
    old = outdated if value.inputs else value.tick > latest[0]
    return value_text(value.grad) + OLD * old


def parameter_text(parameter: Value) -> str:
    """A parameter of a closed layer: its shape, and how large its gradient is."""
    if parameter.grad is None:
        return f"{size_text(parameter)}, gradient {NOT_COMPUTED}"
    old = OLD if parameter.tick > latest[0] else ""
    return f"{size_text(parameter)}, gradient {_contribution(raw(parameter.grad))}{old}"


def layer_text(module: Module) -> str:
    """What a layer is: ``Dense 64 → 128, relu``."""
    return f"{type(module).__name__} {printable(module.describe())}".strip()


def _heading(call: Call) -> str:
    module = call.module()
    words = [printable(call.path), "" if module is None else layer_text(module)]
    return ": ".join(filter(None, words)) or "layer"
