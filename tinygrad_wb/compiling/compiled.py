"""`compile`: record a function twice, and from then on replay the record."""

from __future__ import annotations

import linecache
import sys
import threading
import traceback
import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from numpy import ndarray

from tinygrad_wb.compiling.executable import Recorded, Replay, Returned
from tinygrad_wb.compiling.surroundings import Surroundings, moved, put_back, states
from tinygrad_wb.compiling.tracing import Run, Terms, tell
from tinygrad_wb.compiling.tree import kind_of, others, pattern
from tinygrad_wb.following import PASSING
from tinygrad_wb.decorated import Decorated
from tinygrad_wb.memory import without_collection
from tinygrad_wb.notices import GradientWarning
from tinygrad_wb.numpy_warnings import at_the_users_line
from tinygrad_wb.program.program import Program
from tinygrad_wb.recording import PACKAGE, is_recording, paused, placing, recorder, recorders, this_thread
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Compiled", "compile"]

PATTERNS = 32  # of arguments, that programs are kept for
VARIANTS = 8  # programs for one pattern: for other branches, other surroundings
DRAWS = 3  # runs in a row that draw random numbers; fewer may come from another thread
TRIES = 6  # runs that turn out to be different work, and come to nothing


class Variant:
    """The runs and programs of one pattern of arguments, in surroundings that have not changed since.

    ``changes`` is how many variants before it, one after another, came to nothing.
    """

    def __init__(self, surroundings: Surroundings, changes: int = 0) -> None:
        self.surroundings = surroundings
        self.changes = changes
        self.runs: list[Any] = []  # descriptions
        self.replays: list[tuple[Terms, Replay]] = []
        self.eager = False
        self.moved = 0  # runs in a row in which a random generator advanced
        self.rolls = False  # a replay may draw random numbers and then find that it does not fit


