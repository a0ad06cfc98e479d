"""Learning a course: a call of the function in eager mode, its operations written down one by one."""

from __future__ import annotations

from _weakref import getweakrefcount
from collections import Counter
from contextlib import contextmanager
from itertools import pairwise
from sys import getrefcount
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy import ndarray

from tinygrad_wb.compiling.entries import (
    ARRAY,
    GIVEN,
    LARGE,
    LEAF,
    MADE,
    NUMBER,
    OBSERVE,
    VALUE,
    Entry,
    Like,
    Node,
    changed_by,
    detach,
    frozen,
    like,
    merged,
    readable,
)
from tinygrad_wb.compiling.guards import guard_of
from tinygrad_wb.compiling.regions import region_of
from tinygrad_wb.compiling.rewrites import rewritten
from tinygrad_wb.constants import given_inputs
from tinygrad_wb.operation import REGISTRY
from tinygrad_wb.recording import placing, this_thread, watchers
from tinygrad_wb.value import NO_OPTIONS, Value, constant, next_tick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tinygrad_wb.compiling.follow import Follower
    from tinygrad_wb.compiling.guards import Guard
    from tinygrad_wb.nn.module import Module

__all__ = ["Learner", "Unfollowable"]

ASTYPE = REGISTRY["astype"]


class Event:
    """One operation of an eager call: what it was given, and the Value that it made."""

    __slots__ = ("asked", "inputs", "likes", "op", "options", "value", "wrong")

    def __init__(self, op: Any, inputs: tuple[Any, ...], options: Any, value: Any) -> None:
        self.op, self.options, self.value = op, options, value
        self.wrong = ""  # why it can't be noted
        self.asked = tuple(map(id, inputs))
        self.likes = [like(x) if isinstance(x, Value) and not x.inputs else None for x in inputs]
        self.inputs = tuple([x.copy() if type(x) is ndarray and x.nbytes <= LARGE else x for x in inputs])


class ModuleCall(NamedTuple):
    """A call of a module in an eager call: its arguments and its result, by identity, and which events it made."""

    module: Module
    guard: Guard  # over its settings when it was called: they may be others by the end of the function
    begin: int
    end: int
    arguments: list[tuple[int, Any, bool]]  # with the leaf that one is, and whether it is an array
    result: int


class Learned(NamedTuple):
    """Where a call has ended, what was given since it was learned, and the Values that are held outside."""

    node: Node
    given: list[Any]
    results: dict[Entry, Value]
    leaves: dict[Value, Like]  # as they were when they were read


