"""Expressions as text, with the parentheses they need and no more."""

from __future__ import annotations

import ast
import functools
import math
import string
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ATOM", "Text", "filled", "literal", "repeated", "without_defaults"]

# How tightly Python's operators bind, loosest first.
ATOM, UNARY, POWER = 20, 14, 15
BINDING: dict[type, int] = {
    ast.IfExp: 1, ast.Or: 2, ast.And: 3, ast.Not: 4, ast.Compare: 6, ast.BitOr: 7, ast.BitXor: 8, ast.BitAnd: 9,
    ast.Add: 12, ast.Sub: 12, ast.Mult: 13, ast.Div: 13, ast.FloorDiv: 13, ast.Mod: 13,
    ast.MatMult: 13, ast.USub: UNARY, ast.UAdd: UNARY, ast.Pow: POWER,
}  # fmt: skip

Text = tuple[str, int]  # an expression, and how tightly its outermost operator binds


def _binding(node: ast.expr) -> int:
    op = getattr(node, "op", None)
    return BINDING.get(type(op) if op is not None else type(node), ATOM)


@functools.lru_cache(maxsize=1024)
def _parsed(template: str) -> tuple[list[tuple[str, str]], dict[str, int], int]:
    """Pieces of text each with the name that follows it; how tightly each name's text must bind; and the whole's."""
    pieces = [(text, name or "") for text, name, _, _ in string.Formatter().parse(template)]
    tree = ast.parse("".join(text + (f"_in_{name}" if name else "") for text, name in pieces), mode="eval").body
    needed: dict[str, int] = {}
    for parent in ast.walk(tree):
        own = _binding(parent) if isinstance(parent, ast.expr) else 0
        for field, child in ast.iter_fields(parent):
            for i, part in enumerate(child if isinstance(child, list) else [child]):
                if isinstance(part, ast.Name) and part.id.startswith("_in_"):
                    name = part.id.removeprefix("_in_")
                    needed[name] = max(needed.get(name, 0), _needed(parent, field, i, own))
    return pieces, needed, _binding(tree)


def _needed(parent: ast.AST, field: str, i: int, own: int) -> int:
    """How tightly an operand must bind to need no parentheses."""
    if isinstance(parent, ast.BinOp):
        return own + 2 if own == POWER else own + (field == "right")
    if isinstance(parent, (ast.Compare, ast.IfExp)):
        return own + 1
    if isinstance(parent, ast.BoolOp):
        return own + (i > 0)
    if isinstance(parent, ast.UnaryOp):
        return own
    return ATOM if isinstance(parent, (ast.Attribute, ast.Subscript)) and field == "value" else 0


def filled(template: str, operands: Mapping[str, Text]) -> Text:
    """``template`` with its placeholders replaced."""
    pieces, needed, binding = _parsed(template)
    if len(pieces) == 1 and not pieces[0][0]:  # nothing around it
        return operands[pieces[0][1]]
    out = []
    for text, name in pieces:
        out.append(text)
        if name:
            operand, binds = operands[name]
            out.append(operand if binds >= needed[name] else f"({operand})")
    return "".join(out), binding


@functools.lru_cache(maxsize=1024)
def repeated(template: str) -> bool:
    """Whether an operand stands in it twice, so that it should be a name, not an expression."""
    names = [name for _, name in _parsed(template)[0] if name]
    return len(set(names)) < len(names)


def without_defaults(template: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """``template`` without the keywords of options that are as NumPy has them anyway."""
    for name, option in options.items():
        if isinstance(option, (int, float, type(None))) and name in defaults and option == defaults[name]:
            template = template.replace(f", {name}={{{name}}}", "")
    return template


def literal(x: Any, array: Callable[[Any], str]) -> Text:
    """A constant as Python; ``array`` says what an array is called."""
    if isinstance(x, np.generic):
        x = x.item()
    if isinstance(x, float):
        if not math.isfinite(x):
            return ("-math.inf", UNARY) if x < 0 else (f"math.{x!r}", ATOM)
        return repr(x), ATOM if math.copysign(1.0, x) > 0 else UNARY
    if isinstance(x, np.ndarray):
        return array(x), ATOM
    if isinstance(x, (bool, int, type(None), str)):
        return repr(x), ATOM if not isinstance(x, int) or x >= 0 else UNARY
    if isinstance(x, (tuple, list)):
        items = ", ".join(literal(item, array)[0] for item in x)
        if isinstance(x, list):
            return f"[{items}]", ATOM
        return f"({items}{',' if len(x) == 1 else ''})", ATOM
    if isinstance(x, dict):
        return f"{{{', '.join(f'{key!r}: {literal(item, array)[0]}' for key, item in x.items())}}}", ATOM
    if isinstance(x, slice):
        return f"slice({literal(x.start, array)[0]}, {literal(x.stop, array)[0]}, {literal(x.step, array)[0]})", ATOM
    if x is Ellipsis:
        return "...", ATOM
    try:
        return f"np.{np.dtype(x).name}", ATOM
    except TypeError:
        raise TypeError(f"an option {x!r:.80} can't be written as Python") from None


def index_text(index: Any, array: Callable[[Any], str]) -> Text:
    """What stands between the brackets of ``a[…]``."""
    parts = index if isinstance(index, tuple) else (index,)
    words = []
    for part in parts:
        if isinstance(part, slice):
            ends = ["" if end is None else literal(end, array)[0] for end in (part.start, part.stop)]
            words.append(":".join(ends) + ("" if part.step is None else f":{literal(part.step, array)[0]}"))
        else:
            words.append(literal(part, array)[0])
    return (", ".join(words) or "()") + ("," if isinstance(index, tuple) and len(parts) == 1 else ""), ATOM
