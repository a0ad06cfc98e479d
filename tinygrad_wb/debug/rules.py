"""Which rule of arithmetic made a NaN or inf, in words, and what usually helps.

A row says of an operation: for these operands, at one index, it is this. Whatever has no row is taken apart first: its
forward computation, or its partial, is run on Values, and the simpler operation in it that went wrong has one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.operations.reductions import count, reduced_axes
from tinygrad_wb.value import raw

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tinygrad_wb.operation import Operation

__all__ = [
    "ELEMENTWISE",
    "HINTS",
    "Rule",
    "alone",
    "element",
    "finite",
    "number",
    "overflow",
    "rule_of",
    "where",
    "where_bad",
]


class Rule(NamedTuple):
    """When it applies, what it is called (with the operands in it), and the row of `HINTS` that helps."""

    applies: Callable[..., Any]
    words: str
    hint: str


# What is to be written stands in them as code, and the tests run it.
HINTS = {
    "log": "keep what log is taken of above 0: wb.log(x + 1e-12), or wb.log(wb.maximum(x, 1e-12)) if x can be below 0; "
    "of probabilities take none: wb.cross_entropy, wb.binary_cross_entropy and wb.log_softmax start from the scores. "
    "In a branch of wb.where choose the input first: wb.log(wb.where(x > 0, x, 1.0))",
    "log1p": "keep what log1p is taken of above −1: wb.log1p(wb.maximum(x, -1 + 1e-7)). In a branch of wb.where choose "
    "the input first: wb.log1p(wb.where(x > -1, x, 0.0))",
    "root": "the root is steep near 0: add a small number under it, as in wb.sqrt(x + 1e-12)",
    "root below": "the root is not real below 0: wb.sqrt(wb.maximum(x, 0.0) + 1e-12). In a branch of wb.where choose "
    "the input first: wb.sqrt(wb.where(x > 0, x, 1.0))",
    "cbrt": "the cube root is infinitely steep at 0: keep x away from it, as in wb.cbrt(wb.where(x == 0, 1e-12, x))",
    "length": "a length has no direction at 0: take the root with a small number under it, as in "
    "wb.sqrt(x**2 + y**2 + 1e-12)",
    "divide": "keep the divisor away from 0: a / (b + 1e-8). In wb.where(b == 0, 0, a / b) the gradient still goes "
    "through a / b: choose the divisor instead, a / wb.where(b == 0, 1, b)",
    "domain": "keep what it is taken of inside, as in wb.clip(x, -1 + 1e-7, 1 - 1e-7), also in a branch of wb.where",
    "from one": "keep what it is taken of above 1, as in wb.maximum(x, 1 + 1e-7), also in a branch of wb.where",
    "power": "keep the base above 0: (x + 1e-12) ** p, or (wb.maximum(x, 0.0) + 1e-12) ** p if x can be below 0; or "
    "use a whole exponent. In a branch of wb.where choose the base first: wb.where(x > 0, x, 1.0) ** p",
    "exp": "take the largest off first, as wb.softmax and wb.logsumexp do, or limit what goes into it, as in "
    "wb.exp(wb.clip(x, -50, 50)), also in a branch of wb.where",
    "where": "wb.where takes nothing from this branch there, but its gradient of 0 still goes back through it, and "
    "0 · inf is nan: give the function a safe input there, as in "
    "wb.where(x > 0, wb.sqrt(wb.where(x > 0, x, 1.0)), 0.0)",
    "growth": "the numbers grow too large: a smaller learning rate, smaller initial weights, inputs scaled to about 1, "
    "or the optimizer's clip_norm=; wb.diagnose(model, loss) tells where they grow",
    "half": "float16 ends at 65504: compute in float32, or scale the numbers down",
    "infinite": "an infinity that is meant should meet no other and no 0; masks are safe in wb.where",
    "empty": "there is nothing to average: look at the shapes, and at filters that may leave no row",
    "data": "look at it with np.argwhere(~np.isfinite(x)), and remove or fill what is found. An infinity that is "
    "meant, as in a mask, can stand as a plain number: wb.where(mask, scores, -np.inf)",
    "listener": "look at what that function does with the gradient that it is given",
    "unknown": "look at the operands above: they are at the edge of what the operation can take",
}

inf_ = math.isinf
OVERFLOW = "overflow: beyond {largest}, the largest {dtype}"


def all_finite(*operands: float) -> bool:
    return all(map(math.isfinite, operands))


def too_large(hint: str = "growth") -> Rule:
    return Rule(all_finite, OVERFLOW, hint)


# fmt: off
ELEMENTWISE: dict[str, list[Rule]] = {
    "add": [Rule(lambda a, b: inf_(a) and inf_(b), "inf − inf", "infinite"), too_large()],
    "subtract": [Rule(lambda a, b: inf_(a) and inf_(b), "inf − inf", "infinite"), too_large()],
    "multiply": [
        Rule(lambda a, b: (a == 0 and inf_(b)) or (inf_(a) and b == 0), "0 · inf", "infinite"), too_large(),
    ],
    "divide": [
        Rule(lambda a, b: a == 0 == b, "0/0", "divide"), Rule(lambda a, b: b == 0, "division by 0", "divide"),
        Rule(lambda a, b: inf_(a) and inf_(b), "inf/inf", "infinite"), too_large("divide"),
    ],
    "power": [
        Rule(lambda a, b: a == 0 and b < 0, "division by 0: 0 to a negative power", "power"),
        Rule(lambda a, b: a < 0 and b != math.floor(b), "a negative number to a fractional power", "power"),
        too_large(),
    ],
    "exp": [Rule(all_finite, "overflow of exp: exp({0}) is beyond {largest}, the largest {dtype}", "exp")],
    "log": [Rule(lambda a: a == 0, "log(0)", "log"), Rule(lambda a: a < 0, "log of a negative number", "log")],
    "log1p": [
        Rule(lambda a: a == -1, "log(0): log1p of −1", "log1p"),
        Rule(lambda a: a < -1, "log of a negative number: log1p below −1", "log1p"),
    ],
    "log2": [Rule(lambda a: a == 0, "log2(0)", "log"), Rule(lambda a: a < 0, "log2 of a negative number", "log")],
    "log10": [Rule(lambda a: a == 0, "log10(0)", "log"), Rule(lambda a: a < 0, "log10 of a negative number", "log")],
    "expm1": [Rule(all_finite, "overflow of exp: expm1({0}) is beyond {largest}, the largest {dtype}", "exp")],
    "sinh": [Rule(all_finite, "overflow of sinh: sinh({0}) is beyond {largest}, the largest {dtype}", "exp")],
    "cosh": [Rule(all_finite, "overflow of cosh: cosh({0}) is beyond {largest}, the largest {dtype}", "exp")],
    "arcsin": [Rule(lambda a: abs(a) > 1, "arcsin of a number outside −1 … 1", "domain")],
    "arccos": [Rule(lambda a: abs(a) > 1, "arccos of a number outside −1 … 1", "domain")],
    "arccosh": [Rule(lambda a: a < 1, "arccosh of a number below 1", "from one")],
    "arctanh": [
        Rule(lambda a: abs(a) == 1, "arctanh of ±1, which is infinite", "domain"),
        Rule(lambda a: abs(a) > 1, "arctanh of a number outside −1 … 1", "domain"),
    ],
    "tan": [Rule(inf_, "tan of inf", "infinite")],
    "reciprocal": [Rule(lambda a: a == 0, "division by 0", "divide"), too_large("divide")],
    "mod": [
        Rule(lambda a, b: b == 0, "division by 0", "divide"), Rule(lambda a, b: inf_(a), "the rest of inf", "infinite"),
    ],
    "floor_divide": [
        Rule(lambda a, b: a == 0 == b, "0/0", "divide"), Rule(lambda a, b: b == 0, "division by 0", "divide"),
        Rule(lambda a, b: inf_(a), "inf, divided into whole parts", "infinite"), too_large("divide"),
    ],
    "hypot": [too_large()],
    "sqrt": [Rule(lambda a: a < 0, "sqrt of a negative number", "root below")],
    "sin": [Rule(inf_, "sin of inf", "infinite")],
    "cos": [Rule(inf_, "cos of inf", "infinite")],
    "square": [too_large()],
    "astype": [too_large("half")],
}
# fmt: on


def rule_of(op: Operation, operands: list[Any], options: Mapping[str, Any], index: tuple[int, ...], data: Any) -> Any:
    """The words and the hint for what ``op`` made at ``index`` of ``data``; None if no row applies."""
    made = np.dtype(getattr(data, "dtype", np.float64))
    told = {"dtype": made.name, "largest": f"{float(np.finfo(made).max):.2g}"}
    at = [element(x, index, np.shape(data)) for x in operands]
    if op.name in ELEMENTWISE and None not in at:
        for rule in ELEMENTWISE[op.name]:
            if rule.applies(*at):
                return rule.words.format(*map(number, at), **told), rule.hint
    if op.name in REDUCING:
        return REDUCING[op.name](operands, options, index, told)
    return None


def element(x: Any, index: tuple[int, ...], shape: tuple[int, ...]) -> float | None:
    """The element of ``x`` that went into the result's element at ``index``; None if it is not of that shape."""
    try:
        return float(np.broadcast_to(raw(x), shape)[index])
    except ValueError:
        return None