class Compiled(Decorated):
    """What `compile` returns: called like ``function``, it replays what that did before."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function, Compiled, function)
        self.function = function
        self._patterns: OrderedDict[Any, list[Variant]] = OrderedDict()
        self._wasted = 0  # patterns that came to nothing
        self._lock = threading.RLock()
        self._warned = False

    def program(self, *args: Any, **kwargs: Any) -> Program:
        """The readable program of a call with these arguments; its gradients are by the parameters.

        Raises ``TypeError`` where the function does what can't be replayed.
        """
        run = Run(self.function, args, kwargs)
        values = [x for x in run.results if type(x) is Value and x.inputs]
        result = next((x for x in values if x.shape == ()), values[0])
        return Program(result, sys._getframe(1), run.fixed())

    def __sizeof__(self) -> int:
        """Its bytes with those of the function, which may be a Module."""
        return object.__sizeof__(self) + sys.getsizeof(self.function)

    @property
    def replaying(self) -> bool:
        """Whether there is a program that later calls replay."""
        return any(variant.replays for variants in self._patterns.values() for variant in variants)

    @property
    def fast_source(self) -> str:
        """The source of the program that was used last, as it is replayed; "" if there is none yet."""
        replays = [r for variants in reversed(self._patterns.values()) for v in variants for _, r in v.replays]
        return replays[0].form.source if replays else ""

    def __repr__(self) -> str:
        return f"<compiled {getattr(self.function, '__name__', self.function)!s}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if recorders and recorder():  # inside another compiled function: part of its program
            return self.function(*args, **kwargs)
        if placing and this_thread() in placing:  # somebody wants to see its operations, line by line
            return self.function(*args, **kwargs)
        with self._lock:
            variant = self._variant(args, kwargs)
            if not variant.eager:
                holes = _arguments(args, kwargs)
                try:
                    before = states(variant.surroundings.generators) if variant.rolls else None
                    for terms, replay in variant.replays:
                        if replay.unsettled:
                            replay.settle()
                        given = terms.fitting()
                        if given is not None:
                            results = replay(holes, given)
                            if results is not None:
                                return terms.returned(results)
                            if before:
                                put_back(variant.surroundings.generators, before)
                except (ArithmeticError, IndexError, ValueError):
                    pass  # run as it is, 1/0 is inf, and a wrong label explained
                else:
                    with without_collection():
                        return self._recorded(variant, args, kwargs, holes)
        return self.function(*args, **kwargs)

    PASSING.add(__call__.__code__)

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
                _, dropped = self._patterns.popitem(last=False)
                self._wasted += not any(variant.replays for variant in dropped)
        elif len(self._patterns) > 1:
            self._patterns.move_to_end(key)
        for variant in variants:
            if variant.surroundings.same():
                return variant
        return self._new_variant(variants, others(pattern((args, kwargs), [])))

    def _new_variant(self, variants: list[Variant], objects: Iterable[Any]) -> Variant:
        variant = Variant(Surroundings(self.function, *objects))
        reason = variant.surroundings.refusal
        if variants:
            before = variants[0]
            variant.changes = 0 if before.replays else before.changes + 1
            if variant.changes >= TRIES:
                reason = f"{before.surroundings.changed()} around it changes from call to call; pass it as an argument"
                variant.surroundings.forget()
        elif self._wasted > PATTERNS:
            reason = "it is called with other whole numbers, texts or objects each time; give numbers as floats"
            variant.surroundings.forget()
        variants.insert(0, variant)
        del variants[VARIANTS:]
        if reason:
            self._gave_up(variant, reason)
        return variant

    def _recorded(self, variant: Variant, args: tuple[Any, ...], kwargs: dict[str, Any], holes: Sequence[Any]) -> Any:
        """Run the function, recording; when it does the same work as in an earlier run, make a program of it."""
        generators = variant.surroundings.generators
        before = states(generators)
        try:
            run = Run(self.function, args, kwargs)
        except GradientWarning:
            raise  # the user wants these to be errors
        except Exception as error:  # noqa: BLE001 - what tracing trips over may be fine without
            put_back(generators, before)
            result = self.function(*args, **kwargs)  # if it is not, this raises what is wrong
            self._gave_up(variant, _told(error))
            return result
        tell(run.observers, [x._data for x in run.observed])
        described, terms = run.description(), Terms(run)
        results = Returned(run).values(Recorded(run), [getattr(x, "_data", x) for x in run.results], holes)
        if moved(generators, before, [draw for _, draw in run.recorder.draws]):
            variant.moved += 1
            if variant.moved == DRAWS:
                self._gave_up(variant, "it draws random numbers of its own; pass them as arguments")
            return terms.returned(results)
        variant.moved = 0
        if any(described == earlier for earlier in variant.runs):
            variant.runs.remove(described)  # as long as the record itself
            self._prepare(variant, run, terms)
        else:
            variant.runs.append(described)
            if len(variant.runs) >= TRIES:
                self._gave_up(variant, f"it did something else in each of {TRIES} runs")
        return terms.returned(results)

    def _prepare(self, variant: Variant, run: Run, terms: Terms) -> None:
        """Make a program of a run."""
        try:
            variant.replays.append((terms, at_the_users_line(Replay)(run, is_recording())))
        except Exception as error:  # noqa: BLE001 - a shortcoming of ours need not stop the user
            self._gave_up(variant, f"there is no program for it ({type(error).__name__}: {error})")
            return
        del variant.replays[:-VARIANTS]
        variant.rolls = variant.rolls or bool(run.recorder.draws and run.recorder.decisions)

    def _gave_up(self, variant: Variant, reason: str) -> None:
        variant.eager = True
        variant.runs.clear()
        if not self._warned:
            self._warned = True
            warnings.warn(f"{self!r} runs as it is, not compiled: {reason}", RuntimeWarning, stacklevel=_levels())


def _levels() -> int:
    """How many calls up the code outside of this package stands."""
    frame: Any = sys._getframe(1)
    level = 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame, level = frame.f_back, level + 1
    return level


def _arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The arrays and numbers among the arguments, in order."""
    if not kwargs and all([type(x) is ndarray for x in args]):
        return list(args)
    holes: list[Any] = []
    pattern((args, kwargs), holes)
    return holes


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
    parameters that the function reads. Each pattern of shapes and dtypes has a program of its own. Parameters are read
    at each call, random numbers of layers such as `Dropout` drawn anew; where a branch on a Value goes another way, or
    something that the code can see around it has changed (arrays are compared whole), it is recorded again. What can't
    be replayed runs as it is, after one warning that says why. While it records, arrays and floats that it is given are
    Values. Other effects, such as printing, happen only then.

    >>> import tinygrad_wb as wb
    >>> w = wb.Value([1.0, 2.0])
    >>> @wb.compile
    ... def loss_of(x):
    ...     return wb.sum(wb.tanh(w * x))
    >>> for _ in range(4):
    ...     loss = loss_of(3.0)
    >>> loss.backward()
    >>> loss.op, w.grad.round(4)
    (<operation compiled>, array([0.0296, 0.0001]))
    """
    if isinstance(function, Compiled):
        return function
    if not callable(function):
        raise TypeError(f"compile: a function or a model is wanted, got {function!r:.80}")
    return Compiled(function)
