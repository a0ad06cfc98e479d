"""`Step`: one partial of a backward pass, with all its numbers, and how it is told."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.backprop import match
from tinygrad_wb.debug.trace import Line, gained, label_of
from tinygrad_wb.draw.formula import G, Partial, partials, typeset
from tinygrad_wb.draw.wording import number, value_text

if TYPE_CHECKING:
    from tinygrad_wb.debug.trace import Trace
    from tinygrad_wb.operation import Operation
    from tinygrad_wb.value import Value

__all__ = ["Step", "block", "factor", "in_words"]

NARROWEST = 26  # of the column of formulas
BLOCK_ROWS = 2  # of an array's block, at each end


class Step:
    """One partial: an operation hands gradient to one of its inputs. ``print`` it to read it.

    ``index`` is its place among all, from 0; ``node`` the Value that the operation made, ``input`` the one that gets
    gradient. ``upstream`` is ∂L/∂node, ``contribution`` what the input gets of it, ``before`` and ``after`` are
    ∂L/∂input around this step (``before`` is None at the first of its ``contributions``, of which this is number
    ``contribution_number``). ``edited`` tells that ``after`` was set by hand. Arrays are the stepper's own: don't
    change them.
    """

    def __init__(
        self, trace: Trace, index: int, upstream: Any, contribution: Any, before: Any, after: Any, edited: bool
    ) -> None:
        self.trace = trace
        self.index = index
        self.node, self.input_position = trace.steps[index]
        self.upstream = upstream
        self.contribution = contribution
        self.before = before
        self.after = after
        self.edited = edited

    @property
    def input(self) -> Value:
        return self.trace.input(self.index)

    @property
    def op(self) -> Operation:
        op: Any = self.node.op
        return op  # type: ignore[no-any-return]

    @property
    def name(self) -> str:
        """What the input is called."""
        return self.trace.called(self.input)

    @property
    def statement(self) -> str:
        """The operation, as ``h = tanh(z)``."""
        return self.trace.statement(self.node)

    @property
    def contributions(self) -> int:
        """How many contributions the input gets in all."""
        return len(self.trace.to[self.input])

    @property
    def contribution_number(self) -> int:
        """Which of them this is, from 1."""
        return self.trace.done(self.input, self.index) + 1

    # -- where it comes from ----------------------------------------------------------------------------------------

    @property
    def line(self) -> Line | None:
        """The source line that asked for the operation (``.file``, ``.number``, ``.text``); None if not recorded."""
        return self.trace.line(self.node)

    @property
    def layer(self) -> str:
        """The layer that the operation was done in, such as ``Dense 'hidden'``; "" if in none."""
        calls = self.trace.calls(self.node)
        return label_of(calls[-1]) if calls else ""

    # -- the local derivative ---------------------------------------------------------------------------------------

    @functools.cached_property
    def _partial(self) -> Partial:
        told = partials(self.node, self.trace.called)
        return told[self.trace.rank(self.index)][1] if told else Partial("", False, None, None)

    @property
    def formula(self) -> str:
        """∂node/∂input, printed from the partial; if there is no such factor, what it makes of g = ∂L/∂node."""
        return self._partial.formula

    @property
    def is_local(self) -> bool:
        """Whether ``formula`` is the local derivative, a factor of the contribution."""
        return self._partial.local

    @functools.cached_property
    def local(self) -> Any:
        """The local derivative as a number, or as an array where each element has one of its own; None otherwise."""
        node, x = self.node, self.input
        if not self.is_local or node.shape != x.shape:
            return None
        if self._partial.number is not None:
            return self._partial.number
        with np.errstate(all="ignore"):
            one = np.ones(node.shape, node.dtype)
            return match(gained(node, one)[self.trace.rank(self.index)][1], x._data)

    # -- in words ---------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<Step {self.index + 1} of {len(self.trace)}: {self.statement}, ∂L/∂{self.name}>"

    def __str__(self) -> str:
        y, x = self.trace.called(self.node), self.name
        dy, dx, slope = f"∂L/∂{y}", f"∂L/∂{x}", f"∂{y}/∂{x}"
        got = in_words(self.contribution)
        if self.is_local:
            shown = "" if self.local is None else in_words(self.local)
            first = "local", f"{slope} = {self.formula}", shown if shown != self.formula else ""
            chain = f"{dx} += {dy} · {slope}"
            if type(self.local) is float and type(self.contribution) is float:
                got = f"{in_words(self.upstream)} · {factor(self.local)} = {got}"
        else:
            first = "given", f"{G} = {dy}", in_words(self.upstream)
            chain = f"{dx} += {self.formula or 'what the operation makes of ' + G}"
        total = f"{dx}   {'0' if self.before is None else _range(self.before)} → {_range(self.after)}"
        count = f"(contribution {self.contribution_number} of {self.contributions}{', edited' if self.edited else ''})"
        width = max(NARROWEST, len(first[1]), len(chain), len(total))
        head = f"step {self.index + 1}/{len(self.trace)}"
        where = "  ".join(
            filter(None, (self.line.short if self.line else "", f"in {self.layer}" if self.layer else ""))
        )
        rows = [
            f"{head:<11} {self.statement:<{width}}  {where}",
            f"   {first[0]:<8} {first[1]:<{width}}{f' = {first[2]}' if first[2] else ''}",
            f"   {'chain':<8} {chain:<{width}} = {got}",
            f"   {'total':<8} {total:<{width}}   {count}",
        ]
        rows += [f"   {'':<8} {row}" for row in block(self.after)]
        return "\n".join(row.rstrip() for row in rows)


def in_words(data: Any) -> str:
    """A number; of an array its shape, range and norm."""
    if np.ndim(data) == 0:
        return typeset(number(data))
    return f"{'×'.join(map(str, np.shape(data)))}: {_range(data)}"


def _range(data: Any) -> str:
    return typeset(value_text(data))


def factor(x: float) -> str:
    """A number as it stands in a product: in brackets if it is negative."""
    text = in_words(x)
    return f"({text})" if text.startswith("−") else text


def block(data: Any) -> list[str]:
    """The lines of an array, cropped; none for a number."""
    if np.ndim(data) == 0:
        return []
    edge = BLOCK_ROWS if np.ndim(data) <= 2 else 1
    text = np.array2string(data, precision=4, threshold=16, edgeitems=edge, max_line_width=72, suppress_small=True)
    return text.splitlines()
