"""`Value.breakpoint`: where ``backward()`` stops."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tinygrad_wb.on_gradient import Listener

if TYPE_CHECKING:
    from collections.abc import Callable

    from tinygrad_wb.value import Value

__all__ = ["breakpoint"]


def breakpoint(self: Value, when: Callable[[Any], Any] | None = None) -> Listener:
    """Let ``backward()`` stop where this Value's gradient is known and not yet handed on, if ``when(gradient)`` holds.

    Without ``when`` it stops each time. It stops in Python's own ``breakpoint()``, so in what ``PYTHONBREAKPOINT`` names
    (0 is for none), in a frame that has ``loss``, ``value`` and ``gradient``; what was computed later than the Value
    has its ``.grad`` by then. Returns a `Listener`, whose ``remove()`` takes the breakpoint away.
    """
    if when is not None and not callable(when):
        raise TypeError(f"breakpoint(when): a function of the gradient is wanted, got {when!r:.80}")

    def stop(loss: Value, value: Value, gradient: Any) -> None:
        if when is None or when(gradient):
            _stop(loss, value, gradient)

    return Listener(self, stop)


def _stop(loss: Value, value: Value, gradient: Any) -> None:
    sys.breakpointhook()
    # backward() goes on when the debugger does
