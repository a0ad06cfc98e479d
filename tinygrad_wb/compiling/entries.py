"""A course: what a function does, operation by operation, as a tree whose branches are the ways that it has gone.

Each `Entry` is one operation, each `Ending` a place where the function has returned. An entry says of each input what
it must be: the result of an earlier entry, a certain leaf, a certain number. What may be another in each call, such as
the array of a batch, is *given*: it is kept, at a place of its own, for the program that computes the course.
"""

from __future__ import annotations

import math
from operator import is_
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy import dtype, generic, memmap, ndarray

from tinygrad_wb.pending import pending
from tinygrad_wb.value import Value, constant, dtype_behind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tinygrad_wb.compiling.course_program import Peek
    from tinygrad_wb.compiling.endings import Ending
    from tinygrad_wb.compiling.follow import Follower
    from tinygrad_wb.compiling.regions import Region

__all__ = [
    "ARRAY", "FLOAT", "GIVEN", "LARGE", "LEAF", "MADE", "NUMBER", "OBSERVE", "VALUE", "Entry", "Like", "Node",
    "all_below", "changed_by", "detach", "fits", "frozen", "like", "merged", "readable", "same",
]  # fmt: skip

# What an input is: fixed,
MADE = "made"  # the result of an earlier entry
LEAF = "leaf"  # this leaf, a parameter
NUMBER = "number"  # this number
# or given, in each call anew:
FLOAT = "float"
ARRAY = "array"  # with this shape and dtype
VALUE = "value"  # a Value of this shape and dtype, made inside or computed outside
GIVEN = frozenset({FLOAT, ARRAY, VALUE})

LARGE = 1 << 20  # bytes: an array beyond that is not copied, so no operation on it is put off
FLOAT64, UINT64 = np.dtype(np.float64), np.dtype(np.uint64)
# Classes of what never changes.
COMPARABLE = frozenset({int, float, bool, complex, str, bytes, type, type(None), type(...)})


class Like(NamedTuple):
    """What is known of an array that is given: whole numbers in it lie from 0 to ``below``.

    The dtype of a number is ``float``, and its ``origin`` that of the data that it was computed from.
    """

    shape: tuple[int, ...]
    dtype: Any
    below: int | None = None
    origin: Any = None


class Node:
    """A place in the tree: after an entry, or at the beginning."""

    __slots__ = ("children", "depth", "ending", "next", "parent", "places")

    def __init__(self, parent: Any = None, places: int = 0) -> None:
        self.parent: Any = parent
        self.depth: int = parent.depth + 1 if parent is not None else 0
        self.places = places  # taken by what is given up to here
        self.children: list[Entry] = []
        self.ending: Ending | None = None
        self.next: Any = Nothing(self)  # the child that was met last

    def add(self, child: Entry) -> None:
        self.children.insert(0, child)
        self.next = child

    def remove(self, child: Entry) -> None:
        self.children.remove(child)
        self.next = self.children[0] if self.children else Nothing(self)
        gone = dict.fromkeys(child.all())
        detach(list(gone))
        for entry in self.path():  # a region may begin before, and end in what is gone
            if entry.regions:
                entry.regions = {key: region for key, region in entry.regions.items() if region.last not in gone}

    def all(self) -> list[Any]:
        """This place, and all that follow, whichever way."""
        found = [self]
        for node in found:  # grows as it goes
            found += node.children
        return found

    def path(self) -> list[Entry]:
        """The entries from the beginning to here."""
        found = []
        node: Any = self
        while node.parent is not None:
            found.append(node)
            node = node.parent
        return found[::-1]


class Nothing:
    """Stands where no entry follows, so that no operation matches."""

    __slots__ = ("parent",)
    op = a = b = c = known = regions = None

    def __init__(self, parent: Any) -> None:
        self.parent = parent


