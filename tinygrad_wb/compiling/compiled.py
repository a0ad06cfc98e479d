"""`compile`: a function whose arithmetic is done by a program. There are several ways; a `Compiled` takes one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, overload

from tinygrad_wb.compiling.follow import Followed
from tinygrad_wb.compiling.known import Known
from tinygrad_wb.compiling.promised import Promised
from tinygrad_wb.compiling.tracing import Run
from tinygrad_wb.decorated import Decorated
from tinygrad_wb.following import PASSING
from tinygrad_wb.program.program import Program
from tinygrad_wb.recording import noters, placing, recorders, this_thread
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Compiled", "Report", "Way", "compile", "compiled_step"]


class Way(Protocol):
    """How a compiled function is called: `Followed`, `Known` or `Promised`."""

    @property
    def name(self) -> str:
        """One word for it."""

    @property
    def reason(self) -> str:
        """Why it is this way, or why a program can't do the arithmetic."""

    @property
    def programs(self) -> list[str]:
        """The sources of the programs, the one that was used last at the end."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


class Report(NamedTuple):
    """What a compiled function does: its ``way``, the ``reason``, how many ``programs`` it has, and how many ``calls``.

    The way is "followed", "known", "promised", or "eager" where programs come to nothing. The reason is a sentence,
    with the line of the user's code where there is one, or "".
    """

    way: str
    reason: str
    programs: int
    calls: int

    def __str__(self) -> str:
        programs = f"{self.programs} program{'' if self.programs == 1 else 's'}"
        calls = f"{self.calls:,} call{'' if self.calls == 1 else 's'}"
        return f"{self.way}: {programs} for {calls}{'; ' if self.reason else ''}{self.reason}"


class Compiled(Decorated):
    """What `compile` returns. It is called like ``function``; a program does the arithmetic."""

    def __init__(self, function: Callable[..., Any], pure: bool = False, way: Way | None = None) -> None:
        super().__init__(function, Compiled, function, pure)
        self.function = function
        self.way: Way = way or (Promised if pure else Followed)(function)
        self._calls = 0

    def program(self, *args: Any, **kwargs: Any) -> Program:
        """The readable program of a call with these arguments; its gradients are by the parameters.

        Raises ``TypeError`` where the function does what can't be replayed.
        """
        run = Run(self.function, args, kwargs)
        values = [x for x in run.results if type(x) is Value and x.inputs]
        result = next((x for x in values if x.shape == ()), values[0])
        return Program(result, sys._getframe(1), run.fixed())

    def report(self) -> Report:
        """How it is called, and why.

        >>> import tinygrad_wb as wb
        >>> w = wb.Value(2.0)
        >>> double = wb.compile(lambda x: w * x, pure=True)
        >>> y = [double(x) for x in (1.0, 2.0)]
        >>> print(double.report())
        promised: 1 program for 2 calls
        """
        return Report(self.way.name, self.way.reason, len(self.way.programs), self._calls)

    def __sizeof__(self) -> int:
        """Its bytes with those of the function, which may be a Module."""
        return object.__sizeof__(self) + sys.getsizeof(self.function)

    @property
    def replaying(self) -> bool:
        """Whether there is a program that later calls use."""
        return bool(self.way.programs)

    @property
    def fast_source(self) -> str:
        """The source of the program that was used last; "" if there is none yet."""
        return (self.way.programs or [""])[-1]

    def __repr__(self) -> str:
        return f"<compiled {getattr(self.function, '__name__', self.function)!s}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if (recorders or placing or noters) and _is_part_of_another():
            return self.function(*args, **kwargs)
        self._calls += 1
        return self.way(*args, **kwargs)

    PASSING.add(__call__.__code__)


def _is_part_of_another() -> bool:
    """Whether this thread traces or follows a function, so that a call is part of it, or asks for source lines."""
    thread = this_thread()
    return thread in recorders or thread in placing or thread in noters


def compiled_step(step: Callable[..., Any], model: Any, loss: Any, pure: bool) -> Compiled:
    """A training step of ``model`` and ``loss``, known if these are the package's own; promised if it is ``pure``."""
    model = model.function if isinstance(model, Compiled) else model

    def otherwise() -> Way:
        return Promised(step) if pure else Followed(step, at_once=True)

    return Compiled(step, way=Known(step, (model, loss), otherwise))


@overload
def compile(function: Callable[..., Any], pure: bool = False) -> Compiled: ...
@overload
def compile(function: None = None, *, pure: bool = False) -> Callable[[Callable[..., Any]], Compiled]: ...
def compile(function: Any = None, pure: bool = False) -> Any:
    """Let a program do the arithmetic of ``function``, gradients too, in memory that is kept.

    ``function`` takes and returns anything; a Module is such a function. What comes back can be differentiated like any
    other Value. The function's Python runs in each call, so that all but the arithmetic is as without compiling:
    branches, random numbers, counters, errors. A call that does other operations than those before runs as it is, and
    its way is known from then on.

    With ``pure=True`` the function is traced, once for each pattern of shapes and dtypes, and its Python runs no more.
    You promise three things, as to jax.jit. Python runs only while the function is traced. Arrays and floats come in as
    arguments; they are Values while it is traced. Everything else that it reads is constant, but for parameters, the
    random numbers of layers such as `Dropout`, and branches on Values. `ReplayError` is raised for a function that
    can't be traced, and where a spot check (calls 3, 10, 30, 100, …) finds that the promise is broken.

    Raises ``TypeError`` for what can't be called.

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
    if function is None:
        return lambda function: compile(function, pure)
    if isinstance(function, Compiled):
        return compile(function.function, pure) if pure else function
    if not callable(function):
        raise TypeError(f"compile: a function or a model is wanted, got {function!r:.80}")
    return Compiled(function, pure)
