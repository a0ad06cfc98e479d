"""Breakpoints that know the way back: each keeps the positions at which backprop met it.

They are found going forth. Going back forgets those that lie ahead again, and `reverseContinue` goes to the last that
is left. So both ways stop at the same places, and a hit count counts down as backprop is taken back.
"""

from __future__ import annotations

import functools
import operator
import os
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.debug.condition import condition

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from types import FrameType

    from tinygrad_wb.debug.step import Step
    from tinygrad_wb.debug.stepper import Stepper
    from tinygrad_wb.debug.trace import Trace
    from tinygrad_wb.value import Value

__all__ = ["FILTERS", "START", "Breakpoint", "Place", "at_filter", "at_line", "at_name"]

START = "backward"  # a function breakpoint of this name: the start of each backward()
HIT_CONDITION = re.compile(r"(>=|<=|==|=|>|<|%)?\s*(\d{1,9})")
COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "": operator.eq, "=": operator.eq, "==": operator.eq, ">": operator.gt, ">=": operator.ge, "<": operator.lt,
    "<=": operator.le, "%": lambda hits, n: n > 0 and hits % n == 0,
}  # fmt: skip


class Place(NamedTuple):
    """Where a breakpoint stands: its kind, as a ``stopped`` event tells it, what it is known by, and its tests.

    ``start`` tells whether the call of ``backward()`` in a frame is such a place. ``within`` makes, for a trace, what
    gives the visit that a step belongs to, or None: of a visit, the first step that fulfils the condition is a hit.
    It raises ``ValueError``, in words for the user, if there is no such place in that trace.
    """

    kind: str
    key: str | int
    start: Callable[[FrameType], bool]
    within: Callable[[Trace, Mapping[str, Any]], Callable[[Step], Hashable]]


class Breakpoint:
    """One breakpoint; ``hits`` are the positions in the present backward pass at which it was met, with the visits."""

    def __init__(self, number: int, place: Place, condition: str = "", hit_condition: str = "") -> None:
        self.number = number
        self.place = place
        self.condition = condition.strip()
        self.hit_condition = hit_condition.strip()
        self.hits: list[tuple[int, Hashable]] = []
        self.problem = (
            "" if self._counting else f"a hit count is a number, or as '>= 3' or '% 10', not {hit_condition!r:.40}"
        )
        self.met = False  # whether it was ever in a backward pass
        self.told: dict[str, Any] = {}  # what the client knows of it
        self._earlier = 0  # hits in earlier passes
        self._stepper: Stepper | None = None
        self._visit: Callable[[Step], Hashable] = lambda _: None
        self._holds: Callable[[Any], bool] = lambda _: True

    @property
    def _counting(self) -> re.Match[str] | None:
        return HIT_CONDITION.fullmatch(self.hit_condition or ">= 1")

    @property
    def is_hopeless(self) -> bool:
        """Whether no backward pass can help it."""
        return not self._counting

    @property
    def line(self) -> int:
        """0 if it is not at a line."""
        return self.place.key if isinstance(self.place.key, int) else 0

    def is_of(self, stepper: Stepper) -> bool:
        return self._stepper is stepper

    def begin(self, stepper: Stepper, frame: FrameType, variables: Mapping[str, Any]) -> None:
        """Find its place in a new backward pass; `met` and `problem` tell how that went."""
        self._earlier += len(self.hits)
        self.hits = []
        self._stepper = stepper
        self._visit, self._holds = lambda _: None, lambda _: True
        if not self._counting:
            return
        at_start = self.place.start(frame)
        try:
            if self.condition:
                self._holds = condition(stepper.trace, self.condition, variables)
            if not at_start:
                self._visit = self.place.within(stepper.trace, variables)
        except Exception as error:  # noqa: BLE001 - whatever was asked for, such as brackets without end
            self._visit, self.problem = lambda _: None, str(error)
            return
        self.met, self.problem = True, ""
        if at_start and self._fulfilled(SimpleNamespace(after=stepper.gradient(stepper.loss))):
            self.hits.append((0, START))

    def note(self, step: Step) -> bool:
        """Take note of a step, next in order; whether to stop after it."""
        visit = self._visit(step)
        if visit is None or (self.hits and self.hits[-1][1] == visit) or not self._fulfilled(step):
            return False
        self.hits.append((step.index + 1, visit))
        return self._counts(len(self.hits))

    def forget(self, position: int) -> None:
        """Forget the hits after ``position``."""
        while self.hits and self.hits[-1][0] > position:
            self.hits.pop()

    def stops(self) -> list[int]:
        """The positions of those hits that it is to stop at."""
        return [at for number, (at, _) in enumerate(self.hits, 1) if self._counts(number)]

    def _counts(self, number: int) -> bool:
        counting = self._counting
        return bool(counting and COMPARISONS[counting[1] or ""](self._earlier + number, int(counting[2])))

    def _fulfilled(self, step: Any) -> bool:
        try:
            return self._holds(step)
        except Exception as error:  # noqa: BLE001 - as pdb does, rather stop once too often
            self.problem = f"{self.condition}: {type(error).__name__}: {error}; so it stops here"
            return True


