"""Spot checks: now and then, a function that is replayed is run as it is, and both must come to the same numbers.

Rounding alone is no difference: a program adds up in another order. So where the numbers are apart, the record of the
function is compared with what was traced, operation by operation. If the function has done the same work, on the same
constants and parameters, then the program is right, however far its rounding carries.
"""

from __future__ import annotations

from itertools import zip_longest
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.backprop import pull_back
from tinygrad_wb.compiling.entries import same
from tinygrad_wb.compiling.tree import SIMPLE, taken_out
from tinygrad_wb.numpy_warnings import silent
from tinygrad_wb.operation import REGISTRY, apply
from tinygrad_wb.program.names import line_of
from tinygrad_wb.program.trace import made_since
from tinygrad_wb.recording import PACKAGE, Place, ReplayError, line_with_text
from tinygrad_wb.value import NO_OPTIONS, TRACED, Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tinygrad_wb.compiling.executable import Call

__all__ = ["FIRST", "Work", "after", "check"]

FIRST = 3  # call of a program that is checked

# How far numbers may be apart, as a part of the largest in their array.
TOLERANCES = {np.dtype(np.float16): 0.05, np.dtype(np.float32): 1e-3}
FINEST = 1e-7

GETITEM, TAKE = REGISTRY["getitem"], REGISTRY["take"]

_by_tick = attrgetter("tick")


SHORT = 0.02  # seconds that a check may take without a thought
SHARE = 0.01  # of the time, for longer ones


def after(calls: int, check_time: float = 0.0, call_time: float = 1.0) -> int:
    """The call that is checked next: 3, 10, 30, 100, 300, …

    After a check that took long, such as one of thousands of operations on numbers, as many calls are left out as make
    it a small part of the whole.
    """
    soonest = calls + check_time / (SHARE * max(call_time, 1e-9)) if check_time > SHORT else calls
    found = FIRST
    while found <= calls or found < soonest:
        found = found * 10 // 3 if str(found)[0] == "3" else found * 3
    return found


# -- what was traced ------------------------------------------------------------------------------------------------

# Where an input of an operation comes from.
CONSTANT = "constant"  # this number or array
MADE = "made"  # a Value made inside, with these numbers
LEAF = "leaf"  # this parameter
GIVEN = "given"  # an argument, or a random number, by position
LINE = "line"  # an earlier operation, by position
PLAIN = "plain"  # computed from what is given alone: no Value without tracing
OTHER = "other"  # computed from Values, but it is none itself, such as a comparison


class TracedOperation(NamedTuple):
    """An operation, where each of its inputs comes from, and the place in the source that asked for it."""

    op: Any
    inputs: list[tuple[str, Any]]
    options: Mapping[str, Any]
    place: Any


class Work:
    """What a function did while it was traced: ``lines`` are the operations that are recorded without tracing, too.

    ``plain`` are those that are not, because they compute with arguments alone. ``values`` are those of the run.
    """

    def __init__(self, run: Any, values: set[Any]) -> None:
        self.lines: list[TracedOperation] = []
        self.plain: list[TracedOperation] = []
        self.shape = run.shape
        self._places: dict[Value, tuple[str, Any]] = {
            x: (GIVEN, i) for i, x in enumerate([*run.arguments, *(leaf for leaf, _ in run.recorder.draws)])
        }
        self._start = run.start
        behind = _behind([x for x in run.results if type(x) is Value], values)
        for node in run.nodes:
            inputs = list(map(self._source, node.inputs))
            line = TracedOperation(node.op, inputs, _told(node), getattr(node, "_place", None))
            if node in behind:
                self._places[node] = LINE, len(self.lines)
                self.lines.append(line)
            elif node not in values and all(kind in (CONSTANT, GIVEN, PLAIN) for kind, _ in inputs):
                self._places[node] = PLAIN, len(self.plain)
                self.plain.append(line)
        self.results = list(map(self._source, run.results))
        self.parameters = frozenset(run.parameters)
        arrays = [x._data for x in (*run.parameters, *run.arguments, *run.nodes) if type(x._data) is np.ndarray]
        self.tolerance = max([FINEST, *(TOLERANCES.get(a.dtype, 0.0) for a in arrays)])
        del self._places

    def _source(self, x: Any) -> tuple[str, Any]:
        if type(x) is not Value:
            return CONSTANT, x
        if x in self._places:
            return self._places[x]
        if x.inputs:
            return OTHER, None
        return (LEAF, x) if x.tick < self._start else (MADE, x._data)