class Entry(Node):
    """One operation of a course, and the Value that stands for its result while the operation is only noted."""

    __slots__ = (
        "a", "b", "c", "consumers", "dtype", "first", "kinds", "known", "listed", "noter", "op", "options", "peek",
        "regions", "shape", "size", "sources", "value",
    )  # fmt: skip

    def __init__(
        self,
        parent: Node,
        op: Any,
        kinds: Sequence[str],
        sources: Sequence[Any],
        options: Any,
        like: Any,
        noter: Follower,
    ) -> None:
        self.first = parent.places
        super().__init__(parent, parent.places + sum(kind in GIVEN for kind in kinds))
        self.op = op
        self.kinds = tuple(kinds)
        self.sources = tuple(sources)  # an Entry, a leaf, a number, or what is known of what is given
        self.options: Mapping[str, Any] = options
        data: Any = like._data if like is not None else 0.0  # NumPy's functions are slow to leave a Value to itself
        is_array = type(data) is ndarray
        self.shape: tuple[int, ...] = data.shape if is_array else ()
        self.dtype: np.dtype[Any] = data.dtype if is_array else FLOAT64
        self.size: int = data.size if is_array else 1
        self.noter = noter
        self.peek: Peek | None = None  # the program that finds its number in the middle of a call
        self.consumers: list[Entry] = []
        self.regions: dict[int, Region] | None = None  # that begin here, by the identity of the module
        self.listed: list[tuple[list[Any], int]] = []  # where its pending Value stands in lists
        for source in self.sources:
            if isinstance(source, Entry):
                source.consumers.append(self)
        self.value = pending(self)
        self.refresh()

    def refresh(self) -> None:
        """Look up the pending Values of the inputs."""
        self.known: tuple[Any, ...] = tuple(
            [source.value if isinstance(source, Entry) else source for source in self.sources]
        )
        self.a, self.b, self.c = (*self.known, None, None, None)[:3]

    def renew(self) -> None:
        """Take another pending Value: the one that there was belongs to the user now."""
        self.value = pending(self)
        for consumer in self.consumers:
            consumer.refresh()
        for values, i in self.listed:
            values[i] = self.value

    def given(self) -> Iterator[tuple[int, int]]:
        """Position and place of each input that is given."""
        place = self.first
        for position, kind in enumerate(self.kinds):
            if kind in GIVEN:
                yield position, place
                place += 1


def detach(entries: Sequence[Entry]) -> None:
    """Let what ``entries`` compute with forget them."""
    for entry in entries:
        for source in entry.sources:
            if isinstance(source, Entry):
                source.consumers.remove(entry)


class Observe:
    """In the place of an operation: a layer is told what it observes, such as the mean of a batch."""

    name = "observe"


OBSERVE = Observe()


def changed_by(tell: Sequence[Any]) -> list[Value]:
    """The Values that a layer changes when it is told what it observes."""
    return [x for x in tell if isinstance(x, Value)]


# -- whether an operation is the one that is known -------------------------------------------------------------------


def fits(entry: Entry, inputs: Sequence[Any], options: Mapping[str, Any], given: list[Any]) -> bool:
    """Whether an operation on ``inputs`` is that of ``entry``. If so, what is given stands in ``given``.

    Arrays are copied, as the caller may write to them before the program runs.
    """
    if len(inputs) != len(entry.known):
        return False
    if options and not all(map(is_, options.values(), entry.options.values())) and not same(options, entry.options):
        return False  # the names are those of the operation
    place = entry.first
    for given_x, known, kind in zip(inputs, entry.known, entry.kinds):
        x = given_x
        if kind is MADE or kind is LEAF:
            if x is not known:
                return False
            continue
        plain = type(x) is float or (type(x) is ndarray and x.ndim)
        if not plain and kind is not VALUE and not isinstance(x, Value):
            if not readable(x):
                return False
            try:
                x = constant(x)
            except (TypeError, ValueError):
                return False  # the engine says what is wrong
        if kind is NUMBER:
            if type(x) is not float or not same_number(x, known):
                return False
            continue
        if kind is FLOAT:
            if type(x) is not float:
                return False
            given[place] = x
        elif kind is ARRAY:
            if type(x) is not ndarray or x.shape != known.shape or x.dtype != known.dtype:
                return False
            if known.below is not None and not all_below(x, known.below):
                return False
            given[place] = x.copy()
        else:
            if type(x) is not Value or like(x) != known:
                return False
            given[place] = x, x._data if type(x._data) is float else x._data.copy()
        place += 1
    return True


