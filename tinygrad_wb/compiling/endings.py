"""Endings of a course: where the function has returned, and which of the Values that it made the user holds then."""

from __future__ import annotations

from _weakref import getweakrefcount
from sys import getrefcount
from typing import TYPE_CHECKING, NamedTuple

from tinygrad_wb.compiling.entries import OBSERVE

if TYPE_CHECKING:
    from tinygrad_wb.compiling.course_program import CourseProgram
    from tinygrad_wb.compiling.entries import Entry, Node
    from tinygrad_wb.value import Value

__all__ = ["Ending", "Finished"]


class Ending:
    """A place where the function has returned: the ``results`` that were held then, and the program for them.

    Pending Values are made once, and used in each call. One that is held more often than when nobody knew it is held by
    the user.
    """

    __slots__ = ("_alone", "_path", "_usual", "_values", "met", "node", "program", "refusal", "results")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.results: dict[Entry, None] = {}
        self.program: CourseProgram | None = None
        self.met = 0  # times
        self.refusal = ""  # why there is no program
        self._path = [entry for entry in node.path() if entry.op is not OBSERVE]
        self.list_values()
        self.count()

    def list_values(self) -> None:
        """List the pending Values of the course up to here."""
        self._values = [entry.value for entry in self._path]
        for i, entry in enumerate(self._path):
            entry.listed.append((self._values, i))

    def count(self) -> None:
        """Count how often each pending Value is held, while the user holds none."""
        self._alone = self._usual = list(map(getrefcount, self._values))

    def held_besides(self) -> list[Entry]:
        """The entries whose Values the user holds, and which are not among the results."""
        counts = list(map(getrefcount, self._values))
        weak = any(map(getweakrefcount, self._values))
        if counts == self._usual and not weak:
            return []
        found = [
            entry
            for entry, value, count, alone in zip(self._path, self._values, counts, self._alone, strict=True)
            if (count > alone or (weak and getweakrefcount(value))) and entry not in self.results
        ]
        if not found and not weak:
            self._usual = counts
        return found


class Finished(NamedTuple):
    """The program of an ending that has run before the function returned, and the Values that it made."""

    ending: Ending
    results: dict[Entry, Value]
