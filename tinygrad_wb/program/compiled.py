"""`compile`: record a function twice, and from then on replay the record."""

from __future__ import annotations

import contextlib
import functools
import gc
import linecache
import threading
import traceback
import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from numpy import ndarray

from tinygrad_wb.program.arguments import filled_in, kind_of, pattern
from tinygrad_wb.program.replay import Recorded, Replay, Returned
from tinygrad_wb.program.run import Run
from tinygrad_wb.program.surroundings import Surroundings
from tinygrad_wb.recording import PACKAGE, is_recording, paused, recorder, recorders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Compiled", "compile"]

PATTERNS = 32  # of arguments, that programs are kept for
VARIANTS = 8  # programs for one pattern: for other branches, other surroundings
TRIES = 6  # runs that all turn out to be different work


class Variant:
    """The runs and programs of one pattern of arguments, in surroundings that have not changed since."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        self.runs: list[Any] = []  # descriptions
        self.replays: list[Replay] = []
        self.eager = False


class Compiled:
    """What `compile` returns: called like ``function``, it replays what that did before."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self._patterns: OrderedDict[Any, list[Variant]] = OrderedDict()
        self._lock = threading.RLock()
        self._warned = False

    @property
    def replaying(self) -> bool:
        """Whether there is a program that later calls replay."""
        return any(variant.replays for variants in self._patterns.values() for variant in variants)

    @property
    def fast_source(self) -> str:
        """The source of the program that was used last, as it is replayed; "" if there is none yet."""
        replays = [r for variants in reversed(self._patterns.values()) for v in variants for r in v.replays]
        return replays[0].form.source if replays else ""

    def __repr__(self) -> str:
        return f"<compiled {getattr(self.function, '__name__', self.function)!s}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if recorders and recorder():  # inside another compiled function: part of its program
            return self.function(*args, **kwargs)
        with self._lock:
            variant = self._variant(args, kwargs)
            if variant.eager:
                return self.function(*args, **kwargs)
            holes, shape = _arguments(args, kwargs)
            try:
                for replay in variant.replays:
                    results = replay(holes)
                    if results is not None:
                        return _put_back(replay.returned.shape, results)
            except (ArithmeticError, IndexError, ValueError):  # run as it is, 1/0 is inf, and a wrong label explained
                return self.function(*args, **kwargs)
            with _no_collection():
                return self._recorded(variant, args, kwargs, holes)

    # -- recording -----------------------------------------------------------------------------------------------------

    def _variant(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Variant:
        key = (
            not paused or is_recording(),
            *[(x.shape, x.dtype.char) if type(x) is ndarray else kind_of(x) for x in args],
        )
        if kwargs:
            key += tuple((name, kind_of(x)) for name, x in kwargs.items())
        variants = self._patterns.get(key)
        if variants is None:
            variants = self._patterns[key] = []
            if len(self._patterns) > PATTERNS:
                self._patterns.popitem(last=False)
        else:
            self._patterns.move_to_end(key)
        for variant in variants:
            if variant.surroundings.same():
                return variant
        variants.insert(0, Variant(Surroundings(self.function)))
        del variants[VARIANTS:]
        return variants[0]

    def _recorded(self, variant: Variant, args: tuple[Any, ...], kwargs: dict[str, Any], holes: Sequence[Any]) -> Any:
        """Run the function, recording; when it does the same work as in an earlier run, make a program of it."""
        try:
            run = Run(self.function, args, kwargs)
        except Exception as error:  # noqa: BLE001 - what tracing trips over may be fine without
            result = self.function(*args, **kwargs)  # if it is not, this raises what is wrong
            return self._gave_up(variant, _told(error), result)
        described = run.description()
        results = Returned(run).values(Recorded(run), [getattr(x, "_data", x) for x in run.results], holes)
        if any(described == earlier for earlier in variant.runs):
            loose = _loose_arrays(run, variant.surroundings)
            if loose:
                self._gave_up(variant, loose, None)
            else:
                variant.replays.append(Replay(run, is_recording()))
                del variant.replays[:-VARIANTS]
        else:
            variant.runs.append(described)
            if len(variant.runs) >= TRIES:
                self._gave_up(
                    variant,
                    f"it did something else in each of {TRIES} runs (random numbers of its own, counters?)",
                    None,
                )
        return _put_back(run.shape, results)

    def _gave_up(self, variant: Variant, reason: str, result: Any) -> Any:
        variant.eager = True
        variant.runs.clear()
        if not self._warned:
            self._warned = True
            warnings.warn(f"{self!r} runs as it is, not compiled: {reason}", RuntimeWarning, stacklevel=5)
        return result


def _arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], Any]:
    """The arrays and numbers among the arguments, in order."""
    if not kwargs and all([type(x) is ndarray for x in args]):
        return list(args), None
    holes: list[Any] = []
    return holes, pattern((args, kwargs), holes)


def _put_back(shape: Any, results: Sequence[Any]) -> Any:
    return filled_in(shape, results) if type(shape) in (list, tuple, dict) else results[0]


def _loose_arrays(run: Run, surroundings: Surroundings) -> str:
    """Why arrays that the function makes could be out of date in a replay; "" if they can't."""
    seen = surroundings.arrays
    constants = run.constants()
    made = [a for a in constants if id(a) not in seen]
    read = {id(a) for a in constants}
    sources = [a for i, a in seen.items() if i not in read]
    if made and sources:
        return (
            f"it computes an array of shape {made[0].shape} by plain NumPy, perhaps from an array of shape "
            f"{sources[0].shape} around it, which may change; pass that as an argument"
        )
    return ""


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Without the cyclic garbage collector, which would look again and again through what is still being built."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _told(error: Exception) -> str:
    """An error and the user's line that it came from."""
    ours = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(PACKAGE)]
    if not ours:
        return str(error)
    frame = ours[-1]
    text = linecache.getline(frame.filename, frame.lineno or 0).strip()
    return f"{error}\n  {frame.filename}:{frame.lineno}: {text}"


def compile(function: Callable[..., Any]) -> Compiled:
    """Record what ``function`` does, and from its third call on replay that, in memory that is kept.

    ``function`` takes arrays and numbers, in lists, tuples and dictionaries too, and returns Values; a Module is such a
    function. What comes back can be differentiated like any other Value: it is one operation, whose inputs are the
    parameters that the function reads. Each pattern of shapes and dtypes has a program of its own. Parameters are read at
    each call, random numbers of layers such as `Dropout` drawn anew; where a branch on a Value goes another way, or
    something around the function has changed, it is recorded again. What can't be replayed runs as it is, after one
    warning that says why. Other effects, such as printing, happen only while it records.

    >>> import tinygrad_wb as wb
    >>> w = wb.Value([1.0, 2.0])
    >>> @wb.compile
    ... def loss_of(x):
    ...     return wb.sum(wb.tanh(w * x))
    >>> for _ in range(4):
    ...     loss = loss_of(3.0)
    >>> loss.backward()
    >>> loss.op, w.grad.round(4)
    (<operation compiled>, array([0.0296, 0.    ]))
    """
    if isinstance(function, Compiled):
        return function
    if not callable(function):
        raise TypeError(f"compile: a function or a model is wanted, got {function!r:.80}")
    return Compiled(function)
