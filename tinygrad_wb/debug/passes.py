"""The backward passes of a running program, each handed to a stepper.

A pass is a call of `backward()`, or what `grad`, `jacobian` and the others do once they have run their function. For
the length of a block both are other functions; the engine's own loops know nothing of it.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import itertools
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb import derivatives
from tinygrad_wb.backprop import backward, history
from tinygrad_wb.debug.stepper import Stepper
from tinygrad_wb.program.names import variables_in
from tinygrad_wb.recording import kept_frames, outside, recorder, this_thread, tracing_threads
from tinygrad_wb.value import Value, next_tick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["Pass", "passes_replaced"]


class Pass(NamedTuple):
    """A backward pass that is about to be done, from ``result``, asked for in ``frame``; ``number`` counts from 1.

    ``through`` has the numbers of earlier passes whose partials are behind the result. ``inner`` tells that it is part
    of a function that is being differentiated itself. ``functions`` are the frames of what was computed in a function
    that is differentiated, if they are kept: there things have the names that the user knows.
    """

    result: Value
    seed: Any
    number: int
    frame: FrameType
    through: tuple[int, ...]
    inner: bool = False
    functions: tuple[FrameType, ...] = ()

    def stepper(self) -> Stepper:
        """A stepper of it, at its start."""
        names = {i: name for frame in (*self.functions, self.frame) for i, name in variables_in(frame).items()}
        return Stepper(self.result, self.seed, variables=names)

    @property
    def note(self) -> str:
        """How it belongs to other passes; "" if it does not."""
        words = []
        if self.through:
            before = f"pass{'es' * (len(self.through) > 1)} {' and '.join(map(str, self.through))}"
            words.append(f"it goes back through {before} too, and finds a derivative of that derivative")
        if self.inner:
            words.append("an outer derivative is being taken, whose pass comes later")
        return f"pass {self.number}: {'; '.join(words)}" if words else ""


class _Recorded:
    """The passes so far that recorded, by the ticks in which they did: to find them again in a later pass."""

    def __init__(self) -> None:
        self.number = 0
        self._from: list[int] = []
        self._to: list[tuple[int, int]] = []  # until which tick, and the pass's number

    @contextlib.contextmanager
    def noted(self, number: int) -> Iterator[None]:
        begin = next_tick()
        try:
            yield
        finally:
            self._from.append(begin)
            self._to.append((next_tick(), number))

    def behind(self, result: Value) -> tuple[int, ...]:
        """The numbers of the passes that recorded what is behind ``result``."""
        found = set()
        for node in history(result) if self._from else ():
            at = bisect.bisect(self._from, node.tick) - 1
            if at >= 0 and node.tick < self._to[at][0]:
                found.add(self._to[at][1])
        return tuple(sorted(found))


@contextlib.contextmanager
def passes_replaced(by: Callable[[Pass], Stepper | None]) -> Iterator[None]:
    """For the length of a block, each backward pass is handed to ``by``.

    If that returns a Stepper, its gradients are taken, with what was edited; if None, the engine finds them as ever.
    """
    recorded = _Recorded()
    numbers = itertools.count(1)

    @contextlib.contextmanager
    def running(number: int, record: bool, inner: bool = False) -> Iterator[None]:
        frames = kept_frames()
        with (
            contextlib.nullcontext() if frames is None else frames.going_back(ends=not inner),
            recorded.noted(number) if record else contextlib.nullcontext(),
        ):
            yield

    @functools.wraps(backward)
    def replaced(self: Value, seed: Any = None, record: bool = False) -> None:
        number, frame = next(numbers), outside(sys._getframe(1))
        with running(number, record):
            stepper = by(Pass(self, seed, number, frame, recorded.behind(self)))
            if stepper is None:
                backward(self, seed, record)
            else:
                stepper.apply(record)

    def replaced_pass(result: Value, seed: Any, record: bool) -> dict[Value, Any]:
        if recorder() is not None:  # a program is being recorded, not run
            return of_function(result, seed, record)
        number, frame, inner = next(numbers), outside(sys._getframe(1)), this_thread() in tracing_threads
        frames = kept_frames()
        functions = () if frames is None else tuple(frames.all())
        with running(number, record, inner):
            stepper = by(Pass(result, seed, number, frame, recorded.behind(result), inner, functions))
            if stepper is None or not stepper.edits:
                return of_function(result, seed, record)
            found = {x: np.copy(g) if type(g) is np.ndarray else g for x, g in stepper.finish().items()}
            return {x: Value(g) for x, g in found.items()} if record else found

    of_method, of_function = Value.backward, derivatives.backward_pass
    Value.backward, derivatives.backward_pass = replaced, replaced_pass  # type: ignore[method-assign]
    try:
        yield
    finally:
        Value.backward, derivatives.backward_pass = of_method, of_function  # type: ignore[method-assign]
