"""One run of a function on traced arguments, with everything that it did on record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.backprop import history
from tinygrad_wb.program.arguments import filled_in, pattern
from tinygrad_wb.recording import Recorder, ReplayError
from tinygrad_wb.value import Value, constant, next_tick, traced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Run", "plain"]


class Run:
    """A function's run: the ``arguments`` as leaves, the ``results``, the ``parameters`` that it read.

    ``wanted`` are the leaves that the results have gradients by: the parameters, and what stands for Values that were
    given as arguments. ``shape`` is the pattern that the results are put back into.
    """

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function = function
        holes: list[Any] = []
        self.asked = pattern((args, kwargs), holes)
        self.arguments = [traced(plain(x), f"argument_{i}") for i, x in enumerate(holes)]
        self.values = [i for i, x in enumerate(holes) if type(x) is Value]  # the arguments that are Values
        self.recorder = Recorder()
        self.start = next_tick()
        with self.recorder.running():
            traced_args, traced_kwargs = filled_in(self.asked, self.arguments)
            result = function(*traced_args, **traced_kwargs)
        self.results: list[Any] = []
        self.shape = pattern(result, self.results)
        ends = [x for x in (*self.results, *(c for c, _ in self.recorder.decisions)) if type(x) is Value]
        self.nodes = sorted({node for end in ends for node in history(end)}, key=lambda node: node.tick)
        if not any(type(x) is Value and x.inputs for x in self.results):
            raise ReplayError("it returns nothing that was computed from its arguments or from parameters")
        leaves = dict.fromkeys(x for node in self.nodes for x in node.inputs if type(x) is Value and not x.inputs)
        draws = [leaf for leaf, _ in self.recorder.draws]
        self.parameters = [x for x in leaves if x.tick < self.start and x not in {*self.arguments, *draws}]
        self.wanted = self.parameters + [self.arguments[i] for i in self.values]

    def fixed(self) -> frozenset[Value]:
        """The leaves that nobody wants the gradients of."""
        every = {x for node in self.nodes for x in node.inputs if type(x) is Value and not x.inputs}
        return frozenset(every.difference(self.wanted))

    def description(self) -> list[Any]:
        """What was done to what: two runs are the same work if these are equal."""
        known: dict[Any, Any] = {x: ("argument", i) for i, x in enumerate(self.arguments)}
        known |= {x: ("draw", i) for i, (x, _) in enumerate(self.recorder.draws)}

        def told(x: Any) -> Any:
            if type(x) is not Value:
                return _constant(x)
            if x in known:
                return known[x]
            return ("parameter", id(x)) if x.tick < self.start else ("made inside", _constant(x._data))

        lines = []
        for i, node in enumerate(self.nodes):
            options = {name: option for name, option in node.options.items() if name != "shared"}
            lines.append((node.op, list(map(told, node.inputs)), _constant(options)))
            known[node] = i
        return [lines, list(map(told, self.results)), [outcome for _, outcome in self.recorder.decisions]]

    def constants(self) -> list[Any]:
        """The plain arrays in the record, and those of leaves that were made inside the function."""
        found = [x for node in self.nodes for x in node.inputs if type(x) is np.ndarray]
        made = [
            x._data for n in self.nodes for x in n.inputs if type(x) is Value and not x.inputs and x.tick > self.start
        ]
        ours = {id(x._data) for x in (*self.arguments, *(leaf for leaf, _ in self.recorder.draws))}
        return [*found, *(a for a in made if type(a) is np.ndarray and id(a) not in ours)]


def plain(x: Any) -> Any:
    """An argument as a program takes it: the data of a Value; whole numbers in arrays stay such."""
    if type(x) is Value:
        return x._data
    return x if type(x) is np.ndarray and x.ndim else constant(x)


class _Array:
    """A constant array of a run, equal to another if it is the same, or holds the same."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, data: Any) -> None:
        self.data = data

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Array):
            return False
        a, b = self.data, other.data
        alike = a is b or (a.shape == b.shape and a.dtype == b.dtype)
        return alike and (a is b or bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f")))


def _constant(x: Any) -> Any:
    """A constant in a form that can be compared."""
    if isinstance(x, np.ndarray):
        return _Array(x)
    if isinstance(x, dict):
        return {name: _constant(item) for name, item in x.items()}
    if isinstance(x, (list, tuple)):
        return [_constant(item) for item in x]
    return repr(x) if type(x) is float else x
