"""The readable form of a trace: Python in which every name is assigned once, a line for every partial derivative."""

from __future__ import annotations

import inspect
import itertools
import os
import textwrap
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.program.names import Names, assigned_name, line_of
from tinygrad_wb.program.text import ATOM, Text, filled, index_text, literal, repeated, without_defaults
from tinygrad_wb.program.trace import is_scalar, on_numbers, text_of
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tinygrad_wb.operation import Operation
    from tinygrad_wb.program.trace import Trace, Unit

__all__ = ["Line", "Source", "expression", "helpers_source"]

WIDEST = 60  # comments stand in one column, as far as this
LARGE = 40  # lines from which on layers get functions of their own


@dataclass
class Line:
    """``name = text``, what it is, and the Module it belongs to."""

    name: str
    text: str
    comment: str
    module: str
    reads: tuple[str, ...]
    number: int
    node: Value | None = None  # what it computes; None for a name that is only passed on


def expression(
    trace: Trace, node: Value, operand: Callable[[Any], Text], array: Callable[[Any], str], helpers: dict[str, Any]
) -> Text:
    """``node``'s operation as Python; ``operand`` says how each input is written. Notes the helpers that it calls."""
    op: Operation | Any = node.op
    options = {name: option for name, option in node.options.items() if name != "shared"}
    template = None if node in trace.opaque else text_of(node)
    if template is None:
        helpers[op.name] = op.forward
        template = f"{op.name}({', '.join(f'{{{name}}}' for name in (*op.inputs, *options))})"
    elif op.helper is not None and op.helper.__name__ in template:
        helpers[op.helper.__name__] = op.helper
    template = without_defaults(template, options, op.defaults)
    inside_brackets = template.endswith("[{index}]")
    words = {
        name: index_text(option, array) if name == "index" and inside_brackets else literal(option, array)
        for name, option in options.items()
    }
    if op.variadic:
        words[op.inputs[0]] = f"[{', '.join(operand(x)[0] for x in node.inputs)}]", ATOM
    else:
        words |= {name: operand(x) for name, x in zip(op.inputs, node.inputs, strict=True)}
    text = filled(template, words)
    if type(node._data) is float and not on_numbers(node):
        return f"float({text[0]})", ATOM  # NumPy would keep a number of its own, and the engine keeps a Python float
    return text


def helpers_source(helpers: Mapping[str, Any]) -> str:
    """The source of the helpers, and of the functions that they call in turn."""
    found: dict[str, Any] = {}
    ahead = list(helpers.values())
    while ahead:
        function = ahead.pop()
        if function.__name__ in found:
            continue
        found[function.__name__] = function
        around = function.__globals__
        ahead += [around[n] for n in function.__code__.co_names if inspect.isfunction(around.get(n))]
    return "\n\n".join(_plain_source(function) for function in reversed(found.values()))


def _plain_source(function: Any) -> str:
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("def "))
    signature = inspect.signature(function)
    plain = signature.replace(
        parameters=[p.replace(annotation=p.empty) for p in signature.parameters.values()],
        return_annotation=signature.empty,
    )
    body = next(i for i, line in enumerate(lines[start:], start) if line.rstrip().endswith(":"))
    return "\n".join([f"def {function.__name__}{plain}:", *lines[body + 1 :]]) + "\n"


