"""A recorded graph as a sequence of units: what each operation computes, and each of its partials.

The partials are run once on the Values themselves, so that they record; what they record is the backward pass. An
operation that Python and NumPy have no word for is taken apart the same way: its forward computation, given Values,
records the simpler operations that it is made of.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.backprop import contributions, match
from tinygrad_wb.constants import Constants
from tinygrad_wb.recording import Recorder
from tinygrad_wb.value import Value, next_tick, traced

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tinygrad_wb.operation import Operation

__all__ = ["Trace", "Unit", "is_scalar", "made_since", "on_numbers", "text_of"]

NUMBERS = (float, bool)

_by_tick = attrgetter("tick")


def is_scalar(x: Any) -> bool:
    """Whether a Value or constant is a plain number (or truth), not an array."""
    return type(x._data if type(x) is Value else x) in NUMBERS


def _number(d: Any) -> bool:
    return type(d._data if type(d) is Value else d) is float


def on_numbers(node: Value) -> bool:
    """Whether ``node``'s operation can be written for Python's own numbers."""
    op: Operation | Any = node.op
    if op.scalar is None or type(node._data) not in NUMBERS:
        return False
    for x in node.inputs:  # noqa: SIM110 - it is asked of every operation, and a loop is twice as quick as all()
        if type(x._data if type(x) is Value else x) not in NUMBERS:
            return False
    return True


def text_of(node: Value) -> str | None:
    """How ``node``'s operation is written for numbers, or else with NumPy; None where there is no word for it."""
    op: Operation | Any = node.op
    if on_numbers(node):
        return op.scalar(*node.inputs) if callable(op.scalar) else op.scalar
    return op.numpy(**node.options) if callable(op.numpy) else op.numpy


@dataclass
class Unit:
    """One line of mathematics: a forward operation, one partial of it, or the sum of a Value's contributions.

    ``steps`` are the operations that compute ``result``, in order; none, where the result is known already.
    """

    kind: str  # "forward", "partial" or "sum"
    node: Value  # the operation; of a sum, the Value whose gradient it is
    result: Any
    steps: list[Value]
    to: Value | None = None  # of a partial: the input that it is for
    parts: tuple[Any, ...] = ()  # of a sum


