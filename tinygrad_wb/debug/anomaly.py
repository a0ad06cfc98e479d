"""`detect_anomaly`: the first operation that made a NaN or inf, and arrays that were changed behind a graph's back.

Nothing here computes a derivative. Forward, each result is looked at when it is recorded. Backward, the gradients are
looked at when the walk is done; if one is bad, the walk is gone through again to the first partial that made it so, and
that partial is run on Values: what it records are operations like any others, and the first bad one tells the rule. The
update of a parameter is taken apart in the same way.
"""

from __future__ import annotations

import contextlib
import copy
from collections import defaultdict
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.backprop import contribution, contributions, match, shared_anew
from tinygrad_wb.constants import Constants, given_inputs
from tinygrad_wb.debug.derived import Derived
from tinygrad_wb.debug.in_place import Copies
from tinygrad_wb.debug.report import (
    AnomalyError,
    Called,
    anomaly,
    at_index,
    brief,
    call_text,
    counted,
    elements,
    frames,
    labelled,
    leaves_behind,
    names_of,
    origin,
    shown,
    unchosen,
    user_frame,
    user_place,
    where_rows,
)  # fmt: skip
from tinygrad_wb.debug.rules import finite, number, overflow, rule_of, where_bad
from tinygrad_wb.errors import Failed
from tinygrad_wb.nn.module import Module
from tinygrad_wb.on_gradient import listened
from tinygrad_wb.operation import ALL_AT_ONCE, REGISTRY
from tinygrad_wb.program.names import variables_in
from tinygrad_wb.recording import recorder, recorders, source_lines, this_thread, watchers
from tinygrad_wb.value import Value, raw, traced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tinygrad_wb.operation import Operation
    from tinygrad_wb.optimizers import Optimizer
    from tinygrad_wb.recording import Place

__all__ = ["AnomalyError", "detect_anomaly"]


@contextlib.contextmanager
def detect_anomaly() -> Iterator[None]:
    """Inside ``with wb.detect_anomaly():`` the first operation that makes a NaN or inf raises `AnomalyError`.

    That is: forward, in ``backward()`` and the derivatives of functions, and in an optimizer's ``step()`` (before it
    changes anything). The error tells the operation and its source line, layer, operands, indices, the rule, the
    parameters behind it and what usually helps. What is NaN or inf already, in data or weights, is told when an
    operation first passes it on; but an infinity written as a plain number, as in ``wb.where(mask, scores, -np.inf)``,
    is meant, until something comes of it that is not. If the data of a Value, or a plain array of more than 1 MB, was
    changed in place after an operation of the block had read it, ``backward()`` raises `StaleGraphError`; of smaller
    arrays a graph has copies.

    It holds for this thread, and blocks may be nested. Compiled functions run as they are in it, so that every
    operation is seen. Copies of all operands are kept as long as the graph is.

    >>> import tinygrad_wb as wb
    >>> p = wb.Value([0.5, 0.0], name="p")
    >>> with wb.detect_anomaly():
    ...     loss = -wb.log(p).sum()
    Traceback (most recent call last):
        ...
    tinygrad_wb.debug.report.AnomalyError: log made -inf at [1]: log(0)
    ...
    """
    thread = this_thread()
    with source_lines():
        watch: Any = watchers.get(thread)
        if watch is None:
            watch = watchers[thread] = Watch()
        watch.blocks += 1
        try:
            yield
        finally:
            watch.blocks -= 1
            if not watch.blocks:
                del watchers[thread]


class Seen(NamedTuple):
    """An operation and what it made, which is not finite."""

    op: Operation
    inputs: Sequence[Any]
    options: Mapping[str, Any]
    data: Any


