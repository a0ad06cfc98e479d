"""`Value.breakpoint`: where ``backward()`` stops."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from tinygrad_wb.debug.report import user_frame
from tinygrad_wb.debug.stepper import Stepper
from tinygrad_wb.debug.terminal import Session, kept
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
    chosen = "PYTHONBREAKPOINT" in os.environ or sys.breakpointhook is not sys.__breakpointhook__
    if chosen:
        sys.breakpointhook()  # noqa: T100 - it is what was asked for
    else:
        _in_stepper(loss, value)
    # backward() goes on when the debugger does


def _in_stepper(loss: Value, value: Value) -> None:
    """Stop in the stepper, after the step that made the gradient of ``value`` complete."""
    stepper = Stepper(loss, loss.grad)
    complete = max((i for i, step in enumerate(stepper, 1) if step.input is value), default=0)
    stepper.go_to(complete)
    session = Session(stepper, user_frame(), kept)
    session.interact()
    if session.quitting:
        raise SystemExit(0)
