"""What a program has to compute: the steps of a trace, each once, and only those that something depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.program.trace import is_scalar
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tinygrad_wb.program.trace import Trace

__all__ = ["Plan", "Step", "data_of", "make_plan"]


class Step:
    """One operation: what it is of, and its result's data, of which shape and dtype count.

    ``inputs`` are earlier steps, leaves (Values) and numbers; ``uses`` counts how often it is an input or wanted.
    """

    __slots__ = ("data", "inputs", "node", "number", "op", "options", "uses")

    def __init__(self, node: Value, inputs: tuple[Any, ...]) -> None:
        self.node = node
        self.op: Any = node.op
        self.inputs = inputs
        self.options = node.options
        if "shared" in self.options:
            self.options = {name: option for name, option in node.options.items() if name != "shared"}
        self.data = node._data
        self.number = is_scalar(node)
        self.uses = 0


@dataclass(frozen=True)
class Plan:
    """The ``steps`` that the wanted Values need, in order.

    ``found`` has, for each wanted Value, the step, leaf or number that it is; ``known`` has it for each operation of
    the ``trace``.
    """

    trace: Trace
    steps: list[Step]
    found: list[Any]
    known: Mapping[Value, Any]

    def of(self, x: Any) -> Any:
        """The step, leaf or number that stands for ``x``."""
        return _of(x, self.trace, self.known)


def make_plan(trace: Trace, wanted: Sequence[Any]) -> Plan:
    """The plan for the ``wanted`` Values of a trace."""
    known = each_once(trace)
    found = [_of(x, trace, known) for x in wanted]
    return Plan(trace, needed_for(found, known.values()), found, known)


def each_once(trace: Trace) -> dict[Value, Any]:
    """Common-subexpression elimination: what each operation of a trace is.

    It is a step, which it shares with all operations that do the same; or one of its inputs, if it leaves that as it
    is.
    """
    known: dict[Value, Any] = {}
    steps: dict[Any, Step] = {}
    given = {id(x) for unit in trace.units if unit.kind == "forward" for x in unit.node.inputs}
    for unit in trace.units:
        for node in unit.steps:
            inputs = tuple([x if type(x) is float else _of(x, trace, known) for x in node.inputs])
            if type(node._data) is np.ndarray and len(inputs) == 2:
                inputs = _numbers(node, inputs, trace, given)
            found = _unchanged(node, inputs)
            if found is None:
                found = Step(node, inputs)
                key = (node.op, *[repr(x) if type(x) is float else id(x) for x in inputs])
                if found.options:
                    key += (_key(found.options),)
                found = steps.setdefault(key, found)
            known[node] = found
    return known


def needed_for(found: Iterable[Any], known: Iterable[Any]) -> list[Step]:
    """Dead-code elimination: the steps that something found depends on, in order. Counts how often each is used."""
    needed = {id(x) for x in found if type(x) is Step}
    for x in found:
        if type(x) is Step:
            x.uses += 1
    steps = []
    for step in reversed(dict.fromkeys(x for x in known if type(x) is Step)):
        if id(step) in needed:
            steps.append(step)
            for x in step.inputs:
                if type(x) is Step:
                    needed.add(id(x))
                    x.uses += 1
    return steps[::-1]


def data_of(x: Any) -> Any:
    """The data of a step, a leaf or a number."""
    return x.data if type(x) is Step else x._data if type(x) is Value else x


def _of(x: Any, trace: Trace, known: Mapping[Value, Any]) -> Any:
    x = trace.stand_in(x)
    return known.get(x, x) if type(x) is Value else x


def _numbers(node: Value, inputs: tuple[Any, ...], trace: Trace, given: set[int]) -> tuple[Any, ...]:
    """Beside an array that fills the result's shape, an array of one number repeated is as good as the number.

    Backprop makes such arrays, where it stretches the gradient of a sum. Those that the user gave may change.
    """
    if node.op.name in ("add", "subtract", "multiply", "divide"):  # type: ignore[union-attr]
        for i, x in enumerate(inputs):
            if type(x) is Value and id(x._data) in trace.constants and id(x._data) not in given:
                number, other = x._data.flat[0] if x._data.size else 0.0, data_of(inputs[1 - i])
                if _alike(other, node._data) and (x._data == number).all():
                    return (float(number), inputs[1]) if i == 0 else (inputs[0], float(number))
    return inputs


def _unchanged(node: Value, inputs: tuple[Any, ...]) -> Any:
    """The input that ``node`` equals to the bit: 1 · x is x. None if it has to be computed."""
    if node.op.name == "multiply":  # type: ignore[union-attr]
        for one, x in (inputs, inputs[::-1]):
            if type(one) is float and one == 1.0 and type(x) is not float and _alike(data_of(x), node._data):
                return x
    return None


def _alike(a: Any, b: Any) -> bool:
    return np.shape(a) == np.shape(b) and getattr(a, "dtype", type(a)) == getattr(b, "dtype", type(b))


def _key(options: Any) -> Any:
    """Options as something that can be looked up: arrays by identity."""
    if isinstance(options, np.ndarray):
        return id(options)
    if isinstance(options, dict):
        return tuple([(name, _key(option)) for name, option in options.items()])
    if isinstance(options, (tuple, list)):
        return (type(options).__name__, *map(_key, options))
    if isinstance(options, slice):
        return ("slice", options.start, options.stop, options.step)
    return options if options.__hash__ is not None else id(options)
