"""Plain arrays among an operation's inputs and options: they are the caller's, so the record keeps copies.

The caller may write to an array after an operation has read it, as a loop does that refills its buffer. The record
holds what was read, so gradients, programs and pictures are those of the numbers that the result was computed from.
An operation costs more than the copy of an array of up to `COPIED` bytes; a larger array is kept itself, and
`changed.py` notices most writes to it. The caller's own array stays known beside its copy: variables, and so names,
are found by identity.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.recording import this_thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tinygrad_wb.value import Value

    # The position of an input or the name of an option; the array that the record keeps; the caller's own, which is the
    # same if it is large.
    Constant = tuple[int | str, np.ndarray[Any, Any], np.ndarray[Any, Any]]

__all__ = ["COPIED", "FIXED", "Constants", "constants_of", "given_inputs", "keep", "keep_inside", "passing_on"]

COPIED = 1 << 20  # bytes
FIXED = frozenset({int, float, bool, str, type, slice, type(None), type(...)})  # classes of options that hold no arrays

# -- while an operation is recorded ------------------------------------------------------------------------------

# While a partial of a recorded operation is recorded itself, the arrays that it was given: copies already.
_passed_on: dict[int, dict[int, Constant]] = {}


@contextlib.contextmanager
def passing_on(node: Value) -> Iterator[None]:
    """Inside the block, the arrays that ``node`` keeps are not copied once more by what this thread records."""
    thread = this_thread()
    before = _passed_on.get(thread, {})
    _passed_on[thread] = {id(constant[1]): constant for constant in constants_of(node)}
    try:
        yield
    finally:
        _passed_on[thread] = before
        if not before:
            del _passed_on[thread]


def _kept(which: int | str, x: np.ndarray[Any, Any]) -> Constant:
    if _passed_on and (known := _passed_on.get(this_thread(), {}).get(id(x))) is not None:
        return which, x, known[2]
    return which, x.copy("K") if x.nbytes <= COPIED else x, x


def keep(inputs: Iterable[Any]) -> tuple[tuple[Any, ...], list[Constant]]:
    """``inputs`` with copies in place of plain arrays, and what was copied."""
    kept, constants = list(inputs), []
    for i, x in enumerate(kept):
        if type(x) is np.ndarray:
            constants.append(_kept(i, x))
            kept[i] = constants[-1][1]
    return tuple(kept), constants


def keep_inside(options: Mapping[str, Any], constants: list[Constant]) -> dict[str, Any]:
    """``options`` with copies in place of arrays and lists; what was copied is added to ``constants``."""
    return {name: _copied(name, option, constants) for name, option in options.items()}


def _copied(name: str, option: Any, constants: list[Constant]) -> Any:
    kind = type(option)
    if kind in FIXED or isinstance(option, np.generic):
        return option
    if isinstance(option, (list, tuple)):
        make = list if isinstance(option, list) else tuple
        return make(option if FIXED.issuperset(map(type, option)) else [_copied(name, x, constants) for x in option])
    if not isinstance(option, np.ndarray):
        if not hasattr(option, "__array__"):
            return option
        option = np.asarray(option)  # an index that is a table's column, say, is read as NumPy does
    constants.append(_kept(name, option))
    return constants[-1][1]


# -- in a record -------------------------------------------------------------------------------------------------


def constants_of(node: Value) -> tuple[Constant, ...]:
    """The plain arrays that the operation of ``node`` read."""
    return getattr(node, "constants", ())


def given_inputs(node: Value) -> tuple[Any, ...]:
    """The inputs of ``node`` as the operation was given them: with the caller's own arrays."""
    inputs = list(node.inputs)
    for which, _, given in constants_of(node):
        if type(which) is int:
            inputs[which] = given
    return tuple(inputs)


class Constants:
    """The plain arrays that ``nodes`` read, and which of the copies are one array.

    Copies of one array of the caller's are the same as long as it was not written to. After that, they are another
    array of the same name.
    """

    def __init__(self, nodes: Iterable[Value]) -> None:
        self._copies: dict[int, tuple[Any, Any]] = {}  # by identity: each copy, and the caller's array
        self._first: dict[int, Any] = {}
        versions: dict[Any, Any] = {}  # by the caller's array and what was in it
        for node in nodes:
            for _, kept, given in constants_of(node):
                if kept is not given and id(kept) not in self._copies:
                    self._copies[id(kept)] = kept, given
                    self._first[id(kept)] = versions.setdefault((id(given), *_contents(kept)), kept)
        for _, given in list(self._copies.values()):  # an operation that failed was given it, say
            if id(given) not in self._first:
                self._first[id(given)] = versions.get((id(given), *_contents(given)), given)

    def first(self, x: Any) -> Any:
        """The first copy of the same array, as it was when ``x`` was copied; what is no copy, as it is."""
        return self._first.get(id(x), x)

    def given(self, x: Any) -> Any:
        """The caller's array that ``x`` is a copy of; what is no copy, as it is."""
        return self._copies[id(x)][1] if id(x) in self._copies else x

    def named(self, variables: Mapping[int, str]) -> Mapping[int, str]:
        """``variables``, names by identity, with each copy under the name of the caller's array."""
        found = {kept: variables[id(given)] for kept, (_, given) in self._copies.items() if id(given) in variables}
        return {**found, **variables} if found else variables


def _contents(array: Any) -> tuple[Any, ...]:
    return array.dtype, array.shape, array.tobytes()