def alone(function: Callable[..., Any], elements: list[float | None], made: float, options: Mapping[str, Any]) -> bool:
    """Whether ``function`` of these elements gives what was made: no others had a part in it."""
    try:
        with np.errstate(all="ignore"):
            again = function(*map(np.float64, elements), **options)
    except Exception:  # noqa: BLE001 - it may not be made for single numbers
        return False
    return np.shape(again) == () and bool(again == made or (again != again and made != made))


def number(x: Any) -> str:
    """A number in few digits."""
    return f"{float(x):.6g}"


# -- of many operands: which terms met -------------------------------------------------------------------------------


def _of_terms(terms: Any, told: Mapping[str, str]) -> tuple[str, str]:
    """Why a sum of ``terms`` is not finite."""
    if np.isinf(terms).any():
        return "inf − inf, among the terms of the sum", "infinite"
    return OVERFLOW.format(**told), "growth"


def _sum(operands: list[Any], options: Mapping[str, Any], index: Any, told: Mapping[str, str]) -> tuple[str, str]:
    a = np.asarray(operands[0])
    axes, at = reduced_axes(a.ndim, options["axis"]), iter(index)
    place = [
        slice(None) if i in axes else next(at)
        for i in range(a.ndim)
        if not (i in axes and options["keepdims"] and next(at))
    ]
    return _of_terms(a[tuple(place)], told)


