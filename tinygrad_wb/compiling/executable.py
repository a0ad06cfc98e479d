"""Replays: the fast form of a run, called with other numbers, and what its results give back in `backward`."""

from __future__ import annotations

import sys
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.backprop import pull_back
from tinygrad_wb.compiling.emit.numpy import emit
from tinygrad_wb.compiling.plan import make_plan
from tinygrad_wb.compiling.tracing import plain, tell
from tinygrad_wb.compiling.tree import filled_in, pattern
from tinygrad_wb.flat import address, side_by_side, together
from tinygrad_wb.numpy_warnings import OF_STEPS, at_the_users_line, enter, leave, state
from tinygrad_wb.operation import ALL_AT_ONCE, REGISTRY, operation
from tinygrad_wb.operations.ranges import made_by
from tinygrad_wb.program.trace import Trace
from tinygrad_wb.recording import Recorder
from tinygrad_wb.value import UNRECORDED, Value, dtype_behind, next_tick, record, traced

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["COMPILED", "Call", "Form", "Gradients", "Recorded", "Replay", "Returned", "leaves_behind"]


def leaves_behind(result: Any, leaves: Collection[Value]) -> list[Value]:
    """Those of ``leaves`` that gradient comes to from ``result``, in their order."""
    if type(result) is not Value:
        return []
    ahead, met = [result], {result}
    while ahead:
        node = ahead.pop()
        op: Any = node.op
        partials = () if op is None else op.partials * len(node.inputs) if op.variadic else op.partials
        for x, partial in zip(node.inputs, partials, strict=False):
            if type(x) is Value and partial is not None and x not in met:
                met.add(x)
                ahead.append(x)
    return [x for x in leaves if x in met]


class Form:
    """The fast form of a run: its results and, of the result number ``main``, the gradients by what is ``wanted``.

    With a ``seed`` that is a Value it gives the gradients alone, and takes that result's gradient as its last argument.
    ``wanted`` are the leaves behind that result; by default, what the run says.
    """

    def __init__(self, run: Any, main: int | None, seed: Any = 1.0, wanted: list[Value] | None = None) -> None:
        values = [x for x in (*run.results, *run.observed) if type(x) is Value]
        self.wanted = [] if main is None else run.wanted if wanted is None else wanted
        result = values[0] if main is None else run.results[main]
        trace = Trace(result, None if main is None else seed, run.fixed(), run.recorder, tuple(values))
        results = [*run.results, *run.observed] if type(seed) is float else []
        decisions = run.recorder.decisions
        gradients = [trace.gradients.get(x, 0.0) for x in self.wanted]
        plan = make_plan(trace, [*results, *gradients, *(condition for condition, _ in decisions)])
        n, m = len(results), len(results) + len(gradients)
        found = list(zip(self.wanted, plan.found[n:m], strict=True))
        self.in_arrays = [type(x._data) is np.ndarray for x in self.wanted]
        leaves = [*run.parameters, *run.arguments, *(leaf for leaf, _ in run.recorder.draws)]
        made = emit(
            plan,
            [(x.name or "number", x) for x in ([*leaves, seed] if type(seed) is Value else leaves)],
            [*plan.found[:n], *(d for x, d in found if type(x._data) is float)],
            [(f"d_{x.name or 'number'}", d) for x, d in found if type(x._data) is not float],
            [(condition, outcome) for condition, (_, outcome) in zip(plan.found[m:], decisions, strict=True)],
        )
        self.source, self.function = made.source, made.function  # nothing else is kept: no record, no array of the run

    def arrays(self) -> list[Any]:
        return [x._data for x in self.wanted if type(x._data) is not float]

    def in_order(self, arrays: Sequence[Any], numbers: Sequence[Any]) -> Sequence[Any]:
        """The gradients of all that is wanted, from those that are arrays and those that are numbers."""
        if not numbers:
            return list(arrays)  # which holds each of them, so that no other thread's call takes them as free
        array, number = iter(arrays), iter(numbers)
        return [next(array) if in_array else next(number) for in_array in self.in_arrays]


