"""The program of a course: all that was noted on one way through a function, computed at once, gradients too.

What the user holds in the end are *results*. A result may have been computed from another, as a loss is from the
prediction that is returned beside it. Each is one operation of the record, whose inputs are the leaves and the results
that it was computed from, so gradients pass through the prediction as they do in eager mode. One program finds all of
them: the gradients by the leaves behind the prediction are handed out when backprop comes to it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.backprop import pull_back
from tinygrad_wb.compiling.entries import GIVEN, LEAF, MADE, OBSERVE, VALUE, Entry
from tinygrad_wb.compiling.executable import Form, Gradients, by_input
from tinygrad_wb.compiling.learning import Unfollowable
from tinygrad_wb.compiling.rewrites import computed
from tinygrad_wb.numpy_warnings import OF_STEPS, SILENT, at_the_users_line, enter, leave, state
from tinygrad_wb.operations.ranges import made_by
from tinygrad_wb.recording import Recorder
from tinygrad_wb.value import Value, dtype_behind, next_tick, traced

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tinygrad_wb.compiling.entries import Node

__all__ = ["CourseCall", "CourseProgram", "Peek", "operands"]


SMALL, LARGE = 1e-30, 1e30  # between which gradients may be multiplied by a number once they are found


class Traced:
    """A course on Values that stand for its leaves and for what is given, in the form that `Form` reads."""

    def __init__(self, path: Sequence[Entry], results: Sequence[Entry], given: Sequence[Any]) -> None:
        self.recorder = Recorder()
        self.arguments = [_twin(*x) if type(x) is tuple else traced(x) for x in given]
        self.leaves: dict[tuple[Value, Any], Value] = {}  # by leaf, and the part of the course that it is read in
        self.observers: list[tuple[Callable[..., None], int]] = []
        self.observed: list[Value] = []
        self.twins: dict[Entry, Any] = {}
        twins = self.twins
        part = _parts(path, results)
        with self.recorder.running(lines=False):
            for entry in path:
                inputs = self._inputs(entry, twins, part.get(entry))
                if entry.op is OBSERVE:
                    self.observers.append((entry.options["tell"], len(inputs)))
                    self.observed += inputs
                else:
                    twins[entry] = computed(entry.op, inputs, entry.options)
        self.results = [twins[entry] for entry in results]
        self.parameters = list(self.leaves.values())
        self.wanted: list[Value] = []
        self._fixed = [x for x, data in zip(self.arguments, given, strict=True) if type(data) is not tuple]

    def _inputs(self, entry: Entry, twins: dict[Entry, Any], part: Any) -> tuple[Any, ...]:
        inputs, place = [], entry.first
        for kind, source in zip(entry.kinds, entry.sources, strict=True):
            if kind is MADE:
                inputs.append(twins[source])
            elif kind is LEAF:
                if (source, part) not in self.leaves:
                    self.leaves[source, part] = _twin(source, source._data)
                inputs.append(self.leaves[source, part])
            elif kind in GIVEN:
                inputs.append(self.arguments[place])
                place += 1
            else:
                inputs.append(source)
        return tuple(inputs)

    def fixed(self) -> frozenset[Value]:
        """The leaves that nobody wants the gradients of."""
        return frozenset(self._fixed)


def _parts(path: Sequence[Entry], results: Sequence[Entry]) -> dict[Entry, Any]:
    """The part of a course that each entry belongs to: the inner result that it leads to, or None for the last part.

    An inner result is one that another is computed from. Raises `Unfollowable` where what leads to it is used besides.
    """
    leads: dict[Entry, set[Entry]] = {entry: set() for entry in path}  # to which results, not by way of others
    ends = set(results)
    for entry in reversed(path):
        own = {entry} if entry in ends else leads[entry]
        for source in entry.sources:
            if isinstance(source, Entry):
                leads[source] |= own
    inner = {entry for entry in ends if leads[entry]}
    parts: dict[Entry, Any] = {}
    for entry in path:
        if len(leads[entry]) > 1 and leads[entry] & inner:
            raise Unfollowable("it hands out numbers that it computes with in several ways")
        own = {entry} if entry in ends else leads[entry]
        parts[entry] = next(iter(own & inner), None)
    return parts


def _twin(value: Value, data: Any) -> Value:
    """What stands for a Value in the record of a course."""
    twin = traced(data, value.name)
    if type(data) is float:
        twin.origin = dtype_behind(value)
    return twin


class CourseProgram:
    """The program for one way through a function, with the results that are held outside."""

    def __init__(self, node: Node, results: Sequence[Entry], given: Sequence[Any], gradient: bool) -> None:
        if not results:
            raise Unfollowable("nothing that it computes is kept")
        path = node.path()
        self.results = tuple(results)
        self.path = path
        run = Traced(path, results, given)
        self.observers = run.observers
        self.count = len(run.results) + len(run.observed)
        self.gradient = gradient
        self.leaves = [leaf for leaf, _ in run.leaves]
        twins = dict(zip(run.results, range(len(run.results)), strict=True))
        places = {x: i for i, x in enumerate(run.arguments)}
        values = {place for entry in path for (at, place) in entry.given() if entry.kinds[at] is VALUE}
        sources: dict[Value, tuple[str, int]] = {twin: ("leaf", i) for i, twin in enumerate(run.parameters)}
        sources |= {twin: ("result", i) for twin, i in twins.items()}
        sources |= {x: ("given", i) for x, i in places.items() if i in values}
        behind = [_behind(twin, sources) for twin in run.results] if gradient else [[] for _ in run.results]
        self.takes_values = bool(values)
        self.views = _views(results, run.twins, sources) if gradient else {}
        self.shared: list[int] | None = None  # results whose arrays the program also has elsewhere, once it has run
        self.may_share = True  # whether there are any, or views
        self.inputs = [[sources[x] for x in found] for found in behind]
        self.origins = [dtype_behind(x) if type(x._data) is float else None for x in run.results]
        self.made_by = list(map(made_by, run.results))
        self.main = _main(run.results, self.inputs)
        reached = _reached(self.main, self.inputs) if self.main is not None else []
        run.wanted = list(dict.fromkeys(x for i in reached for x in behind[i]))
        self.form = Form(run, self.main)
        for twin in run.parameters:  # whose arrays belong to the leaves
            twin._data = _empty_like(twin._data)
        order = {x: i for i, x in enumerate(run.wanted)}
        self._wanted = [sources[x] for x in run.wanted if type(x._data) is not float]
        self.ready = {i: [order[x] for x in behind[i]] for i in reached}
        self.alone = len(reached) == 1  # no gradient passes through another result
        self.inner = [[(at, i) for at, (kind, i) in enumerate(found) if kind == "result"] for found in self.inputs]
        self._sources = [
            tuple([self.leaves[i] for _, i in found]) if all(kind == "leaf" for kind, _ in found) else None
            for found in self.inputs
        ]
        self.function = self.form.function
        self.lock = threading.RLock()
        self._spare: list[Gradients] = []
        self._pullbacks: dict[int, Form] = {}
        # Half precision does not reach far: a gradient that is multiplied when it is found may be 0 or inf by then.
        self.coarse = any(x._data.dtype == np.float16 for x in run.wanted if type(x._data) is not float)

    def sources(self, result: int, call: CourseCall, made: Sequence[Any]) -> tuple[Value, ...]:
        """The inputs of a result: leaves, other results that were ``made``, and Values that were given."""
        known = self._sources[result]
        if known is not None:
            return known
        where = {"leaf": self.leaves, "result": made}
        return tuple([call.given[i][0] if kind == "given" else where[kind][i] for kind, i in self.inputs[result]])

    def spare(self) -> Gradients:
        """Arrays for gradients that nobody holds any more, or new ones."""
        for gradients in self._spare:
            if gradients.free():
                return gradients
        arrays = self.form.arrays()
        for i, (kind, j) in enumerate(self._wanted):
            if kind == "leaf":
                arrays[i] = self.leaves[j]._data  # as which the gradients lie in memory
        fresh = Gradients(arrays).seal()
        self._spare = [*self._spare[-1:], fresh]
        return fresh

    def forget_spare(self) -> None:
        """The parameters have other places now; gradients are to have the same order."""
        self._spare = []

    def pullback(self, result: int, given: Sequence[Any]) -> Form:
        """The program for the gradients of a result, given the gradient of that result."""
        if result not in self._pullbacks:
            run = Traced(self.path, self.results, given)
            where = {"leaf": run.parameters, "result": run.results, "given": run.arguments}
            run.wanted = [where[kind][i] for kind, i in self.inputs[result]]
            like = run.results[result]._data
            seed = traced(1.0 if type(like) is float else np.ones_like(like), "seed")
            self._pullbacks[result] = Form(run, result, seed)
        return self._pullbacks[result]


class View(NamedTuple):
    """A result that is a part of another array: of a leaf, of a result, or of a Value that was given."""

    kind: str
    i: int
    steps: list[Entry]  # from there to the result

    def taken(self, call: CourseCall, found: Sequence[Any]) -> Any:
        """The array of the result."""
        if self.kind == "result":
            x = found[self.i]
        else:
            x = (call.program.leaves[self.i] if self.kind == "leaf" else call.given[self.i][0])._data
        for entry in self.steps:
            x = computed(entry.op, (x,), entry.options)
        return x


def _views(results: Sequence[Entry], twins: Mapping[Any, Value], sources: Mapping[Value, Any]) -> dict[int, View]:
    """The results that are views in eager mode, by number: what is written there shows in them."""
    entries = {twin: entry for entry, twin in twins.items()}
    found: dict[int, View] = {}
    for i, result in enumerate(results):
        steps: list[Entry] = []
        entry, x = result, twins[result]
        while type(x._data) is np.ndarray and len(x.inputs) == 1 and type(x.inputs[0]) is Value:
            steps.insert(0, entry)
            (below,) = x.inputs
            if not np.may_share_memory(x._data, below._data):
                break
            if below in sources:
                kind, j = sources[below]
                found[i] = View(kind, j, steps)
                break
            if below not in entries:
                break
            entry, x = entries[below], below
    return found


def _shared(results: Sequence[Any], others: Sequence[Any], views: Mapping[int, View]) -> list[int]:
    """The numbers of ``results`` that share memory with earlier ones, or with ``others``, and are no ``views``."""
    arrays = [x for x in others if type(x) is np.ndarray]
    found = []
    for i, x in enumerate(results):
        if type(x) is np.ndarray and i not in views:
            if any(np.may_share_memory(x, other) for other in arrays):
                found.append(i)
            arrays.append(x)
    return found


def _empty_like(data: Any) -> Any:
    """Something of the same shape and dtype, without the memory."""
    return data if type(data) is float else np.broadcast_to(np.zeros((), data.dtype), data.shape)


def _main(results: Sequence[Value], inputs: Sequence[Sequence[Any]]) -> int | None:
    """The result whose gradients the program finds: the last that is one number and has gradients."""
    inner = {i for found in inputs for kind, i in found if kind == "result"}
    scalars = [i for i, x in enumerate(results) if type(x._data) is float and inputs[i] and i not in inner]
    return scalars[-1] if scalars else None


def _reached(main: int, inputs: Sequence[Sequence[tuple[str, int]]]) -> list[int]:
    """The results that gradient comes to from ``main``, itself first."""
    found = [main]
    for i in found:  # grows as it goes
        found += [j for kind, j in inputs[i] if kind == "result" and j not in found]
    return found


def _behind(result: Value, sources: dict[Value, Any]) -> list[Value]:
    """The ``sources`` that gradient comes to from ``result``, without passing through others of them."""
    found: dict[Value, None] = {}
    ahead, met = [result], {result}
    while ahead:
        node = ahead.pop()
        op: Any = node.op
        partials = op.partials * len(node.inputs) if op is not None and op.variadic else op.partials if op else ()
        for x, partial in zip(node.inputs, partials, strict=False):
            if type(x) is not Value or partial is None:
                continue
            if x in sources:
                found[x] = None
            elif x not in met:
                met.add(x)
                ahead.append(x)
    return sorted(found, key=lambda x: sources[x])


class CourseCall:
    """One call that was followed: what was given, and the gradients that were found."""

    __slots__ = ("arguments", "filled", "found", "given", "handed", "numbers", "program", "run")

    run: int  # when it last ran, by which it knows what is its own

    numbers: Sequence[Any]  # gradients by numbers, which have no array
    found: Sequence[Any] | None  # gradients by all that is wanted, once they are asked for
    handed: dict[int, Any]  # what inner results were given of them

    def __init__(self, program: CourseProgram, given: Sequence[Any]) -> None:
        self.program = program
        self.given = given
        self.arguments = [x[1] if type(x) is tuple else x for x in given] if program.takes_values else given
        self.filled: Gradients | None = None

    def computed(self, data: Sequence[Any]) -> Sequence[Any]:
        """The results, and what is observed, from the leaves' ``data``."""
        program = self.program
        self.found, self.handed = None, {}
        found: Sequence[Any]
        with program.lock:  # another thread may be in it, for gradients of an earlier call
            token = enter(OF_STEPS[state()])
            try:
                if program.main is None:
                    found = program.function(*data, *self.arguments)
                    return self._apart(found, data) if program.may_share else found
                gradients = program.spare()
                found = program.function(*data, *self.arguments, *gradients.views)
            finally:
                leave(token)
            gradients.owner = self.run = next_tick()
            self.filled = gradients
        self.numbers = found[program.count :]
        return self._apart(found, data) if program.may_share else found

    def _apart(self, found: Sequence[Any], data: Sequence[Any]) -> Sequence[Any]:
        """The results, each in an array of its own, but for those that are views in eager mode."""
        program = self.program
        if program.shared is None:
            program.shared = _shared(found[: len(program.results)], [*data, *self.arguments], program.views)
            program.may_share = bool(program.shared or program.views)
        found = list(found)
        for i in program.shared:
            found[i] = found[i].copy()
        for i, view in program.views.items():
            found[i] = view.taken(self, found)
        return found

    def replayed(self, _: Any) -> Sequence[Any]:
        """The results once more."""
        return self.computed([leaf._data for leaf in self.program.leaves])

    def gradients(self, result: int, g: Any) -> Sequence[Any]:
        """∂Loss/∂x for every input x of a result, where g = ∂Loss/∂result, in arrays that the caller may keep."""
        program = self.program
        with program.lock:  # another thread may be in the same program
            if result != program.main:
                return self._of_inner(result, g)
            if g != 1.0 and (program.coarse or not SMALL < abs(g) < LARGE):
                pulled_back: Sequence[Any] = self._pulled_back(result, g)
                return pulled_back
            filled = self.filled
            if filled is None or filled.owner != self.run or self.found is not None:
                self.replayed(())  # a later call has taken its arrays, or they were handed out before
                filled = self.filled
            found: Any = program.form.in_order(filled.views, self.numbers)  # type: ignore[union-attr]
            if program.alone:
                filled.owner = None  # type: ignore[union-attr]
            elif g == 1.0:
                self.found = found
                found = self._handed_out(result)
            else:
                found = [found[i] for i in program.ready[result]]
            return found if g == 1.0 else [d * g for d in found]

    def _of_inner(self, result: int, g: Any) -> Sequence[Any]:
        """The same for a result that others are computed from: found already, if ``g`` is what they gave it."""
        given = self.handed.pop(result, None)
        still_here = self.filled is not None and self.filled.owner == self.run
        if given is not None and given is g and still_here:
            return self._handed_out(result)
        if not self.handed and still_here:
            self._let_go()
        found: Sequence[Any] = self._pulled_back(result, g)
        return found

    def _handed_out(self, result: int) -> list[Any]:
        """The gradients by the inputs of a result that are found already."""
        program, found = self.program, self.found
        given = [found[i] for i in program.ready[result]]  # type: ignore[index]
        for position, i in program.inner[result]:
            self.handed[i] = given[position]
        if not self.handed:
            self._let_go()
        return given

    def _let_go(self) -> None:
        """Nothing is wanted any more of what was found: its arrays are free once they are dropped."""
        if self.filled is not None:
            self.filled.owner = self.found = None

    @at_the_users_line
    def _pulled_back(self, result: int, g: Any) -> Sequence[Any]:
        form = self.program.pullback(result, self.given)
        arrays = Gradients(form.arrays()).views
        data = [leaf._data for leaf in self.program.leaves]
        numbers = form.function(*data, *self.arguments, g, *arrays)
        return form.in_order(arrays, numbers)

    def made_by(self, result: int) -> str:
        """What `ranges.made_by` found of a result."""
        return self.program.made_by[result]

    def recorded(self, result: int, g: Any, inputs: Sequence[Value]) -> Sequence[Any]:
        """The gradients as Values that can be differentiated again: the operations, recorded as usual."""
        program = self.program
        values: dict[Entry, Any] = {
            program.results[i]: x
            for (kind, i), x in zip(program.inputs[result], inputs, strict=True)
            if kind == "result"
        }
        start = next_tick()
        wanted = program.results[result]
        for entry in program.path:
            if entry not in values and entry.op is not OBSERVE and entry.depth <= wanted.depth:
                values[entry] = computed(entry.op, operands(entry, values, self.given), entry.options)

        def of_this_part(_: Value, nodes: Sequence[Value], __: Any) -> list[Value]:
            return [node for node in nodes if node.tick > start]

        return by_input(pull_back(values[wanted], g, True, of_this_part), inputs)


class Peek:
    """The program that finds one number in the middle of a course."""

    def __init__(self, entry: Entry, given: Sequence[Any]) -> None:
        run = Traced(entry.path(), [entry], given)
        run.observed = []
        self._leaves = [leaf for leaf, _ in run.leaves]
        self._function = Form(run, None).function

    def computed(self, given: Sequence[Any]) -> Any:
        """The number or array."""
        arguments = [x[1] if type(x) is tuple else x for x in given]
        token = enter(SILENT)  # it warns when all is computed
        try:
            found: Sequence[Any] = self._function(*[leaf._data for leaf in self._leaves], *arguments)
            return found[0]
        finally:
            leave(token)


def operands(entry: Entry, values: Mapping[Entry, Any], given: Sequence[Any]) -> tuple[Any, ...]:
    """What an entry computes with: ``values`` are the results of earlier ones."""
    found, place = [], entry.first
    for kind, source in zip(entry.kinds, entry.sources, strict=True):
        if kind is MADE:
            found.append(values[source])
        elif kind in GIVEN:
            x = given[place]
            found.append(x[0] if kind is VALUE else x)
            place += 1
        else:
            found.append(source)
    return tuple(found)
