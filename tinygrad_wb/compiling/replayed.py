"""A function that is traced once for each pattern of its arguments. Later calls run the program, without Python."""

from __future__ import annotations

import threading
from collections import OrderedDict
from time import thread_time
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.compiling.executable import Recorded, Replay
from tinygrad_wb.compiling.spot_checks import FIRST, Work, after, check
from tinygrad_wb.compiling.tracing import Run, Terms, tell, values_of
from tinygrad_wb.compiling.tree import arguments_of, filled_in, kind_of, others, pattern
from tinygrad_wb.memory import without_collection
from tinygrad_wb.numpy_warnings import at_the_users_line, silent
from tinygrad_wb.random_state import generators_around, put_back, states
from tinygrad_wb.recording import ReplayError, called_again, is_recording, paused, recording, source_lines
from tinygrad_wb.value import next_tick, traced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Replayed", "Specialization", "specialized"]

PATTERNS = 32  # of arguments, that programs are kept for
BRANCHES = 8  # programs that are kept for one pattern
FAILURES = ArithmeticError, IndexError, ValueError  # of a program: Python's floats raise for 1/0, NumPy for labels
TRACES = 32  # of one pattern; if a function goes yet another way after so many, it runs as it is


class Specialization:
    """A traced run as a program, with what is needed to know whether it fits, and to check it."""

    def __init__(self, run: Run) -> None:
        values = values_of(run)
        self.terms = Terms(run, values)
        self.replay: Replay = at_the_users_line(Replay)(run, is_recording())
        self.work = Work(run, values)
        # A call may draw random numbers, and then find that a branch goes another way.
        self.generators = generators_around(run.function) if run.recorder.decisions and run.recorder.draws else []
        self.calls = 1
        self.next_check = FIRST

    def fitting(self) -> list[Any] | None:
        """The data of the parameters that it is called with; None if they have other shapes now."""
        if self.replay.unsettled:
            self.replay.settle()
        return self.terms.fitting()


class CacheEntry:
    """The programs for one pattern of arguments, one for each way that branches go.

    Other arguments than arrays and numbers are ``held``: their identity is theirs as long as they are alive.
    """

    def __init__(self, held: Sequence[Any]) -> None:
        self.held = held
        self.programs: list[Specialization] = []
        self.traces = 0


def specialized(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Run, Specialization]:
    """Trace a function; the run and its program."""
    with without_collection():
        run = Run(function, args, kwargs)
        return run, Specialization(run)


