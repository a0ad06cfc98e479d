"""The readable form of a trace: Python in which every name is assigned once, a line for every partial derivative."""

from __future__ import annotations

import itertools
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.nn.calls import paths
from tinygrad_wb.program.names import Names, assigned_name, line_of
from tinygrad_wb.program.pasting import pasted
from tinygrad_wb.program.text import ATOM, Text, filled, index_text, literal, repeated, without_defaults
from tinygrad_wb.program.trace import is_scalar, on_numbers, text_of
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tinygrad_wb.operation import Operation
    from tinygrad_wb.program.trace import Trace, Unit

__all__ = ["FUNCTION", "LARGE", "WIDEST", "Line", "Source", "expression"]

FUNCTION = "forward_and_backward"
WIDEST = 60  # comments stand in one column, as far as this
DEEP = 48  # letters of an expression that are too many to stand inside another
MOST = 40  # numbers that are added up in one line
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


def expression(
    trace: Trace, node: Value, operand: Callable[[Any], Text], array: Callable[[Any], str], helpers: dict[str, Any]
) -> Text:
    """``node``'s operation as Python; ``operand`` says how each input is written. Notes the helpers that it calls."""
    op: Operation | Any = node.op
    options = {name: option for name, option in node.options.items() if name != "shared"}
    template = text_of(node)
    if template is None:
        helpers[op.name] = op.forward
        words = ", ".join([f"{{{name}}}" for name in op.inputs] + [f"{name}={{{name}}}" for name in options])
        if op.shared is not None:
            helpers[op.shared.__name__] = op.shared
            words += f", shared={op.shared.__name__}({words})"
        template = f"{op.name}({words})"
    elif op.helper is not None and op.helper.__name__ in template:
        helpers[op.helper.__name__] = op.helper
    template = without_defaults(template, options, op.defaults)
    inside_brackets = template.endswith("[{index}]")
    parts = {
        name: index_text(option, array) if name == "index" and inside_brackets else literal(option, array)
        for name, option in options.items()
    }
    if op.variadic:
        words, several = ", ".join(operand(x)[0] for x in node.inputs), f"{{{op.inputs[0]}}}"
        parts[op.inputs[0]] = words if f"*{several}" in template else f"[{words}]", ATOM
        template = template.replace(f"*{several}", several)  # f(*[a, b]) is f(a, b)
    else:
        for name, x, by in zip(op.inputs, node.inputs, op.partials, strict=True):
            # Beside inputs that have a derivative stand labels and indices: a single one is kept as a float too.
            whole = by is None and any(op.partials) and type(x) is float and x.is_integer()
            parts[name] = literal(int(x), array) if whole else operand(x)
    text = filled(template, parts)
    if type(node._data) is float and not on_numbers(node):
        return f"float({text[0]})", ATOM  # NumPy would keep a number of its own, and the engine keeps a Python float
    return text


