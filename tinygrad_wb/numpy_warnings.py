"""NumPy's warnings about numbers (overflow, 1/0, nan made of numbers) at the user's own line.

NumPy warns at the innermost line of Python, which is a line of this package while the package computes. So meanwhile
the "warn" of ``np.errstate`` is "log", and the log warns at the user's line. What the user wants ignored, raised or
called stays so. In a computation of several steps, such as a sigmoid or a partial, underflow to 0 is the right answer:
there it is ignored. An operation that is a single ufunc keeps NumPy's setting.

``with np.errstate(…)`` takes 0.8 µs, half of a small operation. What it sets is a context variable, and setting that
takes 0.15 µs. It is private: where a later NumPy has no such name, its warnings name lines of this package again.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from tinygrad_wb.notices import warn_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
R = TypeVar("R")

__all__ = [
    "OF_STEPS", "OF_UFUNC", "SILENT", "as_numpy", "at_the_users_line", "enter", "leave", "only_warns", "silent",
    "state", "warned",
]  # fmt: skip

VARIABLE: ContextVar[Any] = getattr(np._core.umath, "_extobj_contextvar", None) or ContextVar("unused", default=None)  # type: ignore[attr-defined]
state, enter, leave = VARIABLE.get, VARIABLE.set, VARIABLE.reset

MOST = 64  # states that are remembered; each `with np.errstate(…)` of the user's has one of its own


class Log:
    """What NumPy writes its warnings to: ``Warning: overflow encountered in exp``."""

    def write(self, text: str) -> None:
        warn_user(text.strip().removeprefix("Warning: "), RuntimeWarning)


class States(dict[Any, Any]):
    """For each state of ``np.errstate``, the one that the package computes in; ``settings`` are what it changes."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def __missing__(self, given: Any) -> Any:
        if len(self) >= MOST:
            self.clear()
        token = enter(given)  # another one may be in force
        try:
            return self._made_from(given)
        finally:
            leave(token)

    def _made_from(self, given: Any) -> Any:
        kinds: dict[str, str] = dict(np.geterr())  # type: ignore[arg-type]
        if self.settings and all(kinds[kind] == what for kind, what in self.settings.items()):
            found = self[given] = OF_UFUNC[given]  # one state for both, so that one can be inside the other
            return found
        changed = dict(self.settings)
        if not {"call", "log"} & set(kinds.values()):  # otherwise the user has a handler of their own
            changed |= {kind: "log" for kind, what in kinds.items() if what == "warn" and kind not in changed}
            changed["call"] = Log()
        with np.errstate(**changed):
            found = state()
        self[given] = self[found] = found
        return found


OF_UFUNC, OF_STEPS = States(), States(under="ignore")
with np.errstate(all="ignore"):
    SILENT = state()  # made once, so that what belongs to it is looked up once, too


@contextlib.contextmanager
def silent(on: bool) -> Iterator[None]:
    """A block without NumPy's warnings; unless it is ``on``, with those that there are."""
    token = enter(SILENT if on else state())
    try:
        yield
    finally:
        leave(token)


class OnlyWarns(dict[Any, bool]):
    """For each state of ``np.errstate``, whether no number raises in it, or calls a function of the user's."""

    def __missing__(self, given: Any) -> bool:
        kinds = set(np.geterr().values())
        if len(self) >= MOST:
            self.clear()
        own = isinstance(np.geterrcall(), Log)
        self[given] = kinds <= ({"ignore", "warn", "log"} if own else {"ignore", "warn"})
        return self[given]


_only_warns = OnlyWarns()
TEXTS = [f"{what} encountered in exp" for what in ("overflow", "underflow", "divide by zero", "invalid value")]
_looked_at: list[Any] = [None, False]  # filters of warnings, and whether one of NumPy's warnings raises by them


def only_warns() -> bool:
    """Whether an overflow, or a nan, is at most shown: no exception comes of it, and no function is called."""
    if warnings.filters != _looked_at[0]:
        _looked_at[:] = list(warnings.filters), any(map(_raises, TEXTS))
    return not _looked_at[1] and _only_warns[state()]


def _raises(text: str) -> bool:
    """Whether a warning of NumPy's with this text is an error, by the first filter for it, whatever the module."""
    for action, message, category, _, _ in warnings.filters:
        if issubclass(RuntimeWarning, category) and (message is None or message.match(text)):
            return action == "error"
    return False


def warned(states: States, function: Callable[..., R], *args: Any) -> R:
    """``function(*args)``, with NumPy's warnings at the user's line. Where that is so already, it is a plain call."""
    given = state()
    wanted = states[given]
    if wanted is given:
        return function(*args)
    token = enter(wanted)
    try:
        return function(*args)
    finally:
        leave(token)


def at_the_users_line(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, which computes in many steps, with NumPy's warnings at the user's line."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        token = enter(OF_STEPS[state()])
        try:
            return function(*args, **kwargs)
        finally:
            leave(token)

    return call


def as_numpy(function: Callable[..., Any], *numbers: float) -> float:
    """What NumPy makes of ``numbers`` for which Python's own arithmetic raises: inf or nan, with a warning."""
    return float(warned(OF_UFUNC, function, *numbers))