def _mean(operands: list[Any], options: Mapping[str, Any], index: Any, told: Mapping[str, str]) -> tuple[str, str]:
    n = count(operands[0], options["axis"]) - options.get("ddof", 0)
    if n <= 0:
        return f"0/0: a mean over {n} numbers", "empty"
    return _sum(operands, options, index, told)


def _matmul(operands: list[Any], options: Mapping[str, Any], index: Any, told: Mapping[str, str]) -> tuple[str, str]:
    a, b = map(np.asarray, operands)
    rows, columns = a[None] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b
    stack = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    at = iter(index)
    place = [next(at) for _ in stack]
    row = np.broadcast_to(rows, (*stack, *rows.shape[-2:]))[(*place, next(at) if a.ndim > 1 else 0)]
    column = np.broadcast_to(columns, (*stack, *columns.shape[-2:]))[
        (*place, slice(None), next(at) if b.ndim > 1 else 0)
    ]
    if ((row == 0) & np.isinf(column) | (column == 0) & np.isinf(row)).any():
        return "0 · inf, among the terms of the sum", "infinite"
    infinite = np.isinf(row).any() or np.isinf(column).any()
    return ("inf − inf, among the terms of the sum", "infinite") if infinite else (OVERFLOW.format(**told), "growth")


REDUCING: dict[str, Callable[..., tuple[str, str]]] = {
    "sum": _sum, "mean": _mean, "var": _mean, "std": _mean, "median": _mean, "matmul": _matmul,
}  # fmt: skip


def overflow(data: Any) -> tuple[str, str]:
    dtype = np.dtype(getattr(data, "dtype", np.float64))
    return OVERFLOW.format(largest=f"{float(np.finfo(dtype).max):.2g}", dtype=dtype.name), "growth"


# -- numbers ---------------------------------------------------------------------------------------------------


def finite(data: Any) -> bool:
    """Whether there is neither NaN nor inf in plain data."""
    if type(data) is float:
        return math.isfinite(data)
    if data is None:
        return True
    line = data.ravel()  # the sum of its squares is the quickest look; it may also overflow
    return math.isfinite(line.dot(line)) or bool(np.isfinite(line).all())


def where(bad: Any) -> tuple[tuple[int, ...], int]:
    """The index of the first that holds, and how many do."""
    found = np.argwhere(bad)
    return tuple(int(i) for i in found[0]), len(found)


def where_bad(data: Any) -> tuple[tuple[int, ...], int]:
    return where(~np.isfinite(data)) if np.ndim(data) else ((), 1)
