"""The known way: all that runs in a training step is the package's own, so it is traced, and its Python runs no more.

What such code reads is known: its arguments, parameters, the settings of modules, random generators. A guard looks at
the settings in each call. Where there is anything else, such as a layer of the user's, another way takes over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_wb.compiling.guards import examined
from tinygrad_wb.compiling.replayed import Replayed, specialized
from tinygrad_wb.on_gradient import listened
from tinygrad_wb.random_state import generators_around, put_back, states

if TYPE_CHECKING:
    from collections.abc import Callable

    from tinygrad_wb.compiling.guards import Guard
    from tinygrad_wb.compiling.replayed import Specialization
    from tinygrad_wb.compiling.tracing import Run

__all__ = ["Known"]

CHANGES = 8  # of settings, after which another way takes over


class Untraceable(Exception):  # noqa: N818 - another way takes over, and nothing failed
    """Why a function can't be traced. Nothing has happened: random generators stand where they stood."""


class Known:
    """Calls a function of ``roots``, modules and functions, by programs, as long as they are the package's own.

    ``otherwise`` makes the way that takes over, for good, when they are not.
    """

    def __init__(self, function: Callable[..., Any], roots: tuple[Any, ...], otherwise: Callable[[], Any]) -> None:
        self._roots, self._otherwise = roots, otherwise
        self._guard: Guard | None = None  # until the first call
        self._changes = 0
        self._other: Any = None  # the way that has taken over
        self._why = ""
        self._replayed = Replayed(
            function,
            trusted=True,
            blame=lambda what: (
                f"the program of {type(roots[0]).__name__} is wrong: {what}. compile=False trains without"
            ),
            trace=self._traced,
        )

    @property
    def name(self) -> str:
        """Its word, or that of the way that has taken over."""
        return "known" if self._other is None else str(self._other.name)

    @property
    def reason(self) -> str:
        """Why another way has taken over, or why that one comes to nothing."""
        return str(self._other.reason) if self.name == "eager" else self._why

    @property
    def programs(self) -> list[str]:
        """The sources of the programs, the one that was used last at the end."""
        return self._replayed.programs if self._other is None else list(self._other.programs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._other is None:
            if self._guard is None:
                self._look()
            elif not self._guard.same() or (listened and self._is_listened_to()):
                self._changed()
            if self._other is None:
                try:
                    with self._replayed.lock:
                        return self._replayed(args, kwargs)
                except Untraceable as why:
                    self._give_up(str(why))
        return self._other(*args, **kwargs)

    def _look(self) -> None:
        """Look at what there is now, and guard it."""
        self._guard, why = examined(*self._roots)
        if self._guard is None:
            self._give_up(why)
        elif self._is_listened_to():
            self._give_up("a function listens to the gradient of a parameter")

    def _changed(self) -> None:
        """Something was changed: trace anew, or let another way take over."""
        self._changes += 1
        self._replayed.forget()
        if self._changes < CHANGES:
            self._look()
        else:
            self._give_up("settings of the model change again and again")

    def _give_up(self, why: str) -> None:
        self._why, self._other = why, self._otherwise()

    def _is_listened_to(self) -> bool:
        return self._guard is not None and any(id(p) in listened for p in self._guard.parameters)

    def _traced(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Run, Specialization]:
        generators = generators_around(*self._roots)
        before = states(generators)
        try:
            found = specialized(function, args, kwargs)
        except Exception as error:
            put_back(generators, before)
            raise Untraceable(f"there is no program for it ({type(error).__name__}: {error})") from error
        if self._guard is None or not self._guard.same():  # a module notes that it was called
            self._look()
        return found
