"""How an operation is written: its sign, its line of code, its options. All of it comes from the row's template."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tinygrad_wb.draw.wording import cropped, option_text
from tinygrad_wb.operation import ALL_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tinygrad_wb.operation import Operation

__all__ = ["argument_names", "is_call", "statement", "symbol", "told_options"]

OPTION_LENGTH = 32
COMMUTATIVE = {"+", "*"}  # which input is which makes no difference


def symbol(op: Operation, options: Mapping[str, Any]) -> str:
    """The operator, where the template is one (``*``, ``-``, ``[0, :2]``); the operation's name otherwise."""
    signs = re.sub(r"\{\w+\}", "", op.template).split()
    if is_call(op) or len(signs) != 1:
        return _call_name(op)
    return _filled(op, [""] * len(op.inputs), options).strip()


def statement(op: Operation, arguments: Sequence[str], options: Mapping[str, Any]) -> str:
    """The call as code, such as ``x @ w + b`` or ``sum(x, axis=1)``; options at their defaults are left away."""
    if not is_call(op):
        return _filled(op, arguments, options)
    inputs = [f"[{', '.join(arguments)}]"] if op.variadic else list(arguments)
    words = inputs + [f"{name}={text}" for name, text in told_options(op, options)]
    return f"{_call_name(op)}({', '.join(words)})"


def told_options(op: Operation, options: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """(name, text) of the options that differ from their defaults and are not part of the symbol already."""
    if not is_call(op) or op.arity == ALL_AT_ONCE:  # of a compiled function they are the engine's own
        return
    for name, default in op.defaults.items():
        text = option_text(options.get(name, default))
        if text != option_text(default) and text[0] != "<":  # an object of ours, which tells nothing
            yield name, cropped(text, OPTION_LENGTH)


def argument_names(op: Operation, sign: str, count: int) -> Sequence[str]:
    """What to call each of the ``count`` inputs of an operation; "" where there is nothing to tell apart."""
    if op.variadic:
        return [f"part {i}" for i in range(count)]
    if count == 1 or sign in COMMUTATIVE:
        return [""] * count
    return op.inputs if sign.isidentifier() else ["left", "right"]


def is_call(op: Operation) -> bool:
    """Whether it is written as a call, ``name(…)``."""
    return re.fullmatch(r"\w+\(.*\)", op.template) is not None


def _call_name(op: Operation) -> str:
    return op.template.split("(")[0] if is_call(op) else op.name


def _filled(op: Operation, arguments: Sequence[str], options: Mapping[str, Any]) -> str:
    told = {name: cropped(option_text(options[name], in_brackets=True), OPTION_LENGTH) for name in op.defaults}
    return op.template.format(**dict(zip(op.inputs, arguments, strict=True)), **told)
