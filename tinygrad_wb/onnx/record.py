"""What a model does, recorded with batches of several sizes and laid side by side, statement by statement."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.compiling.tree import pattern
from tinygrad_wb.nn.calls import calls_around
from tinygrad_wb.onnx.counts import DiffersError, length, merged
from tinygrad_wb.program.source import where
from tinygrad_wb.program.trace import made_since
from tinygrad_wb.recording import Recorder
from tinygrad_wb.value import Value, next_tick, traced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tinygrad_wb.nn.calls import Call

__all__ = ["Leaf", "Record", "Statement"]

ANY_SIZE = (
    "Take lengths from the arrays themselves (x.shape[0], -1), or export for batches of the example's size alone, with "
    "batch=False"
)


@dataclass(eq=False)
class Leaf:
    """What is not computed: an argument, by its ``position``; a parameter; or numbers of the model's own."""

    value: Value
    data: Any
    shape: tuple[Any, ...]
    position: int | None = None

    @property
    def dtype(self) -> np.dtype[Any] | None:
        return dtype_of(self.value._data)


@dataclass(eq=False)
class Statement:
    """One operation: ``nodes`` has it from each record, ``inputs`` are statements, leaves and constants."""

    nodes: tuple[Value, ...]
    inputs: tuple[Any, ...]
    options: dict[str, Any]
    shape: tuple[Any, ...]

    @property
    def op(self) -> Any:
        return self.nodes[0].op

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """None for a number."""
        return dtype_of(self.nodes[0]._data)


def dtype_of(data: Any) -> np.dtype[Any] | None:
    """The dtype of an array or a truth; None for a number, which has that of its neighbours."""
    if isinstance(data, np.ndarray):
        return np.dtype(data.dtype)
    return np.dtype(np.bool_) if isinstance(data, (bool, np.bool_)) else None


class Recording:
    """One run of a function on traced arguments: its ``results``, their ``layout``, and what was ``made``, in order."""

    def __init__(self, function: Callable[..., Any], inputs: Sequence[Any]) -> None:
        self.arguments = [traced(x) for x in inputs]
        self.recorder = Recorder()
        start = next_tick()
        with self.recorder.running():
            result = function(*self.arguments)
        if self.recorder.refused:  # and the function caught the error
            raise TypeError(self.recorder.refused)
        self.results: list[Any] = []
        self.layout = pattern(result, self.results)
        self.made = _made(start, self.results)
        self._refuse()

    def _refuse(self) -> None:
        """Raise for what would be frozen in the file, though it is another each time."""
        if self.recorder.draws:
            raise TypeError("it draws random numbers, which would be the same each time; call model.eval() before")
        if self.recorder.observed:
            raise TypeError("a layer of it is in training, and changes with each batch; call model.eval() before")
        given = set(self.arguments)
        for condition, outcome in self.recorder.decisions:
            if condition in given or any(
                x in given for node in _made(-1, [condition]) for x in node.inputs if type(x) is Value
            ):
                raise TypeError(
                    f"it goes one way if {_told(condition)} is {outcome}, and another if not; a file has one way: "
                    "use wb.where"
                )


