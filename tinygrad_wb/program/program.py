"""`Program`: a loss and its gradients as Python that can be read, run, checked, saved and stepped."""

from __future__ import annotations

import functools
import math
import re
import sys
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tinygrad_wb.atomic import write
from tinygrad_wb.backprop import history, pull_back
from tinygrad_wb.errors import GradientError, ShapeError, StaleGraphError
from tinygrad_wb.memory import without_collection
from tinygrad_wb.program.calm import evaluated
from tinygrad_wb.program.files import path_of, written_then_run
from tinygrad_wb.program.layout import laid_out, script
from tinygrad_wb.program.names import variables_in
from tinygrad_wb.program.source import FUNCTION, Source
from tinygrad_wb.program.trace import Trace
from tinygrad_wb.value import Value, raw, traced

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import FrameType

__all__ = ["Program"]


class Program:
    """A recorded graph as a Python program: forward, then backward, with a line for every partial derivative.

    ``loss.program()`` makes one. ``source`` is complete Python that needs NumPy alone; ``arguments`` are the numbers
    and arrays that it starts from, by the names of its variables; ``path`` is where `debug` writes it. ``debug()``
    writes the source to that file, prints where, and runs it there: step into it with any debugger, or set a breakpoint
    in the file. It returns what `run` does.

    >>> import tinygrad_wb as wb
    >>> w = wb.Value(3.0, name="w")
    >>> loss = (w * 2.0 - 1.0) ** 2
    >>> program = loss.program()
    >>> program.run()
    (25.0, {'w': 20.0})
    """

    debug: Callable[[], tuple[Any, dict[str, Any]]]
    _numbers: dict[str, Any] | None  # of one that was pickled: what the engine had

    def __init__(self, result: Value, frame: FrameType | None = None, fixed: frozenset[Value] = frozenset()) -> None:
        history(result)  # which refuses a graph that is out of date
        seed = traced(1.0) if result.shape == () else None
        self.result = result
        self._fixed = fixed  # leaves whose gradients nobody wants
        with without_collection():
            self._source: Source | None = Source(Trace(result, seed, fixed), variables_in(frame))
        self._lines, self._forward_lines = self._source.lines, self._source.forward_lines
        self._returned = self._source.returned()
        self.name = self._source.result
        self.source = laid_out(self._source)
        # Copies: optimizers change parameters in place.
        self.arguments: dict[str, Any] = {name: copy(x._data) for name, x in self._source.arrays.items()}
        self._make_ready()

    def _make_ready(self) -> None:
        self.path = path_of(self.source, self.name)
        namespace: dict[str, Any] = {"__name__": self.name}
        exec(compile(self.source, str(self.path), "exec"), namespace)  # noqa: S102 - it is our own text, names made safe
        self._function = namespace[FUNCTION]
        self.debug = written_then_run(self.path, self.source, partial(self._function, **self.arguments))

    def __getstate__(self) -> dict[str, Any]:
        # As text and numbers, not the graph: its code objects can't travel, and with it would go all that it holds.
        try:
            numbers = self._engine()
        except StaleGraphError:
            numbers = None
        own = {name: x for name, x in vars(self).items() if name not in ("_function", "debug", "path", "_fixed")}
        return own | {"_source": None, "_numbers": numbers, "fast_source": self.fast_source}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._make_ready()

    def __repr__(self) -> str:
        backward = len(self._lines) - self._forward_lines
        return f"<Program of {self.name}: {self._forward_lines} lines forward, {backward} backward>"

    def __str__(self) -> str:
        return self.source

    @functools.cached_property
    def fast_source(self) -> str:
        """The same program as `compile` would replay it: every result into memory that is there already.

        What it calls ``b_1``, ``c_1`` and so on are arrays that stand ready: buffers and constants.
        """
        from tinygrad_wb.compiling.emit.numpy import emit  # loaded on use
        from tinygrad_wb.compiling.plan import make_plan

        trace = Trace(self.result, 1.0 if self.result.shape == () else None, self._fixed)
        record = cast("Source", self._source)
        leaves = {name: x for name, x in record.arrays.items() if x in trace.gradients or x in self._fixed}
        found = {name: trace.gradients[x] for name, x in leaves.items() if x in trace.gradients}
        plan = make_plan(trace, [self.result, *found.values()])
        value, *gradients = plan.found
        in_array = {name: isinstance(leaves[name]._data, np.ndarray) for name in found}
        numbers = [d for name, d in zip(found, gradients, strict=True) if not in_array[name]]
        arrays = [(f"d_{name}", d) for name, d in zip(found, gradients, strict=True) if in_array[name]]
        return emit(plan, list(leaves.items()), [value, *numbers], arrays, []).source

    def run(self, **changed: Any) -> tuple[Any, dict[str, Any]]:
        """The value, and the gradients by name; arguments may be given other numbers or arrays, of the same shapes.

        Where Python's floats would raise (1/0, overflow), it gives inf or nan, as the engine does. In `debug`, and in a
        saved script, they raise.
        """
        given = {name: self._fitting(name, raw(x)) for name, x in changed.items()}
        found: tuple[Any, dict[str, Any]]
        try:
            found = self._function(**self.arguments | given)
        except (ArithmeticError, ValueError):
            found = self._results(self._line_by_line(self.arguments | given))
        return found

    def _fitting(self, name: str, x: Any) -> Any:
        """``x`` as the argument ``name``."""
        if name not in self.arguments:
            raise TypeError(f"run({name}=…): the program's arguments are {', '.join(self.arguments)}")
        old = self.arguments[name]
        if np.shape(x) != np.shape(old):
            raise ShapeError(
                f"run({name}=…): the program is for shape {np.shape(old)}, got {np.shape(x)}; "
                "record a program of its own for another shape"
            )
        return type(old)(x) if isinstance(old, (float, bool)) else np.asarray(x).astype(old.dtype, casting="same_kind")

    def _line_by_line(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What every line computes, by name."""
        known: dict[str, Any] = self._function.__globals__ | arguments
        for line in self._lines:
            known[line.name] = evaluated(line.text, known)
        return known

    def _results(self, known: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        return known[self.name], {name: known[d] for name, d in self._returned.items()}

    def check(self) -> None:
        """Hold every line against the engine's own numbers; ``GradientError`` says where they differ first.

        Elementwise work must agree bit for bit; sums and products of matrices, which may add up in another order, to
        rounding.
        """
        engine = self._engine()
        known = self._function.__globals__ | self.arguments
        precision = max(np.finfo(x.dtype).eps for x in (np.zeros(()), *self.arguments.values()) if _is_real(x))
        rounded: set[str] = set()  # names that the engine has no number for
        for line in self._lines:
            found = evaluated(line.text, known)
            wanted = known[line.name] = engine.get(line.name, found)
            tolerance = 0.0
            if ROUNDING.search(line.text) or rounded.intersection(line.reads):
                size = max(_size(wanted), math.prod(_size(known[x]) or 1.0 for x in line.reads))
                tolerance = min(100.0 * precision * size, sys.float_info.max)
                rounded |= {line.name} - engine.keys()
            if not _agree(found, wanted, tolerance):
                raise GradientError(
                    f"{self.name}'s program differs from backward() first at\n    {line.name} = {line.text}"
                    f"    # {line.comment}\nthe program has {found!r:.200}\nbackward() has {wanted!r:.200}"
                )
        value, gradients = self.run()
        wanted, wanted_gradients = self._results(self._line_by_line(self.arguments))
        same = [("", value, wanted), *((f"∂/∂{name} ", gradients.get(name), d) for name, d in wanted_gradients.items())]
        for which, found, wanted in same:
            if not _agree(found, wanted):
                raise GradientError(
                    f"{self.name}'s program gives {which}{found!r:.200}, but its lines, one by one, {wanted!r:.200}"
                )

    def partial_line(self, node: Value, rank: int) -> str:
        """``number: line`` of an operation's partial; ``rank`` tells which of them, from 0."""
        names = [] if self._source is None else self._source.partial_names.get(node, [])
        if rank >= len(names):
            raise ValueError(
                f"{self.name}'s program has no such partial: it is of shape {self.result.shape}, not one number"
            )
        lines = [line.strip() for line in self.source.splitlines()]
        return next(f"{n}: {line}" for n, line in enumerate(lines, 1) if line.startswith(f"{names[rank]} = "))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a script that stands on its own: the program and its numbers, for a machine with NumPy alone."""
        return write(path, script(self.name, self.source, self.arguments).encode())

    def _engine(self) -> dict[str, Any]:
        """What the engine has for each name: data of the forward pass, and gradients."""
        source = self._source
        if source is None:  # it was pickled, and what the engine had came with it
            if self._numbers is None:
                raise StaleGraphError("this program was pickled after a leaf had got new data; record it again")
            return self._numbers
        known = {source.called[unit.node]: unit.node._data for unit in source.trace.units if unit.kind == "forward"}
        if source.trace.seed is not None:
            gradients = pull_back(self.result, 1.0)
            known |= {name: gradients[x] for x, name in source.gradient_names.items() if x in gradients}
        return known


# Work that may be rounded otherwise than in the engine: sums in another order, powers of a number or of an array.
ROUNDING = re.compile(r"@|\*\* [a-z]|np\.(sum|mean|var)\(|added_at")


def _is_real(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def _size(x: Any) -> float:
    """The largest number in it, by its amount."""
    return float(np.max(np.abs(x), initial=0.0, where=np.isfinite(x)))


def _agree(found: Any, wanted: Any, tolerance: float = 0.0) -> bool:
    """Whether two results are the same, bit for bit (nan equals nan) or with a tolerance."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        return False
    return bool(np.allclose(found, wanted, rtol=0.0, atol=tolerance, equal_nan=True))