# -- places -----------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1024)
def real(path: str) -> str:
    """A path such that equal files have equal ones."""
    try:
        return os.path.normcase(os.path.realpath(path))
    except (OSError, ValueError):  # no path at all
        return path


def at_line(path: str, line: int) -> Place:
    """A line of the user's source: the call of ``backward()``, or whatever operations come from it."""
    file = real(path)

    def start(frame: FrameType) -> bool:
        return frame.f_lineno == line and real(frame.f_code.co_filename) == file

    def within(trace: Trace, variables: Mapping[str, Any]) -> Callable[[Step], Hashable]:
        nodes = [x for x in trace.nodes if (at := trace.line(x)) and at.number == line and real(at.file) == file]
        if not nodes:
            raise ValueError("no operation in this backward pass comes from this line")
        visits = _visits(trace, set(nodes))
        return lambda step: visits.get(step.node)

    return Place("breakpoint", line, start, within)


def _visits(trace: Trace, nodes: set[Value]) -> dict[Value, int]:
    """Which time that backprop comes to a line each of its operations belongs to.

    Backprop goes through a line from its end to its beginning. Where it comes to a later instruction again, or to
    another call of a layer, the line stands in a loop.
    """
    visits: dict[Value, int] = {}
    count, before = 0, None
    for node in trace.nodes:
        if node in nodes:
            still = before is not None and before in nodes and not _later(trace, before, node)
            count += not still
            visits[node] = count
        before = node
    return visits


def _later(trace: Trace, before: Value, node: Value) -> bool:
    """Whether ``node`` belongs to another time round than ``before``, which follows it in the same line."""
    one, other = (next((call.start for call in trace.calls(x)), None) for x in (before, node))
    return node.place.instruction > before.place.instruction or (one != other and None not in {one, other})


def at_name(name: str) -> Place:
    """A Value (each contribution to it), an operation, a layer, a condition, as the terminal's `break`; or `START`."""

    def within(trace: Trace, variables: Mapping[str, Any]) -> Callable[[Step], Hashable]:
        if name == START:
            return lambda step: None
        fits = condition(trace, name, variables)
        a_value = name in trace.names
        return lambda step: (step.index if a_value else step.node) if fits(step) else None

    return Place("function breakpoint", name, lambda frame: name == START, within)


def _arises(step: Step) -> bool:
    """Whether the gradient that a step leaves is the first in its line that is not finite."""
    finite = np.isfinite(step.upstream).all() and (step.before is None or np.isfinite(step.before).all())
    return bool(finite and not np.isfinite(step.after).all())


FILTERS: dict[str, tuple[str, str, Callable[[Step], bool]]] = {
    "not finite": ("NaN or inf gradient", "Stop where a gradient that is not finite comes of some that are", _arises),
}


def at_filter(name: str) -> Place:
    """Where what one of `FILTERS` tells of happens."""
    happens = FILTERS[name][2]
    within = lambda trace, variables: lambda step: step.index if happens(step) else None
    return Place("exception", name, lambda frame: False, within)