def _told(node: Value) -> Mapping[str, Any]:
    """What an operation was told besides its inputs."""
    if not node.options:
        return NO_OPTIONS
    return {name: option for name, option in node.options.items() if name != "shared"}


def _behind(results: Sequence[Value], values: set[Any]) -> set[Value]:
    """The operations behind ``results`` that gradients pass through."""
    ahead = [x for x in results if x in values]
    met = set(ahead)
    while ahead:
        node = ahead.pop()
        for x in _with_gradient(node):
            if x in values and x not in met:
                met.add(x)
                ahead.append(x)
    return {x for x in met if x.inputs}


def _with_gradient(node: Value) -> Iterator[Value]:
    """The inputs of an operation that it has a derivative by."""
    op: Any = node.op
    partials = () if op is None else op.partials * len(node.inputs) if op.variadic else op.partials
    for x, partial in zip(node.inputs, partials, strict=False):
        if type(x) is Value and partial is not None:
            yield x


# -- whether numbers agree ------------------------------------------------------------------------------------------


def check(work: Work, start: int, own: Any, given: Sequence[Any], call: Call, found: Any) -> None:
    """Raise `ReplayError` if a call of a program came to other numbers than the function itself.

    ``own`` is what the function returned, which was called at tick ``start``; ``given`` what was given to both: the
    arguments, and the random numbers. ``found`` are the plain results of the ``call``.
    """
    results = taken_out(own, work.shape)
    if results is None:
        raise ReplayError("it returns something else than when it was traced")
    for what, a, b in (*_results(results, found), *_gradients(results, given, call, start)):
        numbers = apart(a, b, work.tolerance)
        if numbers is not None and (why := difference(work, results, given, start)) is not None:
            raise ReplayError(f"{what} is {numbers[0]}, and {numbers[1]} by the program. {why}")


def _results(own: Sequence[Any], found: Sequence[Any]) -> Iterator[tuple[str, Any, Any]]:
    """Each result's name, and its numbers, by both ways."""
    for i, (a, b) in enumerate(zip(own, found, strict=False)):
        yield "the result" if len(own) == 1 else f"result {i}", getattr(a, "_data", a), getattr(b, "_data", b)


def _gradients(own: Sequence[Any], given: Sequence[Any], call: Call, start: int) -> Iterator[tuple[str, Any, Any]]:
    """The name of each leaf that the loss has a gradient by, and the gradient, by both ways."""
    replay = call.replay
    if replay.main is None or call.filled is None or type(loss := own[replay.main]) is not Value:
        return
    by_program: dict[Value, Any] = {}
    gradients = replay.form.in_order(call.filled.views, call.numbers)
    for x, d in zip(replay.returned.inputs(replay.main, given), gradients, strict=True):
        by_program[x] = by_program[x] + d if x in by_program else d
    by_function = pull_back(loss, 1.0) if loss.inputs else {}
    leaves = [x for x in by_function if x in by_program or (not x.inputs and x.tick < start)]
    for x in dict.fromkeys([*leaves, *by_program]):
        yield f"the gradient by {x.name or 'a leaf'}", by_function.get(x, np.nan), by_program.get(x, np.nan)


