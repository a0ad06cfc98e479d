"""How a thread records: as usual, not at all (`no_grad`), with source lines, watched, or a program to be replayed.

Each unusual way is a table of the threads that are in it. All are empty nearly always, so that the hot path asks no
thread for its name.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
import threading
from collections import deque
from inspect import CO_GENERATOR
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from types import CodeType, FrameType

__all__ = [
    "REPLAY", "Frames", "Noter", "Place", "Recorder", "ReplayError", "Watcher", "called_again", "drawn", "frames_kept",
    "inside", "is_recording", "kept_frames", "line_with_text", "no_grad", "noters", "observed", "outside", "paused",
    "placing", "recorder", "recorders", "recording", "replayable", "settle_noted", "source_lines", "this_place",
    "this_thread", "tracing", "tracing_threads", "user_line", "watcher", "watchers",
]  # fmt: skip

this_thread = threading.get_ident


@contextlib.contextmanager
def _counted(table: dict[int, int]) -> Iterator[None]:
    """Have this thread in ``table`` for the length of a ``with`` block; its blocks may end in any order."""
    thread = this_thread()
    table[thread] = table.get(thread, 0) + 1
    try:
        yield
    finally:
        table[thread] -= 1
        if not table[thread]:
            del table[thread]


# -- not at all --------------------------------------------------------------------------------------------

paused: set[int] = set()


def is_recording() -> bool:
    """Whether this thread records."""
    return this_thread() not in paused


@contextlib.contextmanager
def recording(on: bool) -> Iterator[None]:
    """Record in this thread, or not, for the length of a ``with`` block."""
    thread = this_thread()
    was_paused = not is_recording()
    noter = noters.get(thread) if noters and on is was_paused else None
    if noter is not None:
        noters[thread] = noter.stand_aside()
    aside = noters.get(thread)
    (paused.discard if on else paused.add)(thread)
    try:
        yield
    finally:
        changed = was_paused is is_recording()
        (paused.add if was_paused else paused.discard)(thread)
        if noter is not None and noter.active and noters.get(thread) is aside:
            noters[thread] = noter
        elif changed and thread in noters:  # the block began in another call
            noters[thread].stop("a block with no_grad that began before it ends in it")


def no_grad() -> contextlib._GeneratorContextManager[None]:
    """Inside ``with wb.no_grad():`` (or under ``@wb.no_grad()``) this thread records nothing: results are leaves.

    >>> import tinygrad_wb as wb
    >>> w = wb.Value(2.0)
    >>> with wb.no_grad():
    ...     y = w * 3.0
    >>> y.data, y.op
    (6.0, None)
    """
    return recording(False)


# -- a function that is being differentiated ------------------------------------------------------------------

tracing_threads: dict[int, int] = {}


@contextlib.contextmanager
def tracing() -> Iterator[None]:
    """Record in this thread for the length of a ``with`` block, and let no Value be turned into a float unawares."""
    with _counted(tracing_threads), recording(True):
        yield


# -- with source lines ------------------------------------------------------------------------------------------

PACKAGE = os.path.dirname(__file__) + os.sep  # noqa: PTH120 - compared with a code object's file name, a plain text


class Place(NamedTuple):
    """Where an operation was asked for: the code and its instruction."""

    code: CodeType
    instruction: int


placing: dict[int, int] = {}  # threads that remember places


@contextlib.contextmanager
def source_lines() -> Iterator[None]:
    """Inside ``with wb.source_lines():`` every operation remembers the line that asked for it.

    Programs, pictures and the stepper then show ``file:line`` and the names of the variables. Compiled functions run as
    they are, so that their lines are seen. It costs time, so it is done only when asked for.
    """
    if noters and (noter := noters.get(this_thread())) is not None:
        noter.stop("it asks for source lines")
    with _counted(placing):
        yield


NUMPY = os.path.dirname(np.__file__) + os.sep  # noqa: PTH120
REPLAY = "<replay>"  # the file name of a compiled program


class _Inside(dict[str, bool]):
    """Whether a file belongs to this package, or to what works for it: NumPy and replays. Each is asked about once."""

    def __missing__(self, file: str) -> bool:
        answer = self[file] = file.startswith((PACKAGE, NUMPY)) or file == REPLAY
        return answer


inside = _Inside()


def outside(frame: FrameType) -> FrameType:
    """The frame outside this package that ``frame`` was called from."""
    while inside[frame.f_code.co_filename] and (caller := frame.f_back) is not None:
        frame = caller
    return frame


def line_with_text(file: str, line: int) -> str:
    """A line of the source as ``file:line: text``."""
    text = linecache.getline(file, line).strip()
    return f"{file}:{line}: {text}" if text else f"{file}:{line}"


def user_line() -> str:
    """The line outside this package that the running call came from, as ``file:line``."""
    frame = outside(sys._getframe(1))
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def this_place(tick: int, frame_at: Callable[[int], Any] = sys._getframe) -> tuple[CodeType, int]:
    """The place outside this package that the running operation, of ``tick``, was called from.

    It is called for every operation, so it is `outside` written out, and makes a plain tuple.
    """
    frame = frame_at(2)
    code = frame.f_code
    while inside[code.co_filename] and (caller := frame.f_back) is not None:
        frame, code = caller, caller.f_code
    instruction = frame.f_lasti
    if keeping and (frames := keeping.get(this_thread())) is not None:
        if code.co_flags & CO_GENERATOR and (caller := frame.f_back) is not None:
            frame = caller  # which outlives it: a generator that has ended has no variables
        if frames.latest is not frame:
            frames.keep(tick, frame)
    return code, instruction


# -- with source lines, and the variables there -----------------------------------------------------------------------


class Frames:
    """The frames that operations were asked for in, held beyond their return: those since the last ``backward()``.

    A frame that is held keeps its variables. It is this table that holds them and not the Values, as a frame's
    variables are Values, and a graph is to have no cycles. Of a forward pass that no ``backward()`` ends, the oldest
    give way.
    """

    MOST = 10_000

    def __init__(self) -> None:
        self._from: deque[tuple[int, FrameType]] = deque(maxlen=self.MOST)  # with the tick of the first operation in it
        self._going_back = self._over = False
        self.latest: FrameType | None = None

    def keep(self, tick: int, frame: FrameType) -> None:
        """From ``tick`` on, operations are asked for in ``frame``, which is not the `latest`."""
        if self._going_back:
            return
        if self._over:
            self._from.clear()
            self._over = False
        self._from.append((tick, frame))
        self.latest = frame

    def of(self, value: Any) -> FrameType | None:
        """The frame that the operation of ``value`` was asked for in (a generator's caller), if it is held still."""
        frame = next((frame for begin, frame in reversed(self._from) if begin <= value.tick), None)
        code = value.place.code
        return frame if frame is not None and (frame.f_code is code or code.co_flags & CO_GENERATOR) else None

    def all(self) -> Iterator[FrameType]:
        """Those that are held, the oldest first."""
        return (frame for _, frame in self._from)

    @contextlib.contextmanager
    def going_back(self, ends: bool = True) -> Iterator[None]:
        """A backward pass: what it records does not belong to the forward pass, which it ``ends`` unless told not to.

        The pass of an inner derivative ends nothing: that of the outer one goes back through the same functions.
        """
        before, self._going_back, self.latest = self._going_back, True, None
        try:
            yield
        finally:
            self._going_back, self._over = before, self._over or ends


keeping: dict[int, Frames] = {}


def kept_frames() -> Frames | None:
    """The frames that are kept of this thread, if they are."""
    return keeping.get(this_thread())


@contextlib.contextmanager
def frames_kept() -> Iterator[None]:
    """Inside the block, this thread's operations remember their lines, and the frames are kept."""
    thread = this_thread()
    keeping[thread] = Frames()
    try:
        with source_lines():
            yield
    finally:
        del keeping[thread]


# -- watched ----------------------------------------------------------------------------------------------------


class Watcher(Protocol):
    """Who looks on while a thread computes; `debug.anomaly` has one. It may raise, and changes nothing."""

    def computed(self, value: Any, op: Any, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        """An operation made ``value``."""

    def history_read(self, made: list[Any]) -> None:
        """The history ``made`` is about to be walked."""

    def going_back(self, path: Iterable[Any]) -> AbstractContextManager[Iterable[Any]]:
        """Partials are about to be run, maybe on Values, along ``path``; it is to be walked as it is handed back."""

    def went_back(self, made: list[Any], seed: Any, gradients: Callable[[Any], Any]) -> None:
        """The history ``made`` was walked; ``gradients`` has what each Value got."""

    def about_to_step(self, optimizer: Any) -> None:
        """An optimizer is about to change its parameters."""


watchers: dict[int, Watcher] = {}  # by thread; a watched thread remembers places too


def watcher() -> Watcher | None:
    """Who watches this thread."""
    return watchers.get(this_thread()) if watchers else None


# -- noted, and computed later -----------------------------------------------------------------------------------


class Noter(Protocol):
    """Who notes the operations of a thread, instead of computing them; `compiling.follow` has one."""

    active: bool  # whether the call whose operations it notes still runs

    def one(self, op: Any, a: Any) -> Any:
        """A pending Value that stands for the result; None if the operation is to be computed."""

    def two(self, op: Any, a: Any, b: Any) -> Any: ...
    def three(self, op: Any, a: Any, b: Any, c: Any) -> Any: ...
    def many(self, op: Any, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Any: ...

    def call(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What ``module.forward`` returns."""

    def observe(self, tell: Callable[..., None], values: tuple[Any, ...]) -> bool:
        """Whether it calls ``tell`` later, with the data of ``values``."""

    def data_of(self, value: Any) -> Any:
        """The number or array of a pending Value."""

    def op_of(self, value: Any) -> Any:
        """The operation of a pending Value."""

    def hand_out(self, value: Any) -> bool:
        """A user, who may write to it, is about to be given the array of ``value``; whether that is still pending."""

    def stand_aside(self) -> Noter:
        """Who takes its place in a block that records otherwise: nothing is noted there."""

    def settle(self) -> None:
        """Compute all that is noted. What follows is computed at once."""

    def stop(self, reason: str) -> None:
        """The same, and nothing of what follows is noted in a later call either."""


noters: dict[int, Noter] = {}


def settle_noted() -> None:
    """Compute what this thread has noted: data are about to be handed out or to change."""
    if noters and (noter := noters.get(this_thread())) is not None:
        noter.settle()


# -- a program --------------------------------------------------------------------------------------------------


class ReplayError(TypeError):
    """A function can't be traced, or does something else than it did when it was traced; the text says where."""


class Recorder:
    """A thread's record of a program: comparisons are operations too, and what can't be replayed is refused.

    ``decisions`` are the branches that Python took on traced Values, with their outcomes; ``draws`` the random numbers,
    with what draws them anew; ``observed`` the Values that someone is told of after each run.
    """

    def __init__(self) -> None:
        self.decisions: list[tuple[Any, bool]] = []
        self.draws: list[tuple[Any, Callable[[], Any]]] = []
        self.observed: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.refused = ""  # why there can be no replay, also if the function caught the error

    @contextlib.contextmanager
    def running(self, lines: bool = True) -> Iterator[None]:
        """Record in this thread for the length of a ``with`` block, with source ``lines`` or without."""
        thread = this_thread()
        before = recorders.get(thread)
        recorders[thread] = self
        try:
            with recording(True), source_lines() if lines else contextlib.nullcontext():
                yield
        finally:
            if before is None:
                del recorders[thread]
            else:
                recorders[thread] = before


recorders: dict[int, Recorder] = {}


def recorder() -> Recorder | None:
    """The recorder of this thread, if it records a program."""
    return recorders.get(this_thread()) if recorders else None


def replayable(what: str, instead: str) -> None:
    """Raise `ReplayError` if this thread records a program: ``what`` would be frozen in it."""
    if (current := recorder()) is not None:
        current.refused = f"{what} would be frozen at its present value in a program; {instead}"
        raise ReplayError(current.refused)


def drawn(draw: Callable[[], Any], traced: Callable[[Any], Any]) -> Any:
    """Fresh random numbers. In a program they stand as an input, which every replay draws anew."""
    again = calls_again.get(this_thread()) if calls_again else None
    numbers = draw() if again is None else next(again.numbers, None)
    if numbers is None:
        numbers = draw()
    current = recorder()
    if current is None:
        return numbers
    leaf = traced(numbers)
    current.draws.append((leaf, draw))
    return leaf


def observed(tell: Any, *values: Any) -> None:
    """Call ``tell`` with the plain data of ``values``. In a program that is done after every replay.

    ``tell`` is a tuple that can be called: the Values in it are those that it changes.
    """
    current = recorder()
    if current is None:
        if noters and (noter := noters.get(this_thread())) is not None and noter.observe(tell, values):
            return
        if calls_again and (again := calls_again.get(this_thread())) is not None and again.quiet:
            return
        tell(*[getattr(x, "_data", x) for x in values])
    else:
        current.observed.append((tell, values))


class Again(NamedTuple):
    """A call whose random numbers are drawn already; if it is quiet, nobody is told what is observed in it."""

    numbers: Iterator[Any]
    quiet: bool


calls_again: dict[int, Again] = {}


@contextlib.contextmanager
def called_again(numbers: Iterable[Any], quiet: bool) -> Iterator[None]:
    """In the block, this thread does once more what a program has done, on the random ``numbers`` of that."""
    thread = this_thread()
    calls_again[thread] = Again(iter(numbers), quiet)
    try:
        yield
    finally:
        del calls_again[thread]
