"""Warnings about what the user's code is about to lose, each at the user's own line."""

from __future__ import annotations

import sys
import warnings

from tinygrad_wb.recording import outside

__all__ = ["GradientWarning", "warn_user"]


class GradientWarning(UserWarning):
    """The code goes on, but a gradient, a parameter or a measurement is not what it looks like; the text says why."""


def warn_user(message: str, category: type[Warning] = GradientWarning) -> None:
    """Warn at the innermost line outside this package, once for each line and text.

    Python's own filters decide what becomes of it: ``warnings.simplefilter("error", wb.GradientWarning)`` makes it an
    error.
    """
    frame = outside(sys._getframe(1))
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        frame.f_globals.get("__name__", "<string>"),
        registry,
    )