def apart(a: Any, b: Any, tolerance: float) -> tuple[Any, Any] | None:
    """Two numbers that are further apart than rounding explains, from the same place in ``a`` and ``b``."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return f"of shape {a.shape}", f"of shape {b.shape}"
    if a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        return str(a), str(b)
    if not a.size:
        return None
    with silent(True):
        if a.dtype.kind == "f" and np.abs(a - b).max() <= tolerance * np.abs(a).max() < np.inf:
            return None
        x, y = a.astype(np.float64), b.astype(np.float64)
        largest = max(np.max(np.abs(z), where=np.isfinite(z), initial=0.0) for z in (x, y))
        distance = np.abs(x - y)
        right = (distance <= tolerance * largest) | (x == y) | (np.isnan(x) & np.isnan(y))
        if right.all():
            return None
        distance = np.where(right, -1.0, np.where(np.isnan(distance), np.inf, distance))
        place = np.unravel_index(np.argmax(distance), x.shape)
    return a[place].item(), b[place].item()


# -- whether the work is the same -----------------------------------------------------------------------------------


def difference(work: Work, results: Sequence[Any], given: Sequence[Any], start: int) -> str | None:
    """What the function did otherwise than when it was traced; None if nothing."""
    places: dict[Value, int] = {}
    plain = _computed(work, given)
    for i, (node, line) in enumerate(zip_longest(_operations(results, start), work.lines)):
        if line is None:
            return f"The function does {_named(node)}, which was not traced"
        where = f"The first operation that differs is {line.op.name}{_at(line.place)}"
        if node is None:
            return f"{where}: the function does not do it any more"
        op, inputs, options = _as_traced(node) if line.op is TAKE else (node.op, node.inputs, _told(node))
        if op is not line.op:
            return f"{where}: the function does {_named(node)} now"
        if not same(options, line.options):
            return f"{where}: it was traced with {_shown(line.options)}, and is called with {_shown(options)} now"
        if len(inputs) != len(line.inputs):
            return f"{where}: it has {len(inputs)} inputs now, and had {len(line.inputs)} when it was traced"
        for x, source in zip(inputs, line.inputs, strict=True):
            if (why := _other_source(x, source, places, given, plain)) is not None:
                return f"{where}: {why}"
        places[node] = i
    for i, (x, source) in enumerate(zip(results, work.results, strict=True)):
        if (why := _other_source(x, source, places, given, plain)) is not None:
            return f"Result {i}: {why}"
    return None


def _as_traced(node: Value) -> tuple[Any, tuple[Any, ...], Mapping[str, Any]]:
    """An operation in the form that it has in a trace, where ``v[indices]``, by an argument, takes them as an input."""
    if node.op is GETITEM and isinstance(index := node.options["index"], np.ndarray):
        return TAKE, (node.inputs[0], index), {"axis": 0}
    return node.op, node.inputs, _told(node)


def _operations(results: Sequence[Any], start: int) -> list[Value]:
    """The operations behind ``results`` since ``start``, in order, but for those on arguments alone.

    Numbers among the arguments are Values to the function; in the trace, what is computed from them counts as plain.
    """
    made = {node for x in results if type(x) is Value for node in made_since(start, x)}
    found: dict[Value, None] = {}
    for node in sorted(made, key=_by_tick):
        if any(x in found or x.tick < start or not (x.inputs or x.options is TRACED) for x in _with_gradient(node)):
            found[node] = None
    return list(found)


def _computed(work: Work, given: Sequence[Any]) -> list[Any]:
    """What is computed from the arguments alone."""
    found: list[Any] = []
    numbers = [getattr(x, "_data", x) for x in given]
    for line in work.plain:
        inputs = [found[x] if kind is PLAIN else numbers[x] if kind is GIVEN else x for kind, x in line.inputs]
        found.append(apply(line.op, tuple(inputs), dict(line.options)))
    return found


def _other_source(x: Any, source: tuple[str, Any], places: Mapping[Value, int], given: Any, plain: Any) -> str | None:
    """What is wrong with an input ``x`` that is to come from ``source``; None if nothing is."""
    kind, wanted = source
    if kind is LINE:
        right = type(x) is not Value or places.get(x) == wanted
        return None if right else "it computes with another Value now"
    if kind is LEAF:
        right = type(x) is not Value or x is wanted
        return None if right else f"it reads {x.name or 'another Value'} in place of {wanted.name or 'a parameter'} now"
    if kind is OTHER or (kind is GIVEN and x is given[wanted]):
        return None
    then = wanted if kind in (CONSTANT, MADE) else plain[wanted] if kind is PLAIN else given[wanted]
    now, then = getattr(x, "_data", x), getattr(then, "_data", then)
    if isinstance(then, SIMPLE) and not isinstance(then, (float, np.generic)):
        return None if same(now, then) else f"it was {then!r:.40} when it was traced, and is {now!r:.40} now"
    numbers = apart(now, then, 0.0 if kind in (CONSTANT, MADE) else FINEST)
    if numbers is None:
        return None
    return (
        f"it reads {numbers[0]} now, and read {numbers[1]} when it was traced"
        if kind in (CONSTANT, MADE)
        else (f"it computes with {numbers[0]}, and the program with {numbers[1]}")
    )


def _named(node: Value) -> str:
    """The name of an operation, with its line of the user's code."""
    op: Any = node.op
    return f"{op.name}{_at(getattr(node, '_place', None))}"


def _at(place: Any) -> str:
    """The line of the user's code at a place."""
    if place is None or place[0].co_filename.startswith(PACKAGE):
        return ""
    place = Place._make(place)
    return f" at {line_with_text(place.code.co_filename, line_of(place))}"


def _shown(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={option!r:.40}" for name, option in options.items())
