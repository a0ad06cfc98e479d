"""The local derivative on an edge, printed from the partial itself: there is no second table of formulas.

For y = f(a, …) the partial computes g · ∂y/∂a, with g = ∂Loss/∂y. It is run once on Values, so that it records, and
what it recorded is printed. Where g is a factor of that, the rest is ∂y/∂a; otherwise (in a product of matrices) the
whole product is shown, with the letter g in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.backprop import contributions, match
from tinygrad_wb.draw.notation import is_call, statement
from tinygrad_wb.draw.wording import number
from tinygrad_wb.operation import ALL_AT_ONCE, REGISTRY
from tinygrad_wb.program.text import ATOM, UNARY, Text, filled
from tinygrad_wb.recording import Recorder
from tinygrad_wb.value import Value, raw, traced

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["G", "Partial", "partials", "typeset"]

G = "g"  # what the gradient of an operation's result is called in formulas
PRODUCT = 13  # how tightly Python's products bind, of numbers and of matrices alike
LARGEST = 60  # operations in a formula that is still read

# What only changes the form of its input, so that a formula reads better without it; a stretched one, if that is all.
UNSEEN = {"astype", "positive"}
STRETCHED = UNSEEN | {"broadcast_to"}


class Partial(NamedTuple):
    """One derivative of an operation with respect to one input.

    ``formula`` is ∂y/∂x if ``local``, else what the partial makes of g; "" if there is none to show. ``number`` is
    ∂y/∂x where both are scalars. ``contribution`` is what x gets of the result's gradient, None if that was not
    computed.
    """

    formula: str
    local: bool
    number: float | None
    contribution: Any


def partials(node: Value, called: Callable[[Any], str]) -> list[tuple[Value, Partial]]:
    """For each input of ``node`` that is a Value, in order: the input, and the partial with respect to it.

    ``called`` says what the inputs and the result are called. Changes nothing.
    """
    op: Any = node.op
    if op.arity == ALL_AT_ONCE:
        return []
    with np.errstate(all="ignore"):
        slope = raw(node.grad)
        numbers = contributions(node, 1.0) if type(node._data) is float else None
        gains = contributions(node, slope) if slope is not None else None
        formulas = _formulas(node, called)
        told = []
        for i, (x, formula, local) in enumerate(formulas):
            scalar = numbers is not None and type(x._data) is float
            at = match(numbers[i][1], x._data) if numbers is not None and scalar else None
            gain = match(gains[i][1], x._data) if gains is not None else None
            told.append((x, Partial(formula, local, at, gain)))
    return told


def _formulas(node: Value, called: Callable[[Any], str]) -> list[tuple[Value, str, bool]]:
    arrays = {id(x): traced(x) for x in node.inputs if type(x) is np.ndarray}
    operands = [arrays.get(id(x), x) for x in node.inputs]
    g = traced(np.ones(node.shape, node.dtype) if node.shape else 1.0)
    names: dict[Value, str] = {x: called(raw(x) if id(raw(x)) in arrays else x) for x in operands if type(x) is Value}
    names[node] = called(node)
    try:
        with Recorder().running(lines=False):
            found = [(x, d, match(d, x._data)) for x, d in contributions(node, g, True, operands)]
    except Exception:  # noqa: BLE001 - the partial of somebody's own operation may be written for plain data alone
        return [(x, "", False) for x, _ in contributions(node, raw(g))]
    formulas = []
    for x, d, matched in found:
        writer = _Writer(names, g)
        try:
            local = writer.without_g(d)
            text = local or writer.text(_unstretched(matched))
        except (TooLongError, TypeError, ValueError, LookupError, SyntaxError):
            formulas.append((x, "…", False))
            continue
        formulas.append((x, writer.finished(text[0]), local is not None))
    return formulas


def _unstretched(x: Any) -> Any:
    while type(x) is Value and x.op is not None and x.op.name in STRETCHED:
        x = x.inputs[0]
    return x


class TooLongError(Exception):
    """A formula of more than `LARGEST` operations."""


class _Writer:
    """Prints what a partial recorded. Names stand in the text as single letters of their own until it is typeset."""

    def __init__(self, names: dict[Value, str], g: Value) -> None:
        self.names = {**names, g: G}
        self.g = g
        self.letters: dict[str, str] = {}
        self.left = LARGEST
        self.about_g: dict[Any, bool] = {}

    def finished(self, text: str) -> str:
        """The text with typeset signs, and then the names, which stay as they are."""
        text = typeset(text)
        return "".join(self.letters.get(c, c) for c in text)

    def _name(self, name: str) -> Text:
        letter = next((c for c, n in self.letters.items() if n == name), chr(0xE000 + len(self.letters)))
        self.letters[letter] = name
        return letter, ATOM

    def text(self, x: Any) -> Text:
        """``x`` in terms of what has a name."""
        if type(x) is not Value:
            return _constant(x)
        if x in self.names:
            return self._name(self.names[x])
        if not x.inputs:
            return _constant(x._data)
        op: Any = x.op
        if op.name in UNSEEN:
            return self.text(x.inputs[0])
        if op.name == "multiply" and (other := _besides(x, 1.0)) is not None:
            return self.text(other)
        if op.name == "power" and type(x.inputs[1]) is float and x.inputs[1] == 1.0:
            return self.text(x.inputs[0])
        if (scores := _softmax_of(x)) is not None:
            return filled("softmax({a})", {"a": self.text(scores)})
        self.left -= 1
        if self.left < 0:
            raise TooLongError
        parts = [self.text(part) for part in x.inputs]
        if op.name == "transpose" and _turns_matrices(x):
            inner, binds = parts[0]
            return (inner if binds == ATOM else f"({inner})") + "ᵀ", ATOM
        if op.name == "matmul":  # the dot of a product looks as if it bound more tightly
            if _made_by("matmul", x.inputs[0]):
                parts[0] = parts[0][0], PRODUCT
            return filled("{a} @ {b}", {"a": parts[0], "b": parts[1]})[0], PRODUCT - 1
        return _applied(x, parts)

    def without_g(self, x: Any) -> Text | None:
        """``x`` divided by g, where g is a factor of it; None otherwise."""
        if x is self.g:
            return "1", ATOM
        if type(x) is not Value or not self._has_g(x):
            return None
        op: Any = x.op
        name, inputs = op.name, x.inputs
        if name in STRETCHED:
            return self.without_g(inputs[0])
        rests = [self.without_g(part) for part in inputs]
        having = [self._has_g(part) for part in inputs]
        if any(has and rest is None for has, rest in zip(having, rests, strict=True)):
            return None
        if name == "negative":
            return filled("-{a}", {"a": rests[0]}) if rests[0] else None
        if name == "multiply" and having.count(True) == 1:
            at = having.index(True)
            rest, other = rests[at], self.text(inputs[1 - at])
            if rest is None or rest[0] == "1":
                return other
            if rest[0] == "-1":
                return filled("-{a}", {"a": other})
            return filled("{a} * {b}", {"a": rest, "b": other} if at == 0 else {"a": other, "b": rest})
        if name == "divide" and having == [True, False]:
            return filled("{a} / {b}", {"a": rests[0] or ("1", ATOM), "b": self.text(inputs[1])})
        if name in ("add", "subtract") and all(having):
            sign = "+" if name == "add" else "-"
            return filled(f"{{a}} {sign} {{b}}", {"a": rests[0] or ("", 0), "b": rests[1] or ("", 0)})
        if name == "where" and all(has or _is_zero(x) for has, x in zip(having[1:], inputs[1:], strict=True)):
            return _applied(x, [self.text(inputs[0]), *[rest or ("0", ATOM) for rest in rests[1:]]])
        return None

    def _has_g(self, x: Any) -> bool:
        """Whether g is behind ``x``."""
        if type(x) is not Value or x in self.names:
            return x is self.g
        if x not in self.about_g:
            self.left -= 1
            if self.left < -LARGEST:
                raise TooLongError
            self.about_g[x] = any([self._has_g(part) for part in x.inputs])
        return self.about_g[x]


def _applied(node: Value, parts: list[Text]) -> Text:
    """An operation with its operands written out."""
    op: Any = node.op
    if is_call(op):
        return statement(op, [text for text, _ in parts], node.options), ATOM
    brackets = statement(op, [f"{{{name}}}" for name in op.inputs], node.options)  # with its options
    return filled(brackets, dict(zip(op.inputs, parts, strict=True)))


def _besides(node: Value, number_: float) -> Any:
    """The other factor of a product with a plain number; None if there is none."""
    a, b = node.inputs
    return b if type(a) is float and a == number_ else a if type(b) is float and b == number_ else None


def _turns_matrices(x: Value) -> bool:
    """Whether a transposition is that of a matrix, or of each in a stack."""
    axes, ndim = x.options["axes"], x.ndim
    return ndim == 2 if axes is None else ndim >= 2 and tuple(axes) == (*range(ndim - 2), ndim - 1, ndim - 2)


def _softmax_of(x: Value) -> Any:
    """z, where x is exp(z - max(z)) / sum(exp(z - max(z))) along the last axis, which would fill a page."""
    if x.op is REGISTRY["divide"]:
        e, e_sum = x.inputs
        if _made_by("exp", e) and _made_by("sum", e_sum) and e_sum.inputs[0] is e and _made_by("subtract", e.inputs[0]):
            z, largest = e.inputs[0].inputs
            if (
                _made_by("max", largest)
                and largest.inputs[0] is z
                and largest.options["axis"] == -1 == e_sum.options["axis"]
            ):
                return z
    return None


def _made_by(name: str, x: Any) -> bool:
    return type(x) is Value and x.op is REGISTRY[name]


def _is_zero(x: Any) -> bool:
    return type(x) is float and x == 0.0


def _constant(x: Any) -> Text:
    if np.ndim(x):
        return f"array{np.shape(x)}".replace(" ", ""), ATOM
    text = str(x) if isinstance(x, (bool, np.bool_)) else number(x)
    return text, UNARY if text.startswith("-") else ATOM


SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def typeset(code: str) -> str:
    """An expression in Python's signs with those of mathematics: ``2 * x ** 3`` is 2·x³. Texts in quotes stay."""
    parts = re.split(r"('[^']*')", code)
    return "".join(part if i % 2 else _typeset(part) for i, part in enumerate(parts))


def _typeset(code: str) -> str:
    code = re.sub(r" \*\* (\d+)(?![\d.])", lambda power: power[1].translate(SUPERSCRIPTS), code)
    code = code.replace(" ** ", "^").replace(" * ", "·").replace(" @ ", " @ ")
    code = re.sub(r"(?<![\d.]e)-", "−", code)
    return code.replace(" / ", "/")
