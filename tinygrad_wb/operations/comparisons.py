"""The table of comparisons: what is greater, equal, finite. Nothing to differentiate.

To users a comparison of Values gives plain booleans. While a program is recorded it is an operation like any other, so
that a replay compares anew.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.foreign import GivesWay, as_operand
from tinygrad_wb.operation import operation
from tinygrad_wb.pending import Pending
from tinygrad_wb.recording import recorder, recorders
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable

__all__: list[str] = []

READY = frozenset({float, np.ndarray, int, bool})  # classes whose objects compare as they are


def _truth(x: Any) -> Any:
    return x if type(x) is np.ndarray and x.ndim else bool(x)


def _compares(name: str, sign: str, compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The row of a comparison, and what Value's operator does."""

    def forward(a: Any, b: Any) -> Any:
        return _truth(compute(a, b))

    forward.__name__, forward.__doc__, forward.__module__ = name, f"Whether a {sign} b, elementwise.", __name__
    row = operation(f"{{a}} {sign} {{b}}", da=None, db=None)(forward)

    def compare(a: Any, b: Any) -> Any:
        if recorders and recorder():
            return row(a, b)
        kind = type(b)
        if kind is Value:
            return compute(a._data, b._data)
        if kind in READY:
            return compute(a._data, b)
        if kind is Pending:
            return compute(a._data, b._data)
        try:
            return compute(a._data, as_operand(b))
        except GivesWay:
            return NotImplemented

    return compare


COMPARISONS = {
    "gt": _compares("greater", ">", operator.gt),
    "ge": _compares("greater_equal", ">=", operator.ge),
    "lt": _compares("less", "<", operator.lt),
    "le": _compares("less_equal", "<=", operator.le),
    "eq": _compares("equal", "==", operator.eq),
    "ne": _compares("not_equal", "!=", operator.ne),
}


@operation(numpy="np.logical_and({a}, {b})", scalar="{a} and {b}", da=None, db=None)
def logical_and(a: Any, b: Any) -> Any:
    """Whether both hold, elementwise."""
    return _truth(np.logical_and(a, b))


@operation(numpy="np.isfinite({a})", scalar="math.isfinite({a})", da=None)
def isfinite(a: Any) -> Any:
    """Whether it is neither inf nor nan, elementwise."""
    return _truth(np.isfinite(a))
