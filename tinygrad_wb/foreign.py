"""Array classes of other libraries: which of them are read as numbers, which get their turn, which are refused.

A class whose arrays mean more than their numbers (a mask, a unit, a label of each axis) must not lose that in silence.
In an operator such a class gets its turn, as Python's convention has it: the operator of a Value returns
``NotImplemented``, and the method of the other class (``__rmul__`` …) decides. xarray, pint and dask then hold the
Value, with its history. Tables, such as those of pandas and polars, have no place for Values: they are read as numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from numbers import Number
from typing import Any

import numpy as np

__all__ = ["GivesWay", "as_array", "as_factor", "as_operand", "gives_way"]

NUMBERS = {float, int, bool, np.float64, np.int64}  # as lists of numbers hold them
TABLES = {"pandas", "polars"}
REFLECTED = ("__radd__", "__rmul__", "__rmatmul__")  # not __rsub__, which sets have


class GivesWay(Exception):  # noqa: N818 - it never leaves an operator
    """An operand of a class that decides itself what an operator means."""


def _gives_way(kind: Any) -> bool:
    """Whether an operator, or a ufunc, of a Value and an object of class ``kind`` is left to that class."""
    if any(base.__module__.partition(".")[0] in TABLES for base in kind.__mro__):
        return False
    if getattr(kind, "__array_ufunc__", np.ndarray.__array_ufunc__) is not np.ndarray.__array_ufunc__:
        return True  # it has arithmetic of its own, or says with None that it takes no part in NumPy's
    if hasattr(kind, "__array__") or issubclass(kind, (Number, Sequence)):
        return False  # it can be read as numbers, or an error says why not
    return any(hasattr(kind, name) for name in REFLECTED)


gives_way: Callable[[Any], bool] = functools.lru_cache(maxsize=256)(_gives_way)


def as_array(x: Any) -> Any:
    """``np.asarray(x)``; ``TypeError`` where that would drop a mask, a unit, or another engine's history."""
    for part in _arrays(x):
        if isinstance(part, np.ma.MaskedArray):
            if np.ma.is_masked(part):
                raise TypeError(
                    "a masked array would lose its mask here, and the numbers under it would count: "
                    "give x.filled(number), or compute with x.data and take the result by wb.where(x.mask, 0.0, result)"
                )
        elif isinstance(part, np.ndarray) and gives_way(type(part)):
            raise TypeError(
                f"a {_name(part)} would lose what it means besides its numbers: give np.asarray(x) if they are meant"
            )
    try:
        return np.asarray(x)
    except RuntimeError as error:  # PyTorch's, for a tensor with a history
        raise TypeError(f"a {_name(x)} can't be read as plain numbers here: {error}") from error


def _arrays(x: Any) -> Iterator[np.ndarray[Any, Any]]:
    """An array, or those in lists and tuples."""
    if isinstance(x, np.ndarray):
        yield x
    elif isinstance(x, (list, tuple)) and not NUMBERS.issuperset(map(type, x)):
        for part in x:
            yield from _arrays(part)


def as_operand(x: Any) -> Any:
    """The same for the operand of an operator; raises `GivesWay` for a class that decides itself."""
    if gives_way(type(x)):
        raise GivesWay
    return as_array(x)


def as_factor(x: Any) -> Any:
    """The same for ``*`` and ``**``, which mean other things to ``np.matrix``."""
    if isinstance(x, np.matrix):
        raise TypeError(
            "* and ** of np.matrix are products of matrices, those of a Value go number by number: "
            "write v @ m for the product of matrices, v * np.asarray(m) for the other"
        )
    return as_operand(x)


def _name(x: Any) -> str:
    return f"{type(x).__module__.partition('.')[0]}.{type(x).__name__}"
