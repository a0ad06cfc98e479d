"""The promised way: the user says that a function is pure, so it is traced, and its Python runs no more.

This is the contract of jax.jit: Python runs while the function is traced; arrays and numbers come in as arguments;
everything else is constant.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from tinygrad_wb.compiling.replayed import Replayed, specialized
from tinygrad_wb.notices import GradientWarning
from tinygrad_wb.recording import PACKAGE, ReplayError, line_with_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from tinygrad_wb.compiling.replayed import Specialization
    from tinygrad_wb.compiling.tracing import Run

__all__ = ["Promised"]

# What a function raises where it takes a Value for an array.
NOT_ARRAYS = TypeError, AttributeError, IndexError


class Promised:
    """A function whose programs are called in its place."""

    name = "promised"
    reason = ""

    def __init__(self, function: Callable[..., Any]) -> None:
        called = getattr(function, "__qualname__", repr(function))
        self._replayed = Replayed(
            function,
            trusted=False,
            blame=lambda what: (
                f"{called} is not pure, though pure=True says so: {what}. Numbers that it reads besides its arguments "
                "and parameters are constant in a program: give them as arguments, or leave pure=True away"
            ),
            trace=_traced,
        )

    @property
    def programs(self) -> list[str]:
        """The sources of the programs, the one that was used last at the end."""
        return self._replayed.programs

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._replayed.lock:
            return self._replayed(args, kwargs)


def _traced(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Run, Specialization]:
    """Trace a function, or say why that can't be, with the line of the user's code."""
    try:
        return specialized(function, args, kwargs)
    except GradientWarning:
        raise  # the user wants these to be errors
    except NOT_ARRAYS as error:
        raise ReplayError(
            f"{getattr(function, '__qualname__', function)!s} can't be traced, as pure=True asks for: {told(error)}\n"
            "While it is traced, arrays and floats are Values. Leave pure=True away, and the function itself runs in "
            "each call"
        ) from error


def told(error: Exception) -> str:
    """An error and the user's line that it came from."""
    ours = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(PACKAGE)]
    if not ours:
        return str(error)
    return f"{error}\n  {line_with_text(ours[-1].filename, ours[-1].lineno or 0)}"
