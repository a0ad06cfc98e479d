"""Arguments and results of a function, however nested: the arrays and numbers among them, and the rest as a pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["filled_in", "kind_of", "pattern"]

HOLE = object()  # where an array, a number or a Value stands


def is_hole(x: Any) -> bool:
    return isinstance(x, (np.ndarray, Value, np.generic)) or type(x) is float


def kind_of(x: Any) -> Any:
    """What must be the same of an argument for a program to fit: shape and dtype, or the thing itself."""
    kind = type(x)
    if kind is np.ndarray:
        return x.shape, x.dtype.char
    if kind is float or kind is np.float64:
        return float
    if kind is Value:
        return Value, x.shape, x.dtype.char
    if kind in (list, tuple):
        return (kind, *map(kind_of, x))
    if kind is dict:
        return (kind, *((name, kind_of(item)) for name, item in x.items()))
    if isinstance(x, (int, str, bytes, bool, type(None), np.generic)):
        return kind, x
    return kind, id(x)


def pattern(x: Any, holes: list[Any]) -> Any:
    """``x`` with its arrays and numbers taken out, which are added to ``holes`` in order."""
    if is_hole(x):
        holes.append(x)
        return HOLE
    if type(x) in (list, tuple):
        return type(x)(pattern(item, holes) for item in x)
    if type(x) is dict:
        return {name: pattern(item, holes) for name, item in x.items()}
    return x


def filled_in(shape: Any, holes: Sequence[Any]) -> Any:
    """A pattern with ``holes`` put back, in order."""
    remaining = iter(holes)
    return _filled(shape, remaining.__next__)


def _filled(shape: Any, fill: Callable[[], Any]) -> Any:
    if shape is HOLE:
        return fill()
    if type(shape) in (list, tuple):
        return type(shape)(_filled(item, fill) for item in shape)
    if type(shape) is dict:
        return {name: _filled(item, fill) for name, item in shape.items()}
    return shape