class Replayed:
    """Calls ``function`` by programs, each a record of what it did when it was traced.

    A function that is ``trusted`` has no effects but on random generators, and on those who observe Values. When a
    program is checked, its results are returned; otherwise those of the function, so that effects happen once.
    ``trace`` makes a run and its program; ``blame`` words the error if a check fails.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        trusted: bool,
        blame: Callable[[str], str],
        trace: Callable[..., tuple[Run, Specialization]] = specialized,
    ) -> None:
        self.function = function
        self.lock = threading.RLock()
        self._trusted, self._blame, self._trace = trusted, blame, trace
        self._entries: OrderedDict[Any, CacheEntry] = OrderedDict()
        self._latest: Specialization | None = None

    @property
    def programs(self) -> list[str]:
        """The sources of the programs, the one that was used last at the end."""
        every = [program for entry in self._entries.values() for program in entry.programs]
        return [p.replay.form.source for p in sorted(every, key=lambda p: p is self._latest)]

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        entry = self._entry(args, kwargs)
        holes = arguments_of(args, kwargs)
        for program in entry.programs:
            given = program.fitting()
            if given is None:
                continue
            program.calls += 1
            if program.calls >= program.next_check or program.generators:
                with_care = self._with_care(program, args, kwargs, holes, given)
                if with_care is not None:
                    return with_care[0]
                continue
            drawn = program.replay.drawn()
            try:
                found = program.replay(holes, given, drawn)
            except FAILURES:
                return self._instead(program, args, kwargs, drawn)
            if found is not None:
                self._latest = program
                return program.terms.returned(found)
        if entry.traces >= TRACES:
            return self._as_it_is(entry.programs[0], args, kwargs)
        return self._traced(entry, args, kwargs, holes)

    def forget(self) -> None:
        """Drop all programs."""
        self._entries.clear()

    def _entry(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CacheEntry:
        key = (
            not paused or is_recording(),
            *[(x.shape, x.dtype.char) if type(x) is np.ndarray else kind_of(x) for x in args],
        )
        if kwargs:
            key += tuple((name, kind_of(x)) for name, x in kwargs.items())
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = CacheEntry(list(others(pattern((args, kwargs), []))))
            if len(self._entries) > PATTERNS:
                self._entries.popitem(last=False)
        elif len(self._entries) > 1:
            self._entries.move_to_end(key)
        return entry

    def _traced(self, entry: CacheEntry, args: tuple[Any, ...], kwargs: dict[str, Any], holes: list[Any]) -> Any:
        """Trace the function, and call the program that comes of it, on the random numbers that were drawn."""
        run, program = self._trace(self.function, args, kwargs)
        entry.traces += 1
        entry.programs = [program, *entry.programs[: BRANCHES - 1]]
        self._latest = program
        given: Any = program.fitting()
        try:
            with silent(True):  # the trace has warned
                found: Any = program.replay(holes, given, [leaf._data for leaf, _ in run.recorder.draws])
        except FAILURES:
            tell(run.observers, [x._data for x in run.observed])
            found = Recorded(run).results(holes)
        return program.terms.returned(found)

    def _with_care(
        self, program: Specialization, args: tuple[Any, ...], kwargs: dict[str, Any], holes: list[Any], given: list[Any]
    ) -> tuple[Any] | None:
        """The result of a call that is checked, or that may have to go back; None if a branch goes another way."""
        due = program.calls >= program.next_check
        before = states(program.generators)
        drawn = program.replay.drawn()
        began = thread_time()
        try:
            with silent(due and not self._trusted):  # else NumPy's warnings come twice
                made = program.replay.called(holes, given, drawn)
        except FAILURES:
            return (self._instead(program, args, kwargs, drawn),)
        if made is None:
            put_back(program.generators, before)
            return None
        self._latest = program
        if due:
            took = thread_time() - began
            own = self._checked(program, args, kwargs, [*holes, *drawn], made)
            program.next_check = after(program.calls, thread_time() - began - took, took)
            if not self._trusted and is_recording():
                return (own,)
        told = due and not self._trusted
        return (program.terms.returned(program.replay.handed_back(*made, holes, told)),)

    def _checked(
        self, program: Specialization, args: tuple[Any, ...], kwargs: dict[str, Any], given: list[Any], made: Any
    ) -> Any:
        """What the function itself returns, after it was found to agree with the call that a program ``made``."""
        start = next_tick()
        drawn = given[len(given) - len(program.replay.draws) :]
        with called_again(drawn, quiet=self._trusted), silent(self._trusted), recording(True):
            own = self._as_it_is(program, args, kwargs)
            try:
                check(program.work, start, own, given, *made)
            except ReplayError as error:
                raise ReplayError(self._blame(f"in call {program.calls:,} {error}")) from None
        return own

    def _instead(
        self, program: Specialization, args: tuple[Any, ...], kwargs: dict[str, Any], drawn: Sequence[Any]
    ) -> Any:
        """What the function returns where its program fails: on the random numbers that are ``drawn`` already."""
        with called_again(drawn, quiet=False):
            return self._as_it_is(program, args, kwargs)

    def _as_it_is(self, program: Specialization, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the function itself returns. Floats are Values to it, as they were when it was traced: 1/0 is inf."""
        floats: list[Any] = []
        shape = pattern((args, kwargs), floats)
        args, kwargs = filled_in(shape, [traced(float(x)) if isinstance(x, float) else x for x in floats])
        with source_lines():  # so that compiled functions inside run as they are, too
            return program.terms.as_returned(self.function(*args, **kwargs))
