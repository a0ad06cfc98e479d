"""What to stop at: a name, an operation, a layer, a line, or a condition on the gradient, as a test of a `Step`."""

from __future__ import annotations

import builtins
import inspect
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.debug.stops import is_file
from tinygrad_wb.operation import REGISTRY
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType

    from tinygrad_wb.debug.step import Step
    from tinygrad_wb.debug.trace import Trace

__all__ = ["WORDS", "condition"]

# What a condition can be about: ∂L/∂input as a step leaves it.
WORDS: dict[str, Callable[[Any], Any]] = {
    "norm": lambda g: float(np.linalg.norm(g)),
    "min": lambda g: float(np.min(g)),
    "max": lambda g: float(np.max(g)),
    "nan": lambda g: bool(np.isnan(g).any()),
    "inf": lambda g: bool(np.isinf(g).any()),
}


def condition(trace: Trace, target: Any, variables: Mapping[str, Any] | None = None) -> Callable[[Step], bool]:
    """Whether a step fits ``target``; ``variables`` are what a condition may ask about besides `WORDS` and ``step``.

    ``ValueError`` or ``TypeError``, with what there is, for what means nothing here.
    """
    if isinstance(target, str):
        return _told(trace, target.strip(), variables or {})
    if type(target) is Value:
        if target not in trace.to:
            raise ValueError(f"{target!r:.60} gets no gradient in this backward pass")
        return lambda step: step.input is target
    operations = [op for op in REGISTRY.values() if op is target or op.function is inspect.unwrap(target)]
    if operations:
        return lambda step: step.op is operations[0]
    if callable(target):
        return target  # type: ignore[no-any-return]
    raise TypeError(f"a name, a Value, an operation or a function of a Step is wanted, got {target!r:.60}")


def _told(trace: Trace, text: str, variables: Mapping[str, Any]) -> Callable[[Step], bool]:
    if text in trace.names:
        value = trace.names[text]
        return lambda step: step.input is value
    if text in trace.operations:
        return lambda step: step.op.name == text
    if place := re.fullmatch(r"(.+):(\d+)", text):
        lines = {line for line in trace.lines if line.number == int(place[2]) and is_file(line.file, place[1])}
        if not lines:
            raise ValueError(_no_line(trace, text))
        return lambda step: step.line in lines
    if text in trace.layers:
        return lambda step: any(call.path == text for call in trace.calls(step.node))
    code = _expression(text, {*WORDS, "step", *dir(builtins)}, variables)
    if code is None:
        raise ValueError(_unknown(trace, text))
    return lambda step: bool(eval(code, {}, _Words(step, variables)))  # noqa: S307 - the user's own


def _expression(text: str, words: set[str], variables: Mapping[str, Any]) -> CodeType | None:
    """A condition; None for what can't be one: with a name that nobody knows, about nothing, or a name alone."""
    try:
        code = compile(text, "<condition>", "eval")
    except SyntaxError:
        return None
    names = list(_names_in(code))
    alone = text.isidentifier() and text not in WORDS
    return None if alone or not names or any(name not in words and name not in variables for name in names) else code


def _names_in(code: CodeType) -> Iterator[str]:
    """Variables that an expression reads, also in its inner parts; not the attributes of others."""
    import dis

    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_NAME", "LOAD_GLOBAL"):
            yield instruction.argval


def _unknown(trace: Trace, text: str) -> str:
    words = [
        f"nothing in this backward pass is called {text!r:.60}; there are the names {trace.nearest(text)}",
        f"the operations {', '.join(sorted(trace.operations))}",
        *([f"the layers {', '.join(trace.layers)}"] if trace.layers else []),
        f"lines such as model.py:14, and conditions of {', '.join(WORDS)}, such as norm > 1e3",
    ]
    return "; ".join(words)


def _no_line(trace: Trace, text: str) -> str:
    if not trace.lines:
        return f"{text}: no lines were recorded; compute the loss under `with wb.source_lines():`"
    known = ", ".join(sorted(line.short for line in trace.lines))
    return f"no operation in this backward pass comes from {text}; there are: {known}"


class _Words(Mapping[str, Any]):
    """The words of a condition, each computed when it is asked for."""

    def __init__(self, step: Step, variables: Mapping[str, Any]) -> None:
        self.step, self.variables = step, variables

    def __getitem__(self, name: str) -> Any:
        if name == "step":
            return self.step
        return WORDS[name](self.step.after) if name in WORDS else self.variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter({*WORDS, "step", *self.variables})

    def __len__(self) -> int:
        return len(set(self))
