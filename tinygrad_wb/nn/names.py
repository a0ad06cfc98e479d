"""Finding a thing by the name that a user gave: a layer's activation, an initializer, a loss, a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["named"]


def named(kind: str, wanted: Any, table: Mapping[str, Any]) -> Any:
    """The row of ``table`` called ``wanted``, or ``wanted`` itself if it can be called.

    ``ValueError`` for an unknown name suggests the nearest; ``TypeError`` for what is neither.
    """
    if isinstance(wanted, type):
        raise TypeError(f"{kind} must be a name or a function, got the class {wanted.__name__}: make one of it")
    if callable(wanted):
        return wanted
    if not isinstance(wanted, str):
        raise TypeError(f"{kind} must be a name or a function, got {wanted!r:.80}")
    if wanted not in table:
        import difflib  # slow to import, and wanted only here

        near = difflib.get_close_matches(wanted.lower(), table, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown {kind} {wanted!r:.80}: {hint}There are: {', '.join(sorted(table))}")
    return table[wanted]
