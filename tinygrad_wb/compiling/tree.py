"""Arguments and results of a function, however nested: the arrays and numbers among them, and the rest as a pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["HOLE", "SIMPLE", "arguments_of", "filled_in", "is_nested", "kind_of", "others", "pattern", "taken_out"]

SIMPLE = (bool, int, float, complex, str, bytes, type(None), np.generic)  # what can't change
HOLE = object()  # where an array, a number or a Value stands


def is_hole(x: Any) -> bool:
    return isinstance(x, (np.ndarray, Value, np.floating)) or type(x) is float


def kind_of(x: Any) -> Any:
    """What must be the same of an argument for a program to fit: shape and dtype, or the thing itself.

    An object goes by its identity, which is its own as long as somebody holds it.
    """
    kind = type(x)
    if kind is np.ndarray:
        return x.shape, x.dtype.char
    if kind is float or isinstance(x, np.floating):
        return float
    if kind is Value or isinstance(x, np.ndarray):
        return kind, x.shape, x.dtype.char
    if is_nested(x):
        items = x.items() if kind is dict else x
        return (kind, *[(item[0], kind_of(item[1])) if kind is dict else kind_of(item) for item in items])
    if isinstance(x, (int, str, bytes, type(None), np.generic)):
        return kind, x
    return kind, id(x)


def is_nested(x: Any) -> bool:
    """Whether it is a list, dictionary or tuple, also a named one."""
    return type(x) in (list, tuple, dict) or (isinstance(x, tuple) and hasattr(x, "_fields"))


def over_items(function: Callable[[Any], Any], x: Any) -> Any:
    """A list, dictionary or tuple of what ``function`` makes of the items."""
    kind = type(x)
    if kind is dict:
        return {name: function(item) for name, item in x.items()}
    items = map(function, x)
    return kind(items) if kind in (list, tuple) else kind(*items)


def pattern(x: Any, holes: list[Any]) -> Any:
    """``x`` with its arrays and numbers taken out, which are added to ``holes`` in order."""
    if is_hole(x):
        holes.append(x)
        return HOLE
    return over_items(lambda item: pattern(item, holes), x) if is_nested(x) else x


def arguments_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The arrays and numbers among the arguments of a call, in order."""
    if not kwargs and all([type(x) is np.ndarray for x in args]):
        return list(args)
    holes: list[Any] = []
    pattern((args, kwargs), holes)
    return holes


def taken_out(x: Any, shape: Any) -> list[Any] | None:
    """What stands in ``x`` where the pattern ``shape`` has holes, in order; None if ``x`` is nested otherwise."""
    if shape is HOLE:
        return None if is_nested(x) else [x]
    if not is_nested(shape):
        return [] if type(x) is type(shape) and (x is shape or x == shape or x != x) else None
    if type(x) is not type(shape) or len(x) != len(shape) or (type(x) is dict and x.keys() != shape.keys()):
        return None
    found: list[Any] = []
    for key in shape if type(shape) is dict else range(len(shape)):
        part = taken_out(x[key], shape[key])
        if part is None:
            return None
        found += part
    return found


def others(shape: Any) -> Iterator[Any]:
    """What is left in a pattern."""
    if is_nested(shape):
        for item in shape.values() if type(shape) is dict else shape:
            yield from others(item)
    elif shape is not HOLE:
        yield shape


def filled_in(shape: Any, holes: Sequence[Any]) -> Any:
    """A pattern with ``holes`` put back, in order."""
    remaining = iter(holes)
    return _filled(shape, remaining.__next__)


def _filled(shape: Any, fill: Callable[[], Any]) -> Any:
    if shape is HOLE:
        return fill()
    return over_items(lambda item: _filled(item, fill), shape) if is_nested(shape) else shape
