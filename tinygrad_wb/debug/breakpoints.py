"""`Value.breakpoint`: where ``backward()`` stops."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.debug.report import user_frame
from tinygrad_wb.debug.stepper import Stepper
from tinygrad_wb.debug.terminal import Session, kept
from tinygrad_wb.on_gradient import Listener
from tinygrad_wb.value import raw

if TYPE_CHECKING:
    from collections.abc import Callable

    from tinygrad_wb.value import Value

__all__ = ["breakpoint"]


def breakpoint(self: Value, when: Callable[[Any], Any] | None = None) -> Listener:
    """What `Value.breakpoint` does; the package attaches it, and loads this on use."""
    if when is not None and not callable(when):
        raise TypeError(f"breakpoint(when): a function of the gradient is wanted, got {when!r:.80}")

    def stop(loss: Value, seed: Any, value: Value, gradient: Any) -> Any:
        return _stop(loss, seed, value, gradient) if when is None or when(gradient) else None

    return Listener(self, stop)


def _stop(loss: Value, seed: Any, value: Value, gradient: Any) -> Any:
    """Stop; ``backward()`` goes on when the debugger does, with what the gradient was edited to, if it was."""
    chosen = "PYTHONBREAKPOINT" in os.environ or sys.breakpointhook is not sys.__breakpointhook__
    if chosen:
        sys.breakpointhook()  # noqa: T100 - it is what was asked for
        return None
    return _in_stepper(loss, raw(seed), value, raw(gradient))


def _in_stepper(loss: Value, seed: Any, value: Value, gradient: Any) -> Any:
    """Stop in the stepper, after the step that made ``gradient``, that of ``value``, complete."""
    stepper = Stepper(loss, seed)
    here = max(stepper.trace.to[value], default=-1) + 1
    stepper.go_to(here)
    if not np.array_equal(stepper.gradient(value), gradient, equal_nan=True):
        stepper.edit(gradient)  # as `on_gradient` has made it, before
    session = Session(stepper, user_frame(), kept)
    session.interact()
    if session.quitting:
        raise SystemExit(0)
    if set(stepper.edits) - {here}:
        session.say("backward() goes on with what was edited at the breakpoint, not with what was edited elsewhere")
    return stepper.edits.get(here)
