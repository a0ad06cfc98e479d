"""The followed way: the function runs in each call as it always does, its arithmetic is done by a compiled program.

Each operation is compared with the next one of a known course (`entries`). While they agree it is only noted, and what
the function gets is a pending Value. When the function returns, one program computes everything that was noted. So
counters, logs, random numbers, branches and exceptions are those of the function itself: nothing of it is frozen.

Where the call leaves the course, or asks for a number in the middle, what was noted is computed on the spot, and the
call goes on in eager mode. What it does then is learned, for the next time.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.backprop import pull_back
from tinygrad_wb.changed import hand_out as note_handed_out
from tinygrad_wb.compiling.course_program import CourseCall, CourseProgram, Peek, operands
from tinygrad_wb.compiling.endings import Ending, Finished
from tinygrad_wb.compiling.entries import LEAF, OBSERVE, Entry, Like, Node, changed_by, fits
from tinygrad_wb.compiling.executable import COMPILED
from tinygrad_wb.compiling.learning import Learner, Unfollowable
from tinygrad_wb.compiling.leaves import CHANGED, Leaves
from tinygrad_wb.compiling.rewrites import computed, rewritten
from tinygrad_wb.compiling.tracing import tell as tell_all
from tinygrad_wb.following import PASSING
from tinygrad_wb.numpy_warnings import OF_STEPS, OF_UFUNC, enter, leave, only_warns, silent, state
from tinygrad_wb.operation import REGISTRY
from tinygrad_wb.pending import DATA, OP, Aside, Awaited, Pending
from tinygrad_wb.recording import noters, paused, recording, this_thread, user_line
from tinygrad_wb.value import NO_OPTIONS, UNRECORDED, Value, next_tick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tinygrad_wb.nn.module import Module

__all__ = ["Followed", "Follower"]

ENDINGS = 32  # ways through a function that are kept
WASTED = 20  # calls that came to nothing, until a while is spent in eager mode
PAUSE = 64  # calls of that; twice as many each time


class Parted:
    """In the place of the next entry, where a call is not followed any further: no operation matches."""

    op = a = b = c = known = parent = regions = None


PARTED = Parted()
WATCHING = object()  # in the place of a state of NumPy's warnings, so that no operation matches at first sight
PEEKS = 4  # numbers in the middle that a program finds in one call; each begins at the beginning
WATCHED = 1 << 16  # bytes of an array up to which it is compared with a copy at each operation


class HandedOut(NamedTuple):
    """When the array of a Value was handed out, how many operations had been noted by then, and the Value."""

    tick: int
    depth: int
    value: Value


class Follower:
    """The `Noter` of one function: where its call stands in the course."""

    def __init__(self, at_once: bool) -> None:
        self.at_once = at_once  # whether a program is made when a way is first gone, not when it is gone again
        self.roots = {False: Node(), True: Node()}  # where calls begin, by whether nothing is recorded
        self.leaves = Leaves()
        self.endings: list[Ending] = []
        self.given: list[Any] = []
        self.reason = ""  # why the last call that left the course did
        self.active = False
        self.following = False
        self.finished: Finished | None = None  # what has run before the function returned
        self.expected: Any = PARTED
        self.learner: Learner | None = None
        self.aside = Aside(self)
        self._grown = False  # whether the course has grown since stock was taken
        self._likes: dict[Value, Like] = {}  # the leaves as they were when they were learned
        self._state: Any = None  # of NumPy's warnings, in which operations are noted at first sight
        self._given_state: Any = None
        self._filters: Any = None  # of warnings
        self._named: list[Entry] = []  # in this call
        self._handed_out: list[HandedOut] = []
        self._awaited: list[Value] = []  # what layers change when they are told what they observe
        self._given_away: dict[Entry, Value] = {}  # Values that another thread asked for
        self._peeks: dict[Entry, Any] = {}  # numbers that were asked for in the middle
        self._thread = 0
        self._paused = False
        self.completed = False  # whether a program did all the arithmetic of the last call

    # -- a call -------------------------------------------------------------------------------------------------------

    def begin(self) -> bool:
        """Begin to note this thread's operations; whether that is possible."""
        if noters and this_thread() in noters:  # this is part of another call
            return False
        self.finished, self.completed = None, False
        if not only_warns():
            self.reason = "NumPy is to raise an error, or to call a function, where a number overflows or is nan"
            return False
        if (reason := self.leaves.looked_at()) == CHANGED:
            self._forget()
        elif reason:
            self.reason = reason
            return False
        self._thread = this_thread()
        self._paused = bool(paused) and self._thread in paused
        self._given_state = given = state()
        self._filters = warnings.filters
        self._state = WATCHING if self.leaves.watched else given
        if self._peeks:
            self._peeks = {}
        if self._handed_out:
            self._handed_out = []
        self.active = self.following = True
        self.expected = expected = self.roots[self._paused].next
        noters[self._thread] = self
        if expected.op is None:
            self._part("", learn=True)
        return True

    def end(self) -> None:
        """The function has returned, and its result is held."""
        if self.learner is not None:
            self._learned(self.learner)
        elif self.following:
            self._finish()
        elif self.finished is not None and self.finished.ending.held_besides():
            self._unwind(self.finished)

    def close(self) -> None:
        """The call is over, however it ended."""
        try:
            if self.following:
                self._part("")
        finally:
            self._stop_learning()
            if self._named:
                self._forget_names()
            if self._given_away:
                self._given_away = {}
            self.active = False
            self.expected, self.finished = PARTED, None
            self.given = [None] * len(self.given)  # what was given belongs to the results now
            del noters[self._thread]
            if self._grown:
                self._take_stock()

    def _forget_names(self) -> None:
        """Names that pending Values got were theirs in this call alone."""
        for entry in self._named:
            if entry.value.name is not None:
                entry.renew()
        self._named = []

    def _stop_learning(self) -> None:
        if self.learner is not None:
            self.learner.stop_watching()
            self.learner = None

    # -- as a Noter ---------------------------------------------------------------------------------------------------

    def one(self, op: Any, a: Any) -> Any:
        e = self.expected
        if op is e.op and a is e.a and state() is self._state and warnings.filters is self._filters:
            self.expected = e.next
            return e.value
        return self._other(op, (a,), NO_OPTIONS)

    def two(self, op: Any, a: Any, b: Any) -> Any:
        e = self.expected
        if op is e.op and a is e.a and b is e.b and state() is self._state and warnings.filters is self._filters:
            self.expected = e.next
            return e.value
        return self._other(op, (a, b), NO_OPTIONS)

    def three(self, op: Any, a: Any, b: Any, c: Any) -> Any:
        e = self.expected
        same = op is e.op and a is e.a and b is e.b and c is e.c
        if same and state() is self._state and warnings.filters is self._filters:
            self.expected = e.next
            return e.value
        return self._other(op, (a, b, c), NO_OPTIONS)

    def many(self, op: Any, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        return self._other(op, inputs, options)

    def _other(self, op: Any, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        """An operation that is not, at first sight, the one that is expected."""
        if not self.following:
            if self.learner is None:
                self.aside.many(op, inputs, options)
            elif _tracked(op, inputs):
                self.learner.asked(op, inputs)
            return None
        expected = self.expected
        if self._warns_as_given() and not self.leaves.written():
            if expected.op is op and fits(expected, inputs, options, self.given):
                self.expected = expected.next
                return expected.value
            noted = rewritten(op, inputs, options)
            for entry in expected.parent.children:
                if entry.op is noted[0] and fits(entry, noted[1], noted[2], self.given):
                    entry.parent.next = entry
                    self.expected = entry.next
                    return entry.value
        if not _tracked(op, inputs):
            self.aside.many(op, inputs, options)
            return None
        self._part("it does not do what it did before", learn=True)
        if self.learner is not None:
            self.learner.asked(op, inputs)
        return None

    def call(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        regions = self.expected.regions
        if regions is not None and not kwargs and state() is self._state and warnings.filters is self._filters:
            region = regions.get(id(module))
            if region is not None and region.entered(args, self.given):
                self.expected = region.last.next
                if region.changed:
                    self._await(region.changed)
                return region.result.value
        if self.learner is not None:
            return self.learner.called(module, args, kwargs)
        return module.forward(*args, **kwargs)

    def observe(self, tell: Any, values: tuple[Any, ...]) -> bool:
        if self.following:
            for entry in self.expected.parent.children:
                if entry.op is OBSERVE and fits(entry, values, {"tell": tell}, self.given):
                    entry.parent.next = entry
                    self.expected = entry.next
                    self._await(changed_by(tell))
                    return True
            self._part("", learn=True)
        if self.learner is not None:
            self.learner.observed(tell, values)
        else:
            self.aside.observe(tell, values)
        return False

    def data_of(self, value: Pending) -> Any:
        if self._thread == this_thread() and self.following and not self.leaves.written():
            entry = value._entry
            ending = self.expected.parent.ending
            if entry in self._peeks:
                return self._peeks[entry]
            if (ending is None or entry not in ending.results) and len(self._peeks) < PEEKS:
                data = self._peeked(entry)
                if data is not None:
                    self._peeks[entry] = data
                    return data
        self.settle(value)
        return DATA.__get__(value)

    def hand_out(self, value: Value) -> bool:
        if not self.following:
            return False
        if isinstance(value, Pending):
            data = value._data
            if type(value) is Value:
                return False
            self._watch(value, data)
            return True
        if any(leaf is value for leaf in self.leaves.values):
            if value._data.nbytes <= WATCHED:
                self._watch(value, value._data)
            else:
                self.settle()
        return False

    def _watch(self, value: Value, data: Any) -> None:
        """Look from now on whether others write to an array, which is handed out."""
        if type(data) is not float:
            self.leaves.watch(value, data)
            self._state = WATCHING
            self._handed_out.append(HandedOut(next_tick(), self.expected.parent.depth, value))

    def _before_handed_out(self, values: Mapping[Entry, Value], watched: Mapping[Value, tuple[Any, Any]]) -> None:
        """Let Values be older than the arrays that were handed out after they had been noted.

        So the engine knows which of them had read what was in an array, before others wrote to it.
        """
        begin = 0
        for tick, depth, value in self._handed_out:
            _put_before(tick, [made for entry, made in values.items() if begin < entry.depth <= depth])
            begin = depth
            if value in watched and type(value) is Value and value.inputs:
                now, value._data = watched[value]
                note_handed_out(value, tick)
                value._data = now

    def _peeked(self, entry: Entry) -> Any:
        """The number of an entry in the middle of a course that goes on; None where no program finds it."""
        given = self.given[: entry.places]
        if self._awaited:  # which the program may read
            return None
        try:
            if entry.peek is None:
                with self._unheard(), silent(True):
                    entry.peek = Peek(entry, given)
            return entry.peek.computed(given)
        except Exception:  # noqa: BLE001 - eager mode raises it where it belongs, or knows better: 1/0 is inf
            return None

    def op_of(self, value: Pending) -> Any:
        """The operation that is noted."""
        op = value._entry.op
        if not self._paused and REGISTRY.get(op.name) is op:
            return op
        self.settle(value)
        return OP.__get__(value)

    def named(self, value: Pending) -> None:
        """A pending Value gets a name, which is its own in this call alone."""
        self._named.append(value._entry)

    def stand_aside(self) -> Aside:
        return self.aside

    def _await(self, values: Sequence[Value]) -> None:
        """Wait with what layers have observed until it is read, or to the end of the call."""
        for value in values:
            if type(value) is Value:
                value._entry = Awaited(value, self._tell_observers)
                value.__class__ = Pending
                self._awaited.append(value)

    def _tell_observers(self) -> None:
        """Let layers keep what they have observed: it is read."""
        if self.following and self._thread == this_thread():
            self._part("what a layer has observed is read", learn=True)

    def _wait_no_more(self) -> None:
        for value in self._awaited:
            value.__class__ = Value
            del value._entry
        self._awaited = []

    def stop(self, reason: str) -> None:
        """Note nothing in the rest of the call."""
        if self.following:
            self._part(reason)
        self._stop_learning()

    def settle(self, value: Pending | None = None) -> None:
        """Compute what is noted: somebody asks for a number, or is about to change one."""
        if value is not None and this_thread() != self._thread:
            self._computed_aside(value)
        elif self.following:
            ending = self.expected.parent.ending
            wanted = value is not None and ending is not None and value._entry in ending.results
            if wanted and self._prepared(ending, ()) and (results := self._run(ending)) is not None:
                self.finished, self.completed = Finished(ending, results), True
                return
            self._part("it asks for a number in the middle", learn=True)
        elif self.finished is not None:
            self._unwind(self.finished)

    # -- the end of a course ------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Run the program of the way that the call has gone."""
        node = self.expected.parent
        ending = node.ending
        if self.leaves.written() or self._given_away:
            pass
        elif ending is None:
            node.ending = Ending(node)
            self._grown = True
        elif self._prepared(ending, ending.held_besides()) and self._run(ending) is not None:
            self.completed = True
            return
        self._part(ending.refusal if ending is not None else "")

    def _prepared(self, ending: Ending, held: Sequence[Entry]) -> bool:
        """Whether there is a program, for all the results that are ``held``."""
        if self._awaited:
            self._wait_no_more()
        if held:
            ending.results |= dict.fromkeys(held)
            ending.program = None
        if ending.program is None and not ending.refusal:
            ending.met += 1
            if ending.met > 1 or self.at_once:
                self._make_program(ending)
        return ending.program is not None

    def _make_program(self, ending: Ending) -> None:
        node = ending.node
        results = sorted(ending.results, key=lambda entry: entry.depth)
        try:
            with self._unheard(), silent(True):
                ending.program = CourseProgram(node, results, self.given[: node.places], not self._paused)
            self._grown = True
        except Unfollowable as why:
            ending.refusal = str(why)
        except Exception as error:  # noqa: BLE001 - a shortcoming of ours need not stop the user
            ending.refusal = f"there is no program for it ({type(error).__name__}: {error})"

    def _run(self, ending: Ending) -> dict[Entry, Value] | None:
        """Let the program compute the results, by entry; None where it can't."""
        program = ending.program
        if program is None:
            return None
        call = CourseCall(program, self.given[: ending.node.places])
        try:
            found = call.computed([leaf._data for leaf in program.leaves])
        except Exception:  # noqa: BLE001 - eager mode raises it where it belongs, or knows better: 1/0 is inf
            return None
        self.following, self.expected = False, PARTED
        values: dict[Entry, Value] = {entry: entry.value for entry in program.results}
        for entry in program.results:
            entry.renew()
        self._become(values, program, call, found)
        if self._handed_out:
            for value in values.values():
                if value in self.leaves.watched:
                    value._data = self.leaves.watched[value][0]  # the very array that was handed out
            self._before_handed_out(values, self.leaves.watched)
        if program.observers:
            tell_all(program.observers, found[len(program.results) :])
        return values

    def _become(
        self, values: Mapping[Entry, Value], program: CourseProgram, call: CourseCall, found: Sequence[Any]
    ) -> None:
        """Make ``values`` the results of a program."""
        made = [values.get(entry) for entry in program.results]
        for i, value in enumerate(made):
            if value is None:
                continue
            if type(value) is Pending:
                value.__class__ = Value  # type: ignore[assignment]
                value.grad = None
                value.tick = next_tick()
            value._data = data = found[i]
            if self._paused:
                value.op, value.inputs, value.options = None, (), UNRECORDED
            else:
                value.op, value.inputs = COMPILED, program.sources(i, call, made)
                value.options = {"call": call, "result": i}
            if type(data) is float:
                value.origin = program.origins[i]

    # -- off the course -----------------------------------------------------------------------------------------------

    def _part(self, reason: str, learn: bool = False) -> None:
        """Compute what is noted, and go on in eager mode."""
        node = self.expected.parent
        self.following, self.expected = False, PARTED
        if reason:
            self.reason = f"{reason}, at {user_line()}"
        made = self._computed(node.path(), self._given_away)
        if learn:
            self._learn(node, made)

    def _learn(self, node: Node, made: dict[int, tuple[Value, Entry]]) -> None:
        self.learner = Learner(node, made)
        self.learner.start_watching()

    def _learned(self, learner: Learner) -> None:
        """Let the course have what the call did since it left it."""
        self.learner = None
        learner.stop_watching()
        self._grown = True
        try:
            learned = learner.grow(self)
        except Unfollowable as why:
            self.reason = str(why)
            return
        self._likes |= learned.leaves
        node = learned.node
        if not isinstance(node, Entry):
            self.reason = "no operation on a Value in it"
            return
        if node.ending is None:
            node.ending = Ending(node)
        ending = node.ending
        ending.results |= dict.fromkeys(learned.results)
        ending.program = None
        ending.met += 1
        if self.at_once and not learner.settled:
            self.given[learner.node.places :] = learned.given
            self._redo(ending, learned.results)

    def _redo(self, ending: Ending, results: Mapping[Entry, Value]) -> None:
        """Let the program compute once more what eager mode has, so that each call has the program's rounding."""
        self._make_program(ending)
        if (program := ending.program) is None:
            return
        call = CourseCall(program, self.given[: ending.node.places])
        try:
            with silent(True):
                found = call.computed([leaf._data for leaf in program.leaves])
        except Exception:  # noqa: BLE001 - eager mode has done it already
            return
        pairs = [
            (results[entry]._data, x) for entry, x in zip(program.results, found, strict=False) if entry in results
        ]
        if all(_close(a, b) for a, b in pairs):
            self._become(results, program, call, found)
            self.completed = True

    def _computed(
        self, path: Sequence[Entry], known: Mapping[Entry, Value], told: bool = False
    ) -> dict[int, tuple[Value, Entry]]:
        """Compute the operations of ``path`` as the engine does; the Values, by identity, with their entries.

        They are the pending ones, or those that are ``known`` already; these get a history. What layers observe may
        have been ``told`` them before.
        """
        if self._awaited:
            self._wait_no_more()
        watched = self.leaves.watched
        last = max((entry.depth for entry in known), default=0)
        ticks = [value.tick for value in known.values()]
        token = enter(self._given_state)
        values: dict[Entry, Any] = {}
        try:
            with self._unheard(), recording(not self._paused), self.leaves.as_they_were():
                for entry in path:
                    inputs = operands(entry, values, self.given)
                    if entry.op is not OBSERVE:
                        fresh = computed(entry.op, inputs, entry.options)
                        values[entry] = _taken_over(known.get(entry, entry.value), fresh)
                    elif not told:
                        entry.options["tell"](*[x._data if type(x) is Value else x for x in inputs])
        finally:
            leave(token)
            for entry in path:
                entry.renew()
        if self._handed_out:
            self._before_handed_out(values, watched)
        if known:  # operations on these have been recorded since, and come after all of this
            _put_before(min(ticks), [value for entry, value in values.items() if entry.depth <= last])
        return {id(value): (value, entry) for entry, value in values.items()}

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        """Operations of this thread are computed, and not noted, in the block."""
        noter = noters.pop(self._thread, None)
        try:
            yield
        finally:
            if noter is not None:
                noters[self._thread] = noter

    def _warns_as_given(self) -> bool:
        """Whether NumPy warns as it did when the call began, but for what the package itself sets."""
        if warnings.filters is not self._filters:
            return False
        now, given = state(), self._given_state
        return now is given or now is OF_STEPS[given] or now is OF_UFUNC[given]

    def _unwind(self, finished: Finished) -> None:
        """Give the results of a program that has run an ordinary history: something in the middle is wanted, too."""
        (ending, results), self.finished = finished, None
        gone_back = [(value, value.grad) for value in results.values() if value.grad is not None]
        made = self._computed(ending.node.path(), results, told=True)
        known = set(map(id, results.values()))
        for value, g in gone_back:  # backward() was called already, and reached what is in the middle
            for x, d in pull_back(value, g).items():
                if id(x) in made and id(x) not in known:
                    x.grad = d

    def _computed_aside(self, value: Pending) -> None:
        """Compute a Value for another thread, which got hold of it."""
        values: dict[Entry, Any] = {}
        wanted: Entry = value._entry
        for entry in wanted.path():
            if entry.op is not OBSERVE:
                values[entry] = computed(entry.op, operands(entry, values, self.given), entry.options)
        self._given_away[wanted] = _taken_over(value, values[wanted])
        wanted.renew()

    # -- between calls ------------------------------------------------------------------------------------------------

    def _take_stock(self) -> None:
        """Look through the course after it has grown: its leaves, its endings, how often its Values are held."""
        nodes = [node for root in self.roots.values() for node in root.all()]
        if sum(node.ending is not None for node in nodes) > ENDINGS:
            self._forget()
            return
        entries = [node for node in nodes if isinstance(node, Entry)]
        for entry in entries:
            entry.listed.clear()
        self.endings = [node.ending for node in nodes if node.ending is not None]
        for ending in self.endings:
            ending.list_values()
        for ending in self.endings:
            ending.count()
        self.given += [None] * (max(node.places for node in nodes) - len(self.given))
        sources = (pair for entry in entries for pair in zip(entry.kinds, entry.sources, strict=True))
        self._likes = {source: self._likes[source] for kind, source in sources if kind is LEAF}
        self.leaves.take(self._likes)
        programs = [ending.program for ending in self.endings if ending.program is not None]
        if programs and self.leaves.settle():
            for program in programs:
                program.forget_spare()
        self._grown = bool(programs) and self.leaves.unsettled > 0

    def _forget(self) -> None:
        self.roots = {False: Node(), True: Node()}
        self._likes = {}
        self.leaves.take({})
        self.endings, self._grown = [], False


def _tracked(op: Any, inputs: Sequence[Any]) -> bool:
    """Whether an operation is recorded: a Value that it has a derivative by is among its inputs."""
    partials = op.partials * len(inputs) if op.variadic else op.partials
    return any(isinstance(x, Value) and partial is not None for x, partial in zip(inputs, partials, strict=False))


def _put_before(tick: float, values: Sequence[Value]) -> None:
    """Let ``values``, in order, be as old as if they had been made just before ``tick``."""
    for i, value in enumerate(values, 1):
        value.tick = tick - 1 + i / (len(values) + 1)  # type: ignore[assignment]


def _taken_over(value: Value, fresh: Value) -> Value:
    """Make ``value`` what ``fresh`` is."""
    if type(value) is Pending:
        value.__class__ = Value  # type: ignore[assignment]
        value.grad = None
    for slot in ("_data", "op", "inputs", "options", "tick"):
        setattr(value, slot, getattr(fresh, slot))
    for slot in ("origin", "given"):
        if hasattr(fresh, slot):
            setattr(value, slot, getattr(fresh, slot))
    return value


def _close(a: Any, b: Any) -> bool:
    """Whether a program found what eager mode found, but for rounding."""
    a, b = np.asarray(a), np.asarray(b)
    rounding = 1e-3 if a.dtype.itemsize < 8 else 1e-7
    return bool(np.allclose(a, b, rounding, rounding * np.max(np.abs(a), where=np.isfinite(a), initial=0.0), True))


class Followed:
    """A function whose Python runs in each call, and whose arithmetic a program does. See this module's text."""

    def __init__(self, function: Callable[..., Any], at_once: bool = False) -> None:
        self.function = function
        self._follower = Follower(at_once)
        self._lock = threading.Lock()
        self._wasted = self._pause = 0
        self._next_pause = PAUSE

    @property
    def name(self) -> str:
        """The way that the last call went."""
        return "followed" if self.following or not self.reason else "eager"

    @property
    def reason(self) -> str:
        """Why the last call was not followed to its end; "" if it was."""
        return "" if self.following else self._follower.reason

    @property
    def following(self) -> bool:
        """Whether a program did the arithmetic of the last call."""
        return not self._pause and self._follower.completed

    @property
    def programs(self) -> list[str]:
        """The sources of the programs."""
        return [ending.program.form.source for ending in self._follower.endings if ending.program is not None]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._pause:
            self._pause -= 1
            return self.function(*args, **kwargs)
        if not self._lock.acquire(blocking=False):  # another thread is in it
            return self.function(*args, **kwargs)
        follower = self._follower
        try:
            if not follower.begin():
                return self.function(*args, **kwargs)
            try:
                result = self.function(*args, **kwargs)
                follower.end()
            finally:
                follower.close()
            if not follower.completed:
                self._wasted += 1
                if self._wasted >= WASTED:
                    self._rest()
            elif self._wasted:
                self._wasted -= 1
            return result
        finally:
            self._lock.release()

    PASSING.add(__call__.__code__)

    def _rest(self) -> None:
        """Spend a while in eager mode, where following comes to nothing."""
        self._wasted -= 3
        self._pause, self._next_pause = self._next_pause, min(2 * self._next_pause, 1 << 14)