@dataclass
class Source:
    """The lines of a trace's readable form, and what its variables are called."""

    trace: Trace
    variables: Mapping[int, str] = field(default_factory=dict)  # the user's, by the identity of what they hold

    def __post_init__(self) -> None:
        steps = [step for unit in self.trace.units for step in unit.steps]
        self.variables = self.trace.copies.named(self.variables)
        self.names = Names({FUNCTION, *pasted(needed_functions(self.trace, steps))})
        self.called: dict[Value, str] = {}
        self.gradient_names: dict[Value, str] = {}
        self.arrays: dict[str, Value] = {}  # the program's arguments, in order
        self.helpers: dict[str, Any] = {}
        self.lines: list[Line] = []
        self._texts: dict[Value, Text] = {}
        self._reads: dict[Value, tuple[str, ...]] = {}
        units = self.trace.units
        self._uses = Counter(x for step in steps for x in map(self.trace.stand_in, step.inputs))
        made = [unit.node for unit in units if unit.kind == "forward"]
        self._assigned, self._modules = assigned(made), paths(made)
        self._name_leaves(steps)
        for unit in units:
            if unit.kind == "forward":
                self._write(unit, self._forward_name(unit.node), self._forward_comment(unit))
        self.forward_lines = len(self.lines)
        if self.trace.seed is not None:
            self._seed()
        self.partial_names: dict[Value, list[str]] = defaultdict(list)  # of each operation, in order
        self._parts: dict[Value, list[str]] = defaultdict(list)
        self._seen: Counter[Any] = Counter()
        self._contributions = Counter(unit.to for unit in units if unit.kind == "partial")
        for unit in units:
            if unit.kind == "partial":
                name = self._partial_name(unit)
                self.partial_names[unit.node].append(name)
                self._write(unit, name, self._partial_comment(unit))
            elif unit.kind == "sum":
                self._add_up(unit)

    def returned(self) -> dict[str, str]:
        """For each argument that has a gradient: its name, and the gradient's."""
        return {name: self.gradient_names[x] for name, x in self.arrays.items() if x in self.gradient_names}

    @property
    def result(self) -> str:
        """What the result is called."""
        return self.called[self.trace.result]

    def has_places(self) -> bool:
        """Whether anything was recorded with its source line, or nothing was to be recorded."""
        nodes = [unit.node for unit in self.trace.units if unit.kind == "forward"]
        return not nodes or any(hasattr(node, "place") for node in nodes)

    # -- names -----------------------------------------------------------------------------------------------------

    def _name_leaves(self, steps: Iterable[Value]) -> None:
        trace = self.trace
        inputs = [x for step in steps for x in map(trace.stand_in, (*step.inputs, *arrays_in(step.options)))]
        leaves = dict.fromkeys(x for x in inputs if type(x) is Value and not x.inputs and x is not trace.seed)
        leaves |= {x: None for x in (*trace.gradients, trace.result) if not x.inputs}
        for leaf in leaves:
            wanted = leaf.name or self.variables.get(id(leaf), "")
            if not wanted and not is_scalar(leaf):  # equal numbers may be one and the same float
                wanted = self.variables.get(id(leaf._data), "")
            self.called[leaf] = self.names.new(wanted, "number" if is_scalar(leaf) else "array")
            self.arrays[self.called[leaf]] = leaf

    def _forward_name(self, node: Value) -> str:
        wanted = node.name or self.variables.get(id(node)) or self._assigned.get(node, "")
        op: Operation | Any = node.op
        name = self.names.new(wanted) if wanted else self.names.numbered(op.name)
        self.called[node] = name
        return name

    def _partial_name(self, unit: Unit) -> str:
        to: Any = unit.to
        if self._contributions[to] == 1:
            name = self.gradient_names[to] = self.names.new(f"d_{self.called[to]}")
            return name
        name = self.names.new(f"d_{self.called[to]}_{len(self._parts[to]) + 1}")
        self._parts[to].append(name)
        return name

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
            same = [name for name, x in zip(op.inputs, unit.node.inputs, strict=True) if x is unit.to]
            which = f"/∂{same[self._seen[unit.node, unit.to]]}"
            self._seen[unit.node, unit.to] += 1
        return f"∂{op.name}{which}{where(unit.node)}"

    # -- lines -----------------------------------------------------------------------------------------------------

    def _seed(self) -> None:
        name = self.names.new(f"d_{self.result}")
        self.called[self.trace.seed] = self.gradient_names[self.trace.result] = name
        self._line(name, "1.0", f"∂{self.result}/∂{self.result}")

    def _write(self, unit: Unit, name: str, comment: str) -> None:
        """The lines of a unit: what is used once is written where it is used, all else gets a name."""
        trace = self.trace
        result = trace.stand_in(unit.result)
        inner = set(unit.steps)
        single = {x for step in unit.steps[1:] for x in self._inlined(step) if x in inner and self._uses[x] == 1}
        module = self._modules.get(unit.node, "")
        for step in unit.steps:
            reads: list[str] = []
            text = expression(trace, step, partial(self._operand, reads=reads), self._array, self.helpers)
            reads += [self._array(a) for a in arrays_in(step.options)]
            if step is not result and step in single and len(text[0]) <= DEEP:
                self._texts[step], self._reads[step] = text, tuple(reads)
                continue
            line_name = name if step is result else self.names.numbered(step.op.name)  # type: ignore[union-attr]
            self.called[step] = line_name
            self._line(line_name, text[0], comment if step is result else f"in {comment}", module, reads)
        if result not in inner:  # a value that has a name already, or a constant
            reads = []
            text = self._operand(trace.same.get(unit.result, unit.result), reads)  # by the name that it had last
            self._line(name, text[0], comment, module, reads)
        if type(unit.result) is Value and unit.kind != "forward":
            self.called.setdefault(unit.result, name)

    def _add_up(self, unit: Unit) -> None:
        """The gradient of what is used several times, by the names of its contributions."""
        called, parts = self.called[unit.node], self._parts[unit.node]
        comment = f"{len(parts)} contributions to {called}"
        while len(parts) > MOST:
            some, parts = parts[:MOST], parts[MOST:]
            parts.insert(0, self.names.numbered(f"d_{called}_sum"))
            self._line(parts[0], " + ".join(some), f"in {comment}", reads=some)
        name = self.gradient_names[unit.node] = self.names.new(f"d_{called}")
        self._line(name, " + ".join(parts), comment, reads=parts)
        if type(total := self.trace.stand_in(unit.result)) is Value:
            self.called[total] = name

    def _line(self, name: str, text: str, comment: str, module: str = "", reads: Iterable[str] = ()) -> None:
        self.lines.append(Line(name, text, comment, module, tuple(reads), len(self.lines)))

    def _inlined(self, step: Value) -> list[Any]:
        """The inputs of a step that may be written as expressions."""
        template = text_of(step)
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


def needed_functions(trace: Trace, steps: Iterable[Value]) -> dict[Any, None]:
    """The helpers that the texts of ``steps`` may call, and the operations that have no text."""
    ops: list[Any] = [step.op for step in steps]
    opaque: list[Any] = [step.op for step in trace.opaque]
    functions = [op.helper for op in ops] + [f for op in opaque for f in (op.forward, op.shared)]
    return dict.fromkeys(f for f in functions if f is not None)


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
    return f": {''.join(c if c.isprintable() else '?' for c in file)}:{line_of(node.place)}"


def arrays_in(options: Any) -> list[Any]:
    """The arrays among options, such as indices."""
    if isinstance(options, np.ndarray):
        return [options]
    if isinstance(options, dict):
        return [a for name, option in options.items() if name != "shared" for a in arrays_in(option)]
    return [a for option in options for a in arrays_in(option)] if isinstance(options, (tuple, list)) else []