def readable(x: Any) -> bool:
    """Whether it may be read as numbers here, as the engine does it: that is so each time, and nobody notices.

    The classes of others decide for themselves what an operator means, or which numbers they are just now.
    """
    kind = type(x)
    if kind is list or kind is tuple:
        return all(map(readable, x))
    return kind is ndarray or kind is memmap or kind in COMPARABLE or issubclass(kind, generic)


def frozen(option: Any) -> Any:
    """A copy of an option that nobody can change. Raises ``TypeError`` for what can't be compared with another."""
    kind = type(option)
    if kind in COMPARABLE or issubclass(kind, (generic, dtype)):
        return option
    if kind is tuple or kind is list:
        return option if kind is tuple and COMPARABLE.issuperset(map(type, option)) else kind(map(frozen, option))
    if kind is slice:
        return slice(frozen(option.start), frozen(option.stop), frozen(option.step))
    if kind is dict:
        return {name: frozen(x) for name, x in option.items()}
    if kind is ndarray:
        if option.nbytes > LARGE:
            raise TypeError(f"it is told an array of {option.nbytes / 2**20:.1f} MB")
        return option.copy()
    raise TypeError(f"it is told a {kind.__name__}, which may be another the next time")


def all_below(whole: Any, bound: int) -> bool:
    """Whether all whole numbers of an array lie from 0 to below ``bound``."""
    if not whole.size:
        return True
    if whole.dtype == np.int64:  # a negative number is a very large one without its sign
        bits = whole.view(UINT64)
        return bool(bits.item(bits.argmax()) < bound)  # quicker than the maximum
    return bool(np.minimum.reduce(whole, None) >= 0 and np.maximum.reduce(whole, None) < bound)


def same_number(a: float, b: float) -> bool:
    """Whether two numbers are the same to the bit; 0.0 and -0.0 are two."""
    return (a == b and (a != 0.0 or math.copysign(1.0, a) == math.copysign(1.0, b))) or (a != a and b != b)


def same(a: Any, b: Any) -> bool:
    """Whether two options are the same: arrays by what they hold, and all else by type and value."""
    if a is b:
        return True
    kind = type(a)
    if kind is not type(b):
        return False
    if kind is float:
        return same_number(a, b)
    if issubclass(kind, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    if kind is dict:
        return a.keys() == b.keys() and all(map(same, a.values(), map(b.__getitem__, a)))
    if kind is slice:
        return same((a.start, a.stop, a.step), (b.start, b.stop, b.step))
    if kind is ndarray:
        return bool(a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes())
    return (kind in COMPARABLE or issubclass(kind, (generic, dtype))) and bool(a == b)


# -- two ways that differ in numbers alone -----------------------------------------------------------------------------


def merged(old: Entry, kinds: list[str], sources: list[Any], options: Mapping[str, Any], op: Any) -> bool:
    """Whether an operation is that of ``old`` but for numbers and leaves. Those that differ become given ones.

    ``kinds`` and ``sources`` of the operation are changed in place.
    """
    if op is not old.op or len(kinds) != len(old.kinds) or not same(options, old.options):
        return False
    new = []
    for kind, source, old_kind, old_source in zip(kinds, sources, old.kinds, old.sources, strict=True):
        numbers = kind in (NUMBER, FLOAT) and old_kind in (NUMBER, FLOAT)
        values = kind in (LEAF, VALUE) and old_kind in (LEAF, VALUE) and like(source) == like(old_source)
        if kind is MADE and old_kind is MADE and source.depth == old_source.depth:
            new.append((kind, source))
        elif numbers:
            fixed = kind is old_kind is NUMBER and same_number(source, old_source)
            new.append((NUMBER, source) if fixed else (FLOAT, Like((), float)))
        elif values:
            new.append((kind, source) if kind is old_kind is LEAF and source is old_source else (VALUE, like(source)))
        elif kind is old_kind is ARRAY and source == old_source:
            new.append((kind, source))
        else:
            return False
    kinds[:], sources[:] = [kind for kind, _ in new], [source for _, source in new]
    return True


def like(x: Any) -> Like:
    """What is known of a Value that is given."""
    if isinstance(x, Like):
        return x
    data = x._data
    return Like((), float, None, dtype_behind(x)) if type(data) is float else Like(data.shape, data.dtype)
