"""What a replay has to compute: the steps of a trace, each once, and only those that something depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.program.trace import is_scalar
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from tinygrad_wb.program.trace import Trace

__all__ = ["Plan", "Step", "data_of"]


class Step:
    """One operation: what it is of, and its result's data, of which shape and dtype count.

    ``inputs`` are earlier steps, leaves (Values) and numbers.
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


class Plan:
    """The steps that ``wanted`` Values need. ``found`` has, for each of them, the step, leaf or number that it is."""

    def __init__(self, trace: Trace, wanted: list[Any]) -> None:
        self.trace = trace
        self._of: dict[Value, Any] = {}
        self._same: dict[Any, Step] = {}
        self._given = {id(x) for unit in trace.units if unit.kind == "forward" for x in unit.node.inputs}
        every = [self._step(node) for unit in trace.units for node in unit.steps]
        self.found = [self.of(x) for x in wanted]
        self.steps = self._needed([step for step in every if type(step) is Step])

    def of(self, x: Any) -> Any:
        """The step, leaf or number that stands for ``x``."""
        x = self.trace.stand_in(x)
        return self._of.get(x, x) if type(x) is Value else x

    def _step(self, node: Value) -> Any:
        """A step for ``node``, or what it equals: an earlier one that does the same, or one of its inputs."""
        inputs = tuple([x if type(x) is float else self.of(x) for x in node.inputs])
        if type(node._data) is np.ndarray and len(inputs) == 2:
            inputs = self._numbers(node, inputs)
        step = self._simpler(node, inputs)
        if step is None:
            step = Step(node, inputs)
            key = (node.op, *[repr(x) if type(x) is float else id(x) for x in inputs])
            if step.options:
                key += (_key(step.options),)
            step = self._same.setdefault(key, step)
        self._of[node] = step
        return step

    def _numbers(self, node: Value, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Beside an array that fills the result's shape, an array of one number repeated is as good as the number.

        Backprop makes such arrays, where it stretches the gradient of a sum. Those that the user gave may change.
        """
        if node.op.name in ("add", "subtract", "multiply", "divide"):  # type: ignore[union-attr]
            for i, x in enumerate(inputs):
                if type(x) is Value and id(x._data) in self.trace.constants and id(x._data) not in self._given:
                    number, other = x._data.flat[0] if x._data.size else 0.0, data_of(inputs[1 - i])
                    if _alike(other, node._data) and (x._data == number).all():
                        return (float(number), inputs[1]) if i == 0 else (inputs[0], float(number))
        return inputs

    def _simpler(self, node: Value, inputs: tuple[Any, ...]) -> Any:
        """What ``node`` equals to the bit without computing: 1 · x is x."""
        if node.op.name == "multiply":  # type: ignore[union-attr]
            for one, x in (inputs, inputs[::-1]):
                if type(one) is float and one == 1.0 and type(x) is not float and _alike(data_of(x), node._data):
                    return x
        return None

    def _needed(self, every: list[Step]) -> list[Step]:
        """The steps that something wanted depends on, in order; counts how often each is used."""
        needed = {id(x) for x in self.found if type(x) is Step}
        for x in self.found:
            if type(x) is Step:
                x.uses += 1
        steps = []
        for step in reversed(list(dict.fromkeys(every))):
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
