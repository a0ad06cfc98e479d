"""How matrix products are written into memory that is there already: whole, or in pieces."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.compiling.plan import data_of

if TYPE_CHECKING:
    from tinygrad_wb.compiling.emitter import Emitter
    from tinygrad_wb.compiling.plan import Step

__all__ = ["matmul", "row_of_ones"]

SMALL = 1 << 16  # elements of a result up to which `dot` is quicker than `matmul`
ALONE = 1 << 19  # multiplications of a product below which OpenBLAS computes it in one thread
DENSE = 32  # multiplications for each number that a product reads or writes, from which on two threads are worth it
LEAST = 16  # rows of a piece


def matmul(emitter: Emitter, step: Step) -> None:
    """A product of matrices, or of stacks of them."""
    a, b = step.inputs
    one, other, like = data_of(a), data_of(b), step.data
    same = one.dtype == other.dtype == like.dtype
    if same and min(one.ndim, other.ndim) >= 2 and math.prod(like.shape[:-2]) == 1 and _in_pieces(emitter, step):
        return
    # `dot` is quicker to start, but it fills what it writes into with zeros first.
    quick = same and one.ndim == other.ndim == 2 and like.size <= SMALL
    name = emitter.function("dot", np.dot) if quick else emitter.function("matmul", np.matmul)
    left, right = emitter.text(a), emitter.text(b)
    emitter.line(f"{name}({left}, {right}, {emitter.place(step)})")


def _in_pieces(emitter: Emitter, step: Step) -> bool:
    """A product cut into a stack of products; if along its inner axis, their sum."""
    left, right = map(emitter.text, step.inputs)
    (m, k), n = data_of(step.inputs[0]).shape[-2:], step.data.shape[-1]
    rows, inner = _pieces(m, k, n)
    if rows * inner == 1:
        return False
    place, product = emitter.place(step), emitter.function("matmul", np.matmul)
    if rows > 1:
        left, place = emitter.seen_as(left, (rows, m // rows, k)), emitter.seen_as(place, (rows, m // rows, n))
        emitter.line(f"{product}({left}, {right}, {place})")
        return True
    left = emitter.seen_as(left, (m, inner, k // inner), (1, 0, 2))
    right = emitter.seen_as(right, (inner, k // inner, n))
    memory = np.empty((inner, m, n), step.data.dtype)
    parts, terms = emitter.keep(memory, "parts"), emitter.keep(memory.reshape(inner, m * n))
    emitter.line(f"{product}({left}, {right}, {parts})")
    ones, place = row_of_ones(emitter, inner, step.data.dtype), emitter.seen_as(place, (-1,))
    emitter.line(f"{emitter.function('dot', np.dot)}({ones}, {terms}, {place})")
    return True


def _pieces(m: int, k: int, n: int) -> tuple[int, int]:
    """In how many pieces to cut the rows of (m, k) @ (k, n), and in how many its inner axis, for one thread each.

    Where a product does little for each number that it reads, as in a convolution, a second thread costs more than it
    gives: what it has read stands in its processor's cache, from where the next step has to get it back.
    """
    if m * k * n < ALONE or m * k * n >= DENSE * (m * k + k * n + m * n):
        return 1, 1
    longest = max(m, k)
    most = (ALONE - 1) // (m * k * n // longest)
    size = next((p for p in range(most, LEAST - 1, -1) if longest % p == 0), longest)
    return (m // size, 1) if m >= k else (1, k // size)


def row_of_ones(emitter: Emitter, n: int, dtype: Any) -> str:
    """A row of ones, with which a product adds up."""
    return emitter.once(("ones", n, dtype), lambda: emitter.keep(np.ones(n, dtype), "ones"))
