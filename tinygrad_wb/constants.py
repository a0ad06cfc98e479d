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

from tinygrad_wb.recording import paused, recorders, this_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tinygrad_wb.value import Value

    Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]  # the inputs and options of an operation

__all__ = ["COPIED", "FIXED", "Constants", "copies", "copy_of", "given_inputs", "kept", "large_arrays", "passing_on"]

COPIED = 1 << 20  # bytes
FIXED = frozenset({int, float, bool, str, type, slice, type(None), type(...)})  # classes of options without arrays

# -- while an operation is recorded ------------------------------------------------------------------------------

# While a partial is recorded: the arrays that it was given, copies already, and the caller's, by identity.
_passed_on: dict[int, dict[int, Any]] = {}


@contextlib.contextmanager
def passing_on(node: Value) -> Iterator[None]:
    """Inside the block, what this thread records does not copy the arrays that ``node`` keeps once more."""
    thread = this_thread()
    before = _passed_on.get(thread)
    _passed_on[thread] = {id(copy): given for copy, given in copies(node)}
    try:
        yield
    finally:
        if before is None:
            del _passed_on[thread]
        else:
            _passed_on[thread] = before


def copy_of(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """A copy of a plain array; None where `kept` must find out what to do with it. Most arrays go this way."""
    return None if x.nbytes > COPIED or paused or recorders or _passed_on else x.__copy__()


def kept(inputs: Sequence[Any], options: dict[str, Any]) -> tuple[list[Any], dict[str, Any], Arguments | None, bool]:
    """The inputs and options of an operation, with copies of arrays and lists; both as they were given, or None if
    nothing is copied; and whether a large array is among them.

    Nothing is copied under `no_grad`, which records nothing, and in a program, which is not walked back as it is.
    """
    thread = this_thread()
    if thread in paused or thread in recorders:
        return list(inputs), options, None, False
    known = _passed_on.get(thread, {})
    large = False

    def copied(x: Any) -> Any:
        nonlocal large
        if x.nbytes > COPIED:
            large = True
        return x if x.nbytes > COPIED or id(x) in known else x.__copy__()

    def given(x: Any) -> Any:
        return known.get(id(x), x)

    held = {name: option for name, option in options.items() if type(option) not in FIXED}
    given_inputs = tuple([given(x) if type(x) is np.ndarray else x for x in inputs])
    given_options = {name: _mapped(given, option) for name, option in held.items()}
    found = [copied(x) if type(x) is np.ndarray else x for x in inputs]
    options = {**options, **{name: _mapped(copied, option) for name, option in held.items()}}
    return found, options, (given_inputs, given_options), large


def _mapped(f: Callable[[Any], Any], option: Any) -> Any:
    """``f`` of an array; of a list or tuple a new one, with ``f`` of the arrays in it; anything else as it is."""
    kind = type(option)
    if kind in FIXED or isinstance(option, np.generic):
        return option
    if isinstance(option, (list, tuple)):
        make = list if isinstance(option, list) else tuple
        return make(option if FIXED.issuperset(map(type, option)) else [_mapped(f, x) for x in option])
    if isinstance(option, np.ndarray):
        return f(option)
    return f(np.asarray(option)) if hasattr(option, "__array__") else option  # such as the column of a table


# -- in a record -------------------------------------------------------------------------------------------------


def given_inputs(node: Value) -> tuple[Any, ...]:
    """The inputs of ``node`` as they were given: with the caller's own arrays."""
    return node.given[0] if hasattr(node, "given") else node.inputs


def copies(node: Value) -> Iterator[tuple[Any, Any]]:
    """The arrays that ``node`` has copies of: each copy, and the caller's own."""
    if hasattr(node, "given"):
        inputs, options = node.given
        pairs = [*zip(node.inputs, inputs, strict=True), *((node.options[name], options[name]) for name in options)]
        for held, given in pairs:
            for copy, own in zip(_arrays_in(held), _arrays_in(given), strict=True):
                if copy is not own:
                    yield copy, own


def large_arrays(node: Value) -> list[tuple[Any, Any]]:
    """The arrays that ``node`` read and has no copies of, each after the input's position or the option's name."""
    arguments = [*enumerate(node.inputs), *((name, x) for name, x in node.options.items() if name != "shared")]
    return [(which, x) for which, argument in arguments for x in _arrays_in(argument) if x.nbytes > COPIED]


def _arrays_in(x: Any) -> Iterator[Any]:
    """An array, or those in a list or tuple."""
    if isinstance(x, np.ndarray):
        yield x
    elif isinstance(x, (list, tuple)) and not FIXED.issuperset(map(type, x)):
        for part in x:
            yield from _arrays_in(part)


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
            for copy, given in copies(node):
                if id(copy) not in self._copies:
                    self._copies[id(copy)] = copy, given
                    self._first[id(copy)] = versions.setdefault((id(given), *_contents(copy)), copy)
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
        found = {copy: variables[id(given)] for copy, (_, given) in self._copies.items() if id(given) in variables}
        return {**found, **variables} if found else variables


def _contents(array: Any) -> tuple[Any, ...]:
    return array.dtype, array.shape, array.tobytes()
