"""`Emitter`: a NumPy program as it is written, which the rules of `lowering` add their lines to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.program.names import Names
from tinygrad_wb.program.source import expression
from tinygrad_wb.program.text import ATOM, literal
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tinygrad_wb.compiling.plan import Step
    from tinygrad_wb.compiling.schedule import Schedule

__all__ = ["Emitter"]


class Emitter:
    """The ``lines`` of a program, and in ``namespace`` what its global names stand for.

    The program takes ``arguments`` (names and leaves), then an array for each of the ``targets`` (names, and the steps
    or leaves that are written there). ``heads`` are its names for all of these, ``filled`` those of a target's arrays.
    """

    def __init__(
        self,
        schedule: Schedule,
        arguments: Sequence[tuple[str, Value]],
        targets: Sequence[tuple[str, Any]],
    ) -> None:
        self.plan, self.live, self.memory = schedule.plan, schedule.live, schedule.memory
        self.lines: list[str] = []
        self.namespace: dict[str, Any] = {"np": np, "math": math}
        self._names = Names({"replay", *self.namespace})
        self.heads = [self._names.new(name) for name, _ in (*arguments, *targets)]
        self._texts: dict[Any, str] = {leaf: head for (_, leaf), head in zip(arguments, self.heads, strict=False)}
        self._depths: dict[Any, int] = {}
        self._made: dict[Any, str] = {}
        self._arrays: dict[int, str] = {}  # names of the memory of results, by identity
        self.filled: dict[Any, list[str]] = {}
        for (_, x), head in zip(targets, self.heads[len(arguments) :], strict=True):
            self.filled.setdefault(x, []).append(head)

    # -- operands -------------------------------------------------------------------------------------------------

    def text(self, x: Any) -> str:
        """What stands for a step, a leaf or a number: a name, or an expression in parentheses."""
        if x in self._texts:
            return self._texts[x]
        if type(x) is Value:  # an array that the function closes over
            self._texts[x] = name = self._names.new(x.name or "", "constant")
            self.namespace[name] = x._data
            return name
        return literal(x, self._of_an_option)[0]

    def depth(self, x: Any) -> int:
        """How many parentheses the text of a number is deep."""
        return self._depths.get(x, 0)

    def expression(self, step: Step) -> str:
        """A step as the readable form has it: its result is a new array, or a number."""
        helpers: dict[str, Any] = {}
        text = self.readable(step, lambda x: self.text(self.plan.of(x)), self._of_an_option, helpers)
        self.namespace |= helpers
        return text

    def readable(
        self, step: Step, operand: Callable[[Any], str], array: Callable[[Any], str], helpers: dict[str, Any]
    ) -> str:
        """A step as the readable form has it, from the texts of its operands and of the arrays among its options."""
        return expression(self.plan.trace, step.node, lambda x: (operand(x), ATOM), array, helpers)[0]

    def _of_an_option(self, a: Any) -> str:
        return self.text(self.plan.of(a))

    # -- lines and names --------------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        """Add a statement, of which further lines are indented already."""
        self.lines.append(text)

    def numbered(self, base: str) -> str:
        """A new name: ``base`` and a number."""
        return self._names.numbered(base)

    def assign(self, text: str, base: str = "a") -> str:
        """Add the line that gives an expression a new name."""
        name = self._names.numbered(base)
        self.lines.append(f"{name} = {text}")
        return name

    def stands_for(self, step: Step, text: str, depth: int = 0) -> None:
        """From now on a step's result is written as ``text``."""
        self._texts[step], self._depths[step] = text, depth

    # -- what the program keeps from call to call -------------------------------------------------------------------

    def keep(self, array: Any, called: str = "view") -> str:
        """A name for an array, or a view of one, that never moves."""
        name = self._names.numbered(called)
        self.namespace[name] = array
        return name

    def once(self, key: Any, make: Callable[[], str]) -> str:
        """What ``make`` returned when it was called for this key, which is at most once."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def function(self, name: str, function: Any) -> str:
        """The name of a function that the program calls."""
        key = ("function", name)
        if key not in self._made:
            self._made[key] = called = self._names.new(name)
            self.namespace[called] = function
        return self._made[key]

    # -- memory -----------------------------------------------------------------------------------------------------

    def place(self, step: Step) -> str:
        """Where a step's result goes: an array of the caller's, or the buffer that it was assigned."""
        if step in self.memory.direct:
            place = self.filled[step][0]
        else:
            array = self.memory.arrays[step]
            place = self._arrays.get(id(array)) or self._remember(array, "b")
        self._texts[step] = place
        return place

    def view(self, step: Step) -> bool:
        """Let a view of memory that never moves be made once. False if that memory may be another each time."""
        view = self.memory.arrays.get(step)
        if view is None:
            return False
        self._texts[step] = self._remember(view, "view")
        return True

    def _remember(self, array: Any, called: str) -> str:
        self._arrays[id(array)] = name = self.keep(array, called)
        return name

    def seen_as(self, text: str, shape: tuple[int, ...], axes: tuple[int, ...] = ()) -> str:
        """What is called ``text`` with its axes cut or joined, and turned: a view, made once if its memory is kept."""
        if text in self.namespace:
            view = self.namespace[text].reshape(shape)
            return self.keep(view.transpose(axes) if axes else view)
        return self.assign(f"{text}.reshape({shape}){f'.transpose{axes}' if axes else ''}")