class Gradients:
    """Arrays for gradients, side by side in the order of the parameters; ``owner`` is the run whose they are.

    It is a tick: a call that is held here would be part of a cycle.
    """

    def __init__(self, arrays: list[Any]) -> None:
        groups: dict[Any, list[int]] = defaultdict(list)
        for i in sorted(range(len(arrays)), key=lambda i: address(arrays[i])):
            groups[arrays[i].dtype].append(i)
        made = [side_by_side([arrays[i].shape for i in group], dtype) for dtype, group in groups.items()]
        places = [i for group in groups.values() for i in group]
        views = dict(zip(places, (view for _, views in made for view in views), strict=True))
        self.views = tuple(views[i] for i in range(len(arrays)))
        self.owner: Any = None
        self._arrays = (*self.views, *(buffer for buffer, _ in made))
        self._alone: list[int] = []

    def seal(self) -> Gradients:
        """Note how often each array is held while nobody else has seen it."""
        self._alone = list(map(sys.getrefcount, self._arrays))
        return self

    def free(self) -> bool:
        """Whether nobody but us holds one of the arrays, or a part of one."""
        return list(map(sys.getrefcount, self._arrays)) == self._alone


def by_input(gradients: Mapping[Value, Any], inputs: Sequence[Value]) -> list[Any]:
    """The gradient by each of ``inputs``, for one place alone where a Value is among them several times."""
    left = dict(gradients)
    return [left.pop(x, 0.0) for x in inputs]


class Replay:
    """A run that can be done again with other numbers."""

    def __init__(self, run: Any, gradient: bool) -> None:
        self.parameters = run.parameters
        # Calls in which to try to put the parameters together: until then a record may hold their arrays.
        self.unsettled = 4
        behind = [leaves_behind(x, run.wanted) if gradient else [] for x in run.results]
        self.returned = Returned(run, behind, gradient)
        self.draws = [draw for _, draw in run.recorder.draws]
        self.observers = run.observers
        self.seen = len(run.results)  # by the caller; what is observed follows
        self.count = self.seen + len(run.observed)
        losses = [i for i, x in enumerate(run.results) if behind[i] and x.inputs and type(x._data) is float]
        self.main = losses[0] if losses else None
        self.form = Form(run, self.main, wanted=behind[losses[0]] if losses else [])
        self.function = self.form.function
        self.lock = threading.RLock()
        self._gradients: list[Gradients] = []
        # The record is kept only where it may be needed: for the gradients of other results than the loss.
        others = any(found for i, found in enumerate(behind) if i != self.main)
        self._record: Any = (run, behind) if others else None
        self._pullbacks: dict[int, Form] = {}

    def __call__(self, holes: list[Any], given: list[Any], drawn: Sequence[Any] | None = None) -> list[Any] | None:
        """The results for the parameters' data; None if a decision came out otherwise than in the run.

        The random numbers are those that are ``drawn`` already, or new ones.
        """
        made = self.called(holes, given, self.drawn() if drawn is None else drawn)
        return None if made is None else self.handed_back(*made, holes)

    def drawn(self) -> list[Any]:
        """New random numbers for a call."""
        return [draw() for draw in self.draws]

    def called(self, holes: list[Any], given: list[Any], drawn: Sequence[Any]) -> tuple[Call, Sequence[Any]] | None:
        """A call, and the plain results of it with what is observed; None if a decision came out otherwise."""
        arguments = [x if type(x) is np.ndarray and x.shape else plain(x) for x in holes]
        call = Call(self, [*arguments, *drawn] if drawn else arguments)
        with self.lock:
            found = call.computed(given)
        return None if found is None else (call, found)

    def handed_back(self, call: Call, found: Sequence[Any], holes: list[Any], told: bool = False) -> list[Any]:
        """The results of a call as Values, after everybody was ``told`` what is observed in it."""
        if self.observers and not told:
            tell(self.observers, found[self.seen :])
        return self.returned.values(call, found, holes)

    def settle(self) -> None:
        """Let the parameters stand side by side, and gradients in the same order."""
        self.unsettled -= 1
        if together(self.parameters, known=1):  # `Terms` knows their arrays too
            self.unsettled = 0
            self._gradients = []

    def spare(self) -> Gradients:
        """Arrays for gradients that nobody holds any more, or new ones."""
        for gradients in self._gradients:
            if gradients.free():
                return gradients
        fresh = Gradients(self.form.arrays()).seal()
        self._gradients = [*self._gradients[-1:], fresh]  # what others hold lives on without us
        return fresh

    def pullback(self, result: int) -> Form:
        """The program for the gradients of another result than the loss, given the gradient of that result."""
        if result not in self._pullbacks:
            run, behind = self._record
            like = run.results[result]._data
            seed = traced(1.0 if type(like) is float else np.ones_like(like), "seed")
            self._pullbacks[result] = Form(run, result, seed, behind[result])
        return self._pullbacks[result]


