"""The trace of a backward pass: its partials, in the order in which `backward()` takes them.

It is made once, from the record, and every face of the debugger reads it. It keeps positions, not copies: a step is a
Value and which of its inputs is meant. What things are called, and where in the source they come from, is looked up
when somebody asks.
"""

from __future__ import annotations

import bisect
import difflib
import functools
import linecache
from typing import TYPE_CHECKING, Any, NamedTuple

from tinygrad_wb.backprop import contributions, history
from tinygrad_wb.draw.naming import Called
from tinygrad_wb.draw.notation import statement
from tinygrad_wb.draw.outline import outline
from tinygrad_wb.draw.wording import cropped, printable
from tinygrad_wb.nn.calls import calls_around
from tinygrad_wb.operation import ALL_AT_ONCE
from tinygrad_wb.program.names import line_of
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tinygrad_wb.nn.calls import Call

__all__ = ["Line", "Trace", "gained", "label_of"]

STATEMENT_LENGTH = 60


class Line(NamedTuple):
    """A line of the user's source."""

    file: str
    number: int

    @property
    def short(self) -> str:
        """``model.py:14``."""
        return f"{printable(self.file.replace(chr(92), '/').rsplit('/', 1)[-1])}:{self.number}"

    @property
    def text(self) -> str:
        """What stands there; "" if the file can't be read."""
        return self.whole.strip()

    @property
    def whole(self) -> str:
        """The same with its indentation, and its end if there is such a line."""
        return linecache.getline(self.file, self.number)


class Trace:
    """The partials behind ``result``: ``steps`` has, for each, the Value of its operation, and which input it is for.

    ``to`` has, for each Value that gets gradient, the indices of the steps that contribute to it. ``variables`` are
    the user's, by the identity of their contents. Raises ``StaleGraphError`` where ``backward()`` would.
    """

    def __init__(self, result: Value, variables: Mapping[int, str]) -> None:
        if type(result) is not Value:
            raise TypeError(
                f"stepping starts from a Value, such as a loss, got {type(result).__name__}: a plain number or array "
                "has no history. `python -m tinygrad_wb step SCRIPT` steps through the passes of wb.grad, too"
            )
        self.result = result
        self.variables = variables
        self.nodes = history(result)
        self.steps: list[tuple[Value, int]] = []
        self.to: dict[Value, list[int]] = {result: []}
        self._first: dict[Value, int] = {}
        for node in self.nodes:
            self._first[node] = len(self.steps)
            for position in _with_partials(node):
                self.to.setdefault(node.inputs[position], []).append(len(self.steps))
                self.steps.append((node, position))

    def __len__(self) -> int:
        return len(self.steps)

    def input(self, index: int) -> Value:
        """The Value that step ``index`` contributes to."""
        node, position = self.steps[index]
        return node.inputs[position]  # type: ignore[no-any-return]

    def done(self, x: Value, position: int) -> int:
        """How many contributions to ``x`` are among the first ``position`` steps."""
        return bisect.bisect_left(self.to[x], position)

    def of(self, node: Value) -> range:
        """The indices of the steps of one operation."""
        start = end = self._first[node]
        while end < len(self.steps) and self.steps[end][0] is node:
            end += 1
        return range(start, end)

    def rank(self, index: int) -> int:
        """Which of its operation's partials step ``index`` is, from 0."""
        return index - self._first[self.steps[index][0]]

    # -- names ------------------------------------------------------------------------------------------------------

    @functools.cached_property
    def called(self) -> Called:
        """What Values and constants are called: as in a picture in which every layer stands open."""
        items, _ = outline([self.result], self.nodes[::-1], lambda *_: True)
        return Called(items, self.variables)

    @functools.cached_property
    def names(self) -> dict[str, Value]:
        """Every Value that gets gradient, by its name, the result first."""
        return {self.called(x): x for x in self.to}

    @functools.cached_property
    def operations(self) -> set[str]:
        """The names of the operations in it."""
        return {node.op.name for node in self.nodes if node.op is not None}

    def statement(self, node: Value) -> str:
        """``h = tanh(z)``; of a leaf, its name."""
        name = self.called(node)
        if not node.inputs or node.op is None:
            return name
        return cropped(
            f"{name} = {statement(node.op, [self.called(x) for x in node.inputs], node.options)}", STATEMENT_LENGTH
        )

    def value(self, name: str) -> Value:
        """The Value of a name; ``ValueError`` tells what there is."""
        if name not in self.names:
            raise ValueError(f"nothing in this backward pass is called {name!r:.60}; there are: {self.nearest(name)}")
        return self.names[name]

    def nearest(self, name: str) -> str:
        """Names that could have been meant: those like it, else the first of all."""
        likely = difflib.get_close_matches(name, self.names, n=3) or list(self.names)[:8]
        more = len(self.names) - len(likely)
        return ", ".join(likely) + (f" and {more} more" if more else "")

    # -- places -----------------------------------------------------------------------------------------------------

    def line(self, node: Value) -> Line | None:
        """The line that asked for the operation; None unless `source_lines` was on then."""
        place = getattr(node, "place", None)
        return None if place is None else Line(place.code.co_filename, line_of(place))

    @functools.cached_property
    def _calls(self) -> dict[Value, tuple[Call, ...]]:
        return calls_around(self.nodes[::-1])

    def calls(self, node: Value) -> tuple[Call, ...]:
        """The calls of Modules that ``node`` was computed in, the outermost first."""
        return self._calls.get(node, ())

    @functools.cached_property
    def layers(self) -> dict[str, None]:
        """The paths of the layers in it, latest first."""
        return {call.path: None for node in self.nodes for call in reversed(self.calls(node)) if call.path}

    @functools.cached_property
    def lines(self) -> dict[Line, None]:
        """The lines that it comes from, latest first."""
        return {line: None for node in self.nodes if (line := self.line(node)) is not None}


def label_of(call: Call) -> str:
    """``Dense 'hidden'``."""
    module = call.module()
    kind = "a layer" if module is None else type(module).__name__
    return f"{kind} {printable(call.path)!r}" if call.path else kind


def _with_partials(node: Value) -> list[int]:
    """The positions of the inputs that there is a partial for."""
    op: Any = node.op
    every = op.variadic or None not in op.partials
    return [i for i, x in enumerate(node.inputs) if type(x) is Value and (every or op.partials[i] is not None)]


def gained(node: Value, g: Any) -> list[tuple[Value, Any]]:
    """What each input of ``node`` that has a partial gets of ∂Loss/∂node = g, as `backward` has it before `match`."""
    op: Any = node.op
    if op.arity == ALL_AT_ONCE:  # a compiled function
        return list(zip(node.inputs, node.options["call"].gradients(node.options["result"], g), strict=True))
    return contributions(node, g)