class Learner:
    """A `Watcher` that writes down what is computed in a call.

    It goes on from ``node``, up to which the course is known; ``made`` has the entries of the Values from before.
    """

    def __init__(self, node: Node, made: dict[int, tuple[Value, Entry]]) -> None:
        self.node = node
        self.made = made
        self.events: list[Event] = []
        self.start = next_tick()
        self.calls: list[ModuleCall] = []
        self.roots: list[Value] = []  # where a backward() began
        self._asked: tuple[Any, ...] = ()
        self._thread = 0

    def start_watching(self) -> None:
        self._thread = this_thread()
        watchers[self._thread] = self
        placing[self._thread] = 1  # a watched thread remembers places

    def stop_watching(self) -> None:
        if watchers.get(self._thread) is self:
            del watchers[self._thread], placing[self._thread]

    def asked(self, op: Any, inputs: tuple[Any, ...]) -> None:
        """An operation is asked for. The next that is computed is this one."""
        self._asked = op, inputs

    def called(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a module."""
        begin, guard = len(self.events), guard_of(module)
        arguments = [(id(x), x if isinstance(x, Value) and not x.inputs else None, type(x) is ndarray) for x in args]
        result = module.forward(*args, **kwargs)
        ended = len(self.events)
        if isinstance(result, Value) and not kwargs and ended > begin and guard is not None and guard.same():
            self.calls.append(ModuleCall(module, guard, begin, ended, arguments, id(result)))
        return result

    def observed(self, tell: Callable[..., None], values: tuple[Any, ...]) -> None:
        """A layer is told what it observes."""
        self.events.append(Event(OBSERVE, values, {"tell": tell}, None))

    # -- as a Watcher -------------------------------------------------------------------------------------------------

    def computed(self, value: Value, op: Any, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        asked, self._asked = self._asked, ()
        if asked and asked[0] is op:
            self.events.append(event := Event(op, asked[1], NO_OPTIONS, value))
            try:
                told = frozen({name: option for name, option in options.items() if name != "shared"})
                event.options = told or NO_OPTIONS
            except TypeError as error:
                event.wrong = str(error)
        elif self.events and op is ASTYPE and inputs[0] is self.events[-1].value:  # the last part of an operation
            self.events[-1].value = value

    def history_read(self, made: list[Any]) -> None:
        self.roots += made[:1]

    @contextmanager
    def going_back(self, path: Iterable[Any]) -> Iterator[Iterable[Any]]:
        yield path

    def went_back(self, made: list[Any], seed: Any, gradients: Callable[[Any], Any]) -> None:
        """Its gradients are the engine's."""

    def about_to_step(self, optimizer: Any) -> None:
        """It assigns leaves, as their ticks show."""

    # -- what was learned ---------------------------------------------------------------------------------------------

    def _values(self) -> list[Value]:
        """The Values made in this call."""
        return [*(value for value, _ in self.made.values()), *(e.value for e in self.events if e.value is not None)]

    def held(self) -> list[Value]:
        """The Values made in this call that are held outside of its graph: returned, or kept elsewhere."""
        self._asked = ()
        values = self._values()
        tuples = {id(x): x for value in values for x in (value.inputs, given_inputs(value))}
        tuples |= {id(event.inputs): event.inputs for event in self.events}
        counted = Counter(id(x) for inputs in tuples.values() for x in inputs if isinstance(x, Value))
        counts = list(map(getrefcount, values))
        # Three more hold each: the event, the list of values, and the argument.
        return [x for x, count in zip(values, counts, strict=True) if count > 3 + counted[id(x)] or getweakrefcount(x)]

    @property
    def settled(self) -> bool:
        """Whether the record must stay as it is: backward() was called, a hook waits, a leaf was assigned since."""
        if self.roots:
            return True
        values = self._values()
        return any(
            hasattr(v, "listeners") or any(x.tick > v.tick for x in v.inputs if type(x) is Value) for v in values
        )

    def grow(self, follower: Follower) -> Learned:
        """Let the course have what was learned.

        Where it went as before but for numbers, or for leaves, these are given from now on. Raises `Unfollowable`.
        """
        held = {id(x) for x in (*self.held(), *self.roots)}
        made = {key: entry for key, (_, entry) in self.made.items()}
        results = {entry: value for key, (value, entry) in self.made.items() if key in held}
        given: list[Any] = []
        entries: list[Entry] = []
        node, old = self.node, self.node.next
        told = [entry.options["tell"] for entry in node.path() if entry.op is OBSERVE]
        assigned = {id(x) for tell in told for x in changed_by(tell)}
        leaves: dict[Value, Like] = {}
        begun = False  # as before
        try:
            for event in self.events:
                if event.wrong:
                    raise Unfollowable(event.wrong)
                op, inputs, options = rewritten(event.op, event.inputs, event.options)
                if op is OBSERVE:
                    assigned.update(map(id, changed_by(options["tell"])))
                elif not op.deferrable:
                    raise Unfollowable(f"{op.name} is computed where it stands")
                kinds, sources = self._described(op, inputs, options, made, assigned)
                for kind, source, shape in zip(kinds, sources, event.likes, strict=False):
                    if kind is LEAF and shape is not None and leaves.setdefault(source, shape) != shape:
                        raise Unfollowable("a parameter gets another shape or dtype in it")
                old = old if isinstance(old, Entry) and merged(old, kinds, sources, options, op) else None
                begun = begun or (not entries and old is not None)
                node = Entry(node, op, kinds, sources, options, event.value, follower)
                old = old and old.next
                entries.append(node)
                given += [_given(kind, x) for kind, x in zip(kinds, inputs, strict=True) if kind in GIVEN]
                if event.value is not None:
                    made[id(event.value)] = node
                    if id(event.value) in held:
                        results[node] = event.value
        except Unfollowable:
            detach(entries)
            raise
        if begun:
            self.node.remove(self.node.next)
        for parent, entry in pairwise([self.node, *entries]):
            parent.add(entry)  # type: ignore[arg-type]  # all but the first are entries
        self._mark_regions(entries, made)
        return Learned(node, given, results, leaves)

    def _mark_regions(self, entries: Sequence[Entry], made: Mapping[int, Entry]) -> None:
        """Let the calls of the package's modules be noted as a whole."""
        for call in self.calls:
            known: list[Any] = [None if is_array else made.get(key, leaf) for key, leaf, is_array in call.arguments]
            keys = [key for key, _, is_array in call.arguments]
            if call.result not in made or any(
                x is None and not is_array for x, (_, _, is_array) in zip(known, call.arguments, strict=True)
            ):
                continue
            taken = {
                place: keys.index(event.asked[position])
                for event, entry in zip(self.events[call.begin : call.end], entries[call.begin : call.end], strict=True)
                for position, place in entry.given()
                if position < len(event.asked) and event.op is entry.op and event.asked[position] in keys
            }
            inside = entries[call.begin : call.end]
            region = region_of(call.module, call.guard, known, inside, taken, made[call.result])
            if region is not None:
                inside[0].regions = (inside[0].regions or {}) | {id(call.module): region}

    def _described(
        self, op: Any, inputs: Any, options: Any, made: dict[int, Entry], assigned: set[int]
    ) -> tuple[list[str], list[Any]]:
        """What each input is, and where it comes from."""
        kinds: list[str] = []
        sources: list[Any] = []
        for position, x in enumerate(inputs):
            if isinstance(x, Value):
                if id(x) in made:
                    kinds.append(MADE)
                    sources.append(made[id(x)])
                elif id(x) in assigned:
                    raise Unfollowable("it computes with running means that it has just changed")
                elif not x.inputs and x.tick < self.start:
                    kinds.append(LEAF)
                    sources.append(x)
                else:
                    kinds.append(VALUE)
                    sources.append(like(x))
            elif not readable(x):
                raise Unfollowable(f"it computes with a {type(x).__name__}")
            elif type(x := constant(x)) is float:
                kinds.append(NUMBER)
                sources.append(x)
            else:
                if not x.dtype.isnative:
                    raise Unfollowable(f"it computes with an array of another byte order ({x.dtype.str})")
                if x.nbytes > LARGE:
                    raise Unfollowable(f"it computes with an array of {x.nbytes / 2**20:.1f} MB")
                kinds.append(ARRAY)
                whole = x.dtype.kind in "iu" and op.partials[position if not op.variadic else 0] is None
                bound = op.below(inputs[0].shape, **options) if whole and op.below is not None else None
                sources.append(Like(x.shape, x.dtype, bound))
        return kinds, sources


class Unfollowable(Exception):  # noqa: N818 - it says what there is, and nothing failed
    """Why a call can't be followed."""


def _given(kind: str, x: Any) -> Any:
    """What is kept of an input that is given."""
    if kind is VALUE:
        return x, x._data if type(x._data) is float else x._data.copy()
    return constant(x)