class Returned:
    """What a function returns, without the numbers: which of it are Values, and by what those have gradients.

    ``behind`` has the leaves that gradient comes to from each result: the inputs of its record.
    """

    def __init__(self, run: Any, behind: Sequence[Sequence[Value]], gradient: bool = True) -> None:
        self._gradient = gradient
        self._results: list[Any] = [None if type(x) is Value else x for x in run.results]
        position = {run.arguments[i]: i for i in run.values}
        # Of each result that is computed: its place, the parameters behind it, the positions of given Values behind it.
        self._computed = [
            (i, tuple(x for x in behind[i] if x not in position), [position[x] for x in behind[i] if x in position])
            for i, x in enumerate(run.results)
            if type(x) is Value
        ]
        origins = [dtype_behind(x) if type(x) is Value else None for x in run.results]
        self._origins = [(i, origin) for i, origin in enumerate(origins) if origin is not None]
        self._function, self._asked, self._count = run.function, run.asked, len(run.arguments)
        self._draws = bool(run.recorder.draws)
        self.made_by = list(map(made_by, run.results))  # which no replay's record shows

    def inputs(self, result: int, holes: Sequence[Any]) -> tuple[Value, ...]:
        """The inputs of a result's record: parameters, and Values among the arguments."""
        parameters, positions = next((p, q) for i, p, q in self._computed if i == result)
        return (*parameters, *[holes[p] for p in positions])

    def values(self, call: Any, found: Sequence[Any], holes: Sequence[Any]) -> list[Any]:
        """A call's results, with which ``found`` begins: what was a Value in the run is one again."""
        results = self._results.copy()
        for i, parameters, positions in self._computed:
            inputs = (*parameters, *[holes[p] for p in positions]) if positions else parameters
            if inputs:
                results[i] = record(COMPILED, inputs, found[i], {"call": call, "result": i})
            else:
                results[i] = traced(found[i])
                if not self._gradient:
                    results[i].options = UNRECORDED
        for i, origin in self._origins:
            results[i].origin = origin
        return results

    def recorded(self, arguments: Sequence[Any], result: int, g: Any, inputs: Sequence[Value]) -> list[Any]:
        """Call the function on ``arguments``, and find the gradients of one of its results by ``inputs``, as Values."""
        if self._draws:
            raise TypeError(
                "a compiled function that draws random numbers has first derivatives only: take its .function"
            )
        holes = list(arguments[: self._count])
        parameters, positions = next((p, q) for i, p, q in self._computed if i == result)
        for position, x in zip(positions, inputs[len(parameters) :], strict=True):
            holes[position] = x
        args, kwargs = filled_in(self._asked, holes)
        found: list[Any] = []
        with Recorder().running(lines=False):  # so that nobody is told of it, as of a call of its own
            pattern(self._function(*args, **kwargs), found)
        return by_input(pull_back(found[result], g, record=True), inputs)


