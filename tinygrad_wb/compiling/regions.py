"""Regions: a stretch of a course that one call of a package's module makes, and that is noted as a whole.

What such a module does depends on its arguments and its settings alone. If these are as they were, so is each of its
operations, and none need be looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from numpy import ndarray

from tinygrad_wb.compiling.entries import ARRAY, GIVEN, MADE, OBSERVE, Entry, Like, all_below, changed_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tinygrad_wb.compiling.guards import Guard
    from tinygrad_wb.nn.module import Module
    from tinygrad_wb.value import Value

__all__ = ["Region", "region_of"]


class Region(NamedTuple):
    """The entries that a call of ``module`` makes, up to ``last``; ``result`` is what it returns."""

    module: Module  # held, so that it keeps its identity
    guard: Guard
    known: tuple[Any, ...]  # of each argument the entry or Value that it must be; None for an array
    taken: tuple[tuple[int, int, Like], ...]  # which argument is given at which place, and how it must be
    changed: tuple[Value, ...]  # by what is observed in it
    last: Entry
    result: Entry

    def entered(self, args: Sequence[Any], given: list[Any]) -> bool:
        """Whether a call with ``args`` is this one. If so, arrays among them stand in ``given``."""
        if len(args) != len(self.known):
            return False
        for x, known in zip(args, self.known):
            if known is not None and x is not (known.value if type(known) is Entry else known):
                return False
        for position, _, like in self.taken:
            x = args[position]
            if type(x) is not ndarray or x.shape != like.shape or x.dtype != like.dtype:
                return False
            if like.below is not None and not all_below(x, like.below):
                return False
        if not self.guard.same():
            return False
        for position, place, _ in self.taken:
            given[place] = args[position].copy()
        return True


def region_of(
    module: Module, guard: Guard, known: Sequence[Any], entries: Sequence[Entry], taken: Any, result: Entry
) -> Region | None:
    """The region of one call; None if something in it comes from elsewhere than ``known`` arguments and settings.

    ``taken`` has the position of the argument that is given at a place, by place.
    """
    inside = set(entries)
    places = []
    for entry in entries:
        place = entry.first
        for kind, source in zip(entry.kinds, entry.sources, strict=True):
            if kind is MADE and source not in inside and not any(source is x for x in known):
                return None
            if kind in GIVEN:
                if kind is not ARRAY or place not in taken:
                    return None
                places.append((taken[place], place, source))
                place += 1
    if any(x is None and position not in [p for p, _, _ in places] for position, x in enumerate(known)):
        return None
    changed = tuple([x for entry in entries if entry.op is OBSERVE for x in changed_by(entry.options["tell"])])
    return Region(module, guard, tuple(known), tuple(places), changed, entries[-1], result)
