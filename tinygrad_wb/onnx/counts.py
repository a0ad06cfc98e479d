"""Numbers that follow the size of the batch, found by comparing records of several sizes.

A record has numbers in it: ``reshape`` to (4, 12), a sum divided by 48, zeros of shape (4, 16). Which of them are a
property of the model, and which only of the batch of 4, one record does not tell. Records of batches of 4, 5 and 7 do:
what is the same in all of them stays; what is each · batch + more in all of them is a `Count`; all else is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Count", "DiffersError", "Stretched", "length", "merged", "size_of"]


class DiffersError(ValueError):
    """Records of several batches differ in something that does not follow the batch."""


@dataclass(frozen=True)
class Count:
    """``each`` · batch + ``more``."""

    each: Any
    more: Any

    def times(self, factor: int) -> Count:
        return Count(self.each * factor, self.more * factor)

    def __index__(self) -> int:
        raise DiffersError("a number that follows the batch, where only a fixed one can stand")

    __float__ = __index__


@dataclass(frozen=True, eq=False)
class Stretched:
    """An array of equal parts, as many as the batch has: one ``part``, of length 1 there, and the whole ``shape``."""

    part: Any
    shape: tuple[Any, ...]


def merged(found: Sequence[Any], sizes: Sequence[int]) -> Any:
    """What stands for all of ``found``, the same thing in records of batches of these ``sizes``."""
    first = found[0]
    if all(x is first for x in found):
        return first
    if len(set(map(type, found))) > 1:
        raise DiffersError(f"a {' or a '.join(dict.fromkeys(type(x).__name__ for x in found))}")
    if isinstance(first, np.ndarray):
        return _array(found, sizes)
    if isinstance(first, dict):
        return {name: merged([x.get(name) for x in found], sizes) for name in first}
    if isinstance(first, slice):
        return slice(*(merged([getattr(x, end) for x in found], sizes) for end in ("start", "stop", "step")))
    if isinstance(first, (tuple, list)) and len(set(map(len, found))) == 1:
        return type(first)(merged(items, sizes) for items in zip(*found, strict=True))  # a list indexes otherwise
    if isinstance(first, (int, float, np.integer, np.floating)) and type(first) is not bool:
        return _number(found, sizes)
    if all(x == first for x in found):
        return first
    raise DiffersError(_listed(found))


def length(found: Sequence[int], sizes: Sequence[int]) -> Any:
    """`merged` for the length of an axis; None where it does not follow the batch, as that of ``x[::2]``."""
    try:
        return merged(found, sizes)
    except DiffersError:
        return None


def size_of(shape: Sequence[Any]) -> Any:
    """How many numbers an array of ``shape`` has."""
    product: Any = 1
    for n in shape:
        if n is None or (isinstance(n, Count) and isinstance(product, Count)):
            raise DiffersError("as many numbers as no multiple of the batch")
        product = n.times(product) if isinstance(n, Count) else _times(product, n)
    return product


def _times(a: Any, b: int) -> Any:
    return a.times(b) if isinstance(a, Count) else a * b


def _number(found: Sequence[Any], sizes: Sequence[int]) -> Any:
    first = found[0]
    if all(x == first or (x != x and first != first) for x in found):
        return first
    each = (found[1] - first) / (sizes[1] - sizes[0]) if sizes[1] != sizes[0] else np.nan
    more = first - each * sizes[0]
    if not all(math.isclose(x, each * n + more, rel_tol=1e-13) for x, n in zip(found, sizes, strict=True)):
        raise DiffersError(_listed(found))
    whole = isinstance(first, (int, np.integer))
    return Count(int(each), int(more)) if whole else Count(float(each), float(more))


def _array(found: Sequence[Any], sizes: Sequence[int]) -> Any:
    first = found[0]
    if len({x.ndim for x in found}) > 1 or len({x.dtype for x in found}) > 1:
        raise DiffersError("arrays of " + _listed([f"shape {x.shape} and {x.dtype}" for x in found]))
    shape = tuple(merged(lengths, sizes) for lengths in zip(*(x.shape for x in found), strict=True))
    part = first[tuple(slice(0, 1) if isinstance(n, Count) else slice(None) for n in shape)]
    for x in found:
        if not np.array_equal(x, np.broadcast_to(part, x.shape), equal_nan=x.dtype.kind == "f"):
            raise DiffersError("arrays of other numbers")
    return first if part.shape == first.shape else Stretched(part, shape)


def _listed(found: Sequence[Any]) -> str:
    return ", ".join(dict.fromkeys(f"{x!s:.80}" for x in found))
