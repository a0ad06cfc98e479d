"""`Program`: a loss and its gradients as Python that can be read, run, checked, saved and stepped."""

from __future__ import annotations

import os
import re
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.backprop import pull_back
from tinygrad_wb.errors import GradientError
from tinygrad_wb.program.files import path_of, written_then_run
from tinygrad_wb.program.layout import FUNCTION, laid_out, script
from tinygrad_wb.program.names import variables_in
from tinygrad_wb.program.source import Source
from tinygrad_wb.program.trace import Trace
from tinygrad_wb.value import Value, raw, traced

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["Program"]


class Program:
    """A recorded graph as a Python program: forward, then backward, with a line for every partial derivative.

    ``loss.program()`` makes one. ``source`` is complete Python that needs NumPy alone; ``arguments`` are the numbers and
    arrays that it starts from, by the names of its variables; ``path`` is where `debug` writes it. ``debug()`` writes the
    source to that file, prints where, and runs it there: step into it with any debugger, or set a breakpoint in the file.
    It returns what `run` does.

    >>> import tinygrad_wb as wb
    >>> w = wb.Value(3.0, name="w")
    >>> loss = (w * 2.0 - 1.0) ** 2
    >>> program = loss.program()
    >>> program.run()
    (25.0, {'w': 20.0})
    """

    debug: Callable[[], tuple[Any, dict[str, Any]]]

    def __init__(self, result: Value, frame: FrameType | None = None) -> None:
        seed = traced(1.0) if result.shape == () else None
        self.result = result
        self._source = Source(Trace(result, seed), variables_in(frame))
        self.name = self._source.called.get(result, "result")
        self.source = laid_out(self._source)
        self.arguments: dict[str, Any] = {name: x._data for name, x in self._source.arrays.items()}
        self.path = path_of(self.source, self.name)
        namespace: dict[str, Any] = {"__name__": self.name}
        exec(compile(self.source, str(self.path), "exec"), namespace)  # noqa: S102 - it is our own text, names made safe
        self._function = namespace[FUNCTION]
        self.debug = written_then_run(self.path, self.source, partial(self._function, **self.arguments))

    def __repr__(self) -> str:
        backward = len(self._source.lines) - self._source.forward_lines
        return f"<Program of {self.name}: {self._source.forward_lines} lines forward, {backward} backward>"

    def __str__(self) -> str:
        return self.source

    def run(self, **changed: Any) -> tuple[Any, dict[str, Any]]:
        """The value, and the gradients by name; arguments may be given other numbers or arrays, of the same shapes."""
        unknown = [name for name in changed if name not in self.arguments]
        if unknown:
            raise TypeError(f"run({unknown[0]}=…): the program's arguments are {', '.join(self.arguments)}")
        for name, x in changed.items():
            if np.shape(x) != np.shape(self.arguments[name]):
                raise ValueError(
                    f"run({name}=…): the program is for shape {np.shape(self.arguments[name])}, got {np.shape(x)}"
                )
        found: tuple[Any, dict[str, Any]] = self._function(**self.arguments | {k: raw(x) for k, x in changed.items()})
        return found

    def check(self) -> None:
        """Hold every line against the engine's own numbers; ``GradientError`` says where they differ first.

        Elementwise work must agree bit for bit; sums and products of matrices, which may add up in another order, to
        rounding.
        """
        known = self._known()
        namespace = self._function.__globals__ | self.arguments
        for line in self._source.lines:
            found = eval(line.text, namespace)  # noqa: S307 - our own text
            wanted = namespace[line.name] = known.get(line.name, found)
            if not _agree(found, wanted, exact=not SUMMING.search(line.text)):
                raise GradientError(
                    f"{self.name}'s program differs from backward() first at\n    {line.name} = {line.text}"
                    f"    # {line.comment}\nthe program has {found!r:.200}\nbackward() has {wanted!r:.200}"
                )
        value, gradients = self.run()
        returned = {name: (gradients[name], known[d]) for name, d in self._source.returned().items()}
        for name, (found, wanted) in {self.name: (value, self.result._data), **returned}.items():
            if not _agree(found, wanted, exact=False):
                raise GradientError(
                    f"{self.name}'s program gives {found!r:.200} for {name}, backward() {wanted!r:.200}"
                )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a script that stands on its own: the program and its numbers, for a machine with NumPy alone."""
        target = Path(path)
        text = script(self._source, self.source, self.arguments)
        handle, temporary = tempfile.mkstemp(dir=target.parent, suffix=".py")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(target)  # so that a full disk leaves what was there before
        return target

    def _known(self) -> dict[str, Any]:
        """What the engine has for each name: data of the forward pass, and gradients."""
        source = self._source
        known = {name: x._data for x, name in source.called.items() if x.inputs}
        if source.trace.seed is not None:
            gradients = pull_back(self.result, 1.0)
            known |= {name: gradients[x] for x, name in source.gradient_names.items() if x in gradients}
        return known


# Work that may add up in another order than the engine does.
SUMMING = re.compile(r"@|np\.(sum|mean|var)\(|added_at")


def _agree(found: Any, wanted: Any, exact: bool) -> bool:
    """Whether two results are the same: bit for bit (nan equals nan), or to rounding."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    if found.shape != wanted.shape:
        return False
    if exact:
        return bool(np.array_equal(found, wanted, equal_nan=found.dtype.kind == "f"))
    precision = max(np.finfo(x.dtype).eps if x.dtype.kind == "f" else 0.0 for x in (found, wanted))
    scale = np.max(np.abs(wanted), initial=0.0, where=np.isfinite(wanted))
    return bool(np.allclose(found, wanted, rtol=1e3 * precision, atol=1e3 * precision * scale, equal_nan=True))