class Watch:
    """Looks on while one thread computes."""

    def __init__(self) -> None:
        self.blocks = 0  # how deep they are nested
        self.copies = Copies()
        self.derived = Derived()
        self._sought: list[Seen] | None = None  # while something is taken apart: what in it is bad
        self._node: Value | None = None  # while its partials are run in a backward pass

    # -- forward --------------------------------------------------------------------------------------------------

    def computed(self, value: Value, op: Operation, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        data = value._data
        good = isfinite(data) if type(data) is float else finite(data)
        if self._node is not None and self._sought is None:
            self.derived.note(value, self._node)
        if good and not options:
            for x in inputs:
                if type(x._data if type(x) is Value else x) is not float:
                    break
            else:
                return  # of numbers alone, which nobody can change: the most there is, in a graph of scalars
        if recorders and recorder():
            return  # a program or a picture runs partials on numbers of its own
        if self._sought is not None:
            if not good:
                self._sought.append(Seen(op, inputs, options, data))
            return
        if not good and self._node is None and not self._meant(value, inputs):
            raise self._forward_error(Seen(op, inputs, options, data))
        self.copies.keep(value)

    def history_read(self, made: list[Value]) -> None:
        self.copies.check(made)

    def _meant(self, value: Value, inputs: tuple[Any, ...]) -> bool:
        """Whether an infinity was handed on that somebody wrote as a plain number."""
        return not np.isnan(value._data).any() and any(self._passes(x) for x in inputs)

    def _passes(self, x: Any) -> bool:
        return not finite(raw(x)) and (type(x) is float or (type(x) is Value and x in self.copies))

    def _already(self, seen: Seen) -> Any:
        """The operand that the bad number comes from as it is, if there is one."""
        nan = np.isnan(seen.data).any()
        bad = [x for x in seen.inputs if not finite(raw(x)) and not (self._passes(x) and not np.isnan(raw(x)).any())]
        return next((x for x in bad if nan and np.isnan(raw(x)).any()), bad[0] if bad else None)

    def _forward_error(self, seen: Seen) -> AnomalyError:
        layer = next((f.f_locals["self"].label for f in frames() if f.f_code is Module.__call__.__code__), "")
        behind = leaves_behind(x for x in seen.inputs if type(x) is Value)
        return self._told(seen, "forward", Called(variables_in(user_frame())), user_place(), layer, behind)

    def _told(
        self, seen: Seen, phase: str, called: Called, place: Place | None, layer: str, behind: list[Value]
    ) -> AnomalyError:
        op, inputs = seen.op, seen.inputs
        index, count = where_bad(seen.data)
        names = names_of(op, inputs)
        operands = {labelled(name, called(x)): x for name, x in zip(names, inputs, strict=True)}
        made = f"{number(np.asarray(seen.data)[index])}{at_index(index)}"
        x = self._already(seen)
        if x is not None:
            first, _ = where_bad(raw(x))
            who = called(x) or f"the input {names[[i is x for i in inputs].index(True)]}"
            rule, hint = f"{who} is {number(np.asarray(raw(x))[first])} already{at_index(first)}", "data"
        else:
            rule, hint = self._rule(seen)
        title = f"{op.name} made {made}: {rule}"
        at = elements(op.forward, operands, seen.data, seen.options)
        rows = [*where_rows(place, layer), (phase, call_text(op.name, names, seen.options))]
        rows += [(label, shown(raw(x), at[label])) for label, x in operands.items()]
        rows += [("result", counted(seen.data))]
        return anomaly(
            title,
            rows,
            Failed(op, tuple(inputs), seen.options),
            behind,
            rule,
            hint,
            phase=phase,
            index=index,
            count=count,
            operands=at,
            layer=layer,
            place=place,
        )

    # -- the rule -------------------------------------------------------------------------------------------------

    def _rule(self, seen: Seen) -> tuple[str, str]:
        """What made it, and the row of `HINTS` that helps."""
        op, options = seen.op, seen.options
        index, _ = where_bad(seen.data)
        found = rule_of(op, [raw(x) for x in seen.inputs], options, index, seen.data)
        if found is not None:
            return found  # type: ignore[no-any-return]
        inner = self._first_bad(lambda: _forward_of(op, _as_values(seen.inputs), options))
        if inner is not None and inner.op is not op:
            words, hint = self._rule(inner)
            return f"{words}, in the {inner.op.name} inside it", hint
        if np.isinf(np.asarray(seen.data)[index]) and all(finite(raw(x)) for x in seen.inputs):
            return overflow(seen.data)
        handed = next((x for x in map(raw, seen.inputs) if not finite(x)), None)
        if handed is not None:
            return f"handed on from an operand that is {number(np.asarray(handed)[where_bad(handed)[0]])}", "infinite"
        return "it has no real value for these operands", "unknown"

    def _first_bad(self, run: Callable[[], Any]) -> Seen | None:
        """The first operation that makes a NaN or inf while ``run`` runs on Values."""
        before, self._sought = self._sought, []
        try:
            with np.errstate(all="ignore"), contextlib.suppress(Exception):
                run()  # somebody's own formula may be written for plain data alone
            return self._sought[0] if self._sought else None
        finally:
            self._sought = before

    def _first_bad_in_partial(self, node: Value, x: Value, g: Value) -> Seen | None:
        """The same, in the partial of ``node``'s operation by ``x``."""
        op: Any = node.op
        operands, options = _as_values(node.inputs), dict(node.options)
        if op.shared is not None:  # the forward computation has it too, so nothing new is bad in it
            self._first_bad(lambda: options.update(shared_anew(op, operands, node.options)))
        by = [i for i, other in enumerate(node.inputs) if other is x]
        return self._first_bad(lambda: [match(contribution(op, i, g, node, operands, options), x._data) for i in by])

    # -- backward -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def going_back(self, path: Iterable[Value]) -> Iterator[Iterable[Value]]:
        before = self._node

        def followed() -> Iterator[Value]:
            for node in path:
                self._node = node
                yield node
                self._node = None  # who listens to gradients computes between two nodes

        try:
            yield followed()
        finally:
            self._node = before

    def went_back(self, made: list[Value], seed: Any, gradients: Callable[[Any], Any]) -> None:
        if (recorders and recorder()) or self._sought is not None or not made:
            return
        result = made[0]
        if not finite(result._data):
            raise self._bad_result(made)
        leaves = [x for node in made for x in node.inputs if type(x) is Value and not x.inputs]
        if not all(finite(raw(gradients(x))) for x in (*made, *leaves)):
            with np.errstate(all="ignore"):
                self._find(made, raw(seed), lambda x: raw(gradients(x)))

    def _bad_result(self, made: list[Value]) -> AnomalyError:
        """Of a loss that is NaN or inf already: the first operation in its history that is."""
        first = next(node for node in reversed(made) if not finite(node._data))
        seen = Seen(first.op, given_inputs(first), first.options, first._data)  # type: ignore[arg-type]
        return self._told(seen, "forward", Called({}), *origin(self.derived.root(first), made), leaves_behind([first]))

    def _find(self, made: list[Value], seed: Any, gradients: Callable[[Any], Any]) -> None:
        """Go through the walk again, and raise at what first made a gradient bad."""
        total: dict[Value, Any] = {made[0]: seed}
        parts: dict[Value, int] = defaultdict(int)
        for node in made:
            if node not in total:
                continue
            g = gradients(node)
            if not finite(g):
                raise self._bad_from_outside(node, g, finite(total[node]), made)
            if node.op.arity == ALL_AT_ONCE:  # type: ignore[union-attr]
                total |= {x: gradients(x) for x in node.inputs if type(x) is Value and finite(gradients(x))}
                continue
            for x, d in contributions(node, g):
                fitted = match(d, x._data)
                if not finite(fitted):
                    raise self._backward_error(node, x, g, fitted, made)
                parts[x] += 1
                total[x] = total[x] + fitted if x in total else fitted
                if not finite(total[x]):
                    raise self._bad_sum(x, total[x], f"the sum of its first {parts[x]} contributions", made)
        for node in made:
            for x in node.inputs:
                if type(x) is Value and not finite(gradients(x)):
                    if x in total and id(x) in listened:
                        raise self._bad_from_outside(x, gradients(x), True, made)
                    if x in total:
                        raise self._bad_sum(
                            x, gradients(x), "the sum with what earlier backward() calls had left", made
                        )
                    raise self._backward_error(node, x, gradients(node), gradients(x), made)  # a compiled function's

    def _backward_error(self, node: Value, x: Value, g: Any, d: Any, made: list[Value]) -> AnomalyError:
        op: Any = node.op
        root, order = self.derived.root(node), self.derived.order(node)
        called = Called(Constants((*made, root)).named(variables_in(user_frame())))
        named = called.gradient(node)
        inner = None if op.arity == ALL_AT_ONCE else self._first_bad_in_partial(node, x, Value(g, named))
        words, hint = overflow(d) if inner is None else self._rule(inner)
        hint = STEEP.get(root.op.name, hint)  # type: ignore[union-attr]
        index, count = where_bad(d)
        names = names_of(op, node.inputs)
        position = [x is other for other in node.inputs].index(True)
        by = names[position]
        read = {labelled(name, called(i)): i for name, i in zip(names, node.inputs, strict=True)}
        read |= {labelled("y", called(node)): node, labelled("g", named): g}

        def partial(*elements: Any, **options: Any) -> Any:
            *inputs, y, g = elements
            return contribution(op, position, g, y, inputs, options)

        at = elements(partial, read, d, node.options)
        if at[labelled("g", named)] == 0.0 and unchosen(node, made, index, np.shape(d)):
            words, hint = f"{words}, where the gradient that arrives is 0", "where"
        place, layer = origin(root, made)
        rows = [*where_rows(place, layer), ("backward", f"∂/∂{by} of {call_text(op.name, names, node.options)}")]
        if root.op is not None and order:
            forward = f"{root.op.name}({', '.join(brief(i, d, called) for i in root.inputs)})"
            rows += [("recorded in", f"the derivative{f' of order {order}' * (order > 1)} of {forward}")]
        rows += [(label, shown(raw(i), at[label])) for label, i in read.items()]
        rows += [("contribution", counted(d))]
        if inner is not None:
            rows += [("made by", f"{inner.op.name}({', '.join(brief(i, inner.data, called) for i in inner.inputs)})")]
        through = f"the derivative of {root.op.name}" if root.op is not None and order else op.name
        title = f"backward() through {through} made {number(np.asarray(d)[index])}{at_index(index)}: {words}"
        return anomaly(
            title,
            rows,
            Failed(op, given_inputs(node), node.options),
            leaves_behind([x]),
            words,
            hint,
            phase="backward",
            index=index,
            count=count,
            operands=at,
            layer=layer,
            place=place,
            input=by,
        )

    def _bad_sum(self, x: Value, g: Any, what: str, made: list[Value]) -> AnomalyError:
        infinite = "overflow, or inf − inf"
        return self._bad_gradient(x, g, f"{what} is not finite: {infinite}", "growth", made)

    def _bad_from_outside(self, node: Value, g: Any, heard: bool, made: list[Value]) -> AnomalyError:
        if heard:
            return self._bad_gradient(node, g, "a function given to on_gradient returned it", "listener", made)
        return self._bad_gradient(node, g, "the seed given to backward() is not finite", "data", made)

    def _bad_gradient(self, x: Value, g: Any, rule: str, hint: str, made: list[Value]) -> AnomalyError:
        called = Called(variables_in(user_frame()))
        index, count = where_bad(g)
        who = called.gradient(x)
        place, layer = origin(self.derived.root(x), made)
        rows = [*where_rows(place, layer), ("backward", who), ("gradient", counted(g))]
        title = f"{who} is {number(np.asarray(g)[index])}{at_index(index)}: {rule}"
        op: Any = x.op if x.inputs else REGISTRY["add"]  # to what it had
        return anomaly(
            title,
            rows,
            Failed(op, given_inputs(x) or (x,), x.options),
            leaves_behind([x]),
            rule,
            hint,
            phase="backward",
            index=index,
            count=count,
            operands={},
            layer=layer,
            place=place,
        )

    # -- the optimizer's step -------------------------------------------------------------------------------------

    def about_to_step(self, optimizer: Optimizer) -> None:
        gradients = [raw(p.grad) for p in optimizer.parameters]
        if any(g is None for g in gradients):
            return  # the step itself says what is missing
        optimizer._together.separate()
        gradients = optimizer.clipped(gradients, gradients)
        rate = optimizer.rate
        trial = copy.copy(optimizer)  # one that counts for itself counts there
        for p, g, memory in zip(optimizer.parameters, gradients, optimizer.memory, strict=True):
            w = p._data if type(p._data) is np.ndarray else np.float64(p._data)
            held = _memory({name: np.copy(x) for name, x in memory.items()})
            with np.errstate(all="ignore"):
                after = w - trial.change(w, g if type(g) is np.ndarray else np.float64(g), held, rate)
            made = {"weight": after, **held}
            if bad := [name for name, x in made.items() if not finite(x)]:
                raise self._step_error(trial, p, g, memory, rate, bad[-1], made[bad[-1]])

    def _step_error(
        self, optimizer: Optimizer, p: Value, g: Any, memory: Mapping[str, Any], rate: float, what: str, made: Any
    ) -> AnomalyError:
        name = p.name or f"parameter number {[i is p for i in optimizer.parameters].index(True)}"
        w, slope = Value(p._data, name), Value(g, f"its gradient, ∂Loss/∂{name}")
        held = _memory({key: Value(x, f"its {key} in {type(optimizer).__name__}") for key, x in memory.items()})
        seen = self._first_bad(lambda: w - optimizer.change(w, slope, held, rate))
        step = f"{type(optimizer).__name__}.step() of {name}"
        place = user_place()
        if seen is not None:
            error = self._told(seen, "step", Called({}), place, "", [p])
            error.args = (f"{step}: {error.args[0]}",)
            return error
        index, count = where_bad(made)
        rule = f"its new {what} is {number(np.asarray(made)[index])}{at_index(index)}"
        rows = [*where_rows(place, ""), ("step", "change(w, g, memory, rate)"), ("w", shown(p._data, None))]
        rows += [("g", shown(g, None)), (what, counted(made))]
        return anomaly(
            f"{step}: {rule}",
            rows,
            Failed(REGISTRY["subtract"], (p, g), {}),
            [p],
            rule,
            "growth",
            phase="step",
            index=index,
            count=count,
            operands={},
            layer="",
            place=place,
        )


# The slope of these is what is infinite, so the hint is theirs.
STEEP = {
    "sqrt": "root", "cbrt": "cbrt", "hypot": "length", "power": "power", "divide": "divide",
    "reciprocal": "divide", "log": "log", "log2": "log", "log10": "log", "log1p": "log1p", "arcsin": "domain",
    "arccos": "domain", "arctanh": "domain", "arccosh": "from one",
}  # fmt: skip


def _memory(held: Mapping[str, Any]) -> dict[str, Any]:
    """An optimizer's memory of a parameter, in which what is missing counts as 0."""
    memory: dict[str, Any] = defaultdict(float)
    memory.update(held)
    return memory


# -- what is behind, and around -----------------------------------------------------------------------------------


def _as_values(inputs: Iterable[Any]) -> list[Any]:
    """Arrays as leaves, so that what is done to them is recorded."""
    return [traced(x) if type(x) is np.ndarray and x.dtype.kind == "f" else x for x in inputs]


def _forward_of(op: Any, inputs: list[Any], options: Mapping[str, Any]) -> Any:
    """An operation's forward computation, on Values."""
    inputs = [traced(x) if type(x) is float else x for x in inputs]
    if op.shared is not None:
        options = shared_anew(op, inputs, options)
    return op.forward(inputs, **options) if op.variadic else op.forward(*inputs, **options)
