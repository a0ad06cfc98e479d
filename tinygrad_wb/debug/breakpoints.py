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
    """What `Value.breakpoint` does; the package attaches it, and loads this on use."""
    if when is not None and not callable(when):
        raise TypeError(f"breakpoint(when): a function of the gradient is wanted, got {when!r:.80}")

    def stop(loss: Value, value: Value, gradient: Any) -> None:
        if when is None or when(gradient):
            _stop(loss, value, gradient)

    return Listener(self, stop)


def _stop(loss: Value, value: Value, gradient: Any) -> None:
    sys.breakpointhook()  # noqa: T100 - it is what was asked for
    # backward() goes on when the debugger does