@dataclass
class Source:
    """The lines of a trace's readable form, and what its variables are called."""

    trace: Trace
    variables: Mapping[int, str] = field(default_factory=dict)  # the user's, by the identity of what they hold
    seed_name: str = ""

    def __post_init__(self) -> None:
        self.names = Names({"gradients"})
        self.called: dict[Value, str] = {}
        self.gradient_names: dict[Value, str] = {}
        self.arrays: dict[str, Value] = {}  # the program's arguments, in order
        self.helpers: dict[str, Any] = {}
        self.lines: list[Line] = []
        self._texts: dict[Value, Text] = {}
        self._reads: dict[Value, tuple[str, ...]] = {}
        units = self.trace.units
        self.names.taken.update(op.helper.__name__ for u in units for s in u.steps if (op := s.op) and op.helper)
        self._uses = Counter(x for unit in units for step in unit.steps for x in map(self.trace.stand_in, step.inputs))
        self._assigned = assigned(unit.node for unit in units if unit.kind == "forward")
        self._name_leaves()
        for unit in units:
            if unit.kind == "forward":
                self._write(unit, self._forward_name(unit.node), self._forward_comment(unit))
        self.forward_lines = len(self.lines)
        if self.trace.seed is not None:
            self._seed()
        self._parts: Counter[Value] = Counter()
        self._contributions = Counter(unit.to for unit in units if unit.kind == "partial")
        for unit in units:
            if unit.kind == "partial":
                self._write(unit, self._partial_name(unit), self._partial_comment(unit))
            elif unit.kind == "sum":
                name = self.names.new(f"d_{self.called[unit.node]}")
                self.gradient_names[unit.node] = name
                self._write(unit, name, f"{len(unit.parts)} contributions to {self.called[unit.node]}")

    def returned(self) -> dict[str, str]:
        """For each argument that has a gradient: its name, and the gradient's."""
        return {name: self.gradient_names[x] for name, x in self.arrays.items() if x in self.gradient_names}

    # -- names -----------------------------------------------------------------------------------------------------

    def _name_leaves(self) -> None:
        trace = self.trace
        leaves = dict.fromkeys(
            x
            for unit in trace.units
            for step in unit.steps
            for x in map(trace.stand_in, step.inputs)
            if type(x) is Value and not x.inputs and x is not trace.seed
        )
        leaves |= {trace.stand_in(a): None for u in trace.units for s in u.steps for a in arrays_in(s.options)}
        leaves |= {x: None for x in trace.gradients if not x.inputs}
        for leaf in leaves:
            wanted = leaf.name or self.variables.get(id(leaf)) or self.variables.get(id(leaf._data)) or ""
            self.called[leaf] = self.names.new(wanted, "number" if is_scalar(leaf) else "array")
            self.arrays[self.called[leaf]] = leaf

    def _forward_name(self, node: Value) -> str:
        wanted = node.name or self.variables.get(id(node)) or self._assigned.get(node, "")
        op: Operation | Any = node.op
        name = self.names.new(wanted) if wanted else self.names.numbered(op.name)
        self.called[node] = name
        return name

    def _partial_name(self, unit: Unit) -> str:
        to = unit.to
        assert to is not None
        if self._contributions[to] == 1:
            name = self.gradient_names[to] = self.names.new(f"d_{self.called[to]}")
            return name
        self._parts[to] += 1
        return self.names.new(f"d_{self.called[to]}_{self._parts[to]}")

    # -- comments --------------------------------------------------------------------------------------------------

    def _forward_comment(self, unit: Unit) -> str:
        op: Operation | Any = unit.node.op
        return op.name + where(unit.node)

    def _partial_comment(self, unit: Unit) -> str:
        op: Operation | Any = unit.node.op
        which = ""
        if op.variadic:
            which = f"/∂{op.inputs[0]}[{next(i for i, x in enumerate(unit.node.inputs) if x is unit.to)}]"
        elif len(op.inputs) > 1:
            n = sum(x is unit.to for x in unit.node.inputs)
            which = (
                "/∂"
                + [i for i, x in zip(op.inputs, unit.node.inputs, strict=True) if x is unit.to][
                    self._seen_before(unit) % n
                ]
            )
        return f"∂{op.name}{which}{where(unit.node)}"

    def _seen_before(self, unit: Unit) -> int:
        """How many partials of this operation to this input came before."""
        key = (unit.node, unit.to)
        before: Counter[Any] = self.__dict__.setdefault("_partials", Counter())
        before[key] += 1
        return before[key] - 1

    # -- lines -----------------------------------------------------------------------------------------------------

    def _seed(self) -> None:
        result = self.trace.result
        called = self.called.get(result, "result")
        name = self.names.new(f"d_{called}")
        self.called[self.trace.seed] = self.gradient_names[result] = name
        self._line(name, "1.0", f"∂{called}/∂{called}")

    def _write(self, unit: Unit, name: str, comment: str) -> None:
        """The lines of a unit: what is used once is written where it is used, all else gets a name."""
        trace = self.trace
        result = trace.stand_in(unit.result)
        inner = set(unit.steps)
        single = {x for step in unit.steps for x in self._inlined(step) if x in inner and self._uses[x] == 1}
        module = unit.node.place.module if hasattr(unit.node, "place") else ""
        for step in unit.steps:
            reads: list[str] = []
            text = expression(trace, step, lambda x, reads=reads: self._operand(x, reads), self._array, self.helpers)
            reads += [self._array(a) for a in arrays_in(step.options)]
            if step is not result and step in single:
                self._texts[step], self._reads[step] = text, tuple(reads)
                continue
            line_name = name if step is result else self.names.numbered(step.op.name)  # type: ignore[union-attr]
            self.called[step] = line_name
            self._line(line_name, text[0], comment, module, reads, step)
        if result not in inner:  # a value that has a name already, or a constant
            reads = []
            text = self._operand(result, reads)
            self._line(name, text[0], comment, module, reads)
        if type(unit.result) is Value and unit.kind != "forward":
            self.called.setdefault(unit.result, name)

    def _line(
        self, name: str, text: str, comment: str, module: str = "", reads: Iterable[str] = (), node: Value | None = None
    ) -> None:
        self.lines.append(Line(name, text, comment, module, tuple(reads), len(self.lines), node))

    def _inlined(self, step: Value) -> list[Any]:
        """The inputs of a step that may be written as expressions."""
        template = text_of(step) if step not in self.trace.opaque else None
        return [] if template is not None and repeated(template) else [self.trace.stand_in(x) for x in step.inputs]

    def _operand(self, x: Any, reads: list[str]) -> Text:
        if type(x) is not Value or x not in self.called:
            x = self.trace.stand_in(x)
        if type(x) is not Value:
            return literal(x, self._array)
        if x in self._texts:
            reads += self._reads[x]
            return self._texts[x]
        reads.append(self.called[x])
        return self.called[x], ATOM

    def _array(self, a: Any) -> str:
        return self.called[self.trace.stand_in(a)]


def assigned(nodes: Iterable[Value]) -> dict[Value, str]:
    """The variables that results were assigned to: of all that one call did, the last has its name."""
    placed = [node for node in nodes if hasattr(node, "place")]
    last_of_its_call = [after.place[:2] != node.place[:2] for node, after in itertools.pairwise(placed)] + [True]
    return {node: assigned_name(node.place) for node, last in zip(placed, last_of_its_call, strict=False) if last}


def where(node: Value) -> str:
    """`` : file:line`` of the forward operation, if it was recorded."""
    if not hasattr(node, "place"):
        return ""
    file = os.path.basename(node.place.code.co_filename)  # noqa: PTH119 - it may be no path, such as <stdin>
    return f": {' '.join(file.split())}:{line_of(node.place)}"


def arrays_in(options: Any) -> list[Any]:
    """The arrays among options, such as indices."""
    if isinstance(options, np.ndarray):
        return [options]
    if isinstance(options, dict):
        return [a for name, option in options.items() if name != "shared" for a in arrays_in(option)]
    return [a for option in options for a in arrays_in(option)] if isinstance(options, (tuple, list)) else []
