"""All or nothing: what a file does not fit is collected, and only if that is nothing are the numbers taken over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_wb.errors import LoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from tinygrad_wb.saving.files import Entry

__all__ = ["Fitting"]

MOST = 50  # names that are listed, of those that nobody asked for: a file may hold any number


class Fitting:
    """Arrays that are there (``entries``), and what wants them.

    Each `take` notes a want and where it is to go, `problem` what is wrong; `finish` raises ``LoadError`` with every
    problem, or fetches all arrays and then hands them over.
    """

    def __init__(self, what: str, entries: Mapping[str, Entry]) -> None:
        self.what = what
        self.entries = entries
        self.problems: list[str] = []
        self.taken: dict[str, Callable[[Any], Any]] = {}
        self.afterwards: list[Callable[[], Any]] = []

    def problem(self, text: str) -> None:
        self.problems.append(text)

    def take(self, name: str, wanted: Entry, write: Callable[[Any], Any], casting: bool = False) -> None:
        """The array ``name`` goes to ``write``, if it is as ``wanted``; with ``casting``, of any floating type."""
        self.taken[name] = write
        found = self.entries.get(name)
        if found is None:
            self.problem(f"{_quoted(name)} is missing")
        elif found.shape != wanted.shape or (found.dtype != wanted.dtype and not (casting and _floats(found, wanted))):
            self.problem(f"{_quoted(name)} is {found}, wanted is {wanted}")

    def then(self, act: Callable[[], Any]) -> None:
        """What is to be done once everything fits, and the arrays are handed over."""
        self.afterwards.append(act)

    def refuse_others(self, names: Collection[str]) -> None:
        """Those of ``names`` that nothing took are a problem."""
        others = [name for name in names if name not in self.taken]
        for name in others[:MOST]:
            self.problem(f"{_quoted(name)} is not wanted (it is {self.entries[name]})")
        if others[MOST:]:
            self.problem(f"and {len(others) - MOST:,} more are not wanted")

    def finish(self, array: Callable[[str], Any]) -> None:
        if self.problems:
            raise LoadError(f"{self.what}; nothing was changed:\n  " + "\n  ".join(self.problems))
        fetched = [(write, array(name)) for name, write in self.taken.items()]
        for write, found in fetched:
            write(found)
        for act in self.afterwards:
            act()


def _floats(*entries: Entry) -> bool:
    return all("float" in entry.dtype for entry in entries)  # bfloat16, too


def _quoted(name: str) -> str:
    return repr(name) if len(name) <= 80 else f"{name[:80]!r}…"
