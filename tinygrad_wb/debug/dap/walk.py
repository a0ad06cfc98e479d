"""How an editor's buttons move through a backward pass, and where each of them stops."""

from __future__ import annotations

import builtins
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from tinygrad_wb.debug.terminal import Kept, Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from tinygrad_wb.debug.dap.breakpoints import Breakpoint
    from tinygrad_wb.debug.step import Step
    from tinygrad_wb.debug.stepper import Stepper
    from tinygrad_wb.value import Value

__all__ = ["Stop", "Walk"]


class Stop(NamedTuple):
    """Why it stands still: the protocol's word, the breakpoints, and what is to be read about it."""

    reason: str
    breakpoints: tuple[Breakpoint, ...] = ()
    text: str = ""


class Walk:
    """One backward pass, called from ``frame``. Each move returns a `Stop`; None where the script goes on.

    ``breakpoints`` gives those that are set now, ``interrupted`` tells whether `pause` was asked for, ``told`` hears of
    each breakpoint that was looked up in this pass; ``note`` says how it belongs to other passes.
    """

    def __init__(
        self,
        stepper: Stepper,
        frame: FrameType,
        breakpoints: Callable[[], list[Breakpoint]],
        interrupted: Callable[[], bool],
        told: Callable[[Breakpoint], object],
        note: str = "",
    ) -> None:
        self.stepper = stepper
        self.note = note
        self.frame = frame
        self.asked = Session(stepper, frame, Kept())  # the terminal's, for what names and expressions mean here
        self.stop_next = False
        self._breakpoints = breakpoints
        self._interrupted = interrupted
        self._told = told

    def breakpoints(self, position: int) -> list[Breakpoint]:
        """Those that are set, each with its hits up to ``position``, which have been gone through."""
        every = self._breakpoints()
        new = [breakpoint_ for breakpoint_ in every if not breakpoint_.is_of(self.stepper)]
        for breakpoint_ in new:
            breakpoint_.begin(self.stepper, self.frame, self.asked.variables)
        for step in itertools.islice(self.stepper if new and position else (), position):
            for breakpoint_ in new:
                breakpoint_.note(step)
        for breakpoint_ in new:
            self._told(breakpoint_)
        return every

    @property
    def node(self) -> Value | None:
        """What the operation made that the latest step belongs to; None at the start."""
        stepper = self.stepper
        return stepper.trace.steps[stepper.position - 1][0] if stepper.position else None

    def evaluated(self, expression: str, frame: FrameType | None = None) -> Any:
        """A name of the graph, or an expression in ``frame``; ``g`` is this step's ∂L/∂y, if no variable is."""
        known = self.asked.variables_in(frame or self.asked.here)
        step, names = self.stepper.current, self.stepper.trace.names
        if expression in names:  # also one that is no variable, such as 0.weight
            return names[expression]
        upstream = {} if step is None else {"g": step.upstream}
        return eval(expression, {**upstream, **known, "__builtins__": builtins})  # noqa: S307 - as asked

    # -- forth --------------------------------------------------------------------------------------------------------

    def start(self, wanted: str) -> Stop | None:
        """Stop at the start if that is ``wanted`` or a breakpoint is there; else at the first breakpoint."""
        met = [breakpoint_ for breakpoint_ in self.breakpoints(0) if 0 in breakpoint_.stops()]
        return _stop(met) if met else Stop(wanted) if wanted else self.on()

    def on(self) -> Stop | None:
        """``continue``: to the next breakpoint."""
        return self._until(lambda step: False)

    def next(self) -> Stop | None:
        """To the next operation."""
        here = self.node
        return self._step(lambda step: step.node is not here)

    def into(self) -> Stop | None:
        """To the next partial."""
        return self._step(lambda step: True)

    def out(self) -> Stop | None:
        """To the last partial of this operation; if it is that, of its layer, the layer around, the pass."""
        end = self._end_around()
        return self._step(lambda step: step.index + 1 == end)

    def _end_around(self) -> int:
        stepper, trace, here = self.stepper, self.stepper.trace, self.node
        if here is None:
            return len(stepper)
        if (end := trace.of(here).stop) > stepper.position:
            return end
        open_ = [call.start for call in reversed(trace.calls(here))]  # those that this step is in, innermost first
        for end in range(stepper.position, len(stepper)):
            ahead = {call.start for call in trace.calls(trace.steps[end][0])}
            if open_ and open_[0] not in ahead:
                if end > stepper.position:
                    return end
                while open_ and open_[0] not in ahead:
                    open_.pop(0)
        return len(stepper)

    def _step(self, wanted: Callable[[Step], bool]) -> Stop | None:
        """Step until ``wanted``, or to the end; from the end, on to the next backward()."""
        if self.stepper.position == len(self.stepper):
            self.stop_next = True
            return None
        return self._until(wanted) or Stop("step")

    def _until(self, wanted: Callable[[Step], bool]) -> Stop | None:
        met: list[Breakpoint] = []
        why = ""

        def there(step: Step) -> bool:
            nonlocal why
            met.extend([breakpoint_ for breakpoint_ in self.breakpoints(step.index) if breakpoint_.note(step)])
            why = "step" if wanted(step) else "pause" if self._interrupted() else ""
            return bool(met or why)

        if self.stepper.until(there) is None:
            return None
        return _stop(met) if met else Stop(why)

    # -- and back -----------------------------------------------------------------------------------------------------

    def back(self) -> Stop:
        """``stepBack``: one partial."""
        return self._back_to(max(0, self.stepper.position - 1), Stop("step"))

    def reverse(self) -> Stop:
        """``reverseContinue``: to the breakpoint met last before this one, or to the start."""
        here = self.stepper.position
        places = [
            (position, breakpoint_)
            for breakpoint_ in self.breakpoints(here)
            for position in breakpoint_.stops()
            if position < here
        ]
        if not places:
            return self._back_to(0, Stop("entry"))
        last = max(position for position, _ in places)
        return self._back_to(last, _stop([breakpoint_ for position, breakpoint_ in places if position == last]))

    def restart(self) -> Stop:
        """To the start of this pass."""
        return self._back_to(0, Stop("entry"))

    def _back_to(self, position: int, stop: Stop) -> Stop:
        self.stepper.go_to(position)
        for breakpoint_ in self.breakpoints(position):
            breakpoint_.forget(position)
        return stop


def _stop(met: list[Breakpoint]) -> Stop:
    """At breakpoints; a gradient that is not finite is the first thing to tell of."""
    kinds = [breakpoint_.place.kind for breakpoint_ in met]
    problems = [breakpoint_.problem for breakpoint_ in met if breakpoint_.problem]
    return Stop("exception" if "exception" in kinds else kinds[0], tuple(met), "; ".join(problems))