class Call:
    """One replay: its arguments and random numbers, and the gradients that it found."""

    __slots__ = ("arguments", "filled", "numbers", "replay", "run")

    run: int  # when it last ran, by which it knows what is its own

    def __init__(self, replay: Replay, arguments: list[Any]) -> None:
        self.replay = replay
        self.arguments = arguments
        self.filled: Gradients | None = None
        self.numbers: Sequence[Any] = ()

    def computed(self, given: list[Any]) -> Sequence[Any] | None:
        """The plain results for the parameters' data; None if a decision came out otherwise."""
        replay = self.replay
        token = enter(OF_STEPS[state()])
        try:
            if replay.main is None:
                return replay.function(*given, *self.arguments)  # type: ignore[no-any-return]
            gradients = replay.spare()
            found: Sequence[Any] | None = replay.function(*given, *self.arguments, *gradients.views)
        finally:
            leave(token)
        if found is not None:
            gradients.owner = self.run = next_tick()
            self.filled, self.numbers = gradients, found[replay.count :]
        return found

    def replayed(self, _: Any) -> Sequence[Any]:
        """The results once more."""
        found = self.computed([p._data for p in self.replay.parameters])
        if found is None:
            raise RuntimeError("a decision in the compiled function came out otherwise than before: call it again")
        return found

    def gradients(self, result: int, g: Any) -> Sequence[Any]:
        """∂Loss/∂x for every input x, where g = ∂Loss/∂result, in arrays that the caller may keep."""
        with self.replay.lock:  # another thread may be in the same program
            return self._gradients(result, g)

    def _gradients(self, result: int, g: Any) -> Sequence[Any]:
        replay = self.replay
        if result != replay.main:
            return self._pulled_back(result, g)
        if self.filled is None or self.filled.owner != self.run:
            self.replayed(())  # a later call has taken its arrays, or someone was given them before
        filled: Any = self.filled
        filled.owner = None
        found = replay.form.in_order(filled.views, self.numbers)
        return found if g == 1.0 else [d * g for d in found]

    @at_the_users_line
    def _pulled_back(self, result: int, g: Any) -> Sequence[Any]:
        form = self.replay.pullback(result)
        arrays = Gradients(form.arrays()).views
        given = [p._data for p in self.replay.parameters]
        numbers = form.function(*given, *self.arguments, g, *arrays)
        return form.in_order(arrays, numbers)

    def made_by(self, result: int) -> str:
        """What `ranges.made_by` found of a result when it was recorded."""
        return self.replay.returned.made_by[result]

    def recorded(self, result: int, g: Any, inputs: Sequence[Value]) -> Sequence[Any]:
        """The gradients as Values that can be differentiated again: by the function itself, recorded as usual."""
        return self.replay.returned.recorded(self.arguments, result, g, inputs)


class Recorded:
    """A call that was traced, and that its program can't compute: its gradients are found in the record."""

    def __init__(self, run: Any) -> None:
        self.run = run
        self.behind = [leaves_behind(x, run.wanted) for x in run.results]

    def results(self, holes: list[Any]) -> list[Any]:
        """The results as Values."""
        return Returned(self.run, self.behind).values(self, [getattr(x, "_data", x) for x in self.run.results], holes)

    def gradients(self, result: int, g: Any) -> Sequence[Any]:
        found = pull_back(self.run.results[result], g)
        return [found[x].copy() if type(found[x]) is np.ndarray else found[x] for x in self.behind[result]]

    def made_by(self, result: int) -> str:
        return made_by(self.run.results[result])

    def recorded(self, result: int, g: Any, inputs: Sequence[Value]) -> Sequence[Any]:
        arguments = [x._data for x in self.run.arguments]
        return Returned(self.run, self.behind).recorded(arguments, result, g, inputs)

    def replayed(self, _: Any) -> Sequence[Any]:
        """The results once more."""
        return [getattr(x, "_data", x) for x in self.run.results]


def _gradient_by(g: Any, y: Any, *inputs: Any, position: int, call: Any, result: int) -> Any:
    if type(inputs[position]) is Value:
        return call.recorded(result, g, inputs)[position]
    return call.gradients(result, g)[position]


def _has_no_text(**_: Any) -> str:
    raise TypeError("compiled() can't be written as Python: ask the compiled function for its .program(…)")


@operation(variadic=True, numpy=_has_no_text, dinputs=_gradient_by)
def compiled(inputs: Any, call: Any, result: int) -> Any:
    """A function that was compiled: one operation, whose inputs are the parameters that it reads."""
    return call.replayed(inputs)[result]


COMPILED = REGISTRY["compiled"]
COMPILED.arity = ALL_AT_ONCE