@dataclass
class Trace:
    """The forward pass of ``result`` and, if it is a number, its backward pass.

    ``gradients`` has, for every Value on a way to a leaf whose gradient is wanted, the Value (or constant) that is its
    gradient. ``same`` tells which simpler operation stands for one that was taken apart.
    """

    result: Value
    seed: Any  # ∂result/∂result: 1.0, or a Value that holds it; None for no backward pass
    fixed: frozenset[Value] = frozenset()  # leaves whose gradients nobody wants
    recorder: Recorder = field(default_factory=Recorder)
    also: tuple[Value, ...] = ()  # other results of the same forward pass
    units: list[Unit] = field(default_factory=list)
    gradients: dict[Value, Any] = field(default_factory=dict)
    same: dict[Value, Value] = field(default_factory=dict)
    opaque: set[Value] = field(default_factory=set)  # nobody knows what they are made of
    constants: dict[int, Value] = field(default_factory=dict)  # plain arrays in the graph, by identity, as leaves

    def __post_init__(self) -> None:
        self._shared: dict[Value, Any] = {}
        self._last: dict[Value, Any] = {}  # how far `stand_in` has come from each
        self._known: set[Value] = set()
        nodes = _history(self.result)
        self.copies = Constants(nodes)
        with self.recorder.running(lines=False):
            for node in reversed(nodes):
                self._forward(node)
            for other in (*self.also, *(condition for condition, _ in self.recorder.decisions)):
                for node in reversed(_history(other)):
                    self._forward(node)
            if self.seed is not None:
                self._backward(nodes)

    def stand_in(self, x: Any) -> Any:
        """What computes ``x`` in this trace; an array is a leaf here."""
        if type(x) is np.ndarray:
            x = self.copies.first(x)
            if id(x) not in self.constants:
                self.constants[id(x)] = traced(x)
            return self.constants[id(x)]
        if type(x) is not Value or x not in self.same:
            return x
        behind = []
        while type(x) is Value and x in self.same:
            behind.append(x)
            x = self._last.get(x, self.same[x])
        self._last |= dict.fromkeys(behind, x)  # so that a chain of them, as along a sum, is walked once
        return x

    def operands(self, node: Value) -> list[Any]:
        """The inputs of ``node``, arrays as leaves, so that everything that is done to them is recorded."""
        return [self.stand_in(x) if type(x) is np.ndarray else x for x in node.inputs]

    # -- forward ------------------------------------------------------------------------------------------------

    def _forward(self, node: Value) -> None:
        if node not in self._known:
            self.units.append(Unit("forward", node, node, self._steps((node,))))

    def _steps(self, nodes: Iterable[Value]) -> list[Value]:
        """``nodes``, in order, and each that has no word of its own replaced by what it is made of."""
        steps = []
        for node in nodes:
            self._known.add(node)
            if text_of(node) is not None or not self._taken_apart(node):
                steps.append(node)
            else:
                steps += self._new_behind(self.same[node])
        return steps

    def _new_behind(self, *results: Any) -> list[Value]:
        """The operations behind ``results`` that no unit has yet, in order."""
        new = [x for x in results if type(x) is Value and x.inputs and x not in self._known]
        met = set(new)
        for node in new:  # grows as it goes
            for x in node.inputs:
                if type(x) is Value and x.inputs and x not in met and x not in self._known:
                    met.add(x)
                    new.append(x)
        return self._steps(sorted(new, key=_by_tick) if len(new) > 1 else new)

    def _taken_apart(self, node: Value) -> bool:
        """Run the operation's forward on its Values: what it records then stands for it."""
        op: Operation | Any = node.op
        options = {name: option for name, option in node.options.items() if name != "shared"}
        inputs = self.operands(node)
        start = next_tick()
        try:
            if op.shared is not None:
                options["shared"] = self._shared[node] = op.shared(*inputs, **options)
            result = op.forward(inputs, **options) if op.variadic else op.forward(*inputs, **options)
        except (TypeError, ValueError, AttributeError, RecursionError):
            result = None  # written for plain data alone
        if type(result) is not Value or any(part.op is op for part in made_since(start, result)):
            self.opaque.add(node)
            self._shared.pop(node, None)
            return False
        self.same[node] = result
        return True

    # -- backward ------------------------------------------------------------------------------------------------

    def _backward(self, nodes: list[Value]) -> None:
        wanted = self._wanted(nodes)
        found: dict[Value, list[Any]] = {self.result: [self.seed]}
        for node in nodes:
            if node not in wanted or node not in found:  # no gradient goes through a comparison
                continue
            g = self._total(node, found.pop(node))
            for x, d in contributions(node, g, True, self.operands(node), self._shared.get(node)):
                if x in wanted:
                    contribution = d if type(x._data) is float and _number(d) else match(d, x._data)
                    steps = self._new_behind(contribution)
                    if not steps and type(contribution) is Value:  # passed on: the same number under another name
                        passed, contribution = contribution, traced(contribution._data)
                        self.same[contribution] = passed
                    self.units.append(Unit("partial", node, contribution, steps, x))
                    found.setdefault(x, []).append(contribution)
        for leaf, parts in found.items():
            self._total(leaf, parts)

    def _wanted(self, nodes: list[Value]) -> set[Value]:
        """The Values whose gradients lead to a leaf that is not fixed."""
        leaves = {x for node in nodes for x in node.inputs if type(x) is Value and not x.inputs} | {self.result}
        wanted = leaves - self.fixed
        for node in reversed(nodes):
            if any(type(x) is Value and x in wanted for x in node.inputs):
                wanted.add(node)
        return wanted

    def _total(self, x: Value, parts: list[Any]) -> Any:
        """The sum of a Value's contributions."""
        g, *others = parts
        for part in others:
            g = g + part
        if others:
            self.units.append(Unit("sum", x, g, self._new_behind(g), parts=tuple(parts)))
        self.gradients[x] = g
        return g


def _history(result: Value) -> list[Value]:
    """`history`, also of a record that is older than the numbers in its leaves: only shapes count here."""
    return sorted(made_since(-1, result), key=_by_tick, reverse=True)


def made_since(tick: int, result: Value) -> list[Value]:
    """``result`` and the operations behind it that were recorded after ``tick``."""
    found = [result] if result.tick > tick and result.inputs else []
    met = set(found)
    for node in found:  # grows as it goes
        for x in node.inputs:
            if type(x) is Value and x.inputs and x.tick > tick and x not in met:
                met.add(x)
                found.append(x)
    return found
