"""`Stepper`: a backward pass that stands still after each partial, and goes back as well as forth.

Its state is a position and the gradients found up to there. Nothing is ever subtracted on the way back, which would
leave rounding behind: the total of the one input in question is added up anew from its earlier contributions, in the
same order. They are all still known, because a Value hands on gradient only when its own is complete.
"""

from __future__ import annotations

import contextlib
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from tinygrad_wb.backprop import backward, latest, match, seed_of
from tinygrad_wb.debug.condition import condition
from tinygrad_wb.debug.step import Step
from tinygrad_wb.debug.trace import Trace, gained
from tinygrad_wb.differences import Line, compared
from tinygrad_wb.errors import GradientError, ShapeError
from tinygrad_wb.program.names import variables_in
from tinygrad_wb.recording import recorders, replayable
from tinygrad_wb.value import Value, next_tick, own, raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Agreement", "Stepper"]


class Agreement(NamedTuple):
    """What `Stepper.check` compared, along a random direction: the slope by the contribution, and the measured one."""

    slope: float
    measured: float


class Stepper:
    """Goes through the backward pass of ``loss`` one partial at a time, in both directions.

    ``seed`` is as for ``backward()``. ``position`` counts the steps taken; `step` and `back` move, and return the
    `Step` taken last; ``len``, iteration and indexing look at all steps without moving. ``gradients`` has what was
    found so far. Every ``.grad`` stays as it is, until `apply`. Raises ``StaleGraphError`` where ``backward()`` would.

    >>> import tinygrad_wb as wb
    >>> x, w = wb.Value(2.0, name="x"), wb.Value(-3.0, name="w")
    >>> loss = (x * w + 5.0) ** 2
    >>> stepper = wb.Stepper(loss)
    >>> print(stepper.until("w"))
    step 4/4    multiply_1 = x * w
       local    ∂multiply_1/∂w = x                = 2
       chain    ∂L/∂w += ∂L/∂multiply_1 · ∂multiply_1/∂w = −2 · 2 = −4
       total    ∂L/∂w   0 → −4                      (contribution 1 of 1)
    >>> stepper.back(2)
    <Step 2 of 4: add_1 = multiply_1 + 5, ∂L/∂multiply_1>
    """

    def __init__(self, loss: Value, seed: Any = None, *, variables: Mapping[int, str] | None = None) -> None:
        if recorders:
            replayable("stepping inside it", "step through the result")
        self.trace = Trace(loss, variables_in(sys._getframe(1)) if variables is None else variables)
        self.loss = loss
        self._given_seed = seed
        self._seed = raw(seed_of(loss, seed))
        self._edits: dict[int, Any] = {}  # the gradient that was set, by the position at which it was
        self._rewind()

    def _rewind(self) -> None:
        self._position = 0
        self._gradients: dict[Value, Any] = {self.loss: self._edits.get(0, self._seed)}
        self._latest: tuple[Any, ...] = (None, None, [])  # an operation, its gradient, and what its inputs get of that

    # -- where it stands ----------------------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """How many steps have been taken."""
        return self._position

    @property
    def edits(self) -> Mapping[int, Any]:
        """The gradients that `edit` set, by the position at which it did."""
        return MappingProxyType(self._edits)

    @property
    def gradients(self) -> Mapping[Value, Any]:
        """∂L/∂v as found so far, for each Value that has got a contribution. Don't change the arrays in it."""
        return MappingProxyType(self._gradients)

    def gradient(self, of: str | Value) -> Any:
        """∂L/∂v as found so far, of a Value or the name of one; None where there is no contribution yet."""
        return self._gradients.get(self.trace.value(of) if isinstance(of, str) else of)

    @property
    def current(self) -> Step | None:
        """The step taken last; None at the start."""
        return self[self._position - 1] if self._position else None

    def __len__(self) -> int:
        return len(self.trace)

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> list[Step]: ...
    def __getitem__(self, index: int | slice) -> Step | list[Step]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"there are {len(self)} steps, numbered from 0: no step {index}")
        return self._seen(at) if at < self._position else self._scout()._seen(at)

    def __iter__(self) -> Iterator[Step]:
        walker = self._copy()
        walker._rewind()
        while walker._position < len(walker):
            yield walker._forward()

    def __repr__(self) -> str:
        return f"<Stepper of {self.trace.called(self.loss)}: {self._position} of {len(self)} steps>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """In a notebook: the page to step through, which opens where the stepper stands."""
        from tinygrad_wb.debug.page import in_notebook

        return in_notebook(self)

    # -- moving -------------------------------------------------------------------------------------------------------

    def step(self, n: int = 1) -> Step | None:
        """Take the next ``n`` steps, or as many as there are; None if there is none left."""
        return self._moved(n, "step", 1)

    def back(self, n: int = 1) -> Step | None:
        """Take back the last ``n`` steps; None at the start. Gradients are then exactly as they were, edits undone."""
        return self._moved(n, "back", -1)

    def _moved(self, n: int, name: str, sign: int) -> Step | None:
        if not isinstance(n, int) or n < 1:
            raise ValueError(f"{name}({n!r:.60}): a whole number of steps, at least 1")
        before = self._position
        self.go_to(max(0, min(len(self), before + sign * n)))
        return self.current if sign < 0 or self._position > before else None

    def go_to(self, position: int) -> None:
        """Move to where ``position`` steps have been taken."""
        if not 0 <= position <= len(self):
            raise IndexError(f"go_to({position}): there are {len(self)} steps")
        if position >= self._position:
            while self._position < position:
                self._advance()
            return
        undone = {self.trace.input(i) for i in range(position, self._position)}
        if any(at > position for at in self._edits):
            self._edits = {at: edit for at, edit in self._edits.items() if at <= position}
            self._finished = None
        self._position = position
        for x in undone:
            total = self._total(x, position)
            if total is None:
                del self._gradients[x]
            else:
                self._gradients[x] = total

    def until(self, target: str | Value | Callable[..., Any]) -> Step | None:
        """Step until one fits ``target``, and return it; None, at the end, if none does.

        ``target`` is a Value or its name (until it gets gradient), an operation or its name, a layer's path, a line
        (``"model.py:14"``), a condition on ∂L/∂input (``"norm > 1e3"``, ``"nan"``), or a function of the `Step`.
        """
        fits = condition(self.trace, target)
        while self._position < len(self):
            step = self._forward()
            if fits(step):
                return step
        return None

    def reset(self) -> None:
        """Go back to the start, and forget every edit."""
        self._edits = {}
        self._finished = None
        self._rewind()

    def finish(self) -> Mapping[Value, Any]:
        """Take all steps that are left; returns ``gradients``, which are those of ``backward()``, bit for bit."""
        self.go_to(len(self))
        return self.gradients

    def apply(self, record: bool = False) -> None:
        """Finish, and fill every ``.grad`` as ``backward(seed, record)`` does; with the edits that were made."""
        self.finish()
        if not self._edits:
            backward(self.loss, self._given_seed, record)
            return
        latest[0] = next_tick()
        for x, g in self._gradients.items():
            if x.inputs:
                x.grad = g
            else:
                mine = Value(g) if record else np.copy(g) if type(g) is np.ndarray else g
                x.grad = mine if x.grad is None else x.grad + mine

    # -- asking and changing ------------------------------------------------------------------------------------------

    def edit(self, gradient: Any) -> None:
        """Set the gradient that the latest step changed (at the start: the loss's), and go on with that.

        ``gradient`` has the shape of the Value, or is one number for all its elements. Going back takes the edit back.
        """
        x = self.trace.input(self._position - 1) if self._position else self.loss
        new = own(gradient)
        if np.shape(new) not in ((), x.shape):
            raise ShapeError(
                f"edit(gradient): the gradient has shape {np.shape(new)}, {self.trace.called(x)} has {x.shape}; "
                "give that shape, or one number for all elements"
            )
        self._edits[self._position] = self._gradients[x] = match(
            np.broadcast_to(new, x.shape) if x.shape else new, x._data
        )
        self._finished = None

    def check(self, rtol: float = 1e-6, atol: float = 1e-8) -> Agreement:
        """Hold the latest step's contribution against finite differences of its operation.

        For a direction v of the input x, the contribution d must satisfy d · v = g · (y(x + εv) − y(x − εv)) / 2ε,
        with g = ∂L/∂y. Raises `GradientError` where it does not, and says so if that is at a kink, such as relu's at 0.
        """
        if not self._position:
            raise ValueError("check(): no step has been taken yet, so there is nothing to hold against anything")
        step = self._seen(self._position - 1)
        node, x = step.node, step.input
        op: Any = node.op
        point = np.asarray(x._data, np.float64)
        direction = np.random.default_rng(0).uniform(0.5, 1.5, x.shape)
        if op.symmetric:  # the derivatives are those among symmetric matrices
            direction = direction + np.matrix_transpose(direction)
        else:
            direction = direction * np.maximum(1.0, np.abs(point))
        line = Line(_as_function(node, step.input_position), [point], 0, direction, np.float64(step.upstream))
        each = np.asarray(step.contribution, np.float64) * direction
        slope, scale = float(each.sum()), float(np.abs(each).sum())
        precision = max(rtol, 100.0 * float(np.finfo(x.dtype).eps), 100.0 * float(np.finfo(node.dtype).eps))
        with np.errstate(all="ignore"):
            found = compared(line, slope, scale, precision, atol)
        if not found.agrees:
            sides = f"{found.left:.9g} on the left and {found.right:.9g} on the right"
            bend = f". It is at a {found.bend}, with {sides}: they can't judge there" if found.bend else ""
            raise GradientError(
                f"{step.statement}: its contribution to ∂L/∂{step.name} gives a slope of {slope:.9g} along a random "
                f"direction, finite differences give {found.measured:.9g}{bend}"
            )
        return Agreement(slope, found.measured)

    # -- the chain rule -----------------------------------------------------------------------------------------------

    def _contribution(self, index: int) -> Any:
        """What step ``index`` adds, given that its upstream gradient is known."""
        node = self.trace.steps[index][0]
        g = self._gradients[node]
        if self._latest[0] is not node or self._latest[1] is not g:
            with np.errstate(all="ignore"):
                self._latest = node, g, gained(node, g)
        x, d = self._latest[2][self.trace.rank(index)]
        return match(d, x._data)

    def _advance(self) -> tuple[Any, Any, Any]:
        """Take one step: what was there before, what it adds, and what is there now."""
        index = self._position
        x = self.trace.input(index)
        before, d = self._gradients.get(x), self._contribution(index)
        with np.errstate(all="ignore"):
            after = d if before is None else before + d
        self._position = index + 1
        after = self._gradients[x] = self._edits.get(index + 1, after)
        return before, d, after

    def _forward(self) -> Step:
        """Take one step, and tell of it."""
        index = self._position
        before, d, after = self._advance()
        upstream = self._gradients[self.trace.steps[index][0]]
        return Step(self.trace, index, upstream, d, before, after, index + 1 in self._edits)

    def _seen(self, index: int) -> Step:
        """A step that has been taken."""
        x, upstream = self.trace.input(index), self._gradients[self.trace.steps[index][0]]
        before, after = self._total(x, index), self._total(x, index + 1)
        return Step(self.trace, index, upstream, self._contribution(index), before, after, index + 1 in self._edits)

    def _total(self, x: Value, position: int) -> Any:
        """∂L/∂x after ``position`` steps, of those that have been taken; None where there is no contribution yet."""
        total = self._edits.get(0, self._seed) if x is self.loss else None
        with np.errstate(all="ignore"):
            for index in self.trace.to[x]:
                if index >= position:
                    break
                if index + 1 in self._edits:
                    total = self._edits[index + 1]
                else:
                    d = self._contribution(index)
                    total = d if total is None else total + d
        return total

    # -- looking ahead ------------------------------------------------------------------------------------------------

    _finished: Stepper | None = None

    def from_the_start(self) -> Stepper:
        """Another stepper of the same trace, which has taken no step yet, without the edits of this one."""
        other = self._copy()
        other.reset()
        return other

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """For the length of a block, every ``.grad`` of the graph is what was found so far: for pictures of it."""
        before = [(x, x.grad) for x in self.trace.to]
        tick, latest[0] = latest[0], next_tick()
        try:
            for x, _ in before:
                x.grad = self._gradients.get(x)
            yield
        finally:
            latest[0] = tick
            for x, grad in before:
                x.grad = grad

    def _copy(self) -> Stepper:
        """Another one that stands here."""
        other = object.__new__(Stepper)
        other.__dict__ |= self.__dict__ | {"_gradients": dict(self._gradients), "_edits": dict(self._edits)}
        return other

    def _scout(self) -> Stepper:
        """A copy that has taken every step, to look at those ahead."""
        if self._finished is None:
            self._finished = self._copy()
            self._finished.go_to(len(self))
        return self._finished


def _as_function(node: Value, position: int) -> Callable[[Value], Any]:
    """``node``'s operation as a function of one of its inputs, with the others as they are."""
    op: Any = node.op
    operands = [raw(x) for x in node.inputs]
    options = {name: option for name, option in node.options.items() if name != "shared"}

    def function(x: Value) -> Any:
        given = [*operands[:position], x._data, *operands[position + 1 :]]
        return op.function(given, **options) if op.variadic else op.function(*given, **options)

    return function