class Record:
    """A function's ``statements`` and ``results``, as they are for batches of any size.

    ``sizes`` are those of the batches that ``inputs`` has an entry for each of; ``own`` is that of the user's example.
    """

    def __init__(
        self, function: Callable[..., Any], inputs: Sequence[Sequence[Any]], sizes: Sequence[int], own: int
    ) -> None:
        self.sizes, self.own = sizes, own
        self._known: dict[Value, Any] = {}
        recordings = [self._recorded(function, given, size) for given, size in zip(inputs, sizes, strict=True)]
        self.arguments = [
            self._leaf(values, position)
            for position, values in enumerate(zip(*(r.arguments for r in recordings), strict=True))
        ]
        self.calls = calls_around(recordings[0].made)
        self.statements = self._aligned([r.made for r in recordings])
        self.layout = recordings[0].layout
        if any(r.layout != self.layout for r in recordings):
            raise self._differs(None, "what it returns")
        self.results = [self._operand(found, None) for found in zip(*(r.results for r in recordings), strict=True)]

    def _recorded(self, function: Callable[..., Any], inputs: Sequence[Any], size: int) -> Recording:
        try:
            return Recording(function, inputs)
        except (ValueError, IndexError) as error:
            if size == self.own:
                raise
            raise TypeError(f"it takes no batch of {size} ({error!s:.300}). {ANY_SIZE}") from error

    def opened(self, statement: Statement) -> tuple[list[Statement], Any] | None:
        """The simpler operations that a statement is made of, and its result among them; None where nobody knows."""
        runs = [_opened(node) for node in statement.nodes]
        if any(run is None or any(part.op is statement.op for part in run[0]) for run in runs):
            return None
        made, results = zip(*runs, strict=True)
        return self._aligned(made, statement), self._operand(results, statement)

    # -- side by side -------------------------------------------------------------------------------------------------

    def _aligned(self, made: Sequence[Sequence[Value]], within: Statement | None = None) -> list[Statement]:
        """A statement for each operation, the same in all records."""
        if len({tuple(node.op for node in nodes) for nodes in made}) > 1:
            raise self._differs(within, "its work")
        return [self._statement(nodes, within) for nodes in zip(*made, strict=True)]

    def _statement(self, nodes: tuple[Value, ...], within: Statement | None) -> Statement:
        options = [{name: x for name, x in node.options.items() if name != "shared"} for node in nodes]
        try:
            statement = Statement(nodes, (), merged(options, self.sizes), self._shape(nodes))
        except DiffersError as error:
            raise self._differs(within or nodes[0], "an option", error) from None
        statement.inputs = tuple(
            self._operand(found, within or statement) for found in zip(*(n.inputs for n in nodes), strict=True)
        )
        self._known |= dict.fromkeys(nodes, statement)
        return statement

    def _operand(self, found: tuple[Any, ...], at: Statement | None) -> Any:
        """The statement, leaf or constant that ``found`` is, in all records."""
        if type(found[0]) is not Value:
            try:
                return merged(found, self.sizes)
            except DiffersError as error:
                what = "an array" if isinstance(found[0], np.ndarray) else "a number"
                raise self._differs(at, f"{what} of its own", error) from None
        known = [self._known.get(x) if type(x) is Value else None for x in found]
        if known[0] is not None:
            if any(x is not known[0] for x in known):
                raise self._differs(at, "what it computes with")
            return known[0]
        try:
            return self._leaf(found)
        except DiffersError as error:
            raise self._differs(at, "an array of its own", error) from None

    def _leaf(self, values: tuple[Any, ...], position: int | None = None) -> Leaf:
        first = values[0]
        data = first._data if position is not None else merged([x._data for x in values], self.sizes)
        leaf = Leaf(first, data, self._shape(values), position)
        self._known |= dict.fromkeys(values, leaf)
        return leaf

    def _shape(self, values: Sequence[Value]) -> tuple[Any, ...]:
        if len({x.ndim for x in values}) > 1:
            raise DiffersError("arrays with other axes")
        return tuple(length(lengths, self.sizes) for lengths in zip(*(x.shape for x in values), strict=True))

    # -- errors -------------------------------------------------------------------------------------------------------

    def place(self, statement: Statement | Value) -> str:
        """Where a statement stands: the operation, its layer, the line of the source."""
        node = statement.nodes[0] if isinstance(statement, Statement) else statement
        return _told(node, self.calls.get(node, ()))

    def _differs(self, at: Statement | Value | None, what: str, error: DiffersError | None = None) -> TypeError:
        place = f"{self.place(at)}: " if at is not None else ""
        found = f" ({error})" if error is not None else ""
        if len(set(self.sizes)) == 1:
            return TypeError(f"{place}{what} is not the same from one run to the next{found}")
        sizes = ", ".join(map(str, self.sizes))
        return TypeError(f"{place}{what} does not follow the batch, of {sizes} items{found}. {ANY_SIZE}")


def _told(node: Value, calls: tuple[Call, ...] = ()) -> str:
    name = node.op.name if node.op is not None else repr(node.name or "an input")
    module = calls[-1].module() if calls else None
    layer = f" in {module.label}" if module is not None else ""
    line = where(node).removeprefix(": ")
    return f"{name}{layer} ({line})" if line else f"{name}{layer}"


def _made(start: int, results: Sequence[Any]) -> list[Value]:
    """All that was computed for ``results`` since ``start``, in order."""
    found = itertools.chain.from_iterable(made_since(start, x) for x in results if type(x) is Value)
    return sorted(dict.fromkeys(found), key=attrgetter("tick"))


def _opened(node: Value) -> tuple[list[Value], Any] | None:
    """Run the operation's forward on its Values, arrays as leaves: what that recorded, and its result."""
    op: Any = node.op
    inputs = [traced(x) if type(x) is np.ndarray else x for x in node.inputs]
    options = {name: x for name, x in node.options.items() if name != "shared"}
    recorder, start = Recorder(), next_tick()
    try:
        with recorder.running(lines=False):
            if op.shared is not None:
                options["shared"] = op.shared(*inputs, **options)
            result = op.forward(inputs, **options) if op.variadic else op.forward(*inputs, **options)
    except (TypeError, ValueError, AttributeError, RecursionError):
        if recorder.refused:
            raise TypeError(f"{_told(node)}: {recorder.refused}") from None
        return None  # written for plain data alone
    if type(result) is not Value or recorder.decisions or recorder.draws:
        return None
    return _made(start, [result]), result
