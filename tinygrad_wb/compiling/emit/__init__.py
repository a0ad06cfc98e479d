"""Emitters: each makes of a plan something that runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Executable"]


@dataclass(frozen=True)
class Executable:
    """A program that runs: its ``source``, and the ``function`` that it is."""

    source: str
    function: Callable[..., Any]
